"""Traces in rounds: a judge does the training tasks with the tools, what passes the screens is kept and balanced.

Round 1 is made before the cold start by the model of the recipe; round 2, by choice (`traces.rounds: 2`), after GRPO
stage 1 by the judge of then. The second cold start learns from both: of a task that round 2 has traces of, round 2's.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from armlite.curation.recipe import DataRecipe
from armlite.curation.sources import check_left, digests
from armlite.curation.steps import Steps, write_rows
from armlite.data.making.balance import balance_traces
from armlite.data.making.output import rejects_of
from armlite.data.making.rollouts import Progress
from armlite.data.making.traces import make_traces
from armlite.errors import ArmliteError
from armlite.judge import Judge
from armlite.lock import held
from armlite.models.lazy import writer_of
from armlite.store import file_digest, read_json, write_atomic

TRACES, TRACES_2 = "traces.jsonl", "traces-2.jsonl"
"""What the first cold start learns from, and the second."""
STEPS = {1: ("traces", "balanced"), 2: ("traces-2", "balanced-2")}
"""Round -> its steps: judging with the screens, and the balance."""


def make_round(
    steps: Steps,
    number: int,
    recipe: DataRecipe,
    judge: Judge,
    name: str,
    workers: int | None,
    shown: Callable[[str], Progress],
) -> None:
    """Make the traces of a round, or go on with them.

    Args:
        number: of the round; round 2 needs the files of round 1.
        recipe: one with `traces` that a model makes.
        name: of the judge.
        workers: episodes at once; None: as many as the model can use.
        shown: step -> what is told of its progress.

    Raises:
        ArmliteError: the judge cannot be asked, or nothing is left.
    """
    judging, balancing = STEPS[number]
    how, seed = recipe.traces, recipe.seed
    assert how is not None
    train, out = steps.out / "parts" / "train.jsonl", steps.out / (TRACES if number == 1 else TRACES_2)
    screened = [_screened(steps.out, n) for n in range(1, number + 1)]
    mine = screened[-1]
    inputs = {"train": digests(train), "model": name, **judged_how(judge), "n": how.n, "k": how.k, "seed": seed}
    inputs["temperature"] = how.temperature
    asked = train, judge.model, judge.settings, mine, name, how.n, how.k, seed, how.temperature
    make = lambda: make_traces(*asked, in_flight=workers, on_task=shown(judging))  # noqa: E731
    check_left(judging, steps.run(judging, inputs, [mine], make), rejects_of(mine))
    share = how.per_task, how.family_ratio, seed
    inputs = {"traces": digests(*screened), "per_task": share[0], "family_ratio": share[1], "seed": seed}
    balanced = steps.run(balancing, inputs, [out], lambda: balance_traces(screened, out, *share))
    check_left(balancing, balanced, rejects_of(out))


def _screened(out: Path, number: int) -> Path:
    return out / f"{STEPS[number][0]}.screened.jsonl"


def judged_how(judge: Judge) -> dict[str, Any]:
    """What decides the judgments of a step beside the model's name, temperature and seed."""
    return {"settings": judge.settings.model_dump(mode="json"), "writer": writer_of(judge.model)}


def second_round(
    recipe: DataRecipe,
    out: Path,
    judge: Judge,
    name: str,
    say: Callable[[str], None] = lambda line: None,
    on_progress: Callable[[str, int, int], None] = lambda step, done, total: None,
) -> dict[str, Any]:
    """Let a judge make the second round of traces in the folder of a build: `traces-2.jsonl`; or go on with that.

    Args:
        recipe: that the folder was built by.
        judge: samples at `traces.temperature`.
        name: what the judge is called.

    Returns:
        What `build.json` holds then: its table has the rows of the second round, too.

    Raises:
        ArmliteError: there is no build, or as `make_round`.
    """
    build, rejects = out / "build.json", out / "rejects.jsonl"
    with held(out):
        found = read_json(build)
        if found is None:
            raise ArmliteError(f"{out} holds no finished build to make a second round of traces in")
        steps = Steps(out, say)
        shown = lambda step: lambda done, total: on_progress(step, done, total)  # noqa: E731
        make_round(steps, 2, recipe, judge, name, None, shown)
        lines = map(json.loads, rejects.read_text(encoding="utf-8").splitlines())
        write_rows(rejects, [*(row for row in lines if row["step"] not in STEPS[2]), *steps.rejected()])
        found["table"] = [*(row for row in found["table"] if row["step"] not in STEPS[2]), *steps.table()]
        found["files"][TRACES_2] = file_digest(out / TRACES_2)
        write_atomic(build, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return dict(found)


def round_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rounds of a build in figures, from what `build.json` holds: `round`, `judged`, `format`, `verdict`, `tool`
    (shares of the judged rollouts that passed each screen), `passed` (all of them), `kept` (after the balance),
    `families` of these.
    """
    table = {row["step"]: row for row in found["table"]}
    rows = []
    for number, (judging, balancing) in STEPS.items():
        if "rates" in table.get(judging, {}):
            judged, balanced = table[judging], table[balancing]
            passed = sum(row["n"] for row in judged["table"] if all(row[s] for s in judged["screens"]))
            rows.append(
                {
                    "round": number,
                    "judged": judged["judged"],
                    **judged["rates"],
                    "passed": passed,
                    "kept": balanced["kept"],
                    "families": balanced["families"],
                }
            )
    return rows
