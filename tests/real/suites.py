"""inspect_ai, deepeval, verifiers and promptfoo themselves score with a judge: `tests/real/suites.py --model RUN`.

RUN is a pocket run (`armlite train recipes/pocket.yaml`): its held-out tasks are the cases, a response of each the
output under test, and the other one what it is compared with; a last case names a document that is not there. Each
suite is installed into an environment of its own (promptfoo by npm) and loads the judge in its own process; each case
must get the score that the judge gives here, and the last none.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kit import HERE, ROOT, Kit, keep, say, today

from armlite import Judge
from armlite.adapters.scored import Item, Scorer
from armlite.data.tasks import read_tasks

VERSIONS = {"inspect_ai": "0.3.285", "deepeval": "4.3.1", "verifiers": "0.4.0", "promptfoo": "0.121.20"}
Case = dict[str, Any]


def cases(run: Path, count: int) -> list[Case]:
    """Held-out tasks, as many of each family, their pictures and documents by absolute paths."""
    folder = run.resolve() / "data" / "test"
    families: dict[str, list[Case]] = {}
    for task in read_tasks(folder / "tasks.jsonl"):
        case = {
            "id": task.id,
            "question": task.question,
            "response": task.responses[0],
            "against": task.responses[1],
            "images": [str(folder / image) for image in task.images],
            "document": None if task.document is None else str(folder / task.document),
            "constraints": [rule.model_dump() for rule in task.constraints],
            "right": task.gold == 1,
        }
        families.setdefault(task.source, []).append(case)
    found = [case for own in families.values() for case in own[: count // len(families)]]
    return [*found, {**found[0], "id": "lost", "images": [], "document": str(folder / "gone.pdf"), "right": None}]


def ours(run: Path, given: list[Case]) -> list[float | None]:
    """What the judge gives each case here."""
    names = ("question", "response", "against", "images", "document", "constraints")
    items = [Item(**{name: case[name] for name in names}) for case in given]
    return [scored.value for scored in Scorer(Judge.load(run), "compare").score_many(items)]


def in_python(kit: Kit, run: Path, given: list[Case]) -> dict[str, Any]:
    """Have a Python suite score the cases."""
    kit.install(f"{kit.name}=={VERSIONS[kit.name]}", *(["uv"] if kit.name == "verifiers" else []))
    asked = json.dumps({"model": str(run.resolve()), "cases": given})
    told = kit.run(HERE / f"inside/{kit.name}_suite.py", cwd=kit.folder, stdin=asked)
    return dict(json.loads(told.strip().splitlines()[-1]))


def in_promptfoo(kit: Kit, run: Path, given: list[Case]) -> dict[str, Any]:
    """Have promptfoo score a case of each family and the last one, with this Python."""
    if not (kit.folder / "node_modules").is_dir():
        say(f"installing promptfoo into {kit.folder}")
        npm = ["npm", "install", "--no-audit", "--no-fund", f"promptfoo@{VERSIONS['promptfoo']}"]
        subprocess.run([*npm, "--prefix", str(kit.folder)], check=True, stdout=sys.stderr)
    judge = {"type": "python", "value": f"file://{ROOT}/armlite/adapters/promptfoo.py"}
    judge["config"] = {"model": str(run.resolve()), "mode": "compare"}
    names = ("question", "response", "against", "document")
    tests = []
    for case in given:
        own = {name: case[name] for name in names if case[name] is not None}
        own |= {name: json.dumps(case[name]) for name in ("images", "constraints")}
        tests.append({"description": case["id"], "vars": own, "assert": [judge]})
    config = {"prompts": ["{{response}}"], "providers": ["echo"], "tests": tests}
    (kit.folder / "promptfooconfig.json").write_text(json.dumps(config, indent=1), "utf-8")
    command = [kit.folder / "node_modules/.bin/promptfoo", "eval", "-c", "promptfooconfig.json", "-o", "results.json"]
    quiet = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1", "PROMPTFOO_CACHE_ENABLED": "false"}
    quiet |= {"PROMPTFOO_CONFIG_DIR": str(kit.folder / "state"), "PROMPTFOO_PYTHON": sys.executable}
    quiet |= {"PYTHONPATH": str(ROOT), "PROMPTFOO_FAILED_TEST_EXIT_CODE": "0"}
    options = ["--no-cache", "--no-progress-bar", "--no-table", "--max-concurrency", "2"]
    subprocess.run([*command, *options], cwd=kit.folder, env=os.environ | quiet, check=True, stdout=sys.stderr)
    told = json.loads((kit.folder / "results.json").read_text("utf-8"))["results"]
    rows = sorted(told["results"], key=lambda row: row["testIdx"])
    parts = [row["gradingResult"]["componentResults"][0] for row in rows]
    judged = [part["metadata"]["status"] == "judged" for part in parts]
    return {
        "scores": [part["score"] if fine else None for part, fine in zip(parts, judged, strict=True)],
        "totals": {name: told["stats"][name] for name in ("successes", "failures", "errors")},
        "reason": parts[0]["reason"],
        "lost": parts[-1]["reason"].rpartition("/")[2],
    }


SUITES: dict[str, Callable[[Kit, Path, list[Case]], dict[str, Any]]] = {
    "inspect_ai": in_python,
    "deepeval": in_python,
    "verifiers": in_python,
    "promptfoo": in_promptfoo,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", help=f"of {', '.join(SUITES)}; all unless given")
    parser.add_argument("--model", type=Path, required=True, help="a pocket run")
    parser.add_argument("--folder", type=Path, default=ROOT / ".real", help="environments and runs go here")
    parser.add_argument("--cases", type=int, default=12, help="promptfoo, which loads the judge for each, gets 3")
    parser.add_argument("--write", action="store_true", help="keep the results in tests/real/committed")
    given = parser.parse_args()
    asked = cases(given.model, given.cases)
    expected = ours(given.model, asked)
    assert expected[-1] is None, "a document that is not there cannot be judged"
    for name in given.suites or SUITES:
        folder = given.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        few = list(range(0, len(asked) - 1, given.cases // 3)) + [len(asked) - 1]
        own = few if name == "promptfoo" else range(len(asked))
        found = SUITES[name](Kit(name, folder.resolve(), {}, {}), given.model, [asked[i] for i in own])
        say(f"{name}: {found['scores']}, {found['totals']}")
        if found["scores"] != [expected[i] for i in own]:
            raise SystemExit(f"{name} has other scores than the judge: {found['scores']}, not {expected}")
        right = sum(expected[i] == float(asked[i]["right"]) for i in own if expected[i] is not None)
        if given.write:
            about = {"version": VERSIONS[name], "date": today(), "judge": "the pocket judge", "as_labelled": right}
            keep(f"suite_{name}.json", {**about, **found})


if __name__ == "__main__":
    main()
