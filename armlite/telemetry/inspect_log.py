"""Trajectories as a log of Inspect (UK AISI), for `inspect view` and `inspect_ai.log.read_eval_log`: a judgment is a
sample, its verdict a score where the right one is known.
"""

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from armlite.rewards import is_right
from armlite.store import Saved, image_path
from armlite.telemetry.messages import Said, digest, messages, timed
from armlite.types import Decision, Trajectory
from armlite.view.text import decision_words, gold_words

VERSION = 2
"""Of the log's format."""
SCORER = "verdict"


def inspect_log(rows: Iterable[Saved], end: float, name: str, version: str) -> dict[str, Any]:
    """The log, as JSON.

    Args:
        rows: judgments, as `read` gives them: their pictures are put into the log.
        end: when the last of them ended, in seconds since 1970.
        name: of the evaluation.
        version: armlite's.
    """
    held = timed(rows, end)
    times: Counter[str] = Counter()
    samples, rights, usage = [], [], defaultdict[str, Counter[str]](Counter)
    for row, start, stop in held:
        task = row.trajectory.task
        times[task.id] += 1
        samples.append(_sample(row, times[task.id], start, stop))
        for model, counts in samples[-1]["model_usage"].items():
            usage[model].update(counts)
        if samples[-1].get("scores"):
            rights.append(samples[-1]["scores"][SCORER]["value"] == "C")
    first, last = (_time(held[0][1]), _time(held[-1][2])) if held else (_time(round(end * 1e9)),) * 2
    accuracy = {"accuracy": {"name": "accuracy", "value": sum(rights) / len(rights)}} if rights else {}
    score = {"name": SCORER, "scorer": SCORER, "metrics": accuracy, "scored_samples": len(rights)}
    score["unscored_samples"] = len(samples) - len(rights)
    whole = digest(*(row.trajectory.to_json() for row, _, _ in held))
    ids = list(times)
    return {
        "version": VERSION,
        "status": "success",
        "eval": {
            "eval_id": digest("eval", whole)[:22],
            "run_id": digest("run", whole)[:22],
            "task_id": digest("task", name)[:22],
            "created": first,
            "task": name,
            "dataset": {"name": name, "samples": len(ids), "sample_ids": ids, "shuffled": False},
            "model": f"armlite/{held[0][0].trajectory.model or 'judge'}" if held else "armlite/judge",
            "config": {"epochs": max(times.values(), default=1)},
            "packages": {"armlite": version},
        },
        "plan": {"name": "armlite", "steps": []},
        "results": {"total_samples": len(samples), "completed_samples": len(samples), "scores": [score]},
        "stats": {"started_at": first, "completed_at": last, "model_usage": {m: dict(c) for m, c in usage.items()}},
        "samples": samples,
    }


def _sample(row: Saved, epoch: int, start: int, stop: int) -> dict[str, Any]:
    trajectory = row.trajectory
    attachments: dict[str, str] = {}
    said = [_message(message, row, number, attachments) for number, message in enumerate(messages(trajectory))]
    asked = sum(message["role"] in ("system", "user") for message in said[:2])
    model, turns = f"armlite/{trajectory.model or 'judge'}", [step.turn for step in trajectory.steps]
    counts = {"input_tokens": sum(t.prompt_tokens for t in turns), "output_tokens": sum(t.tokens for t in turns)}
    counts["total_tokens"] = sum(counts.values())
    sample: dict[str, Any] = {
        "id": trajectory.task.id,
        "epoch": epoch,
        "input": said[:asked],
        "target": gold_words(trajectory.task),
        "messages": said,
        "output": _output(said, trajectory, model, counts),
        "metadata": {
            "kind": trajectory.task.kind,
            "source": trajectory.task.source,
            "order": list(trajectory.order),
            "rollout": trajectory.rollout,
            "stop": trajectory.stop.value,
        },
        "model_usage": {model: counts} if turns else {},
        "started_at": _time(start),
        "completed_at": _time(stop),
        "total_time": (stop - start) / 1e9,
        "uuid": digest("sample", trajectory.to_json())[:22],
        "attachments": attachments,
    }
    if trajectory.fault is not None:
        reason = trajectory.fault.reason
        sample["error"] = {"message": reason, "traceback": "", "traceback_ansi": ""}
    elif (score := _score(trajectory)) is not None:
        sample["scores"] = {SCORER: score}
    if row.score is not None:
        sample["metadata"]["reward"] = {"total": row.score.total, **row.score.parts}
    return sample


def _score(trajectory: Trajectory) -> dict[str, Any] | None:
    """Right or wrong; None where no answer is known, or none was given: not to be scored is not to be wrong."""
    decision: Decision | None = trajectory.decision
    if decision is None or trajectory.task.gold is None:
        return None
    return {
        "value": "C" if is_right(trajectory.task, decision) else "I",
        "answer": decision_words(trajectory.task, decision),
        "explanation": trajectory.steps[-1].turn.think or "",
    }


def _message(message: Said, row: Saved, number: int, attachments: dict[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {"id": digest(row.trajectory.to_json(), number)[:22], "role": message.role}
    if message.turn is None:
        pictures = [_picture(file, row, attachments) for file in message.files]
        made["content"] = [*pictures, {"type": "text", "text": message.text}] if pictures else message.text
        if message.role == "tool":
            made |= {"tool_call_id": message.call, "function": message.tool or None}
            if not message.ok:
                made["error"] = {"type": "unknown", "message": message.text}
        return made
    content: list[dict[str, Any]] = []
    if message.thought:
        content.append({"type": "reasoning", "reasoning": message.thought})
    made["content"] = [*content, {"type": "text", "text": message.rest}]
    made |= {"source": "generate", "model": row.trajectory.model or None}
    if (call := message.turn.call) is not None:
        asked = {"id": message.call, "function": call.name, "arguments": call.arguments, "type": "function"}
        made["tool_calls"] = [asked]
    return made


def _picture(file: str, row: Saved, attachments: dict[str, str]) -> dict[str, Any]:
    """A picture, kept once for a sample; its name where its file is gone."""
    assert row.path is not None
    info = next(info for info in row.trajectory.images if info.file == file)
    place = image_path(row.path, info)
    if not place.is_file():
        return {"type": "text", "text": f"[picture {file} is missing]"}
    name = digest(file)[:32]
    if name not in attachments:
        attachments[name] = f"data:image/png;base64,{base64.b64encode(place.read_bytes()).decode()}"
    return {"type": "image", "image": f"attachment://{name}"}


def _output(said: list[dict[str, Any]], trajectory: Trajectory, model: str, usage: dict[str, int]) -> dict[str, Any]:
    last = next((message for message in reversed(said) if message["role"] == "assistant"), None)
    if last is None:
        return {"model": model, "choices": []}
    finish = trajectory.steps[-1].turn.finish
    stop = {"stop": "stop", "length": "max_tokens", "error": "unknown"}[finish]
    return {"model": model, "choices": [{"message": last, "stop_reason": stop}], "usage": usage}


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="microseconds")
