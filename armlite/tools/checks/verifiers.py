"""The 19 instruction-following verifiers: from a response to a `Check`, with what the model reads about each.

Each takes the response and its parameters (by name or in order) and a `mode`: `engine`, `tool` or `strict`; what they
measure is in `armlite.tools.checks.measures`. Called by the tools of `armlite.tools.instruction` and by MM-IFEval's
scorer. Names and parameters are the reference's, the words are ours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any

from armlite.errors import ArmliteError, ToolError, cut, nearest
from armlite.tools.checks import measures
from armlite.tools.checks.measures import MODES, Mode
from armlite.tools.checks.sentences import Splitter

__all__ = ["MODES", "VERIFIERS", "Check", "Mode", "Verifier", "check", "parameters"]


@dataclass(frozen=True)
class Check:
    """Whether a response satisfies a constraint, and what was measured."""

    ok: bool
    detail: str
    splitter: Splitter | None = None
    """What split the sentences, where they matter; counts of different splitters are not comparable."""


Measure = Callable[..., Check]
"""(response, mode, the verifier's parameters in their order) -> Check."""


@dataclass(frozen=True)
class Verifier:
    """One of the 19."""

    manual: str
    """What the model reads about it."""
    arguments: Mapping[str, str]
    """Parameter -> what the model reads about it, in the order in which MM-IFEval lists their values."""
    measure: Measure

    def __call__(self, text: str, *args: Any, mode: Mode = "strict", **params: Any) -> Check:
        """Check the parameters, then the response.

        Raises:
            ToolError: a missing, unknown or ill-typed parameter in every mode; in strict also one that makes no sense
                (a negative or crossed bound, an empty list or string), which engine and tool answer as their originals
                do.
            ArmliteError: an unknown mode.
        """
        if mode not in MODES:
            hint = nearest(str(mode), MODES)
            raise ArmliteError(f"there is no verifier mode {mode!r}.{hint} Modes: {', '.join(MODES)}")
        signature = Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in self.arguments])
        try:
            values = signature.bind(*args, **params).arguments
        except TypeError as error:
            raise ToolError(f"Error: {error}; the parameters are {', '.join(self.arguments)}.") from None
        for name, value in values.items():
            tests = _TESTS.get(name, _INTEGER)
            for fits, words in tests if mode == "strict" else tests[:1]:
                if not fits(value):
                    raise ToolError(f"Error: {name} {words}, got {value!r}.")
        for low, high in (("lower_bound", "upper_bound"), ("lower_bound_times", "upper_bound_times")):
            if mode == "strict" and low in values and values[low] > values[high]:
                raise ToolError(f"Error: {low} ({values[low]}) is greater than {high} ({values[high]}).")
        return self.measure(text, mode, *values.values())


def check(name: str, text: str, mode: Mode = "strict", **params: Any) -> Check:
    """Run the verifier `name`, which may be spelt with the engine's "metioned".

    Raises:
        ToolError: an unknown verifier, or what the verifier raises.
        ArmliteError: an unknown mode.
    """
    return _named(name)(text, mode=mode, **params)


def parameters(name: str) -> tuple[str, ...]:
    """Names of a verifier's parameters, in the order in which MM-IFEval lists their values.

    Raises:
        ToolError: an unknown verifier.
    """
    return tuple(_named(name).arguments)


def _named(name: str) -> Verifier:
    name = name.replace("_metioned_", "_mentioned_")
    if name not in VERIFIERS:
        raise ToolError(f"Error: there is no check named '{name}'.{nearest(name, VERIFIERS)}")
    return VERIFIERS[name]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_strings(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)


def _are_pairs(value: Any) -> bool:
    pairs = isinstance(value, list | tuple) and all(isinstance(r, list | tuple) and len(r) == 2 for r in value)
    return pairs and all(_is_int(bound) for pair in value for bound in pair)


