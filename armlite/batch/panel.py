"""A file judged by several models: each over all rows, one after the other, then one verdict a row.

Each model has a folder of its own below `models/`, with its own journal, so that all goes on after any interruption and
one model is in memory at a time. What stands in `--out` itself is made of these at the end.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armlite.batch.run import PANEL, TASKS, TRAJECTORIES, judge_file
from armlite.batch.written import VERDICTS, Verdicts
from armlite.data.tasks import moved, write_tasks
from armlite.errors import ArmliteError
from armlite.evals.run import check_model_of
from armlite.jsonl import read_records
from armlite.lock import held
from armlite.models.endpoint import place_free
from armlite.panel import UNLESS, combine, sure
from armlite.store import write_atomic
from armlite.types import Task, Verdict
from armlite.votes import said_by

NO_TOOLS = "no-tools"
"""As a first judge: the (first) model itself, by eye."""
MODELS = "models"


@dataclass(frozen=True)
class Member:
    """A model and how it judges."""

    name: str
    """Of its folder and column."""
    model: str
    tools: bool = True


def judge_file_by(
    file: str | Path,
    models: Sequence[str],
    out: Path,
    *,
    first: str | None = None,
    unless: float = UNLESS,
    options: Callable[[str], dict[str, Any]] = lambda model: {},
    on_model: Callable[[str], None] = lambda model: None,
    **how: Any,
) -> dict[str, Any]:
    """Judge a file's rows by several models, or go on with that.

    Args:
        file: as for `judge_file`.
        models: whose verdicts are counted as a panel's; one alone needs a `first`.
        out: folder of the results.
        first: model that judges first, or `no-tools`: `models[0]` by eye. The others judge where it is not sure.
        unless: probability from which the first is believed.
        options: of a model: further ones of `Judge.load`.
        on_model: told which one begins.
        how: as for `judge_file`. Budgets are each model's.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        ArmliteError: as `judge_file`; or a rubric, which only Python's `Panel` grades by.
    """
    if how.get("rubric") is not None:
        raise ArmliteError("--rubric goes with one --model and no --first; several grade in Python: Panel(...).grade")
    if not 0 <= unless <= 1:
        raise ArmliteError(f"--unless {unless} is no probability from 0 to 1")
    if (out / TRAJECTORIES).exists():
        raise ArmliteError(f"{out} holds the verdicts of one model; give another --out")
    members, early = _members(models, first)
    for member in members + ([early] if early else []):
        check_model_of(member.model)  # before the first has judged all rows
    source: str | Path = file
    with held(out):
        write_atomic(
            out / PANEL, json.dumps({"models": list(map(place_free, models)), "first": first}, indent=2) + "\n"
        )
        wanted: Collection[str] | None = None
        for member in ([early] if early else []) + members:
            on_model(member.model)
            folder = out / MODELS / member.name
            own = {**how, "options": options(member.model), "only": wanted}
            own["tools"] = member.tools and how.get("tools", True)
            judge_file(source, member.model, folder, **own)
            if source is file:
                source, how = folder / TASKS, {**how, "columns": (), "n": None}
            if member is early:
                wanted = {line["id"] for line in Lines(folder) if not sure(verdict_of(line), unless)}
        return _combine(out, source, members, early, unless)  # type: ignore[arg-type]  # it is a file by now


def _members(models: Sequence[str], first: str | None) -> tuple[list[Member], Member | None]:
    """Who judges, and who judges first; each under a name of its own."""
    taken: Counter[str] = Counter()

    def member(model: str, tools: bool = True) -> Member:
        name = re.sub(r"[^\w.-]+", "-", re.split("[/:]", place_free(model).rstrip("/"))[-1]).strip("-.") or "model"
        name += "" if tools else f"-{NO_TOOLS}"
        taken[name] += 1
        return Member(name if taken[name] == 1 else f"{name}-{taken[name]}", model, tools)

    found = [member(model) for model in models]
    if first is None:
        return found, None
    return found, member(models[0], tools=False) if first == NO_TOOLS else member(first)


class Lines:
    """The verdicts of a folder, by row; one at a time in memory.

    Args:
        folder: of a model.
    """

    def __init__(self, folder: Path):
        self._file = folder / VERDICTS
        self._places: dict[str, int] = {}
        at = 0
        with self._file.open("rb") as lines:
            for line in lines:
                self._places[json.loads(line)["id"]] = at
                at += len(line)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self._file.open("rb") as lines:
            yield from map(json.loads, lines)

    def get(self, name: str) -> dict[str, Any] | None:
        """The line of a row; None: it has none."""
        if name not in self._places:
            return None
        with self._file.open("rb") as lines:
            lines.seek(self._places[name])
            return dict(json.loads(lines.readline()))


def verdict_of(line: Mapping[str, Any]) -> Verdict:
    """The verdict that a line of `verdicts.jsonl` tells of, without its evidence and trajectories."""
    names = ("status", "kind", "choice", "ranking", "correct", "rating", "answer", "confidence", "probability")
    names += ("probabilities", "probability_from", "calibrated", "method")
    return Verdict.model_validate({name: line[name] for name in names} | {"rationale": line["reason"]})


def _combine(out: Path, tasks: Path, members: Sequence[Member], early: Member | None, unless: float) -> dict[str, Any]:
    """Write one verdict a row of those that all who were to be asked have judged."""
    everyone = ([early] if early else []) + list(members)
    lines = {member.name: Lines(out / MODELS / member.name) for member in everyone}
    columns = (*(["judged_by"] if early else []), *(f"model/{member.name}" for member in everyone))
    told: Counter[str] = Counter()
    rows = (moved(task, tasks.parent, out) for _, task in read_records(tasks, Task))
    write_tasks(out / TASKS, rows)
    with Verdicts(out, lambda task: 1, columns=columns) as verdicts:
        verdicts.begin((), ())
        for _, task in read_records(out / TASKS, Task):
            own = {member.name: line for member in everyone if (line := lines[member.name].get(task.id))}
            believed = early is not None and early.name in own and sure(verdict_of(own[early.name]), unless)
            asked = [early] if believed and early else members
            if not all(member.name in own for member in asked):
                told["left"] += 1
                continue
            said = [verdict_of(own[member.name]) for member in asked]
            verdict = said[0] if len(said) == 1 else combine(task.kind, said)
            told["first"] += believed
            for member in everyone:
                if member.name in own:
                    told[f"{member.name}/of"] += 1
                    told[member.name] += _says(own[member.name]) == said_by(verdict) is not None
            verdicts.complete(task, verdict, [], _columns(own, "first" if believed else "then" if early else None))
        agree = {m.name: {"rows": told[f"{m.name}/of"], "as_the_verdict": told[m.name]} for m in everyone}
        more = {"models": agree} | ({"judged_by_first": told["first"]} if early else {})
        stopped = "a model's budget is used up" if told["left"] else None
        return verdicts.finish(stopped, told["left"], more)


def _says(line: Mapping[str, Any]) -> Any:
    return said_by(verdict_of(line))


def _columns(own: Mapping[str, Mapping[str, Any]], judged_by: str | None) -> dict[str, Any]:
    """What a combined line takes from those of its models: sums, and what each says."""
    sums = {name: sum(line[name] for line in own.values()) for name in ("calls", "tokens", "prompt_tokens")}
    both = [line["consistent"] for line in own.values() if line["consistent"] is not None]
    said = {name: _says(line) for name, line in own.items()}
    told = ("status", "choice", "ranking", "correct", "rating", "answer", "confidence", "probability", "reason")
    costs = [line["cost"] for line in own.values() if line.get("cost") is not None]
    return {
        **sums,
        "seconds": round(sum(line["seconds"] for line in own.values()), 4),
        "consistent": all(both) if both else None,
        "models": {name: {key: line[key] for key in told} for name, line in own.items()},
        **{f"model/{name}": own[name]["status"] if value is None else value for name, value in said.items()},
        **({"judged_by": judged_by} if judged_by else {}),
        **({"cost": round(sum(costs), 8)} if costs else {}),
    }
