"""The 19 instruction-following verifiers: pure functions from a response to a `Check`.

Each takes the response and its parameters (by name or in order) and a `mode`: `engine`, `tool` or `strict`; what they
measure is in `armlite.tools.checks.measures`. Called by the tools of `armlite.tools.instruction` and by MM-IFEval's
scorer.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from armlite.errors import ArmliteError, ToolError, nearest
from armlite.tools.checks import measures
from armlite.tools.checks.measures import MODES, Mode
from armlite.tools.checks.sentences import Splitter

__all__ = ["MODES", "VERIFIERS", "Check", "Mode", "check", "parameters"]


@dataclass(frozen=True)
class Check:
    """Whether a response satisfies a constraint, and what was measured."""

    ok: bool
    detail: str
    splitter: Splitter | None = None
    """What split the sentences, where they matter; counts of different splitters are not comparable."""


VERIFIERS: dict[str, Callable[..., Check]] = {}
"""Name on the wire -> verifier."""


def check(name: str, text: str, mode: Mode = "strict", **params: Any) -> Check:
    """Run the verifier `name`, which may be spelt with the engine's "metioned".

    Raises:
        ToolError: an unknown verifier, or what the verifier raises.
        ArmliteError: an unknown mode.
    """
    return VERIFIERS[_wire_name(name)](text, mode=mode, **params)


def parameters(name: str) -> tuple[str, ...]:
    """Names of a verifier's parameters, in the order in which MM-IFEval lists their values.

    Raises:
        ToolError: an unknown verifier.
    """
    names = inspect.signature(VERIFIERS[_wire_name(name)]).parameters
    return tuple(n for n in names if n not in ("text", "mode"))


def _wire_name(name: str) -> str:
    name = name.replace("_metioned_", "_mentioned_")
    if name not in VERIFIERS:
        raise ToolError(f"Error: there is no check named '{name}'.{nearest(name, VERIFIERS)}")
    return name


def _verifier(function: Callable[..., Check]) -> Callable[..., Check]:
    """Register a verifier and check its parameters before it runs.

    Raises:
        ToolError: a missing, unknown or ill-typed parameter in every mode; in strict also one that makes no sense (a
            negative or crossed bound, an empty list or string), which engine and tool answer as their originals do.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(text: str, *args: Any, mode: Mode = "strict", **params: Any) -> Check:
        if mode not in MODES:
            hint = nearest(str(mode), MODES)
            raise ArmliteError(f"there is no verifier mode {mode!r}.{hint} Modes: {', '.join(MODES)}")
        try:
            bound = signature.bind(text, *args, mode=mode, **params)
        except TypeError as error:
            raise ToolError(f"Error: {function.__name__}: {error}.") from None
        values = {n: v for n, v in bound.arguments.items() if n not in ("text", "mode")}
        for name, value in values.items():
            if problem := _ill_typed(name, value) or (_senseless(name, value) if mode == "strict" else ""):
                raise ToolError(f"Error: {name} {problem}, got {value!r}.")
        for low, high in (("lower_bound", "upper_bound"), ("lower_bound_times", "upper_bound_times")):
            if mode == "strict" and low in values and values[low] > values[high]:
                raise ToolError(f"Error: {low} ({values[low]}) is greater than {high} ({values[high]}).")
        return function(text, mode=mode, **values)

    VERIFIERS[function.__name__] = checked
    return checked


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _ill_typed(name: str, value: Any) -> str:
    if name == "ranges":
        pairs = isinstance(value, list | tuple) and all(isinstance(r, list | tuple) and len(r) == 2 for r in value)
        fine = pairs and all(_is_int(bound) for pair in value for bound in pair)
        return "" if fine else "must be a list of [lower, upper] pairs of integers"
    if name in ("substrings", "keywords"):
        strings = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
        return "" if strings else "must be a list of strings"
    if name == "substring":
        return "" if isinstance(value, str) else "must be a string"
    return "" if _is_int(value) else "must be an integer"


def _senseless(name: str, value: Any) -> str:
    if name == "ranges":
        if not all(0 <= low <= high for low, high in value):
            return "must hold pairs of 0 or more, the lower bound first"
        return "" if value else "must not be empty"
    if name in ("substrings", "keywords"):
        return "" if value and all(v.strip() for v in value) else "must hold at least one string and no empty one"
    if name == "substring":
        return "" if value.strip() else "must not be empty"
    return "" if value >= 0 else "must be 0 or more"


def _asked(low: int, high: int) -> str:
    return f"asked for {low}" if low == high else f"asked for {low} to {high}"


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _in_range(number: int, noun: str, low: int, high: int, splitter: Splitter | None = None) -> Check:
    by = f" ({splitter} splitter)" if splitter else ""
    return Check(low <= number <= high, f"{_many(number, noun)}{by}, {_asked(low, high)}", splitter)