Tests = tuple[tuple[Callable[[Any], Any], str], ...]
_INTEGER: Tests = ((_is_int, "must be an integer"), (lambda v: v >= 0, "must be 0 or more"))
_STRINGS: Tests = (
    (_are_strings, "must be a list of strings"),
    (lambda v: v and all(s.strip() for s in v), "must hold at least one string and no empty one"),
)
_TESTS: dict[str, Tests] = {
    "ranges": (
        (_are_pairs, "must be a list of [lower, upper] pairs of integers"),
        (lambda v: all(0 <= low <= high for low, high in v), "must hold pairs of 0 or more, the lower bound first"),
        (bool, "must not be empty"),
    ),
    "substrings": _STRINGS,
    "keywords": _STRINGS,
    "substring": ((lambda v: isinstance(v, str), "must be a string"), (str.strip, "must not be empty")),
}
"""Parameter (all others are whole numbers) -> what its value must be; all but the first test in strict mode only."""


def _asked(low: int, high: int) -> str:
    return f"asked for {low}" if low == high else f"asked for {low} to {high}"


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _short(text: str) -> str:
    return repr(cut(" ".join(text.split()), 60))


def _split(noun: str, mode: Mode) -> tuple[str, Splitter | None]:
    """What split the sentences, as words of a detail and by its name; nothing where no sentences matter."""
    splitter = measures.splitter_of(mode) if noun == "sentence" else None
    return f" ({splitter} splitter)" if splitter else "", splitter


def _sentences_or_lines(paragraph: str, mode: Mode) -> list[str]:
    """Of what it takes for poetry, tool counts the lines."""
    poetry = mode == "tool" and measures.is_poetry(paragraph)
    return paragraph.split("\n") if poetry else measures.sentences(paragraph, mode)


def _in_range(noun: str, count: Callable[..., int]) -> Measure:
    """How much of something there is in the response lies in the range, both ends included.

    Args:
        count: (response, mode, parameters before the bounds) -> number.
    """

    def measure(text: str, mode: Mode, *values: Any) -> Check:
        *others, low, high = values
        number, (by, splitter) = count(text, mode, *others), _split(noun, mode)
        return Check(low <= number <= high, f"{_many(number, noun)}{by}, {_asked(low, high)}", splitter)

    return measure


def _each_in_range(noun: str, parts: Callable[[str, Mode], Sequence[str]]) -> Measure:
    """Every paragraph's number of parts lies in the range.

    strict: a response without paragraphs fails; engine and tool pass it.
    """

    def measure(text: str, mode: Mode, low: int, high: int) -> Check:
        counts = [len(parts(p, mode)) for p in measures.paragraphs(text, mode)]
        by, splitter = _split(noun, mode)
        if not counts:
            return Check(mode != "strict", "the response has no paragraphs", splitter)
        for i, count in enumerate(counts, 1):
            if not low <= count <= high:
                return Check(False, f"paragraph {i} has {_many(count, noun)}{by}, {_asked(low, high)}", splitter)
        found = f"{min(counts)} to {max(counts)} {noun}s"
        return Check(True, f"{_many(len(counts), 'paragraph')} of {found}{by}, {_asked(low, high)}", splitter)

    return measure


def _sentences_in_ranges(text: str, mode: Mode, ranges: Sequence[Sequence[int]]) -> Check:
    """There are as many paragraphs as ranges, and each one's number of sentences lies in its own."""
    counts = [len(measures.sentences(p, mode)) for p in measures.paragraphs(text, mode)]
    by, splitter = _split("sentence", mode)
    if len(counts) != len(ranges):
        return Check(False, f"{_many(len(counts), 'paragraph')}, asked for {len(ranges)}", splitter)
    for i, (count, (low, high)) in enumerate(zip(counts, ranges, strict=True), 1):
        if not low <= count <= high:
            return Check(False, f"paragraph {i} has {_many(count, 'sentence')}{by}, {_asked(low, high)}", splitter)
    return Check(True, f"paragraphs of {', '.join(map(str, counts))} sentences{by}, as asked", splitter)


