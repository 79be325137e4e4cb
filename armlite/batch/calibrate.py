"""From judgments whose right answer is known to a calibration of the judge that made them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from armlite.batch.agree import compare
from armlite.batch.panel import MODELS
from armlite.calibration import (
    Calibration,
    Fitted,
    Judged,
    figures,
    fit_temperature,
    fold_of,
    probability_of,
    reliability,
)
from armlite.errors import ArmliteError
from armlite.journal import SETTINGS
from armlite.judge import TRAJECTORIES
from armlite.models.lazy import weights_digest
from armlite.models.places import folders_of
from armlite.rewards import is_right
from armlite.store import read, read_json
from armlite.types import Kind, Task, Trajectory, Verdict
from armlite.votes import NEAR, count_votes, keys_of, said_by

LEAST_ROWS = 30
"""Judgments of a kind that a temperature is fitted to, at least."""
FOLDS = 5
Rows = dict[Kind, list[tuple[str, Judged]]]


def judged_rows(folder: Path, labels: Path | None) -> tuple[Rows, int]:
    """The judgments of a batch that are known to be right or wrong, by kind with their ids; and how many were left out:
    not judged, without a label, or without probabilities.

    Raises:
        ArmliteError: it is no folder of `armlite judge FILE`, or a label of another kind than the verdict.
    """
    if not (folder / TRAJECTORIES).is_file():
        if (folder / MODELS).is_dir():
            names = ", ".join(str(place) for place in sorted((folder / MODELS).iterdir()))
            raise ArmliteError(f"{folder} holds the verdicts of several models, each with its own: give one of {names}")
        raise ArmliteError(f"there are no judgments in {folder}: give the --out of `armlite judge FILE`")
    labelled = _labels(folder, labels) if labels is not None else None
    votes: dict[str, list[Trajectory]] = defaultdict(list)
    for row in read(folder / TRAJECTORIES):
        votes[row.trajectory.task.id].append(row.trajectory)
    found: Rows = defaultdict(list)
    left = 0
    for name, own in votes.items():
        task = own[0].task
        verdict = count_votes(task.kind, own)
        right = _right(task, verdict, labelled)
        known = [vote.probabilities for vote in own if vote.probabilities]
        if right is None or not known:
            left += 1
            continue
        found[task.kind].append((name, (known, _keys(verdict, known), right)))
    return found, left


def _labels(folder: Path, labels: Path) -> dict[str, Any]:
    """Id -> what most people say of it."""
    return {name: label for own in compare(folder, labels).values() for name, label, _ in own.judged}


def _right(task: Task, verdict: Verdict, labels: Mapping[str, Any] | None) -> bool | None:
    """Whether a verdict is right; None where there is none, or nobody knows. A rating is, within a point."""
    said = said_by(verdict)
    label = task.gold if labels is None else labels.get(task.id)
    if said is None or label is None:
        return None
    if task.kind == "rating":
        return abs(float(said) - float(label)) <= NEAR
    return bool(is_right(task.model_copy(update={"gold": label}), said))


def _keys(verdict: Verdict, votes: Sequence[Mapping[str, float]]) -> frozenset[str]:
    """The keys of probabilities that are the verdict."""
    said = said_by(verdict)
    assert said is not None
    return keys_of(verdict.kind, said, {key for vote in votes for key in vote})


def calibrate(folders: Sequence[Path], labels: Path | None, model: str) -> tuple[Calibration, dict[str, Any]]:
    """Fit a temperature for each kind of task.

    What it does to judgments that it was not fitted to is told by five parts, of which each is judged by a temperature
    of the other four; rows with one id are in one part.

    Args:
        folders: of batches, all of one model.
        labels: as for `armlite agree`; None: the labels of the rows themselves.
        model: as `Judge.load` takes it.

    Returns:
        The calibration, and for each kind of task `left_out`, `before` and `after`: bins of `reliability`.

    Raises:
        ArmliteError: too few judgments, or those of another model.
    """
    rows: Rows = defaultdict(list)
    left = 0
    for folder in folders:
        _check_model(folder, model)
        own, missing = judged_rows(folder, labels)
        left += missing
        for kind, found in own.items():
            rows[kind] += found
    fitted: dict[Kind, Fitted] = {}
    drawn: dict[str, Any] = {}
    for kind, own_rows in rows.items():
        if len(own_rows) < LEAST_ROWS:
            continue
        parts = [[row for row in own_rows if fold_of(row[0], FOLDS) == part] for part in range(FOLDS)]
        others = [[row for j, p in enumerate(parts) if j != i for _, row in p] for i in range(FOLDS)]
        fits = [fit_temperature(fold) for fold in others]
        before = [(probability_of(row), row[2]) for part in parts for _, row in part]
        after = [(probability_of(row, t), row[2]) for part, t in zip(parts, fits, strict=True) for _, row in part]
        temperature = fit_temperature([row for _, row in own_rows])
        fitted[kind] = Fitted(temperature=temperature, n=len(own_rows), before=figures(before), after=figures(after))
        drawn[kind] = {"before": reliability(before), "after": reliability(after)}
    if not fitted:
        most = max(map(len, rows.values()), default=0)
        raise ArmliteError(
            f"{most} judgments have both a label and a probability, and {LEAST_ROWS} of a kind are wanted "
            f"({left} were left out: not judged, without a label, or of a model that tells no probabilities)"
        )
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return Calibration(kinds=fitted, model=model, made=made), {"left_out": left, "bins": drawn}


def _check_model(folder: Path, model: str) -> None:
    """See that a local model is the one that judged.

    Raises:
        ArmliteError: its weights are others.
    """
    settings = read_json(folder / SETTINGS, {})
    judged_by = settings.get("writer", {}).get("digest")
    if judged_by and folders_of(model) and judged_by != weights_digest(model):
        raise ArmliteError(
            f"{folder} was judged by {settings.get('model')}, whose weights are not those of {model}: name that model"
        )


def model_of(folder: Path) -> str:
    """The model that judged a batch, as its settings name it.

    Raises:
        ArmliteError: they do not say enough.
    """
    name = read_json(folder / SETTINGS, {}).get("model", "")
    if not name or name.startswith("openai:") or not Path(name).exists():
        raise ArmliteError(f"say --model: {folder} was judged by {name or 'an unknown one'}, which is not on this disk")
    return str(name)
