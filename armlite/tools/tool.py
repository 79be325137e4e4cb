"""`@tool`: one documented function becomes a tool.

The function's docstring and type hints are the model's manual and the source of its JSON schema, which holds only
{type, description, enum} as the reference's checkpoints were trained on. Arguments are checked here, once, for every
tool.
"""

import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args, get_origin

from armlite.errors import ToolError, cut, nearest
from armlite.memory import Memory
from armlite.protocol.render import harmless
from armlite.types import Observation

Needs = Literal["image", "document", "constraints", "nothing"]
_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


@dataclass(frozen=True)
class Tool:
    """A function `(memory, /, **arguments) -> Observation` that the model may call."""

    function: Callable[..., Observation]
    name: str
    description: str
    needs: Needs
    """What the memory must hold for the tool to be shown."""
    parameters: Mapping[str, Any]
    """Parameter name -> type hint, in order; hidden ones included."""
    descriptions: Mapping[str, str]
    required: tuple[str, ...]
    hidden: frozenset[str] = field(default_factory=frozenset)
    """Accepted but not shown in the schema."""
    stands_in: Mapping[str, str] = field(default_factory=dict)
    """Hidden parameter -> the required one that may be missing when it is given."""
    reminder: str = ""
    """Follows every result; the only place for tags of ours, since those in results are made harmless."""

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The function schema in the reference's shape; made once, for each judgment shows it."""
        shown = [p for p in self.parameters if p not in self.hidden]
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {
                    "type": "object",
                    "properties": {p: _property(self.parameters[p], self.descriptions.get(p, "")) for p in shown},
                    "required": [p for p in self.required if p not in self.hidden],
                },
            },
        }

    def __call__(self, memory: Memory, /, **arguments: Any) -> Observation:
        """Check the arguments and run the tool. What it says is made harmless: no text of a page, a file's name or a
        model can forge a tag.

        Raises:
            ToolError: a missing, unknown or ill-typed argument, or the tool's own complaint.
            TypeError, RuntimeError: the tool is written wrongly: it gives no Observation, or paints what is recorded.
        """
        try:
            result = self.function(memory, **self._checked(arguments))
        except ToolError as error:
            raise ToolError(harmless(str(error))) from error
        if not isinstance(result, Observation):
            raise TypeError(f"the tool {self.name} gave {type(result).__name__}, not an Observation")
        if changed := memory.changed():
            raise RuntimeError(f"the tool {self.name} changed {changed[0]} itself: let it draw on a copy, and add that")
        text = " ".join(filter(None, (harmless(result.text), self.reminder)))
        return result.model_copy(update={"text": text})

    def _checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        for name in arguments:
            if name not in self.parameters:
                hint = nearest(name, self.parameters)
                raise ToolError(f"Error: {self.name} has no parameter '{name}'.{hint} {self.usage()}")
        for name in self.required:
            if name not in arguments and not any(self.stands_in.get(a) == name for a in arguments):
                raise ToolError(f"Error: {self.name} needs the parameter '{name}'. {self.usage()}")
        checked = {}
        for name, value in arguments.items():
            problem = _mismatch(value, self.parameters[name])
            if problem:
                given = cut(json.dumps(value, ensure_ascii=False, default=str), 80)
                raise ToolError(f"Error: parameter '{name}' of {self.name} {problem}, got {given}. {self.usage()}")
            checked[name] = _whole(value, self.parameters[name])
        return checked

    def usage(self) -> str:
        """One line that says how to call the tool."""
        shown = ", ".join(f"{p}: {_spell(h)}" for p, h in self.parameters.items() if p not in self.hidden)
        return f"Usage: {self.name}({shown})."


