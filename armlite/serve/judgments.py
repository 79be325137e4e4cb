"""`/v1/judge`: from a request's body to a task with its pictures and document, and to a verdict.

A body is a Task record, or has the columns that `armlite judge FILE` reads; beside them stands how it is to be judged.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError

from armlite.asking import make_task
from armlite.batch.columns import Columns
from armlite.data.pictures import Pictures
from armlite.data.row import Row
from armlite.errors import ArmliteError, DataError, first_fault
from armlite.judge import Judge
from armlite.memory import image_file
from armlite.serve.inputs import Inputs
from armlite.serve.settings import Refusal
from armlite.tools import get_tool
from armlite.types import Task, Verdict


class How(BaseModel):
    """How a request wants to be judged; the keywords of `Judge`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    swap: StrictBool = False
    """In both presented orders."""
    rank: StrictBool = False
    """Order all responses, instead of finding the best."""
    rate: StrictBool = False
    """From 1 to 10, instead of right or wrong."""
    votes: StrictInt = Field(default=1, ge=1, le=64)
    """Rollouts of each presented order."""
    tools: list[str] | StrictBool | None = None
    """Names of the tools to show; false: none; null and true: by what there is to look at."""
    max_calls: StrictInt | None = Field(default=None, ge=0, le=64)
    """Tool calls before the judge has to answer, instead of what the server's rules say."""


@dataclass(frozen=True)
class Judgment:
    """What a request asks to be judged."""

    task: Task
    how: How
    images: list[Image.Image] = field(default_factory=list)
    document: Path | None = None

    @property
    def rollouts(self) -> int:
        """Episodes that it takes."""
        n = len(self.task.responses)
        orders = n * (n - 1) if self.how.rank else 2 if self.how.swap and n > 1 else 1
        return orders * self.how.votes


def read_judgment(body: Any, inputs: Inputs, where: str = "") -> Judgment:
    """What a body asks.

    Args:
        inputs: that open its pictures and its document.
        where: what a refusal calls the body, as `tasks[3].`.

    Raises:
        Refusal: it asks for nothing that can be judged; names the field, what is wrong with it, and what is allowed.
    """
    if not isinstance(body, dict):
        raise Refusal(f"{where.rstrip('.') or 'the body'} must be an object, not {_kind(body)}")
    how, values = _how(body, where)
    record = {"id", "kind", "question"} <= values.keys()
    sent = Sent(rate=how.rate)
    try:
        task = _record(values, sent) if record else sent.task(_row(values))
    except DataError as error:
        why = error.why.partition(" (--map")[0].replace("column", "field")
        raise Refusal(f"{where}{error.field}: {why}") from error
    if not record and (odd := _misspelt(values)):
        raise Refusal(f"{where}{odd[0]}: there is no such field; did you mean {odd[1]}?")
    images = [inputs.image(value, f"{where}{column}[{n}]") for n, (column, value) in enumerate(sent.images)]
    document = inputs.document(sent.paper, f"{where}document")
    judgment = Judgment(_named(task, images, document, record, where), how, images, document)
    _check(judgment, where)
    return judgment


@dataclass
class Sent(Columns):
    """Reads columns, and opens nothing that they name: what is to be looked at is put aside as it was sent."""

    images: list[tuple[str, Any]] = field(default_factory=list)
    """Column and value of each picture."""
    paper: Any = None
    """The document."""

    def image(self, row: Row, column: str, value: Any) -> str:
        self.images.append((column, value))
        return "sent"

    def document(self, row: Row, column: str, value: Any) -> str:
        self.paper = value
        return "sent"


