"""`verifiers`' DecisionJudge against a served judge: `client_verifiers.py URL KEY` with `verifiers`."""

import asyncio
import importlib.metadata
import json
import os
import sys

from verifiers.v1.judges.decision import DecisionJudge, DecisionJudgeConfig

url, key = sys.argv[1:]
os.environ["SERVED_KEY"] = key
FIELDS = {"question": "What is the capital of France?", "response": "Paris", "answer": "Paris"}


def judge(**options: object) -> DecisionJudge:
    """As anybody would make one; only the address and the key are other than its defaults."""
    return DecisionJudge(DecisionJudgeConfig(base_url=f"{url}/v1/systemone", api_key_var="SERVED_KEY", **options))


async def main() -> None:
    """Grade with two levels and with four, and with a wrong key."""
    found: dict[str, object] = {"version": importlib.metadata.version("verifiers")}
    for name, levels in (("two levels", None), ("four levels", ["Perfect", "Good", "Fair", "Bad"])):
        answer = await judge(**({"levels": levels} if levels else {})).evaluate(**FIELDS)
        assert answer.usage is not None and answer.parsed is not None and 0 <= answer.parsed <= 1
        raw = json.loads(answer.text)["answers"]["grade"]
        assert raw["evidence"] == [] and abs(sum(raw["probabilities"].values()) - 1) < 1e-9
        found[name] = {"parsed": answer.parsed, "usage": answer.usage.model_dump(mode="json"), "answer": raw}
    os.environ["SERVED_KEY"] = "wrong"
    try:
        await judge().evaluate(**FIELDS)
    except Exception as error:
        found["wrong key"] = f"{type(error).__name__}: {error}"
    assert "AuthenticationError" in str(found["wrong key"])
    print(json.dumps(found))


asyncio.run(main())
