"""The 19 instruction-following verifiers as tools: what the model reads about them, and how it gets the result.

Names and parameters are the reference's, the words are ours. What is measured is in `armlite.tools.checks.verifiers`.
"""

from typing import Any

from armlite.memory import Memory
from armlite.tools.checks.verifiers import VERIFIERS, Verifier
from armlite.tools.tool import Tool
from armlite.types import Observation

_HINTS = {"response": str, "substring": str, "substrings": list[str], "keywords": list[str], "ranges": list[list[int]]}
"""Parameter -> type; all others are whole numbers."""
_RESPONSE = "Name of the response to check, such as 'text_0' or 'resp_1'; not its text."


def _make(name: str, verifier: Verifier) -> Tool:
    """The tool of a verifier."""

    def run(memory: Memory, /, **params: Any) -> Observation:
        text, mode = memory.text(params.pop("response")), memory.limits.verifier_mode
        result = verifier(text, mode=mode, **params)  # an unknown mode is refused there
        data: dict[str, Any] = {"result": result.ok, "detail": result.detail}
        if result.splitter:
            data["splitter"] = result.splitter
        # Checkpoints know the bare sentence; only `strict` says what it saw.
        said = f" ({result.detail})" if mode == "strict" else ""
        return Observation(ok=True, text=f"Check result: {result.ok}{said}", tool=name, data=data)

    arguments = {"response": _RESPONSE, **verifier.arguments}
    hints = {p: _HINTS.get(p, int) for p in arguments}
    return Tool(run, name, verifier.manual, "constraints", hints, arguments, tuple(arguments))


INSTRUCTION_TOOLS = tuple(_make(name, verifier) for name, verifier in VERIFIERS.items())
"""In the reference's order."""
