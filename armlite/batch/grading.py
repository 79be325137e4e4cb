"""Rows that are graded by a rubric: a task for each criterion, one line for all."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from armlite.batch.parts import Complete
from armlite.calibration import Calibration
from armlite.episode import EpisodeSettings
from armlite.journal import Key
from armlite.rubric import Rubric
from armlite.runner import Job
from armlite.store import Saved
from armlite.types import Task, Verdict
from armlite.votes import count_votes

PREFIX = "rubric/"
"""Of the columns of criteria."""


class Gradings:
    """The rows of a batch that are being graded.

    Args:
        rubric: by what.
        votes: judgments of each criterion.
        calibration: of the model.
    """

    spared = 0

    def __init__(self, rubric: Rubric, votes: int, calibration: Calibration | None = None):
        self._rubric, self._votes, self._calibration = rubric, votes, calibration
        self._open: dict[str, list[Saved]] = {}
        self.columns = ("total", *(PREFIX + criterion.name for criterion in rubric.criteria))

    def asked(self, task: Task) -> int:
        """Judgments of a row."""
        return self._votes * len(self._rubric.criteria)

    def row_of(self, task: Task) -> str:
        """The id of the row that a criterion's task is of."""
        return str(task.meta["graded"])

    def add(self, name: str, row: Saved) -> Complete | None:
        """Take a judgment on a criterion of a row; the last one completes the row."""
        rows = self._open.setdefault(name, [])
        rows.append(row)
        if len(rows) < self.asked(row.trajectory.task):
            return None
        rows = sorted(self._open.pop(name), key=lambda saved: saved.trajectory.rollout)
        votes = [saved.trajectory for saved in rows]
        verdicts = []
        for criterion in self._rubric.criteria:
            own = [vote for vote in votes if vote.task.meta["criterion"] == criterion.name]
            verdicts.append(count_votes(own[0].task.kind, own, self._calibration))
        grade = self._rubric.grade(verdicts)
        said = "; ".join(f"{g.criterion.name}: {g.choice or g.verdict.status}" for g in grade.criteria)
        verdict = Verdict(status=grade.status, kind="pointwise", rationale=said)
        criteria = {
            g.criterion.name: {
                "choice": g.choice,
                "score": g.score,
                "weight": g.criterion.weight,
                "status": g.verdict.status,
                "confidence": g.verdict.confidence,
                "probability": g.verdict.probability,
                "reason": g.verdict.rationale,
            }
            for g in grade.criteria
        }
        columns = {PREFIX + g.criterion.name: g.choice for g in grade.criteria}
        more = {"kind": "rubric", "total": grade.total, "criteria": criteria, **columns}
        return Complete(votes[0].task.model_copy(update={"id": name}), verdict, rows, more)

    def jobs(self, task: Task, settings: EpisodeSettings, root: Path, done: set[Key]) -> Iterator[Job]:
        """The judgments of a row that are not done."""
        for criterion in self._rubric.criteria:
            part = criterion.task(task)
            own = {**part.meta, "graded": task.id, "criterion": criterion.name}
            part = part.model_copy(update={"meta": own})
            for rollout in range(self._votes):
                job = Job(part, settings, root, rollout=rollout)
                if job.key not in done:
                    yield job

    def rounds(self, settings: EpisodeSettings, root: Path, done: set[Key]) -> Iterable[list[Job]]:
        """None: no criterion depends on another."""
        return ()


class Means:
    """Mean total and scores of graded rows, for the summary."""

    def __init__(self) -> None:
        self._sums: Counter[str] = Counter()
        self._of: Counter[str] = Counter()

    def add(self, line: dict) -> None:  # type: ignore[type-arg]  # one of `verdicts.jsonl`
        """Count a row."""
        scores = {"total": line["total"], **{name: own["score"] for name, own in line["criteria"].items()}}
        for name, score in scores.items():
            if score is not None:
                self._sums[name] += score  # type: ignore[assignment]
                self._of[name] += 1

    def figures(self) -> dict[str, dict[str, float]]:
        """`total` and each criterion -> mean, and of how many rows."""
        return {name: {"mean": self._sums[name] / n, "n": n} for name, n in self._of.items()}
