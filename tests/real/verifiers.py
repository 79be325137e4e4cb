"""Ask the references' own verifiers about `tests/verifier_cases.py` and keep what they say.

`python tests/real/verifiers.py --code ARM-THINKER --engine MM-IFENGINE --nltk-data FOLDER` takes checkouts of
InternLM/ARM-Thinker and SYuan03/MM-IFEngine and a folder with nltk's own `punkt_tab`, makes an environment (pip) and
writes `committed/verifiers.json`; `tests/test_verifiers_recorded.py` compares.
"""

import argparse
import asyncio
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COMMITTED = HERE / "committed" / "verifiers.json"
sys.path[:0] = [str(HERE), str(HERE.parent)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--code", type=Path, required=True, help="checkout of InternLM/ARM-Thinker")
    parser.add_argument("--engine", type=Path, required=True, help="checkout of SYuan03/MM-IFEngine")
    parser.add_argument("--nltk-data", type=Path, required=True, help="folder with tokenizers/punkt_tab")
    parser.add_argument("--env", type=Path, help="where the environment is, or is made  [default: a new one]")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        record(asked.code.resolve(), asked.engine.resolve())
        return
    env = asked.env or Path(tempfile.mkdtemp(prefix="verifiers-"))
    python = env / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", env], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "nltk", "python-dotenv", "pydantic", "pyyaml"], check=True
        )
    data = str(asked.nltk_data.resolve())
    words = [__file__, "--inside", "--code", asked.code, "--engine", asked.engine, "--nltk-data", data]
    subprocess.run([python, *words], check=True, env={**os.environ, "NLTK_DATA": data, "NLTK_DATA_PATH": data})


def record(code: Path, engine: Path) -> None:
    """Ask both about every case, and write their answers: 1, 0, or null where the call raises."""
    import nltk
    from reference import head, stand_in
    from verifier_cases import TEXTS, calls

    stand_in(code)
    sys.path.insert(0, str(engine / "data_gen/utils"))
    import function_and_compare

    tools = tools_of(code)
    found = []
    for name, params in calls():
        spelt = name.replace("mentioned", "metioned")
        function = getattr(function_and_compare, spelt, None) or getattr(function_and_compare, name)
        engine_says = [answer(function, text, *params.values()) for text in TEXTS]
        found.append({"engine": engine_says, "tool": [answer(asked, tools[name], text, params) for text in TEXTS]})
    about = {"recorded": datetime.date.today().isoformat(), "nltk": nltk.__version__}
    about |= {"tool": head(code), "engine": head(engine)}
    COMMITTED.write_text(json.dumps({**about, "answers": found}, indent=None) + "\n", "utf-8")
    print(f"{len(found)} calls of {len(TEXTS)} texts: {COMMITTED}")


def tools_of(code: Path) -> dict[str, Any]:
    """The tools by name, as their configuration names them."""
    from importlib import import_module

    sys.path.insert(0, str(code))
    import yaml

    config = yaml.safe_load((code / "examples/self/multiturn/config/tool_config/mmif_tool_config.yaml").read_text())
    module = import_module("verl.tools.instruction_following_tool")
    schemas = import_module("verl.tools.schemas")
    made = {}
    for tool in config["tools"]:
        schema = schemas.OpenAIFunctionToolSchema.model_validate(tool["tool_schema"])
        made[schema.function.name] = getattr(module, tool["class_name"].rsplit(".", 1)[1])({}, schema)
    return made


def asked(tool: Any, text: str, params: dict[str, Any]) -> bool:
    async def ask() -> bool:
        number, _ = await tool.create(create_kwargs={"response_store": {"texts_map": {"text_0": text}}})
        said, _, _ = await tool.execute(number, {"response": "text_0", **params})
        assert said.text in ("Check result: True", "Check result: False"), said.text
        return said.text.endswith("True")

    return asyncio.run(ask())


def answer(ask: Any, *arguments: Any) -> int | None:
    try:
        return int(ask(*arguments))
    except Exception:
        return None


if __name__ == "__main__":
    main()