def _each(noun: str, verb: str, test: Callable[[str, str, Mode], bool]) -> Measure:
    """Every sentence or paragraph begins or ends with the substring; tool takes them from the text as it is.

    strict: a response without such parts fails; engine and tool pass it.
    """

    def measure(text: str, mode: Mode, substring: str) -> Check:
        if noun == "paragraph":
            parts = measures.paragraphs(text, mode, raw=mode == "tool")
        else:
            parts = measures.sentences(text if mode == "tool" else measures.clean(text), mode)
        (by, splitter), does = _split(noun, mode), f"{verb} with {substring!r}"
        if not parts:
            return Check(mode != "strict", f"the response has no {noun}s{by}", splitter)
        for i, part in enumerate(parts, 1):
            if not test(part, substring, mode):
                return Check(False, f"{noun} {i} of {len(parts)}{by} does not {does}: {_short(part)}", splitter)
        whole = f"the only {noun} does" if len(parts) == 1 else f"all {len(parts)} {noun}s"
        return Check(True, f"{whole} {does}{by}", splitter)

    return measure


def _contains_none(text: str, mode: Mode, substrings: Sequence[str]) -> Check:
    found = [s for s in substrings if measures.contains(text, s, mode)]
    return Check(not found, f"contains {', '.join(map(repr, found))}" if found else "contains none of them")


def _contains_not(text: str, mode: Mode, substring: str) -> Check:
    found = measures.contains(text, substring, mode)
    return Check(not found, f"{'contains' if found else 'does not contain'} {substring!r}")


def _begins(text: str, mode: Mode, substring: str) -> Check:
    return Check(measures.begins(text.strip(), substring, mode), f"begins {_short(text[:80])}, asked for {substring!r}")


def _ends(text: str, mode: Mode, substring: str) -> Check:
    ending = " ".join(text.split())[-57:]
    return Check(measures.ends(text.strip(), substring, mode), f"ends {ending!r}, asked for {substring!r}")


def _each_mentioned(text: str, mode: Mode, keywords: Sequence[str], low: int, high: int) -> Check:
    counts = {k: measures.mentions(text, k, mode) for k in keywords}
    found = ", ".join(f"{k!r} {_many(n, 'time')}" for k, n in counts.items())
    return Check(all(low <= n <= high for n in counts.values()), f"{found or 'no keywords'}, {_asked(low, high)} each")


def _precise(noun: str, numbers: Callable[[str, Mode], list[str]]) -> Measure:
    """Every number has so many decimals, a whole number 0; of percentages engine fails every whole one, even for 0."""

    def measure(text: str, mode: Mode, precision: int) -> Check:
        found, whole_fails = numbers(text, mode), noun == "percentage" and mode == "engine"
        wrong = [n for n in found if measures.decimals(n) != precision or (whole_fails and "." not in n)]
        if not found:
            return Check(True, f"no {noun}s")
        unlike = f"; not so: {', '.join(wrong[:5])}" if wrong else ""
        return Check(not wrong, f"{_many(len(found), noun)}, asked for {_many(precision, 'decimal')}{unlike}")

    return measure


def _no_digits(text: str, mode: Mode) -> Check:
    found = measures.arabic_numbers(text, mode)
    detail = f"{_many(len(found), 'number')} in digits: {', '.join(found[:5])}"
    return Check(not found, detail if found else "no numbers in digits")


def _bounds(of: str, suffix: str = "") -> dict[str, str]:
    return {f"lower_bound{suffix}": f"Least allowed {of}.", f"upper_bound{suffix}": f"Greatest allowed {of}."}


