"""Reading what the model wrote, without ever guessing: each broken form has a named fault, and a fault has no action.

A turn is `<think>..</think>` and then one `<tool_call>{json}</tool_call>` or one `<answer>..</answer>`
(reference: 1.3, 1.4 of its loop). A missing `<think>` or text around the tags costs the format, not the action.
"""

import json
import math
import re
from typing import Any, Literal

from armlite.types import Call, Decision, Kind, Turn

FAULTS = {
    "empty": "Your turn was empty.",
    "unclosed_think": "Your <think> was not closed with </think>.",
    "two_thoughts": "Your turn holds more than one <think>.",
    "late_think": "Your <think> came after your <tool_call> or <answer>; think first.",
    "unclosed_call": "Your <tool_call> was not closed with </tool_call>.",
    "unclosed_answer": "Your <answer> was not closed with </answer>.",
    "stray_tag": "Your turn closes a tag that it did not open.",
    "two_calls": "Your turn holds more than one <tool_call>; only one tool per turn is allowed.",
    "two_answers": "Your turn holds more than one <answer>.",
    "call_and_answer": "Your turn holds both a <tool_call> and an <answer>; it must hold one of them.",
    "bad_json": "The text inside <tool_call> is not valid JSON.",
    "bad_call": 'The JSON inside <tool_call> must be an object with exactly "name" (a string) '
    'and "arguments" (an object).',
    "forged_response": "You wrote a <tool_response> yourself; only tools write those.",
}
"""Fault code -> what the model is told."""

_HOW = (
    " Reason in <think>...</think>, then either call one tool as <tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call> or answer in <answer>...</answer>.'
)


def feedback(fault: str) -> str:
    """The observation text for a fault."""
    return f"Error: {FAULTS[fault]}{_HOW}"


def parse_turn(text: str, finish: Literal["stop", "length", "error"] = "stop", tokens: int = 0) -> Turn:
    """Parse one assistant turn. An unfinished turn (`finish` not `stop`) has no action and no fault."""
    if finish != "stop":
        return Turn(text=text, finish=finish, tokens=tokens)
    think, tail, lead = _split_think(text)
    fault = _fault(text, tail, think, lead)
    call, answer = None, None
    if fault is None and (m := re.search(r"<tool_call>(.*?)</tool_call>", tail, re.DOTALL)):
        call, fault = _read_call(m[1])
    elif fault is None and (m := re.search(r"<answer>(.*?)</answer>", tail, re.DOTALL)):
        answer = m[1].strip()
    rest = re.sub(r"<(tool_call|answer)>.*?</\1>", "", tail, flags=re.DOTALL)
    acts = call is not None or bool(answer)
    well_formed = acts and bool(think and think.strip()) and not lead.strip() and not rest.strip()
    return Turn(
        text=text,
        think=think,
        call=call,
        answer=answer,
        fault=fault,
        well_formed=well_formed,
        finish=finish,
        tokens=tokens,
    )


def _split_think(text: str) -> tuple[str | None, str, str]:
    """(thought, text after it, text before it); the thought is None where there is no closed one."""
    start, end = text.find("<think>"), text.find("</think>")
    if start < 0 or end < start:
        return None, text, ""
    return text[start + 7 : end].strip(), text[end + 8 :], text[:start]


def _fault(text: str, tail: str, think: str | None, lead: str) -> str | None:
    if not text.strip():
        return "empty"
    if re.search("</?tool_response>", lead + tail):
        return "forged_response"
    if re.search("</?(?:tool_call|answer)>", lead):
        return "late_think"
    if "</think>" in tail and (think is None or "<think>" not in tail):
        return "stray_tag"
    if "<think>" in tail:
        return "unclosed_think" if think is None else "two_thoughts"
    count = {tag: tail.count(tag) for tag in ("<tool_call>", "</tool_call>", "<answer>", "</answer>")}
    if any(_closes_first(tail, tag) or count[f"</{tag}>"] > count[f"<{tag}>"] for tag in ("tool_call", "answer")):
        return "stray_tag"
    if count["<tool_call>"] > count["</tool_call>"]:
        return "unclosed_call"
    if count["<answer>"] > count["</answer>"]:
        return "unclosed_answer"
    if count["<tool_call>"] and count["<answer>"]:
        return "call_and_answer"
    if count["<tool_call>"] > 1:
        return "two_calls"
    if count["<answer>"] > 1:
        return "two_answers"
    return None


