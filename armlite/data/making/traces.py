"""Traces to learn the cold start from: a strong model judges inside our own loop, and what is good is kept.

Screened three ways (paper, section on the cold start): the format is right, the verdict is right, and a tool truly
succeeded; all of them read from what the loop did. Written as trajectories, as a recipe's `data.traces` takes them,
and by choice as conversations in plain messages for other trainers.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from armlite.data.making.output import Counts, begin, check_new, write_rejects
from armlite.data.making.rollouts import WHY, Progress, TasksDone, rollout_jobs, while_reachable
from armlite.data.tasks import moved, read_tasks
from armlite.episode import EpisodeSettings
from armlite.journal import Journal
from armlite.loop import ChatModel
from armlite.models.lazy import writer_of
from armlite.rewards import format_ok, is_right, succeeded
from armlite.runner import run_jobs
from armlite.store import Saved, file_digest, image_path, relative, save, write_atomic
from armlite.types import ImageInfo, Trajectory

SCREENS = {
    "format": format_ok,
    "verdict": lambda t: bool(is_right(t.task, t.decision)),
    "tool": succeeded,
}
"""What a trace has to pass, unless fewer are asked for. `tool`: at least one call returned something; a search without
a hit does not."""


def make_traces(
    file: Path,
    model: ChatModel,
    settings: EpisodeSettings,
    out: Path,
    name: str,
    n: int | None = None,
    k: int = 1,
    seed: int = 0,
    temperature: float = 0.0,
    messages: Path | None = None,
    in_flight: int | None = None,
    on_task: Progress | None = None,
    screens: Sequence[str] = tuple(SCREENS),
) -> Counts:
    """Judge the tasks of `file` and write the trajectories that pass all screens.

    Args:
        model: the judge; it samples at `temperature`.
        name: of the model.
        n: judge only the first so many tasks.
        k: rollouts of each task; of equal ones the first is kept.
        messages: file for the same traces as conversations, `{"id", "messages"}` a line; images are paths relative to
            its folder, in full size.
        in_flight: episodes at once; None: as many as the model can use.
        screens: names of those that a trace has to pass.

    Returns:
        Counts over rollouts. Of all judged rollouts `more["screens"]`: how many passed each, `more["rates"]`: as
        shares, `more["table"]`: how many passed and failed them together.

    Raises:
        ArmliteError: the tasks cannot be read, `out` exists or was begun otherwise, or the model's server has gone.
    """
    tasks = read_tasks(file)[:n]
    setup = {"tasks": file_digest(file), "model": name, "n": n, "k": k, "temperature": temperature, "seed": seed}
    journal = begin(out, setup | {"settings": settings.model_dump(mode="json"), "writer": writer_of(model)})
    rejects: list[dict[str, Any]] = [{"id": t.id, "why": "has no gold answer"} for t in tasks if t.gold is None] * k
    jobs = rollout_jobs([t for t in tasks if t.gold is not None], k, settings, file.parent, seed)
    left = journal.left(jobs)
    done = TasksDone(left, len(tasks), on_task)
    for outcome in while_reachable(run_jobs(left, model, in_flight=in_flight)):
        if outcome.fault is not None:
            rejects.append({"id": outcome.task.id, "why": WHY[outcome.fault.whose], "detail": outcome.fault.reason})
        else:
            task = moved(outcome.task, file.parent, out.parent)
            journal.add(Saved(trajectory=outcome.trajectory.model_copy(update={"task": task})), outcome.images)
        done(outcome.task)
    place = {task.id: i for i, task in enumerate(tasks)}
    rejects.sort(key=lambda row: place[row["id"]])
    rows = sorted(journal.trajectories(), key=lambda row: (place[row.trajectory.task.id], row.trajectory.rollout))
    kept, failed = _screened(rows, screens)
    rejects += failed
    check_new(out)
    write_rejects(out, rejects)
    _publish(journal, out, kept, messages)
    journal.forget()
    counts = Counter(row["why"] for row in rejects)
    return Counts(len(tasks) * k, len(kept), counts, _rates([row.trajectory for row in rows]))


def _screened(rows: Sequence[Saved], screens: Sequence[str]) -> tuple[list[Saved], list[dict[str, Any]]]:
    """What passes the screens, and for each of the others what it failed."""
    kept, failed = [], []
    seen: set[str] = set()
    for row in rows:
        t = row.trajectory
        missed = [name for name in screens if not SCREENS[name](t)]
        said = json.dumps([t.task.id, *(step.turn.text for step in t.steps)])
        why = f"fails {' and '.join(missed)}" if missed else "repeats an earlier rollout" if said in seen else None
        if why:
            failed.append({"id": t.task.id, "rollout": t.rollout, "why": why, "stop": t.stop.value})
        else:
            kept.append(row)
            seen.add(said)
    return kept, failed


def _rates(judged: Sequence[Trajectory]) -> dict[str, Any]:
    """How many of the judged rollouts pass each screen, and the table of all combinations."""
    table = Counter(tuple(bool(passes(t)) for passes in SCREENS.values()) for t in judged)
    marks = [(f, v, t) for f in (True, False) for v in (True, False) for t in (True, False)]
    passed = {name: sum(bool(passes(t)) for t in judged) for name, passes in SCREENS.items()}
    return {
        "judged": len(judged),
        "screens": passed,
        "rates": {name: round(number / len(judged), 4) for name, number in passed.items() if judged},
        "table": [{**dict(zip(SCREENS, mark, strict=True)), "n": table[mark]} for mark in marks],
    }


def _publish(journal: Journal, out: Path, kept: Sequence[Saved], messages: Path | None) -> None:
    """Images of the kept rows first, then the conversations, then the rows themselves."""
    for info in (info for row in kept for info in row.trajectory.images):
        target = image_path(out, info)
        if not target.exists():
            write_atomic(target, image_path(journal.file, info).read_bytes())
    if messages is not None:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in conversations(kept, out, messages.parent))
        write_atomic(messages, "".join(lines))
    save(out, kept)


def conversations(rows: Sequence[Saved], file: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """Trajectories of `file` as plain messages: system (with the tools in it), user, assistant, tool.

    Content is a list of blocks, images before the text: `{"type": "image", "image": PATH}` as seen from `folder`,
    `{"type": "text", "text": ...}`. Images are whole: whoever trains shrinks them to the recipe's limits.
    """
    for row in rows:
        t = row.trajectory
        infos = {info.id: info for info in t.images}

        def content(text: str, images: Sequence[str] = (), infos: dict[str, ImageInfo] = infos) -> list[dict[str, Any]]:
            paths = [relative(image_path(file, infos[i]), folder) for i in images]
            return [*({"type": "image", "image": path} for path in paths), {"type": "text", "text": text}]

        messages = [{"role": "system", "content": content(t.system)}]
        messages.append({"role": "user", "content": content(t.prompt, t.prompt_images)})
        for step in t.steps:
            messages.append({"role": "assistant", "content": content(step.turn.text)})
            if step.observation is not None:
                messages.append({"role": "tool", "content": content(step.observation.text, step.observation.images)})
        yield {"id": t.task.id, "messages": messages}
