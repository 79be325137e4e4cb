"""What the viewers say in words: model text made harmless, decisions, stops and tallies as short phrases.

No colours and no layout; the terminal and the HTML page both read from here, so they cannot disagree.
"""

import json
from collections.abc import Mapping

from armlite.data.tasks import family
from armlite.rewards import is_right
from armlite.types import Decision, ImageInfo, Step, StopReason, Task, Trajectory, Turn, Verdict

STOPS = {
    StopReason.ANSWERED: "answered",
    StopReason.NO_ANSWER: "ended its turn without a call or an answer",
    StopReason.TURN_BUDGET: "ran out of tokens in its last turn",
    StopReason.CONTEXT_BUDGET: "ran out of context: the last observation did not fit",
    StopReason.CALL_LIMIT: "did not answer when the calls were used up",
    StopReason.MODEL_ERROR: "the model could not be asked",
    StopReason.BAD_INPUT: "something that it needs could not be read",
}

# Marks that reorder or end a line: text must not be able to look like other text.
_MARKS = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
_HIDDEN = {
    **{code: f"\\x{code:02x}" for code in (*range(32), *range(0x7F, 0xA0))},
    **{code: f"\\u{code:04x}" for code in _MARKS},
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
    ord("\n"): "\n",
    ord("\t"): "    ",
}

STATUSES = {
    "split": "The votes are even: no verdict",
    "no_answer": "Could not judge: the model gave no answer that can be read",
    "budget": "Could not judge: the model ran out of tokens or calls",
    "model_error": "Could not judge: the model could not be asked",
    "bad_input": "Could not judge: something to look at could not be read",
}


def literal(text: str) -> str:
    r"""Text as it can be shown anywhere: control characters spelt out (`\x1b`), line breaks kept, tabs as spaces."""
    return text.replace("\r\n", "\n").translate(_HIDDEN)


def shorten(text: str, characters: int) -> str:
    """The head of a text, and how much was left out."""
    if len(text) <= characters + 40:
        return text
    return f"{text[:characters].rstrip()} … ({len(text) - characters:,} more characters)"


def count(number: int, noun: str) -> str:
    """`1 token`, `2,000 tokens`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def call_words(turn: Turn) -> tuple[str, str]:
    """Name and arguments of a turn's call, as in `name(argument=value, ...)`."""
    assert turn.call is not None
    arguments = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in turn.call.arguments.items())
    return literal(turn.call.name), literal(", ".join(arguments))


def turn_parts(turn: Turn) -> list[tuple[str, str]]:
    """What a turn shows, in order, as (label, text); labels are think, said, call, answer and fault.

    A turn in good form is shown by its parts; any other by the text as it was written, then what the parser made of it.
    """
    parts = [("think", literal(turn.think.strip()))] if turn.well_formed and turn.think else []
    if not turn.well_formed:
        parts.append(("said", literal(turn.text.strip()) or "(nothing)"))
    if turn.call is not None:
        parts.append(("call", "{}({})".format(*call_words(turn))))
    if turn.answer is not None:
        parts.append(("answer", literal(turn.answer)))
    if turn.lenient:
        parts.append(("fault", "a thought was not closed: read leniently"))
    if turn.fault is not None:
        parts.append(("fault", literal(turn.fault.replace("_", " "))))
    if turn.finish == "length":
        parts.append(("fault", "the turn ran out of tokens here"))
    return parts


def result_label(step: Step) -> str:
    """`result`, `failed` (the tool complained) or `notice` (the loop speaks, no tool ran)."""
    assert step.observation is not None
    if step.observation.tool is None:
        return "notice"
    return "result" if step.observation.ok else "failed"


def decision_words(task: Task, decision: Decision | None) -> str:
    """A decision as a sentence, in the caller's own numbering."""
    if decision is None:
        return "No decision"
    if task.kind in ("pairwise", "listwise"):
        return f"Response {decision} is better" if decision else "The responses are equally good"
    if task.kind == "pointwise":
        return "The response is correct" if decision else "The response is not correct"
    if task.kind == "rating":
        return f"Rated {decision:g} of 10" if isinstance(decision, int | float) else f"Rated {literal(str(decision))}"
    return f"Answer: {literal(str(decision))}"