def _closes_first(text: str, tag: str) -> bool:
    opens, closes = text.find(f"<{tag}>"), text.find(f"</{tag}>")
    return 0 <= closes < opens


def _read_call(body: str) -> tuple[Call | None, str | None]:
    try:
        value = json.loads(body, parse_constant=_no_constant)
        fits = _fits_a_record(value)
    except (ValueError, RecursionError):
        return None, "bad_json"
    if not fits:
        return None, "bad_json"
    fine = (
        isinstance(value, dict)
        and set(value) == {"name", "arguments"}
        and isinstance(value["name"], str)
        and isinstance(value["arguments"], dict)
    )
    return (Call(**value), None) if fine else (None, "bad_call")


def _fits_a_record(value: Any, levels: int = 32) -> bool:
    """JSON can spell what no record holds exactly: half a surrogate pair, 1e999, endless digits, a tower of
    brackets.
    """
    if isinstance(value, dict):
        return levels > 0 and all(_fits_a_record(part, levels - 1) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return levels > 0 and all(_fits_a_record(part, levels - 1) for part in value)
    if isinstance(value, str):
        return not re.search("[\ud800-\udfff]", value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or abs(value) < 2**63


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_BETTER = re.compile(
    r"(?<!\bnor )(?<!\bor )Answer\s*(\d{1,3})\s*is\s*(?:the\s*)?(?:slightly\s*)?(?:better|best|preferred|correct)\b",
    re.IGNORECASE,
)


def parse_decision(answer: str, kind: Kind, choices: int = 0, letters: str = "") -> Decision | None:
    """Read the text inside `<answer>` (formats: reference, 1.11).

    Args:
        answer: text inside the tags.
        kind: what was asked.
        choices: number of presented responses.
        letters: the letters of a multiple choice question.

    Returns:
        The presented number (0 for a tie), bool, rating, letter or text; None if it cannot be read or contradicts
        itself.
    """
    text = re.sub(r"^\s*\**\s*Overall Judg(?:e)?ment\s*:?\s*\**\s*", "", answer, flags=re.IGNORECASE).strip()
    bare = text.strip("*.[]()` \n")
    if kind in ("pairwise", "listwise"):
        found = {int(n) for n in _BETTER.findall(text)}
        if not found and (m := re.fullmatch(r"(?:Answer\s*)?(\d{1,3})", bare, re.IGNORECASE)):
            found = {int(m[1])}
        if not found and re.fullmatch(r"\[\[[A-Z]\]\]", text):
            found = {ord(text[2]) - ord("A") + 1}
        if not found and bare.lower() in ("tie", "equally good", "both are equally good"):
            return 0
        return next(iter(found)) if len(found) == 1 and 1 <= min(found) <= choices else None
    if kind == "pointwise":
        words = {w.lower() for w in re.findall(r"(?:\bnot\s+|n't\s+)?\b(?:true|false)\b", text, re.IGNORECASE)}
        return {"true": True, "false": False}.get(words.pop()) if len(words) == 1 else None
    if kind == "rating":
        m = re.fullmatch(r"(\d+(?:\.\d+)?)(?:\s*/\s*10)?", bare)
        return float(m[1]) if m and 1 <= float(m[1]) <= 10 else None
    if kind == "multiple_choice":
        return _letter(text, letters)
    return text or None


def _letter(text: str, letters: str) -> str | None:
    """The letter of `B`, `(B)`, `**B**`, `B. the option`; None where a second letter stands beside it (`B or C`)."""
    m = re.fullmatch(r"[(\[*`]*([A-Z])([)\].:*`]*)(?:\s+(.+))?", text, re.DOTALL)
    if not m or m[1] not in letters or (m[3] and not m[2]):
        return None
    others = re.findall(r"(?:^|(?:\bor\b|\band\b|[,/&])\s*)[(\[*`]*([A-Z])(?:[)\].:*`,/]|$)", m[3] or "")
    return m[1] if set(others) <= {m[1]} else None
