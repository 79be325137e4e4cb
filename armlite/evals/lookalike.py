"""ARMBench-VL-style tracks, built from other benchmarks' converted tasks because ARMBench-VL itself was not at hand.

The same shapes (`armlite.evals.benchmarks.armbench_vl`) and groups, other questions: figures on them are comparable
with each other, never with published ones. Called by `armlite data lookalike`; deterministic by seed.
"""

import ast
import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from armlite.data.constraints import as_constraint, holds
from armlite.data.files import Unreadable, read_file
from armlite.data.making.inject import inject, names_in
from armlite.errors import ArmliteError
from armlite.evals.benchmarks import get_benchmark
from armlite.evals.figures import Answer, Item, TaskMeta
from armlite.rewards import plain_text
from armlite.types import Step, StopReason, Task, Trajectory, Turn

TRACKS = {
    "perception": "fine_grained_perception",
    "documents": "multimodal_long_document",
    "instructions": "multimodal_instruction_following",
}
"""Name on the command line -> the reference's name of the track, for the group `track`."""
UNANSWERABLE = "Not answerable"
KEPT = {"bboxes", "evidence_pages", "doc_id"}
"""What a task of a track keeps of the record that it is made from."""


class Meta(TaskMeta):
    """What is used of the records of V*, HR-Bench, MMLongBench-Doc and MM-IFEval; each has a part of it."""

    question_key: str | None = None
    answer_format: str = ""
    del_cons: str | None = None
    constraints: list[dict[str, Any]] = []
    bboxes: list[list[int]] = []
    evidence_pages: list[int] = []
    doc_id: str = ""


@dataclass
class Made:
    """A track, and why other tasks are not in it."""

    tasks: list[Task] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def perception(tasks: Sequence[Task], seed: int = 0) -> Made:
    """Multiple choice questions (V*, HR-Bench) as pairs of answers, or, where there are four options, as fours.

    One task a question: of HR-Bench's four cycles the first that comes. Four options become a pair or a four by the
    question's hash; the wrong answers and the right one's place by hashes of their own.
    """
    made, seen = Made(), set()
    for task in tasks:
        key = Meta.of(task).question_key or task.id
        if task.kind != "multiple_choice" or task.gold is None:
            made.left_out["no multiple choice question with a gold"] += 1
            continue
        if key in seen:
            made.left_out["another cycle of a question that is in"] += 1
            continue
        seen.add(key)
        right = task.options[str(task.gold)]
        others = {plain_text(option): option for option in task.options.values()}
        others.pop(plain_text(right), None)
        if not others:
            made.left_out["no option that differs from the right one"] += 1
            continue
        ways = 4 if len(others) >= 3 and _pick(seed, "ways", key, 2) else 2
        wrong = sorted(others.values(), key=lambda option: _digest(seed, "wrong", key, option))[: ways - 1]
        made.tasks.append(_among(task, "perception", f"{ways}-way-pair_rm", right, wrong, seed))
    return made


def documents(tasks: Sequence[Task], seed: int = 0) -> Made:
    """Questions about documents (MMLongBench-Doc) as pairs of answers.

    The wrong answer is that of another question of the same format about the same document (an unanswerable question:
    of any format), else the right one with one number or word changed; it is never one that counts as right, even in
    part. For as many answerable questions as there are unanswerable ones, by hash, it is "Not answerable": else that
    answer would always be the right one.

    Args:
        tasks: open questions with a document, as of MMLongBench-Doc.
        seed: of the choices and places.
    """
    made = Made()
    asked = [task for task in tasks if _asks_a_document(task)]
    answers: dict[str, dict[str, str]] = {}
    for task in asked:
        answers.setdefault(str(task.document), {}).setdefault(_answer(task), Meta.of(task).answer_format)
    hopeless = sum(_answer(task) == UNANSWERABLE for task in asked)
    for task in tasks:
        if not _asks_a_document(task):
            made.left_out["no question about a document with a gold"] += 1
            continue
        refuse = _pick(seed, "refuse", task.id, max(1, len(asked) - hopeless)) < hopeless
        wrong, how = _wrong_answer(task, answers[str(task.document)], seed, refuse)
        if wrong is None:
            made.left_out["no wrong answer found for it"] += 1
            continue
        pair = _among(task, "documents", "pair_rm", _said(_answer(task)), [_said(wrong)], seed)
        made.tasks.append(pair.model_copy(update={"meta": pair.meta | {"wrong": how}}))
    return made


def instructions(tasks: Sequence[Task], responses: Mapping[str, Sequence[str]]) -> Made:
    """Responses to MM-IFEval's instructions, each to be judged True or False by its rule-based constraints.

    The gold is True where all of them hold, as MM-IFEval's own code decides (mode `engine`); constraints that only a
    model can judge are not shown.

    Args:
        tasks: of MM-IFEval.
        responses: task id, or published id -> responses.
    """
    made, used = Made(), set()
    for task in tasks:
        meta = Meta.of(task)
        if meta.del_cons:
            made.left_out["an instruction without one of its constraints (aux row)"] += 1
            continue
        names = [name for name in (task.id, str(meta.published_id or "")) if name in responses]
        if not names:
            made.left_out["no response given"] += 1
            continue
        used.add(names[0])
        for k, response in enumerate(responses[names[0]], 1):
            try:
                verdicts = [(c, holds(c, response)) for c in meta.constraints]
                shown = [as_constraint(c) for c, verdict in verdicts if verdict is not None]
            except ValueError:
                made.left_out["a constraint whose rule is not known"] += 1
                continue
            if not shown:
                made.left_out["no rule-based constraint"] += 1
                continue
            several = f"/{k}" if len(responses[names[0]]) > 1 else ""
            made.tasks.append(
                _made_of(
                    task,
                    "instructions",
                    "single_rm",
                    id=f"{task.id}{several}",
                    kind="pointwise",
                    responses=(response,),
                    constraints=tuple(shown),
                    gold=all(verdict for _, verdict in verdicts if verdict is not None),
                )
            )
    if unknown := len(set(responses) - used):
        made.left_out["responses whose id no task has"] += unknown
    return made


