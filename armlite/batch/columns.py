"""What the columns of other people's files mean: a row of a table or of a preference set as a Task.

Recognised by their usual names, row by row; `--map` says what no rule can know. Nothing is guessed from contents.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from armlite.data.row import Row
from armlite.data.tasks import moved
from armlite.errors import ArmliteError, first_fault, nearest
from armlite.images import SUFFIXES, is_data_url
from armlite.remote import is_url
from armlite.store import relative
from armlite.types import Kind, Task

ROLES: dict[str, tuple[str, ...]] = {
    "id": ("id", "uid", "example_id"),
    "question": ("question", "prompt", "query", "instruction"),
    "responses": ("responses", "completions", "candidates"),
    "response": ("response", "completion", "answer", "output"),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "messages": ("messages", "conversation"),
    "images": ("images", "image"),
    "document": ("document", "pdf"),
    "constraints": ("constraints", "constraint"),
    "label": ("label", "gold", "preferred", "winner"),
}
"""What a column can be -> the names that it is known by. `response_1`, `response_b` and the like are responses too."""
_NUMBERED = re.compile(
    r"(?:response|completion|answer|output|candidate)(?:[ _-]?(\d{1,2})|[ _-]([a-z]))", re.IGNORECASE
)
_TRUE, _FALSE = ("true", "yes", "correct", "right", "1"), ("false", "no", "incorrect", "wrong", "0")


@dataclass
class Columns:
    """Reads rows.

    Args:
        given: role -> column, as `--map` says.
        rate: rate single responses from 1 to 10 instead of checking them.
        graded: single responses are graded by a rubric, which has no label.

    Raises:
        ArmliteError: there is no such role; names the nearest.
    """

    given: Mapping[str, str] = field(default_factory=dict)
    rate: bool = False
    graded: bool = False
    said: dict[tuple[str, ...], str] = field(default_factory=dict)
    """Names of a row's columns -> how they are read, in words."""

    def __post_init__(self) -> None:
        for role in self.given:
            if role not in ROLES and not _NUMBERED.fullmatch(role):
                raise ArmliteError(f"--map {role}: no column is that.{nearest(role, ROLES)} Known: {', '.join(ROLES)}")

    def task(self, row: Row) -> Task:
        """The task of a row; `meta.row` is the row's number.

        Raises:
            DataError: a column is missing, or its value is not what its name says.
        """
        if missing := [column for column in self.given.values() if column not in row.values]:
            there = f"There are {', '.join(row.values)}"
            raise row.fail(missing[0], f"there is no such column.{nearest(missing[0], row.values)} {there}")
        if not self.given and {"kind", "question"} <= row.values.keys():
            return self._record(row)
        roles = self._roles(row)
        self._say(row, roles)
        question, responses, label = self._texts(row, roles)
        kind = self._kind(row, len(responses))
        prompt = next((row.get(*roles[name]) for name in ("question", "messages", "chosen") if roles[name]), None)
        images = _several(row.get(*roles["images"])) + pictures_in(prompt)
        document = row.get(*roles["document"])
        rules = row.get(*roles["constraints"])
        name = row.get(*roles["id"])
        try:
            return Task(
                id=str(name) if name is not None else f"row-{row.number}",
                kind=kind,
                question=question,
                responses=tuple(responses),
                images=tuple(self.image(row, (*roles["images"], "messages")[0], image) for image in images),
                document=None if document is None else self.document(row, roles["document"][0], document),
                constraints=tuple(_several(rules)),  # type: ignore[arg-type]  # a bare string is accepted
                gold=None if self.graded else label_of(row, kind, label, len(responses)),
                meta={"row": row.number},
            )
        except ValidationError as error:
            raise row.fail(*first_fault(error, Task)) from error

    def _record(self, row: Row) -> Task:
        self.said.setdefault(tuple(row.values), "Task records")
        given = {"id": f"row-{row.number}"} | {name: value for name, value in row.values.items() if value is not None}
        try:
            task = Task.from_json(json.dumps(given))
        except ValidationError as error:
            raise row.fail(*first_fault(error, Task)) from error
        task = task.model_copy(update={"meta": {**task.meta, "row": row.number}})
        if self.graded and task.kind not in ("pointwise", "rating"):
            raise row.fail("kind", f"--rubric grades one response; this is a {task.kind} task")
        return moved(task, row.folder, row.pictures.out or row.folder)

    def _roles(self, row: Row) -> dict[str, tuple[str, ...]]:
        """Role -> the columns of this row that have it; numbered responses in their order."""
        taken = set(self.given.values())
        lower = {name.lower().strip(): name for name in row.values if name not in taken}
        found = {role: tuple(lower[n] for n in names if n in lower)[:1] for role, names in ROLES.items()}
        names = [*lower.items(), *self.given.items()]
        numbered = {(m[1] or m[2]).lower(): name for key, name in names if (m := _NUMBERED.fullmatch(key))}
        order = sorted(numbered, key=lambda key: (int(key) if key.isdigit() else 0, key))
        found["numbered"] = tuple(numbered[key] for key in order)
        found |= {role: (column,) for role, column in self.given.items() if role in ROLES}
        return found

    def _texts(self, row: Row, roles: Mapping[str, tuple[str, ...]]) -> tuple[str, list[str], Any]:
        """Question, responses, and the label as it stands."""
        label = row.get(*roles["label"])
        if roles["chosen"] and roles["rejected"]:
            chosen, rejected = (row.need(*roles[name]) for name in ("chosen", "rejected"))
            question = row.get(*roles["question"]) if roles["question"] else _common(chosen, rejected)
            one, two = _answer(chosen), _answer(rejected)
            return self._question(row, question), [one, two], 1 if label is None else label
        if roles["messages"] and not roles["question"]:
            turns = row.items(*roles["messages"], of=dict)
            if len(turns) < 2 or turns[-1].get("role") != "assistant":
                raise row.fail(roles["messages"][0], "must end with the assistant's message, which is judged")
            return self._question(row, turns[:-1]), [text_of(turns[-1].get("content"))], label
        if not roles["question"]:
            raise row.fail("question", f"there is no such column, nor one to take for it; {_there(row)}")
        question = self._question(row, row.need(*roles["question"]))
        if roles["numbered"]:
            return question, self._numbered(row, roles["numbered"]), label
        if roles["responses"]:
            return question, [text_of(value) for value in row.items(*roles["responses"])], label
        if not roles["response"]:
            raise row.fail("response", f"there is no such column, nor one to take for it; {_there(row)}")
        return question, [text_of(row.need(*roles["response"]))], label

    def _numbered(self, row: Row, columns: Sequence[str]) -> list[str]:
        """The responses of numbered columns. Of more than two the last may be empty, for rows with fewer; with an empty
        one of a pair the other would be checked, which nobody has asked for.
        """
        given = [row.get(name) for name in columns]
        filled = max((n for n, value in enumerate(given, 1) if value is not None), default=0)
        least = min(2, len(columns)) if filled else 0
        for name, value in zip(columns, given[: max(filled, least)], strict=False):
            if value is None:
                raise row.fail(name, "is empty, while another response of the row is not")
        return [text_of(value) for value in given[:filled]]

    def _question(self, row: Row, value: Any) -> str:
        text = text_of(value)
        if not text.strip():
            raise row.fail("question", "is empty")
        return text

    def _kind(self, row: Row, count: int) -> Kind:
        if not count:
            raise row.fail("response", "the row has no response")
        if count == 1:
            return "rating" if self.rate else "pointwise"
        if self.rate or self.graded:
            what = "--rubric grades" if self.graded else "--rate rates"
            raise row.fail("response", f"{what} one response; there are {count}")
        return "pairwise" if count == 2 else "listwise"

    def image(self, row: Row, column: str, value: Any) -> str:
        """A picture's path, which it is kept under where it is no file. Only this and `document` open files here."""
        if isinstance(value, str) and not is_data_url(value) and value.lower().endswith(SUFFIXES) and len(value) < 1024:
            if is_url(value):
                raise row.fail(column, f"is an address ({value[:60]}); give a file or the picture itself")
            return _path(row, column, value)
        return row.keep(value, column)

    def document(self, row: Row, column: str, value: Any) -> str:
        """A document's path."""
        return _path(row, column, value)

    def _say(self, row: Row, roles: Mapping[str, tuple[str, ...]]) -> None:
        names = tuple(row.values)
        if names not in self.said:
            used = {name for columns in roles.values() for name in columns}
            parts = [f"{' + '.join(columns)} as {_WORDS.get(role, role)}" for role, columns in roles.items() if columns]
            left = [name for name in names if name not in used]
            self.said[names] = ", ".join(parts) + (f"; not read: {', '.join(left)}" if left else "")