def _each_in_range(
    counts: Sequence[int], noun: str, low: int, high: int, mode: Mode, splitter: Splitter | None = None
) -> Check:
    """strict: a response without paragraphs fails; engine and tool pass it."""
    by = f" ({splitter} splitter)" if splitter else ""
    if not counts:
        return Check(mode != "strict", "the response has no paragraphs", splitter)
    for i, count in enumerate(counts, 1):
        if not low <= count <= high:
            return Check(False, f"paragraph {i} has {_many(count, noun)}{by}, {_asked(low, high)}", splitter)
    found = f"{min(counts)} to {max(counts)} {noun}s"
    return Check(True, f"{_many(len(counts), 'paragraph')} of {found}{by}, {_asked(low, high)}", splitter)


def _each_part(
    parts: Sequence[str],
    noun: str,
    test: Callable[[str], bool],
    does: str,
    mode: Mode,
    splitter: Splitter | None = None,
) -> Check:
    """strict: a response without such parts fails; engine and tool pass it."""
    by = f" ({splitter} splitter)" if splitter else ""
    if not parts:
        return Check(mode != "strict", f"the response has no {noun}s{by}", splitter)
    for i, part in enumerate(parts, 1):
        if not test(part):
            return Check(False, f"{noun} {i} of {len(parts)}{by} does not {does}: {_short(part)}", splitter)
    whole = f"the only {noun} does" if len(parts) == 1 else f"all {len(parts)} {noun}s"
    return Check(True, f"{whole} {does}{by}", splitter)


@_verifier
def check_whether_response_paragraph_number_in_range(
    text: str, lower_bound: int, upper_bound: int, *, mode: Mode = "strict"
) -> Check:
    """The number of paragraphs lies in the range, both ends included."""
    return _in_range(len(measures.paragraphs(text, mode)), "paragraph", lower_bound, upper_bound)


@_verifier
def check_whether_response_sentence_number_in_range(
    text: str, lower_bound: int, upper_bound: int, *, mode: Mode = "strict"
) -> Check:
    """The number of sentences lies in the range."""
    count = len(measures.sentences(measures.clean(text), mode))
    return _in_range(count, "sentence", lower_bound, upper_bound, measures.splitter_of(mode))


@_verifier
def check_whether_each_paragraph_sentence_number_in_range(
    text: str, lower_bound: int, upper_bound: int, *, mode: Mode = "strict"
) -> Check:
    """Every paragraph's number of sentences lies in the range; tool counts the lines of what it takes for poetry."""
    counts = [
        len(p.split("\n")) if mode == "tool" and measures.is_poetry(p) else len(measures.sentences(p, mode))
        for p in measures.paragraphs(text, mode)
    ]
    return _each_in_range(counts, "sentence", lower_bound, upper_bound, mode, measures.splitter_of(mode))


@_verifier
def check_whether_each_paragraph_sentence_number_in_range_list(
    text: str, ranges: list[list[int]], *, mode: Mode = "strict"
) -> Check:
    """There are as many paragraphs as ranges, and each one's number of sentences lies in its own."""
    counts = [len(measures.sentences(p, mode)) for p in measures.paragraphs(text, mode)]
    splitter = measures.splitter_of(mode)
    if len(counts) != len(ranges):
        return Check(False, f"{_many(len(counts), 'paragraph')}, asked for {len(ranges)}", splitter)
    for i, (count, (low, high)) in enumerate(zip(counts, ranges, strict=True), 1):
        if not low <= count <= high:
            detail = f"paragraph {i} has {_many(count, 'sentence')} ({splitter} splitter), {_asked(low, high)}"
            return Check(False, detail, splitter)
    found = ", ".join(map(str, counts))
    return Check(True, f"paragraphs of {found} sentences ({splitter} splitter), as asked", splitter)


@_verifier
def check_whether_response_word_count_in_range(
    text: str, lower_bound: int, upper_bound: int, *, mode: Mode = "strict"
) -> Check:
    """The number of words lies in the range; headings count."""
    return _in_range(len(measures.words(text, mode)), "word", lower_bound, upper_bound)


@_verifier
def check_whether_each_paragraph_word_count_in_range(
    text: str, lower_bound: int, upper_bound: int, *, mode: Mode = "strict"
) -> Check:
    """Every paragraph's number of words lies in the range."""
    counts = [len(measures.words(p, mode)) for p in measures.paragraphs(text, mode)]
    return _each_in_range(counts, "word", lower_bound, upper_bound, mode)


@_verifier
def check_whether_whole_response_not_contain_certain_substrings(
    text: str, substrings: list[str], *, mode: Mode = "strict"
) -> Check:
    """None of the substrings occurs, not even inside a word."""
    found = [s for s in substrings if measures.contains(text, s, mode)]
    return Check(not found, f"contains {', '.join(map(repr, found))}" if found else "contains none of them")


@_verifier
def check_whether_whole_response_not_contain_certain_substring(
    text: str, substring: str, *, mode: Mode = "strict"
) -> Check:
    """The substring does not occur, not even inside a word."""
    found = measures.contains(text, substring, mode)
    return Check(not found, f"{'contains' if found else 'does not contain'} {substring!r}")