def tool(
    function: Callable[..., Observation] | None = None,
    *,
    needs: Needs = "nothing",
    hidden: tuple[str, ...] = (),
    stands_in: Mapping[str, str] | None = None,
    reminder: str = "",
) -> Any:
    """Make a tool of a function whose first parameter is the positional-only memory.

    Args:
        function: annotated function with a docstring; `Args:` describes each parameter.
        needs: what the memory must hold for the tool to be shown.
        hidden: parameters that are accepted but not shown to the model.
        reminder: follows every result; it may hold tags such as `<answer>`, which are made harmless in results.
        stands_in: hidden parameter -> the parameter that need not be given beside it, though the schema requires it.

    Raises:
        TypeError: a parameter without a type hint or description, or of a type that JSON has not; no docstring.
    """
    if function is None:
        return lambda f: tool(f, needs=needs, hidden=hidden, stands_in=stands_in, reminder=reminder)
    description, descriptions = _manual(inspect.getdoc(function) or "")
    hints = typing.get_type_hints(function)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    for p in parameters:
        if p.name not in hints or (p.name not in descriptions and p.name not in hidden):
            raise TypeError(f"{function.__name__}: parameter {p.name} needs a type hint and a line under Args")
        if p.name not in hidden and not _is_json(hints[p.name]):
            raise TypeError(f"{function.__name__}: parameter {p.name} has a type that JSON has not: {hints[p.name]}")
    if not description:
        raise TypeError(f"{function.__name__} needs a docstring: it is the model's manual")
    return Tool(
        function=function,
        name=function.__name__,
        description=description,
        needs=needs,
        parameters={p.name: hints[p.name] for p in parameters},
        descriptions=descriptions,
        required=tuple(p.name for p in parameters if p.default is p.empty or p.name in (stands_in or {}).values()),
        hidden=frozenset(hidden),
        stands_in=dict(stands_in or {}),
        reminder=reminder,
    )


def _manual(doc: str) -> tuple[str, dict[str, str]]:
    """Split a Google docstring into its description and its `Args:` lines; other sections are for people only."""
    description: list[str] = []
    descriptions: dict[str, str] = {}
    section, name = "", ""
    for line in doc.splitlines():
        head = line.strip()
        if head in ("Args:", "Returns:", "Raises:", "Note:", "Source:") and not line.startswith(" "):
            section = head
        elif section == "":
            description.append(head)
        elif section == "Args:" and head:
            if line.startswith("    ") and not line.startswith("     ") and ":" in head:
                name, _, text = head.partition(":")
                descriptions[name] = text.strip()
            elif name:
                descriptions[name] += " " + head
    return " ".join(w for w in description if w), descriptions


def _plain(hint: Any) -> Any:
    """The hint without `| None`."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        return next(a for a in get_args(hint) if a is not type(None))
    return hint


def _property(hint: Any, description: str) -> dict[str, Any]:
    hint = _plain(hint)
    if get_origin(hint) is Literal:
        return {"type": "string", "description": description, "enum": list(get_args(hint))}
    return {"type": _JSON_TYPES[get_origin(hint) or hint], "description": description}


def _is_json(hint: Any) -> bool:
    try:
        return bool(_spell(hint))
    except (KeyError, TypeError):
        return False


def _spell(hint: Any) -> str:
    hint = _plain(hint)
    if get_origin(hint) is Literal:
        return " | ".join(map(repr, get_args(hint)))
    if get_origin(hint) is list:
        return f"list of {_spell(get_args(hint)[0])}"
    return _JSON_TYPES[get_origin(hint) or hint]


def _mismatch(value: Any, hint: Any) -> str:
    """What is wrong with the value, or the empty string. JSON numbers only: no string is taken for a number."""
    if value is None and type(None) in get_args(hint):
        return ""
    hint = _plain(hint)
    if hint is Any:
        return ""
    if get_origin(hint) is Literal:
        return "" if value in get_args(hint) else f"must be one of {', '.join(map(repr, get_args(hint)))}"
    if get_origin(hint) is list:
        if not isinstance(value, list):
            return f"must be a {_spell(hint)}"
        inner = get_args(hint)[0]
        return next((f"must be a {_spell(hint)}" for v in value if _mismatch(v, inner)), "")
    if isinstance(value, bool):
        fits = hint is bool
    else:
        value = _whole(value, hint)
        fits = isinstance(value, int | float if hint is float else get_origin(hint) or hint)
    spelt = _spell(hint)
    return "" if fits else f"must be a{'n' if spelt[0] in 'aio' else ''} {spelt}"


def _whole(value: Any, hint: Any) -> Any:
    """The value with 2.0 as 2 where the hint is a whole number: to JSON Schema they are the same."""
    hint = _plain(hint)
    if isinstance(value, list) and get_origin(hint) is list:
        return [_whole(v, get_args(hint)[0]) for v in value]
    return int(value) if hint is int and isinstance(value, float) and value.is_integer() else value