_WORDS = {"numbered": "the responses"}


def _there(row: Row) -> str:
    there = ", ".join(row.values) or "none"
    return f"the columns are {there} (--map question=COLUMN,response_1=COLUMN,... says what they are)"


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return [value]
    if hasattr(value, "tolist"):  # numpy
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple) else [value]


def _path(row: Row, column: str, value: Any) -> str:
    """A user's own file, wherever it is, as seen from the folder of the tasks."""
    if not isinstance(value, str):
        raise row.fail(column, f"must be a path, not {type(value).__name__}")
    file = row.folder / Path(value).expanduser()
    if not file.exists():
        raise row.fail(column, f"{value} does not exist")
    return relative(file, row.pictures.out or row.folder)


def text_of(value: Any) -> str:
    """A text, or what messages say: one as it is, several with who says it."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return text_of(value.get("content", value.get("text")))
    if isinstance(value, list | tuple) and all(isinstance(part, dict) for part in value):
        if not any("role" in part for part in value):  # the parts of one message
            return "".join(str(part.get("text") or "") for part in value)
        if len(value) == 1:
            return text_of(value[0])
        return "\n\n".join(f"{part.get('role')}: {text_of(part)}" for part in value)
    return "" if value is None else str(value)


def pictures_in(value: Any) -> list[Any]:
    """The pictures inside of messages, in order, as each is given: of OpenAI's parts (`image_url`), of transformers'
    (`image`, `url`, `path` or `base64`). A part that only marks a place is none: its picture is in a column of its own.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [picture for part in value for picture in pictures_in(part)]
    if not isinstance(value, dict):
        return []
    if value.get("type") not in ("image", "image_url", "input_image"):
        return pictures_in(value["content"]) if isinstance(value.get("content"), list | tuple) else []
    found = next((value[key] for key in ("image_url", "image", "url", "path", "base64") if value.get(key)), None)
    if isinstance(found, dict) and "url" in found:
        found = found["url"]
    return [] if found is None else [found]