@_verifier
def check_whether_each_sentence_begin_with_certain_substring(
    text: str, substring: str, *, mode: Mode = "strict"
) -> Check:
    """Every sentence begins with the substring."""
    parts = measures.sentences(text if mode == "tool" else measures.clean(text), mode)
    return _each_part(
        parts,
        "sentence",
        lambda s: measures.begins(s, substring, mode),
        f"begin with {substring!r}",
        mode,
        measures.splitter_of(mode),
    )


@_verifier
def check_whether_each_paragraph_begin_with_certain_substring(
    text: str, substring: str, *, mode: Mode = "strict"
) -> Check:
    """Every paragraph begins with the substring."""
    parts = measures.paragraphs(text, mode, raw=mode == "tool")
    does = f"begin with {substring!r}"
    return _each_part(parts, "paragraph", lambda p: measures.begins(p, substring, mode), does, mode)


@_verifier
def check_whether_each_paragraph_end_with_certain_substring(
    text: str, substring: str, *, mode: Mode = "strict"
) -> Check:
    """Every paragraph ends with the substring."""
    parts = measures.paragraphs(text, mode, raw=mode == "tool")
    does = f"end with {substring!r}"
    return _each_part(parts, "paragraph", lambda p: measures.ends(p, substring, mode), does, mode)


@_verifier
def check_whether_each_sentence_end_with_certain_substring(
    text: str, substring: str, *, mode: Mode = "strict"
) -> Check:
    """Every sentence ends with the substring."""
    parts = measures.sentences(text if mode == "tool" else measures.clean(text), mode)
    return _each_part(
        parts,
        "sentence",
        lambda s: measures.ends(s, substring, mode),
        f"end with {substring!r}",
        mode,
        measures.splitter_of(mode),
    )


@_verifier
def check_whether_whole_response_begin_with_certain_substring(
    text: str, substring: str, *, mode: Mode = "strict"
) -> Check:
    """The response begins with the substring."""
    return Check(measures.begins(text.strip(), substring, mode), f"begins {_short(text[:80])}, asked for {substring!r}")


@_verifier
def check_whether_whole_response_end_with_certain_substring(
    text: str, substring: str, *, mode: Mode = "strict"
) -> Check:
    """The response ends with the substring."""
    ending = " ".join(text.split())[-57:]
    return Check(measures.ends(text.strip(), substring, mode), f"ends {ending!r}, asked for {substring!r}")


@_verifier
def check_whether_each_keyword_in_list_mentioned_in_range(
    text: str, keywords: list[str], lower_bound_times: int, upper_bound_times: int, *, mode: Mode = "strict"
) -> Check:
    """Each keyword is mentioned so many times."""
    counts = {k: measures.mentions(text, k, mode) for k in keywords}
    found = ", ".join(f"{k!r} {_many(n, 'time')}" for k, n in counts.items())
    ok = all(lower_bound_times <= n <= upper_bound_times for n in counts.values())
    return Check(ok, f"{found or 'no keywords'}, {_asked(lower_bound_times, upper_bound_times)} each")


@_verifier
def check_whether_total_keyword_in_list_mentioned_in_range(
    text: str, keywords: list[str], lower_bound_times: int, upper_bound_times: int, *, mode: Mode = "strict"
) -> Check:
    """All keywords together are mentioned so many times."""
    total = measures.total_mentions(text, keywords, mode)
    return _in_range(total, "mention", lower_bound_times, upper_bound_times)


@_verifier
def check_percentage_number_precision_in_response(text: str, precision: int, *, mode: Mode = "strict") -> Check:
    """Every number before a percent sign has so many decimals; engine fails every whole number, even for 0."""
    found = measures.percentages(text, mode)
    wrong = [n for n in found if measures.decimals(n) != precision or (mode == "engine" and "." not in n)]
    return _precise(found, wrong, "percentage", precision)


@_verifier
def check_number_precision_in_response(text: str, precision: int, *, mode: Mode = "strict") -> Check:
    """Every number has so many decimals, a whole number 0."""
    found = measures.numbers(text, mode)
    return _precise(found, [n for n in found if measures.decimals(n) != precision], "number", precision)


def _precise(found: Sequence[str], wrong: Sequence[str], noun: str, precision: int) -> Check:
    if not found:
        return Check(True, f"no {noun}s")
    unlike = f"; not so: {', '.join(wrong[:5])}" if wrong else ""
    return Check(not wrong, f"{_many(len(found), noun)}, asked for {_many(precision, 'decimal')}{unlike}")


@_verifier
def check_whether_has_no_arabic_number_in_response(text: str, *, mode: Mode = "strict") -> Check:
    """No number is written in digits."""
    found = measures.arabic_numbers(text, mode)
    detail = f"{_many(len(found), 'number')} in digits: {', '.join(found[:5])}"
    return Check(not found, detail if found else "no numbers in digits")