VERIFIERS: dict[str, Verifier] = {
    "check_whether_response_paragraph_number_in_range": Verifier(
        "Check whether the number of paragraphs of a response lies in a range, both bounds included. Paragraphs are "
        "separated by blank lines.",
        _bounds("number of paragraphs"),
        _in_range("paragraph", lambda text, mode: len(measures.paragraphs(text, mode))),
    ),
    "check_whether_response_sentence_number_in_range": Verifier(
        "Check whether the number of sentences of a response lies in a range, both bounds included.",
        _bounds("number of sentences"),
        _in_range("sentence", lambda text, mode: len(measures.sentences(measures.clean(text), mode))),
    ),
    "check_whether_each_paragraph_sentence_number_in_range": Verifier(
        "Check whether every paragraph of a response has a number of sentences in a range, both bounds included.",
        _bounds("number of sentences of a paragraph"),
        _each_in_range("sentence", _sentences_or_lines),
    ),
    "check_whether_each_paragraph_sentence_number_in_range_list": Verifier(
        "Check whether each paragraph of a response has a number of sentences in a range of its own. There must be as "
        "many paragraphs as ranges.",
        {"ranges": "One [lower bound, upper bound] pair for each paragraph, in order, such as [[1, 2], [3, 5]]."},
        _sentences_in_ranges,
    ),
    "check_whether_response_word_count_in_range": Verifier(
        "Check whether the number of words of a response lies in a range, both bounds included.",
        _bounds("number of words"),
        _in_range("word", lambda text, mode: len(measures.words(text, mode))),
    ),
    "check_whether_each_paragraph_word_count_in_range": Verifier(
        "Check whether every paragraph of a response has a number of words in a range, both bounds included.",
        _bounds("number of words of a paragraph"),
        _each_in_range("word", measures.words),
    ),
    "check_whether_whole_response_not_contain_certain_substrings": Verifier(
        "Check whether a response contains none of the given strings.",
        {"substrings": "Strings that must not occur, not even inside a word."},
        _contains_none,
    ),
    "check_whether_whole_response_not_contain_certain_substring": Verifier(
        "Check whether a response does not contain the given string.",
        {"substring": "String that must not occur, not even inside a word."},
        _contains_not,
    ),
    "check_whether_each_sentence_begin_with_certain_substring": Verifier(
        "Check whether every sentence of a response begins with the given string.",
        {"substring": "String that each sentence must begin with."},
        _each("sentence", "begin", measures.begins),
    ),
    "check_whether_each_paragraph_begin_with_certain_substring": Verifier(
        "Check whether every paragraph of a response begins with the given string.",
        {"substring": "String that each paragraph must begin with."},
        _each("paragraph", "begin", measures.begins),
    ),
    "check_whether_each_paragraph_end_with_certain_substring": Verifier(
        "Check whether every paragraph of a response ends with the given string.",
        {"substring": "String that each paragraph must end with."},
        _each("paragraph", "end", measures.ends),
    ),
    "check_whether_each_sentence_end_with_certain_substring": Verifier(
        "Check whether every sentence of a response ends with the given string.",
        {"substring": "String that each sentence must end with."},
        _each("sentence", "end", measures.ends),
    ),
    "check_whether_whole_response_begin_with_certain_substring": Verifier(
        "Check whether a response begins with the given string.",
        {"substring": "String that the response must begin with."},
        _begins,
    ),
    "check_whether_whole_response_end_with_certain_substring": Verifier(
        "Check whether a response ends with the given string.",
        {"substring": "String that the response must end with."},
        _ends,
    ),
    "check_whether_each_keyword_in_list_mentioned_in_range": Verifier(
        "Check whether each keyword of a list is mentioned in a response a number of times in a range, both bounds "
        "included. Whole words are counted, in any case.",
        {"keywords": "Keywords to count."} | _bounds("number of mentions of each keyword", "_times"),
        _each_mentioned,
    ),
    "check_whether_total_keyword_in_list_mentioned_in_range": Verifier(
        "Check whether the keywords of a list are together mentioned in a response a number of times in a range, both "
        "bounds included. Whole words are counted, in any case.",
        {"keywords": "Keywords to count."} | _bounds("number of mentions of all keywords together", "_times"),
        _in_range("mention", lambda text, mode, keywords: measures.total_mentions(text, keywords, mode)),
    ),
    "check_percentage_number_precision_in_response": Verifier(
        "Check whether every number before a percent sign in a response has a given number of decimal places.",
        {"precision": "Required number of decimal places."},
        _precise("percentage", measures.percentages),
    ),
    "check_number_precision_in_response": Verifier(
        "Check whether every number in a response has a given number of decimal places.",
        {"precision": "Required number of decimal places; a whole number has 0."},
        _precise("number", measures.numbers),
    ),
    "check_whether_has_no_arabic_number_in_response": Verifier(
        "Check whether a response contains no numbers written in digits, such as 12, 3.14 or 1,000.",
        {},
        _no_digits,
    ),
}
"""Name on the wire -> verifier, in the reference's order."""