def _common(one: Any, two: Any) -> Any:
    """The prompt of a preference row that has none of its own: what both conversations begin with."""
    if not all(isinstance(side, list | tuple) for side in (one, two)):
        return ""
    shared = 0
    while shared < min(len(one), len(two)) - 1 and one[shared] == two[shared]:
        shared += 1
    return list(one[:shared])


def _answer(value: Any) -> str:
    """The last message of a conversation that repeats its prompt, or the text."""
    if isinstance(value, list | tuple) and value and isinstance(value[-1], dict) and "role" in value[-1]:
        return text_of(value[-1])
    return text_of(value)


def label_of(row: Row, kind: Kind, label: Any, count: int) -> Any:
    """A label as a task's gold."""
    if label is None or (isinstance(label, str) and not label.strip()):
        return None
    word = str(label).strip().lower()
    if kind == "rating":
        try:
            return float(word)
        except ValueError:
            raise row.fail("label", f"{word[:40]!r} is no number") from None
    if kind == "pointwise":
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        raise row.fail("label", f"{word[:40]!r} is neither of {', '.join(_TRUE)} nor of {', '.join(_FALSE)}")
    named = {"tie": 0, "chosen": 1, "rejected": 2} | {chr(97 + i): i + 1 for i in range(count)}
    tail = word.rsplit("_", 1)[-1].rsplit(" ", 1)[-1]
    if tail in named:
        return named[tail]
    if re.fullmatch(r"\d+(\.0)?", tail) and int(float(tail)) <= count:
        return int(float(tail))
    raise row.fail(
        "label", f"{word[:40]!r} is none of the {count} responses (1 to {count}, a to {chr(96 + count)}, tie)"
    )


def parse_map(words: Iterable[str]) -> dict[str, str]:
    """`question=prompt,response_1=a` as a mapping.

    Raises:
        ArmliteError: a part is not of the form ROLE=COLUMN.
    """
    found: dict[str, str] = {}
    for part in (part.strip() for word in words for part in word.split(",") if part.strip()):
        role, equals, column = part.partition("=")
        if not equals or not role or not column:
            raise ArmliteError(f"--map {part!r} is not of the form ROLE=COLUMN, as question=prompt")
        found[role.strip()] = column.strip()
    return found
