"""A chat completion that arrives piece by piece (server-sent events), put together as if it had come as a whole."""

import json
from typing import Any

DONE = "[DONE]"
JOINED = ("content", "reasoning_content", "reasoning", "refusal")
"""Texts of a message, of which each chunk brings a piece."""


class Assembly:
    """The completion so far.

    A stream that ends without `[DONE]` or a reason to finish was cut off: `whole` is None.
    """

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._choice: dict[str, Any] = {}
        self._rest: dict[str, Any] = {}
        self._logprobs: list[Any] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._error: dict[str, Any] | None = None
        self._ended = False

    def feed(self, line: str) -> str:
        """Take a line of the stream; returns the text that it adds to the turn (thoughts included), perhaps none."""
        if not line.startswith("data:"):
            return ""
        data = line.removeprefix("data:").strip()
        if data == DONE:
            self._ended = True
            return ""
        try:
            chunk = json.loads(data)
        except ValueError:
            return ""
        if not isinstance(chunk, dict):
            return ""
        if "error" in chunk:
            self._error = chunk
        self._rest |= {key: value for key, value in chunk.items() if key != "choices" and value is not None}
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        return self._take(choice) if isinstance(choice, dict) else ""

    def _take(self, choice: dict[str, Any]) -> str:
        delta = choice.get("delta") or {}
        self._choice |= {
            key: value for key, value in choice.items() if key not in ("delta", "logprobs") and value is not None
        }
        if choice.get("finish_reason") is not None:
            self._ended = True
            # None there says that the model ended the turn itself, which is told apart from nothing being said.
            self._choice |= {key: choice[key] for key in ("stop_reason", "matched_stop") if key in choice}
        content = (choice.get("logprobs") or {}).get("content") if isinstance(choice.get("logprobs"), dict) else None
        self._logprobs += content if isinstance(content, list) else []
        told = ""
        for key in JOINED:
            if isinstance(piece := delta.get(key), str):
                self._message[key] = self._message.get(key, "") + piece
                told += piece
        for call in delta.get("tool_calls") or ():
            own = self._calls.setdefault(call.get("index", len(self._calls)), {"name": "", "arguments": ""})
            function = call.get("function") or {}
            own["name"] = own["name"] or function.get("name") or ""
            own["arguments"] += function.get("arguments") or ""
            told += function.get("arguments") or ""
        return told

    def whole(self) -> dict[str, Any] | None:
        """The completion as it would have come without streaming; None: it was cut off."""
        if self._error is not None:
            return self._error
        if not self._ended:
            return None
        message = {"role": "assistant", "content": "", **self._message}
        if self._calls:
            calls = [self._calls[index] for index in sorted(self._calls)]
            message["tool_calls"] = [{"type": "function", "function": call} for call in calls]
        choice = {**self._choice, "message": message}
        if self._logprobs:
            choice["logprobs"] = {"content": self._logprobs}
        return {**self._rest, "choices": [choice]}
