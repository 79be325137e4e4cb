"""`deepeval`'s JevEval against a served judge: `client_deepeval.py URL KEY` in an environment with `deepeval`."""

import importlib.metadata
import json
import os
import sys

url, key = sys.argv[1:]
os.environ |= {"TYPESAFE_BASE_URL": url, "TYPESAFE_API_KEY": key, "DEEPEVAL_TELEMETRY_OPT_OUT": "YES"}

from deepeval.metrics import JevEval  # noqa: E402
from deepeval.metrics.jev_eval import Choice, Noul, Score  # noqa: E402
from deepeval.test_case import LLMTestCase, SingleTurnParams  # noqa: E402

questions = [
    Noul("The actual output answers the input."),
    Score("How good is the actual output?", levels=["bad", "fair", "good"]),
    Choice("How does it sound?", options={"calm": 1.0, "angry": 0.0, "cannot be told": None}),
]
case = LLMTestCase(input="What is the capital of France?", actual_output="Paris")
looked_at = [SingleTurnParams.INPUT, SingleTurnParams.ACTUAL_OUTPUT]
found: dict[str, object] = {"version": importlib.metadata.version("deepeval")}
found["typesafe-sdk"] = importlib.metadata.version("typesafe-sdk")
for name, together in (("measure", False), ("a_measure", True)):
    metric = JevEval("Answers", looked_at, questions=questions, threshold=0.5, async_mode=together)
    score = metric.measure(case, _show_indicator=False)
    assert metric.error is None and metric.success is not None and 0 <= score <= 1
    found[name] = {"score": score, "confidence": metric.confidence, "reason": metric.reason}
    found[name] |= {"breakdown": metric.score_breakdown}  # type: ignore[operator]
os.environ["TYPESAFE_API_KEY"] = "wrong"
from deepeval.models import TypeSafeModel  # noqa: E402

try:
    wrong = JevEval("Answers", looked_at, questions=questions, system_one_model=TypeSafeModel(api_key="wrong"))
    wrong.measure(case, _show_indicator=False)
except Exception as error:
    found["wrong key"] = f"{type(error).__name__}: {error}"
assert "key" in str(found.get("wrong key"))
print(json.dumps(found))
