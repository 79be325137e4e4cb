"""Conversations and their exact text: the chat template is the only source of it.

`Conversation` is append-only; a model never sees a message change. Text that comes from outside cannot forge control
tokens.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import jinja2
import jinja2.ext
import jinja2.sandbox
from PIL import Image


@dataclass(frozen=True)
class Message:
    """One message; its images come before its text."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    images: tuple[Image.Image, ...] = ()
    """Already shrunk to what the model may see."""

    def blocks(self) -> dict[str, Any]:
        """The message in transformers' form, with one block an image and one for the text."""
        content: list[dict[str, Any]] = [{"type": "image", "image": image} for image in self.images]
        return {"role": self.role, "content": [*content, {"type": "text", "text": self.text}]}


@dataclass
class Conversation:
    """An append-only list of messages. (task id, rollout) names its stream of randomness."""

    task_id: str
    rollout: int = 0
    tools: tuple[dict[str, Any], ...] = ()
    messages: list[Message] = field(default_factory=list)
    system: str | None = None
    """What the system block says before the tools; None: the template's own words; empty: nothing."""

    @property
    def turns(self) -> int:
        """Assistant turns so far."""
        return sum(m.role == "assistant" for m in self.messages)


class _Generation(jinja2.ext.Extension):
    """transformers' `{% generation %}` marker, which changes no text."""

    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def template_source() -> str:
    """The Jinja source, to hand to a tokenizer, a processor or a server."""
    return files("armlite.protocol").joinpath("chat_template.jinja").read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    return environment.from_string(template_source())


def render(
    messages: Sequence[Message],
    tools: Sequence[dict[str, Any]] = (),
    add_generation_prompt: bool = True,
    suffix: bool = False,
    system: str | None = None,
) -> str:
    """The exact text of messages.

    Args:
        messages: whole conversation, or with `suffix` only its continuation.
        tools: function schemas for the system block.
        add_generation_prompt: end with the assistant header.
        suffix: leave out the system block.
        system: what the system block says before the tools, instead of the template's own words. Where it is
            empty, only the tools are left, as in Qwen3-VL's own template.
    """
    opening = [] if system is None else [Message("system", system)]
    return _template().render(
        messages=[m.blocks() for m in (*opening, *messages)],
        tools=list(tools) or None,
        add_generation_prompt=add_generation_prompt,
        suffix=suffix,
    )


def system_text(tools: Sequence[dict[str, Any]] = (), system: str | None = None) -> str:
    """Text inside the system block, for endpoints that take it as a plain message."""
    text = render([], tools, add_generation_prompt=False, system=system)
    return text.removeprefix("<|im_start|>system\n").removesuffix("<|im_end|>\n")


_OURS = re.compile(
    r"<(/?(?:think|tool_call|tool_response|tools|answer|image|(?:start|end)_of_\w+)\s*>)|#(#\s*Output format)"
    r"|\*(\*\s*Important Requirement)",
    re.IGNORECASE,
)
"""The tags and headings that structure a conversation, but for their first character."""


_CONTROL = re.compile(r"<\|(\w+)\|>")


def harmless(text: str) -> str:
    """Text from outside in which nothing is a control token (`<|im_end|>`), a tag or a heading of ours any more: each
    gets a blank behind its first character, and stays readable.
    """
    return _OURS.sub(lambda m: f"{m[0][0]} {m[0][1:]}", without_control_tokens(text))


def without_control_tokens(text: str) -> str:
    """The text with blanks in what a tokenizer would take for a control token."""
    return _CONTROL.sub(r"< |\1| >", text)
