"""Reading what the model wrote, without ever guessing: each broken form has a named fault, and a fault has no action.

A turn is `<think>..</think>` and then one `<tool_call>{json}</tool_call>` or one `<answer>..</answer>`
(reference: 1.3, 1.4 of its loop). A missing `<think>` or text around the tags costs the format, not the action. JSON
is read before tags: a tag inside a string of a call is text. Only the `lenient` reading goes further, and says so.
"""

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from armlite.types import Call, Decision, Kind, Turn

FAULTS = {
    "empty": "Your turn was empty.",
    "unclosed_think": "Your <think> was not closed with </think>.",
    "call_in_think": "Your <tool_call> stands in a <think> that was not closed with </think> before it; a call in a "
    "thought is not run.",
    "two_thoughts": "Your turn holds more than one <think>.",
    "late_think": "Your <think> came after your <tool_call> or <answer>; think first.",
    "unclosed_call": "Your <tool_call> was not closed with </tool_call>.",
    "unclosed_answer": "Your <answer> was not closed with </answer>.",
    "cut_string": "Your turn ended at the </tool_call> in a JSON string that was not closed; if you mean the tag as "
    "text, write <\\/tool_call>.",
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


_OF_THOUGHTS = ("unclosed_think", "call_in_think", "two_thoughts", "stray_tag")
"""Faults that a lenient reading may pass over."""
CALL_END = "</tool_call>"
_OPENING = re.compile("<(think|tool_call)>")
_PIECE = re.compile(rf'"(?:[^"\\\x00-\x1f]|\\.)*(?P<end>"|\\?\Z)?|{CALL_END}')
"""A JSON string, whose end is empty where the text ends in it and None where it is broken; or the end of a call."""


def feedback(fault: str) -> str:
    """The observation text for a fault."""
    return f"Error: {FAULTS[fault]}{_HOW}"


def parse_turn(
    text: str, finish: Literal["stop", "length", "error"] = "stop", tokens: int = 0, lenient: bool = False
) -> Turn:
    """Parse one assistant turn. An unfinished turn (`finish` not `stop`) has no action and no fault.

    Args:
        lenient: take a good call or answer after thoughts that are not closed or not opened, as the reference does.
    """
    if finish != "stop":
        return Turn(text=text, finish=finish, tokens=tokens)
    turn = _parse(text, tokens)
    if lenient and turn.fault in _OF_THOUGHTS:
        last = max(text.rfind("<think>"), text.rfind("</think>"))
        if act := re.compile("<(?:tool_call|answer)>").search(text, max(last, 0)):
            read = _parse(f"<think>{re.sub('</?think>', '', text[: act.start()])}</think>{text[act.start() :]}", tokens)
            if read.fault is None:
                return read.model_copy(update={"text": text, "well_formed": False, "lenient": True})
    return turn


def _parse(text: str, tokens: int) -> Turn:
    spans = list(_spans(text))
    # In what follows the inside of each closed call is blank, so that all tags left are tags.
    plain = _blanked(text, [(start, end) for tag, start, end in spans if tag == "tool_call" and end >= 0])
    think, tail, lead = _split_think(plain)
    fault = _cut(text, spans) or _fault(plain, tail, think, lead)
    call, answer = None, None
    if fault is None and (m := re.search(r"<tool_call>(.*?)</tool_call>", tail, re.DOTALL)):
        skipped = len(text) - len(tail)
        call, fault = _read_call(text[skipped + m.start(1) : skipped + m.end(1)])
    elif fault is None and (m := re.search(r"<answer>(.*?)</answer>", tail, re.DOTALL)):
        answer = m[1].strip()
    acts = call is not None or bool(answer)
    rest = re.sub(r"<(tool_call|answer)>.*?</\1>", "", tail, flags=re.DOTALL) if acts else ""
    well_formed = acts and bool(think and think.strip()) and not lead.strip() and not rest.strip()
    return Turn(
        text=text,
        think=think,
        call=call,
        answer=answer,
        fault=fault,
        well_formed=well_formed,
        tokens=tokens,
    )


def outside(text: str) -> str:
    """What a turn says beside its thoughts and calls.

    One that is not closed goes on to the end of the turn, so a thought that was cut off leaves nothing; of a thought
    that was opened for the model only the closing tag is there.
    """
    kept, at = [], 0
    for tag, start, end in _spans(text):
        kept.append(text[at : start - len(f"<{tag}>")])
        at = len(text) if end < 0 else end + len(f"</{tag}>")
    return "".join([*kept, text[at:]]).rpartition("</think>")[2].strip()


def end_of_call(text: str) -> int | None:
    """Where a turn that begins with `text` ends because it has called a tool: behind the first `</tool_call>` that is
    neither in a thought nor in a JSON string of a call. None: it goes on.
    """
    insides = [(start, end if end >= 0 else len(text)) for _, start, end in _spans(text)]
    closing = _blanked(text, insides).find(CALL_END)
    return closing + len(CALL_END) if closing >= 0 else None


def has_open_call(text: str) -> bool:
    """Whether a turn that begins with `text` is in the JSON of a call, which may stand in an unclosed thought."""
    tag, start, end = next(reversed(list(_spans(text))), ("", 0, 0))
    if tag == "think" and end < 0 and (opened := text.rfind("<tool_call>", start)) >= 0:
        start = opened + len("<tool_call>")
        end = _closing(text, start)
    return end < 0 and text[start:].lstrip()[:1] == "{"


def _spans(text: str) -> Iterator[tuple[str, int, int]]:
    """Tag, start and end of the inside of each thought and call, in order; the end is -1 where one is not closed."""
    at = 0
    while at >= 0 and (opened := _OPENING.search(text, at)):
        start = opened.end()
        at = text.find("</think>", start) if opened[1] == "think" else _closing(text, start)
        yield opened[1], start, at


def _closing(text: str, start: int) -> int:
    """Where the `</tool_call>` of a call stands, strings of its JSON passed over; -1 where there is none yet."""
    for piece in _PIECE.finditer(text, start):
        if piece[0] == CALL_END:
            return piece.start()
        if piece["end"] is None:  # broken by a control character, such as a line's end: no JSON, so any tag closes it
            return text.find(CALL_END, piece.start())
        if piece["end"] != '"':
            return -1
    return -1


def _blanked(text: str, spans: list[tuple[int, int]]) -> str:
    """The text, of the same length, with blanks for what is inside the spans."""
    parts, at = [], 0
    for start, end in spans:
        parts += [text[at:start], " " * (end - start)]
        at = end
    return "".join([*parts, text[at:]])


def _cut(text: str, spans: list[tuple[str, int, int]]) -> str | None:
    """The fault of a turn that ended at a `</tool_call>` which closes no call; servers stop at it anywhere."""
    tag, start, end = spans[-1] if spans else ("", 0, 0)
    if end >= 0 or CALL_END not in text[start:]:
        return None
    if tag == "tool_call":
        return "cut_string"
    return "call_in_think" if text.rstrip().endswith(CALL_END) else None


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


_ADVERBS = (
    "slightly|somewhat|marginally|moderately|clearly|much|far|significantly|substantially|considerably|noticeably|"
    "markedly|greatly|vastly|strongly|decidedly|definitely|certainly|undoubtedly|obviously|evidently|overall|really|"
    "generally|objectively"
)
"""What leaves a verdict as it is; `hardly`, `equally` or `supposedly` would not."""
_LABEL = "(resp_[0-9]{1,3}|[0-9]{1,3}|[a-z])"
_NOUN = r"(?:answer|response|option)"
_LEAD = rf"(?:the\s+answer\s+is\s*:?\s*)?(?:{_NOUN}(?:\s*:\s*|\s+|(?=[0-9])))?"
_ADVERB = rf"(?:(?:{_ADVERBS})\s+)?"
_IS_BETTER = rf"\s*is\s+(?:the\s+)?{_ADVERB}(?:the\s+)?(?:better|best|preferred|correct|right)(?:\s+(?:one|{_NOUN}))?"
_BARE = re.compile(f"{_LEAD}{_LABEL}", re.IGNORECASE)
_SENTENCE = re.compile(rf"{_NOUN}\s*{_LABEL}{_IS_BETTER}(?:\s+than\s+{_NOUN}\s*{_LABEL})?", re.IGNORECASE)
_TRUTH = re.compile(rf"(?:{_LEAD}|(?:it|this|that|the\s+{_NOUN})\s+is\s+{_ADVERB})(true|false)", re.IGNORECASE)
_RATING = re.compile(rf"{_LEAD}([0-9]+(?:\.[0-9]+)?)(?:\s*/\s*10|\s+out\s+of\s+10)?", re.IGNORECASE)
_TIES = ("tie", "equally good", "both are equally good")


def parse_decision(answer: str, kind: Kind, choices: int = 0, options: Collection[str] = ()) -> Decision | None:
    """Read the text inside `<answer>`: a bare label of the task, alone or after a word like `Answer`, or nothing but
    verdict sentences that agree (formats: reference, 1.11). A label within another sentence says nothing.

    Args:
        answer: text inside the tags.
        kind: what was asked.
        choices: number of presented responses.
        options: the keys of a multiple choice question in order; a mapping gives their texts, too.

    Returns:
        The presented number (0 for a tie), bool, rating, key or text; None if it cannot be read or contradicts itself.
    """
    judgment = r"\A[\s*]*Overall Judg(?:e)?ment\s*:?[\s*]*"
    text = re.sub(judgment, "", answer, flags=re.IGNORECASE).strip()
    if kind == "open_qa":
        return text or None
    # Runs of blanks are one: patterns with two `\s*` take time by their square.
    text = re.sub(r"\n\s+", "\n", re.sub(r"[^\S\n]+", " ", re.sub("[*`]", "", text))).strip()
    if kind in ("pairwise", "listwise"):
        return _choice(text, choices)
    if kind == "pointwise":
        read = [m and m[1].lower() == "true" for m in map(_TRUTH.fullmatch, _clauses(text))]
        return read[0] if read and all(value is read[0] for value in read) else None
    if kind == "rating":
        m = _RATING.fullmatch(text.strip(".[]() \n"))
        return float(m[1]) if m and 1 <= float(m[1]) <= 10 else None
    return _option(text, options)


def _clauses(text: str) -> list[str]:
    return [c for part in re.split(r"[.,;!](?=\s|$)|\n", text) if (c := part.strip(" ()[]_\"'"))]


def _choice(text: str, choices: int) -> int | None:
    """The presented number that all clauses agree on, 0 for a tie."""
    found: set[int] = set()
    for clause in _clauses(text):
        if clause.lower() in _TIES:
            found.add(0)
        elif m := _BARE.fullmatch(clause) or _SENTENCE.fullmatch(clause):
            number, *other = (_number(label) for label in m.groups() if label)
            if not 1 <= number <= choices or number in other:
                return None
            found.add(number)
        elif clause.lower() != "yes":
            return None
    return found.pop() if len(found) == 1 else None


def _number(label: str) -> int:
    """1 of `1`, `resp_1`, `A` and `a`."""
    label = label.lower().removeprefix("resp_")
    return int(label) if label.isdecimal() else ord(label) - ord("a") + 1


def _option(text: str, options: Collection[str]) -> str | None:
    """The key of `B`, `(b)`, `Option B`, `B is correct`, `B. the option`; None where it stands in another sentence, or
    with a second key beside it (`B or C`).
    """
    keys = {key.casefold(): key for key in options}
    if not any(re.fullmatch("[a-z]", key) for key in keys):
        keys |= {chr(ord("a") + i): key for i, key in enumerate(options)}
    any_key = "|".join(re.escape(key) for key in sorted(keys, key=len, reverse=True))
    form = rf"{_LEAD}[(\[]*({any_key})([)\].:]*)(?:{_IS_BETTER}[.!]?|\s+(.+))?"
    m = re.fullmatch(form, text, re.IGNORECASE | re.DOTALL) if keys else None
    if not m:
        return None
    key, mark, more = keys[m[1].casefold()], m[2], m[3]
    if not more:
        return key
    texts = options.items() if isinstance(options, Mapping) else ()
    if meant := [k for k, text in texts if text.strip(" .").casefold() == more.strip(" .").casefold()]:
        return key if key in meant else None
    others = re.findall(rf"(?:^|(?:\bor\b|\band\b|[,/&])\s*)[(\[]*({any_key})(?:[)\].:,/]|$)", more, re.IGNORECASE)
    doubts = re.match(r"(?:is|are|was|seems?|may|might|can|could|cannot)\b|[?]", more, re.IGNORECASE)
    denied = re.search(r"\b(?:not|no|wrong|incorrect|false|neither|nor|cannot)\b|n't\b|[?]", more, re.IGNORECASE)
    return key if mark and not doubts and not denied and {keys[o.casefold()] for o in others} <= {key} else None