def headline(verdict: Verdict) -> str:
    """A verdict as a sentence."""
    return said(verdict, verdict.trajectory.task if verdict.trajectory else None)


def said(verdict: Verdict, task: Task | None) -> str:
    """A verdict on a task as a sentence, also where its trajectories are elsewhere."""
    if verdict.status == "budget" and all(_does_not_fit(vote) for vote in verdict.trajectories):
        return "Could not judge: the prompt does not fit the model's context"
    if verdict.status != "judged" or task is None:
        return STATUSES[verdict.status]
    if verdict.ranking:
        return f"Best first: {', '.join(f'response {n}' for n in verdict.ranking)}"
    if verdict.method == "knockout":
        return f"Response {verdict.choice} is the best"
    found = (verdict.choice, verdict.correct, verdict.rating, verdict.answer)
    return decision_words(task, next(value for value in found if value is not None))


def _does_not_fit(vote: Trajectory) -> bool:
    """The model did not get to see anything of it."""
    return vote.stop is StopReason.CONTEXT_BUDGET and not vote.steps


def gold_words(task: Task) -> str:
    """The right answer in the task's own words, or the empty string where it is not known."""
    gold = task.gold
    if gold is None:
        return ""
    if task.kind == "pointwise":
        return "correct" if gold else "not correct"
    if isinstance(gold, tuple):
        noun = "response " if task.kind in ("pairwise", "listwise") else ""
        return noun + " or ".join(literal(str(g)) for g in gold)
    if task.kind in ("pairwise", "listwise"):
        return f"response {gold}" if gold else "a tie"
    return f"{gold:g}" if isinstance(gold, float) else literal(str(gold))


def outcome(trajectory: Trajectory) -> str:
    """`right`, `wrong`, or `unknown` where there is no gold."""
    right = is_right(trajectory.task, trajectory.decision)
    return "unknown" if right is None else "right" if right else "wrong"


def group(task: Task) -> str:
    """What a task is shown under."""
    return literal(family(task))


def tally(trajectory: Trajectory) -> str:
    """How much was done: `3 turns, 2 tool calls (1 failed), 214 tokens`."""
    calls = trajectory.calls
    failed = sum(1 for step in calls if step.observation is not None and not step.observation.ok)
    tokens = sum(step.turn.tokens for step in trajectory.steps)
    words = [count(len(trajectory.steps), "turn"), count(len(calls), "tool call")]
    if failed:
        words[-1] += f" ({failed} failed)"
    return ", ".join([*words, count(tokens, "token")] if tokens else words)


def responses(trajectory: Trajectory) -> list[tuple[int, str, str]]:
    """(number, text, name under which the model saw it, if that is not the number's own), in the caller's order."""
    shown = {number: f"resp_{i}" for i, number in enumerate(trajectory.order, 1)}
    moved = trajectory.order != tuple(sorted(trajectory.order))
    return [
        (n, literal(text), shown.get(n, "") if moved else "") for n, text in enumerate(trajectory.task.responses, 1)
    ]


def is_gold(task: Task, number: int) -> bool:
    """Is this response (from 1) the one, or one of those, that should win?"""
    if task.kind not in ("pairwise", "listwise") or task.gold is None:
        return False
    return number in (task.gold if isinstance(task.gold, tuple) else (task.gold,))


def caption(info: ImageInfo) -> str:
    """`img_2 · 640x480 · page 7`, or of a crop `img_1 · 240x160 · from img_0`."""
    words = [literal(info.id), f"{info.width}x{info.height}"]
    if info.parent is not None:
        words.append(f"from {literal(info.parent)}")
    if info.page is not None:
        words.append(f"page {info.page}")
    return " · ".join(words)


def pictured(ids: tuple[str, ...], images: Mapping[str, ImageInfo]) -> list[tuple[ImageInfo, ImageInfo | None]]:
    """The images to show for these ids, in order; before each crop its source, paired with the crop to be boxed on it.

    Ids without a record are left out.
    """
    pairs: list[tuple[ImageInfo, ImageInfo | None]] = []
    for info in (images[i] for i in ids if i in images):
        if info.box is not None and info.parent is not None and info.parent in images:
            pairs.append((images[info.parent], info))
        pairs.append((info, None))
    return pairs