def read_responses(path: Path) -> dict[str, list[str]]:
    """Responses of a JSONL file of `{"id", "response"}`; several for an id keep their order.

    Raises:
        ArmliteError: no such file, or an empty one.
        DataError: a line that is no such record.
    """
    if not path.is_file():
        raise ArmliteError(f"response file {path} does not exist; give JSONL with id and response")
    found: dict[str, list[str]] = {}
    for row in read_file("responses", path):
        if isinstance(row, Unreadable):
            raise row.error
        found.setdefault(row.text("id"), []).append(row.text("response"))
    if not found:
        raise ArmliteError(f"response file {path} is empty")
    return found


def counts_as_right(task: Task, text: str) -> bool:
    """Whether the benchmark that a question is from gives anything in its main figure for an answer.

    Raises:
        ArmliteError: the task's source does not begin with a benchmark's name.
    """
    benchmark = get_benchmark(task.source.split("/")[0])
    turn = Turn(text=f"<answer>{text}</answer>", answer=text)
    played = Trajectory(task=task, steps=(Step(turn=turn),), stop=StopReason.ANSWERED, decision=text)
    return bool(benchmark.score([Item(task, (Answer(played),))])[benchmark.main].value)


def _asks_a_document(task: Task) -> bool:
    return task.kind == "open_qa" and task.document is not None and bool(task.gold)


def _answer(task: Task) -> str:
    return task.gold if isinstance(task.gold, str) else str(task.gold[0])  # type: ignore[index]  # checked before


def _wrong_answer(task: Task, answers: Mapping[str, str], seed: int, refuse: bool) -> tuple[str | None, str]:
    """A wrong answer and where it is from; `answers`: those about the document, with their formats."""
    right, wanted = _answer(task), Meta.of(task).answer_format
    if refuse and right != UNANSWERABLE and not counts_as_right(task, UNANSWERABLE):
        return UNANSWERABLE, "refusal"
    fitting = [a for a, kind in answers.items() if a != right and (kind == wanted or right == UNANSWERABLE)]
    for other in sorted(fitting, key=lambda a: _digest(seed, "wrong", task.id, a)):
        if not counts_as_right(task, other) and plain_text(_said(other)) != plain_text(_said(right)):
            return other, "another answer"
    if right != UNANSWERABLE:
        names = sorted({name for other in answers for name in names_in(other)})
        # Not every change leaves the tolerance of a number: a few are tried.
        for attempt in range(8):
            changed = inject(_said(right), random.Random(f"{seed}/{task.id}/{attempt}"), names)
            if not isinstance(changed, str) and not counts_as_right(task, changed[0]):
                return changed[0], changed[1].kind
    return None, ""


def _said(answer: str) -> str:
    """An answer as one would say it: a list that is written out as a string without its brackets and quotes."""
    try:
        values = ast.literal_eval(answer) if answer.lstrip().startswith("[") else None
    except (ValueError, SyntaxError):
        values = None
    return ", ".join(map(str, values)) if isinstance(values, list) else answer


def _among(task: Task, track: str, tag: str, right: str, wrong: Sequence[str], seed: int) -> Task:
    """The judging task: the right answer at the place that its hash tells, all answers in the same words."""
    place = _pick(seed, "place", task.id, len(wrong) + 1)
    texts = [*wrong[:place], right, *wrong[place:]]
    kind = "pairwise" if len(texts) == 2 else "listwise"
    responses = tuple(f"The answer is: {text.strip().rstrip('.')}." for text in texts)
    judged = {"kind": kind, "responses": responses, "gold": place + 1}
    return _made_of(task, track, tag, id=task.id, document=task.document, **judged)


def _made_of(task: Task, track: str, tag: str, **judged: Any) -> Task:
    """A task of a track with the question and images of another."""
    kept = Meta.of(task).model_dump(include=KEPT, exclude_unset=True)
    meta = {"from": task.source, "group": {"rm_tag": tag, "track": TRACKS[track]}} | kept
    source = f"armbench-vl-style/{track}"
    return Task(question=task.question, images=task.images, source=source, meta=meta, **judged)


def _digest(*parts: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


def _pick(seed: int, what: str, key: str, count: int) -> int:
    """A number below `count`, by hash."""
    return int(_digest(seed, what, key)[:12], 16) % count


def summary(made: Iterable[Task]) -> dict[str, int]:
    """How many tasks there are of each shape."""
    return dict(sorted(Counter(TaskMeta.of(task).group["rm_tag"] for task in made).items()))
