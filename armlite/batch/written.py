"""What a batch writes: a line a verdict, as each is complete, and at the end preferences and a summary.

All of it is made of `tasks.jsonl` and the journal, so it is begun anew from these whenever a run goes on.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TextIO

from armlite.batch.budget import Price
from armlite.batch.grading import Means
from armlite.batch.parts import Parts
from armlite.calibration import Calibration
from armlite.evals.intervals import share
from armlite.rewards import is_right
from armlite.store import Saved, write_atomic
from armlite.types import Task, Trajectory, Verdict
from armlite.votes import count_votes, said_by

VERDICTS, TABLE, PREFERENCES, SUMMARY = "verdicts.jsonl", "verdicts.csv", "preferences.jsonl", "summary.json"
FIELDS = (
    "id", "kind", "status", "choice", "ranking", "correct", "rating", "answer", "confidence", "probability",
    "consistent", "label", "right", "method", "comparisons", "comparisons_failed", "calls", "tokens", "prompt_tokens",
    "seconds", "cost", "reason",
)  # fmt: skip
"""Columns of the table. `consistent`: both presented orders say the same; `right`: the verdict is the label's."""


class Verdicts:
    """The files, open for as long as the batch runs; a context manager.

    Args:
        out: folder.
        asked: how many judgments a task's verdict is made of.
        parts: of rows whose verdict is made of several tasks; None: there are none.
        calibration: of the model.
        price: what `cost` is counted by; None: there is no cost.
        columns: further ones of the table.
    """

    def __init__(
        self,
        out: Path,
        asked: Callable[[Task], int],
        parts: Parts | None = None,
        calibration: Calibration | None = None,
        price: Price | None = None,
        columns: Sequence[str] = (),
    ):
        self._out, self._asked, self._parts, self._calibration = out, asked, parts, calibration
        self._fields = (*FIELDS, *(parts.columns if parts else ()), *columns)
        self._means = Means()
        self._price = price
        self._cost = None if price is None else 0.0
        self._open: dict[str, list[Saved]] = {}
        """Task id -> its judgments so far, of tasks that are not complete."""
        self._files: list[TextIO] = []
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        for file in self._files:
            file.close()

    def begin(self, tasks: Iterable[tuple[int, Task]], done: Iterable[Saved]) -> int:
        """Write what is complete already; returns the number of judgments in all."""
        self._out.mkdir(parents=True, exist_ok=True)
        names = (VERDICTS, TABLE, PREFERENCES)
        self._files = [open(self._out / name, "w", encoding="utf-8", newline="") for name in names]  # noqa: SIM115
        self._table = csv.DictWriter(self._files[1], self._fields)
        self._table.writeheader()
        total = sum((self._parts and self._parts.asked(task)) or self._asked(task) for _, task in tasks)
        for row in done:
            self.add(row)
        return total

    def add(self, row: Saved) -> None:
        """Take a judgment; the last one of a task completes its verdict."""
        task = row.trajectory.task
        if self._parts is not None and (name := self._parts.row_of(task)) is not None:
            if (complete := self._parts.add(name, row)) is not None:
                self.complete(*complete)
            return
        rows = self._open.setdefault(task.id, [])
        rows.append(row)
        if len(rows) < self._asked(task):
            return
        del self._open[task.id]
        rows.sort(key=lambda saved: saved.trajectory.rollout)
        self.complete(task, count_votes(task.kind, [saved.trajectory for saved in rows], self._calibration), rows)

    def complete(
        self, task: Task, verdict: Verdict, rows: list[Saved], more: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Write a verdict that is complete.

        Args:
            task: the row.
            verdict: on it.
            rows: the judgments that it is made of.
            more: of its line, beside or instead of what the judgments say.
        """
        votes = [saved.trajectory for saved in rows]
        line = _line(task, verdict, votes, [saved.seconds or 0.0 for saved in rows]) | more
        if self._price is not None:
            line["cost"] = round(sum(self._price.of_row(row) for row in rows), 8)
        if line.get("cost") is not None:
            self._cost = (self._cost or 0.0) + line["cost"]
        self._write(0, line)
        flat = {name: line.get(name) for name in self._fields}
        self._table.writerow(flat | {"ranking": " ".join(map(str, verdict.ranking))})
        self._files[1].flush()
        self._count(task, verdict, line)
        if verdict.choice and len(task.responses) > 1:
            best = task.responses[verdict.choice - 1]
            for worse in (text for n, text in enumerate(task.responses, 1) if n != verdict.choice):
                pair = {"prompt": task.question, "chosen": best, "rejected": worse, "images": list(task.images)}
                self._write(2, {**pair, "id": task.id})
                self._counts["preferences"] += 1

    def _write(self, file: int, line: dict[str, Any]) -> None:
        self._files[file].write(json.dumps(line, ensure_ascii=False) + "\n")
        self._files[file].flush()

    def _count(self, task: Task, verdict: Verdict, line: dict[str, Any]) -> None:
        c = self._counts
        c["rows"] += 1
        c[f"kind/{line['kind']}"] += 1
        c["cut_short"] += any(vote.cut_short for vote in verdict.trajectories)
        if "criteria" in line:
            self._means.add(line)
        c["judged"] += verdict.status == "judged"
        if verdict.status != "judged":
            self._reasons[verdict.status] += 1
        if len(task.responses) > 1 and verdict.choice is not None:
            c["tie" if verdict.choice == 0 else f"response_{verdict.choice}"] += 1
        for name in ("consistent", "right"):
            if line[name] is not None:
                c[f"{name}/of"] += 1
                c[name] += line[name]
        for name in ("calls", "tokens", "prompt_tokens"):
            c[name] += line[name]

    def finish(
        self, stopped: str | None = None, left: int = 0, more: Mapping[str, Any] = MappingProxyType({})
    ) -> dict[str, Any]:
        """Write the summary and return it.

        Args:
            stopped: why not all is judged.
            left: judgments that were not begun.
            more: to be told, too.
        """
        for file in self._files:
            file.flush()
        c = self._counts
        wins = {name: c[name] for name in sorted(c) if name.startswith("response_") or name == "tie"}
        summary: dict[str, Any] = {
            "rows": c["rows"],
            "judged": c["judged"],
            "not_judged": dict(self._reasons.most_common()),
            "kinds": {name.removeprefix("kind/"): c[name] for name in sorted(c) if name.startswith("kind/")},
            "wins": wins,
            "preferences": c["preferences"],
            "consistency": share(c["consistent"], c["consistent/of"]),
            "agreement": share(c["right"], c["right/of"]),
            "rubric": self._means.figures(),
            "calls": c["calls"],
            "tokens": c["tokens"],
            "prompt_tokens": c["prompt_tokens"],
            "cost": None if self._cost is None else round(self._cost, 8),
            "cut_short": c["cut_short"],
            "stopped": stopped,
            "left": left,
            **more,
        }
        write_atomic(self._out / SUMMARY, json.dumps(summary, indent=2) + "\n")
        return summary


def _line(task: Task, verdict: Verdict, votes: list[Trajectory], seconds: list[float]) -> dict[str, Any]:
    """One verdict as plain data."""
    turns = [step.turn for vote in votes for step in vote.steps]
    judged = verdict.status in ("judged", "split")
    return {
        "id": task.id,
        "kind": task.kind,
        "status": verdict.status,
        "choice": verdict.choice,
        "ranking": list(verdict.ranking),
        "correct": verdict.correct,
        "rating": verdict.rating,
        "answer": verdict.answer,
        "confidence": verdict.confidence,
        "probability": _rounded(verdict.probability),
        "probabilities": {key: _rounded(share) for key, share in verdict.probabilities.items()},
        "probability_from": verdict.probability_from,
        "calibrated": verdict.calibrated,
        "consistent": _consistent(votes) if judged else None,
        "label": task.gold,
        "right": None if task.gold is None or said_by(verdict) is None else bool(is_right(task, said_by(verdict))),
        "method": verdict.method,
        "comparisons": verdict.comparisons if verdict.method else None,
        "comparisons_failed": verdict.comparisons_failed if verdict.method else None,
        "calls": sum(turn.call is not None for turn in turns),
        "tokens": sum(turn.tokens for turn in turns),
        "prompt_tokens": sum(turn.prompt_tokens for turn in turns),
        "seconds": round(sum(seconds), 4),
        "reason": verdict.rationale,
    }


def _rounded(share: float | None) -> float | None:
    """To three places: the last digits of a model's probabilities depend on what else was in its batch."""
    return None if share is None else round(share, 3)


def _consistent(votes: list[Trajectory]) -> bool | None:
    """Whether each presented order says the same, of a ranking in each comparison; None where there was one order."""
    said: dict[str, dict[tuple[int, ...], set[Any]]] = {}
    for vote in votes:
        said.setdefault(vote.task.id, {}).setdefault(vote.order, set()).add(vote.decision)
    if any(len(orders) < 2 for orders in said.values()):
        return None
    return all(len(set().union(*orders.values())) == 1 for orders in said.values())
