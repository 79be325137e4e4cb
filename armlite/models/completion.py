"""What a chat completion says: the turn in it, in our wire format whatever the server took out; nothing is asked here.

Servers differ in what they do with stop strings, thoughts and tool calls; `armlite.models.openai` asks, this reads.
A server stops at `</tool_call>` even in a thought or in a string, since stop strings know no context, and without one
a model may go on to invent the tool's response; what was cut there is told to the model as a fault.
"""

import hashlib
import json
from typing import Any

from armlite.loop import Reply
from armlite.protocol.parse import CALL_END as STOP
from armlite.protocol.parse import end_of_call, has_open_call
from armlite.protocol.probability import TokenLogprobs, of_answer
from armlite.protocol.render import Conversation, harmless, without_control_tokens


def turn_seed(seed: int, conversation: Conversation) -> int:
    """31-bit seed of a conversation's next turn, independent of whatever else is in flight."""
    name = json.dumps([seed, conversation.task_id, conversation.rollout, conversation.turns])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1


def read_reply(value: dict[str, Any]) -> Reply:
    """The turn in a chat completion as the model wrote it, whatever the server took out of it or parsed.

    Raises:
        KeyError, TypeError, AttributeError, IndexError: it is not a chat completion.
    """
    choice = value["choices"][0]
    message = choice["message"]
    finish = choice.get("finish_reason") or "stop"
    text = _spoken(message)
    usage = value.get("usage") or {}
    counted = {"tokens": _count(usage.get("completion_tokens")), "prompt_tokens": _count(usage.get("prompt_tokens"))}
    if _was_stripped(choice, text):
        # Where nothing follows the thought, the server has stopped in it.
        text = text.removesuffix("</think>\n") + STOP
    if (end := end_of_call(text)) is not None:
        # A server that knows no stop string has gone on: the turn had ended here.
        return Reply(text[:end], "stop", **counted)
    if calls := message.get("tool_calls"):
        # As training writes it, a call stands on a line of its own, and no line is empty.
        said = [text.rstrip()] if text.strip() else []
        return Reply("\n".join([*said, *(_plain(_call(call)) for call in calls)]), "stop", **counted)
    if finish == "length":
        if text.endswith("</think>\n") and not message.get("content"):
            text = text.removesuffix("</think>\n")  # the budget ran out in the thought: the model has not closed it
        return Reply(text, "length", **counted)
    if finish in ("content_filter", "error"):
        return Reply(f"the server ended the turn ({finish})", "error", **counted)
    return Reply(text, "stop", **counted, logprobs=_logprobs(choice.get("logprobs")))


def _logprobs(told: Any) -> tuple[TokenLogprobs, ...]:
    """Of the answer's tokens; none where the server tells nothing, or not in OpenAI's form."""
    content = told.get("content") if isinstance(told, dict) else None
    if not isinstance(content, list):
        return ()
    tokens = [_token(entry) for entry in content]
    return of_answer([token for token in tokens if token is not None]) if None not in tokens else ()


def _token(entry: Any) -> TokenLogprobs | None:
    """One entry of the list, or None where it is not one."""
    top = entry.get("top_logprobs") if isinstance(entry, dict) else None
    entries = [entry, *(top if isinstance(top, list) else [])]
    said = [(e.get("token"), e.get("logprob")) if isinstance(e, dict) else (None, None) for e in entries]
    if not all(isinstance(text, str) and isinstance(p, int | float) for text, p in said):
        return None
    (text, logprob), *others = [(text, min(float(p), 0.0)) for text, p in said]
    return TokenLogprobs(text, logprob, tuple(others))


def _count(value: object) -> int:
    """A count of a server; 0 for what is none."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**31 else 0


def _spoken(message: dict[str, Any]) -> str:
    """The thought and the text of a turn. A thought that the server gives in a field of its own is put before the text,
    so that no tag in it can be taken for one of the turn.
    """
    text = message.get("content") or message.get("refusal") or ""
    if isinstance(text, list):
        text = "".join(block.get("text", "") for block in text)
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    if isinstance(thought, str) and thought and not text.lstrip().startswith("<think>"):
        # Some servers keep the line's end behind the thought, others take it out.
        text = f"<think>{harmless(thought)}</think>" + (text if text[:1].isspace() else f"\n{text}")
    elif "</think>" in text and "<think>" not in text:
        # The server's own template has opened the thought in the prompt.
        text = "<think>" + text
    return _plain(text)


def _call(call: dict[str, Any]) -> str:
    """A call that the server gives in a field of its own, as text."""
    function = call["function"]
    name, arguments = json.dumps(function["name"], ensure_ascii=False), function["arguments"]
    arguments = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return f'<tool_call>\n{{"name": {name}, "arguments": {arguments or "{}"}}}\n{STOP}'


def _plain(text: str) -> str:
    """What can be recorded and trained on: JSON can spell half a surrogate pair, of which no UTF-8 can be made, and
    another tokenizer's model can spell our control tokens.
    """
    return without_control_tokens(text.encode("utf-8", "replace").decode("utf-8"))


def _was_stripped(choice: dict[str, Any], text: str) -> bool:
    """Did the server end the turn at the stop string, and take it out of the text?"""
    if choice.get("finish_reason") != "stop":
        return False
    for key in ("stop_reason", "matched_stop"):
        # vLLM and SGLang say which stop it was: None or a token id is the model's own end of turn.
        if key in choice:
            return choice[key] == STOP
    return has_open_call(text)