def _misspelt(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """A field that is nearly the name of a setting, which would have changed how is judged, and that name. What else a
    row holds is its own business.
    """
    for name in values:
        near = get_close_matches(name, How.model_fields, 1, 0.75)
        if near:
            return name, near[0]
    return None


def _how(body: Mapping[str, Any], where: str) -> tuple[How, dict[str, Any]]:
    """How to judge, and the other fields."""
    values = {name: value for name, value in body.items() if value is not None}
    try:
        how = How(**{name: values.pop(name) for name in How.model_fields if name in values})
        for tool in how.tools if isinstance(how.tools, list) else ():
            get_tool(tool)
    except ValidationError as error:
        name, why = first_fault(error, How)
        raise Refusal(f"{where}{name}: {why}") from error
    except ArmliteError as error:
        raise Refusal(f"{where}tools: {error}") from error
    return how, values


def _row(values: dict[str, Any]) -> Row:
    return Row(dataset="request", file=Path("body"), number=1, values=values, pictures=Pictures())


def _record(values: dict[str, Any], sent: Sent) -> Task:
    pictures = values.pop("images", [])
    sent.images = [("images", one) for one in (pictures if isinstance(pictures, list) else [pictures])]
    sent.paper = values.pop("document", None)
    try:
        return Task.from_json(json.dumps(values))
    except ValidationError as error:
        raise DataError("request", 1, *first_fault(error, Task)) from error


def _named(task: Task, images: list[Image.Image], document: Path | None, record: bool, where: str) -> Task:
    """The task with the names of what there is to look at; one of columns without an id is named after its content."""
    seen = {
        "images": tuple(f"images/{image_file(image)}" for image in images),
        "document": None if document is None else str(document),
    }
    if record:
        return task.model_copy(update=seen)
    if task.id != "row-1":
        return task.model_copy(update={**seen, "meta": {}})
    try:
        rules = [rule if rule.check else rule.text for rule in task.constraints]
        made, _ = make_task(task.kind, task.question, task.responses, images, document, rules)
    except ArmliteError as error:
        raise Refusal(f"{where}question: {error}") from error
    return made.model_copy(update={**seen, "gold": task.gold})


def _check(judgment: Judgment, where: str) -> None:
    how, n = judgment.how, len(judgment.task.responses)
    if (how.swap or how.rank) and n < 2:
        raise Refusal(f"{where}{'swap' if how.swap else 'rank'}: needs two or more responses; there {_are(n)}")
    if how.swap and how.rank:
        raise Refusal(f"{where}swap: rank judges every pair in both orders anyway; leave out swap")
    if how.rate and judgment.task.kind != "rating":
        raise Refusal(f"{where}rate: rates one response; this is a {judgment.task.kind} task")


def _are(n: int) -> str:
    return "is one" if n == 1 else f"are {n}"


def give_verdict(judgment: Judgment, judge: Judge, **more: Any) -> Verdict:
    """Judge; called in a thread.

    Args:
        more: keywords of the judge's methods, as `on_step`.

    Raises:
        ArmliteError: the model cannot be asked.
    """
    [verdict] = give_verdicts([judgment], judge, **more)
    return verdict


def give_verdicts(judgments: Sequence[Judgment], judge: Judge, **more: Any) -> list[Verdict]:
    """Verdicts in the order of the judgments; those that are to be judged alike are judged side by side.

    Raises:
        ArmliteError: the model cannot be asked.
    """
    alike: dict[str, list[int]] = {}
    for n, one in enumerate(judgments):
        alike.setdefault(f"{n}" if one.how.rank else one.how.model_dump_json(), []).append(n)
    found: dict[int, Verdict] = {}
    for numbers in alike.values():
        own, asked = _asked(judgments[numbers[0]].how, judge)
        first, given = judgments[numbers[0]], [judgments[n] for n in numbers]
        if first.how.rank:
            task = first.task
            looked = (first.images, first.document, task.constraints)
            found[numbers[0]] = own.rank(task.question, task.responses, *looked, **asked, **more)
            continue
        images = [one.images if one.images else None for one in given]
        tasks = [one.task for one in given]
        verdicts = own.judge_many(tasks, images=images, swap=first.how.swap, **asked, **more)
        found |= dict(zip(numbers, verdicts, strict=True))
    return [found[n] for n in range(len(judgments))]


def _asked(how: How, judge: Judge) -> tuple[Judge, dict[str, Any]]:
    """A judge with the limit of calls that is asked for, and what its methods are given."""
    if how.max_calls is not None:
        judge = copy.copy(judge)
        judge.settings = judge.settings.model_copy(update={"max_calls": how.max_calls})
    tools: tuple[str, ...] | None = None
    if how.tools is False:
        tools = ()
    elif isinstance(how.tools, list):
        tools = tuple(how.tools)
    return judge, {"votes": how.votes, "tools": tools}


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null" if value is None else "an object")
