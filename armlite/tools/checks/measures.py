"""What the verifiers measure in a response, in three modes: paragraphs, sentences, words, mentions, numbers.

`engine` gives what MM-IFEngine's functions give and `tool` what ARM-Thinker's tools give, bugs included. `strict` is
ours and reads a response as a person would: the line `strict:` of each docstring defines it. Called by the verifiers.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal

from armlite.tools.checks.sentences import Splitter, installed_splitter, split_sentences

Mode = Literal["engine", "tool", "strict"]
MODES: tuple[Mode, ...] = ("engine", "tool", "strict")

_BLANK = re.compile(r"\n\s*\n")
_HEADING = re.compile(r"^#{1,6}(?:[ \t].*)?$", re.MULTILINE)
_RULE = re.compile(r"^(?:[-*_=][ \t]*){3,}$", re.MULTILINE)
_CODE = re.compile(r"^(?:>[ \t]*)*(`{3,}(?=[^`\n]*$)|~{3,}).*?(?:^(?:>[ \t]*)*\1[`~]*$|\Z)", re.MULTILINE | re.DOTALL)
_QUOTE = re.compile(r"^(?:>[ \t]*)+", re.MULTILINE)
_ITEM = re.compile(r"^(?:[-*+•▪◦–]|(?:\*\*)?\(?\d{1,3}[.)](?:\*\*)?|\(?[A-Za-z]\))[ \t]+", re.MULTILINE)
_MARKER = re.compile(rf"[> \t]*(?:#{{1,6}}[ \t]+)?(?:{_ITEM.pattern[1:]})?")
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_CURLY = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "…": "..."})
_OPENING = " \t\n*_~`\"'([{«"
_CLOSING = " \t\n*_~`\"')]}»"
_STOPS = ".!?:;,"
_WIDE_END = re.compile("([。！？｡।॥؟۔።։။།។៕]+(?:(?![」』）】》”’\"')\\]])|[」』）】》”’\"')\\]]+(?=\\s|$|[「『“‘])))")
"""Full stops of other scripts, which want no space behind them; before a closing quote one may go on."""


def clean(text: str) -> str:
    """Every line stripped, then the whole."""
    return "\n".join(line.strip() for line in text.splitlines()).strip()


def fold(text: str) -> str:
    """strict: one spelling of what looks the same: Unicode NFC, straight quotes, `...`; letters keep their case."""
    return unicodedata.normalize("NFC", text).translate(_CURLY)


def paragraphs(text: str, mode: Mode, raw: bool = False) -> list[str]:
    """The parts between blank lines.

    strict: Markdown headings and rules are no paragraphs, unless there is nothing but headings, and the `>` of a
    quotation is not part of one. In a block of code nothing is a heading, a rule or a quotation.

    Args:
        text: the response.
        mode: the semantics.
        raw: do not strip the lines first, as the tools 9 to 12 of `tool` do not.
    """
    text = text if raw else clean(text)
    if mode == "strict":
        unmarked = clean(_prose(text, lambda prose: _RULE.sub("\n", _QUOTE.sub("", prose))))
        text = clean(_prose(unmarked, lambda prose: _HEADING.sub("\n", prose))) or unmarked
    return [p for p in _BLANK.split(text) if p.strip()]


def _prose(text: str, change: Callable[[str], str]) -> str:
    """The text, changed where it is not code between fences."""
    parts, at = [], 0
    for code in _CODE.finditer(text):
        parts += [change(text[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*parts, change(text[at:])])


def splitter_of(mode: Mode) -> Splitter:
    """strict: always the bundled splitter, so that a recipe gives the same result on every machine."""
    return "regex" if mode == "strict" else installed_splitter()


def sentences(text: str, mode: Mode) -> list[str]:
    """The sentences of a text or of a paragraph.

    strict: none reaches over a blank line or a list item, list markers and headings belong to none, and one needs a
    letter or digit (an emoji after a full stop belongs to the sentence before it). The stops of other scripts, as `。`,
    `।` and `؟`, end one too.
    """
    if mode != "strict":
        return split_sentences(text, splitter_of(mode))
    found: list[str] = []
    for piece in (piece for p in paragraphs(text, mode) for piece in _ITEM.split(p)):
        own: list[str] = []
        parts = _WIDE_END.sub("\\1\n\n", piece).split("\n\n")
        for sentence in (sentence for part in parts for sentence in split_sentences(part, "regex")):
            if any(c.isalnum() for c in sentence):
                own.append(sentence)
            elif own:
                own[-1] += " " + sentence
        found += own
    return found


def words(text: str, mode: Mode) -> list[str]:
    """The words of a text or of a paragraph.

    strict: split at white space and dashes (not hyphens); each holds a letter or digit; list markers are none; every
    Han or kana character is one.
    """
    if mode == "engine":
        return re.sub(r"[^\w\s.-]", "", text).split()
    if mode == "tool":
        return clean(text).split()
    tokens = re.findall(rf"[{_CJK}]|[^\s—{_CJK}]+", _ITEM.sub("", clean(text)).replace(" -- ", "—"))
    return [t for t in tokens if any(c.isalnum() for c in t)]


def is_poetry(paragraph: str) -> bool:
    """`tool` only: short lines that mostly end with a hyphen; of such a paragraph the lines are counted."""
    lines = [line.strip() for line in paragraph.split("\n")]
    if len(lines) < 2:
        return False
    short, dashed, spaced = (
        sum(test(line) for line in lines) / len(lines)
        for test in (lambda s: len(s) < 60, lambda s: s.endswith("-"), lambda s: s.endswith(" -"))
    )
    # The order of the operations is the reference's: 0.6 is a threshold that rounding can cross.
    return short * 0.4 + dashed * 0.4 + spaced * 0.2 > 0.6


def contains(text: str, substring: str, mode: Mode) -> bool:
    """Whether the substring occurs, inside words too. strict: whatever the case."""
    if mode == "engine":
        return substring in text
    if mode == "tool":
        return substring.lower() in clean(text).lower()
    return fold(substring).casefold() in fold(text).casefold()


def begins(part: str, substring: str, mode: Mode) -> bool:
    """Whether a response, paragraph or sentence begins with the substring.

    strict: with case; a list marker, opening quotes, brackets and Markdown marks before it are passed over.
    """
    if mode == "engine":
        return part.startswith(substring)
    if mode == "tool":
        return _normal(part).startswith(_normal(substring))
    part, substring = fold(part).strip(), fold(substring).strip()
    bare = part[_MARKER.match(part).end() :]  # type: ignore[union-attr]  # it always matches
    return any(p.startswith(substring) for p in (part, bare, bare.lstrip(_OPENING)))


def ends(part: str, substring: str, mode: Mode) -> bool:
    """Whether a response, paragraph or sentence ends with the substring.

    strict: with case; closing quotes, brackets and Markdown marks after it are passed over, and so is punctuation where
    the substring ends without any ("The end." ends with "end", "done" does not end with ".").
    """
    if mode == "engine":
        return part.endswith(substring)
    if mode == "tool":
        return _normal(part).endswith(_normal(substring))
    part, substring = fold(part).strip(), fold(substring).strip()
    passed = _CLOSING if substring[-1:] in _STOPS else _CLOSING + _STOPS
    return part.endswith(substring) or part.rstrip(passed).endswith(substring)


def _normal(text: str) -> str:
    """`tool` only: what beginnings and ends are compared in; it loses dots, so none can be required."""
    text = re.sub(r"^[.…]+", "", text.strip().lower())
    return re.sub(r"[.…]+$", "", text).strip()


def mentions(text: str, keyword: str, mode: Mode) -> int:
    """How often a keyword occurs as a word, whatever the case; a hyphen ends a word ("art" in "state-of-the-art").

    strict: no word character beside it (so "C++" and "#AI" can match); any white space between its words.
    """
    if mode == "engine":
        return len(re.findall(rf"\b{re.escape(keyword.lower())}\b", clean(text).lower()))
    if mode == "tool":
        pattern = re.escape(keyword) if keyword.startswith("#") else rf"\b{re.escape(keyword)}\b"
        return len(re.findall(pattern, clean(text), re.IGNORECASE))
    return len(re.findall(_keyword(keyword), fold(text), re.IGNORECASE))


def total_mentions(text: str, keywords: Sequence[str], mode: Mode) -> int:
    """The mentions of all keywords together.

    strict: a stretch of text counts once, for its longest keyword; engine and tool count "deep learning" for "learning"
    too.
    """
    if mode != "strict":
        return sum(mentions(text, k, mode) for k in keywords)
    longest_first = sorted(keywords, key=lambda k: -len(k))
    return len(re.findall("|".join(_keyword(k) for k in longest_first), fold(text), re.IGNORECASE))


def _keyword(keyword: str) -> str:
    keyword = fold(keyword).strip()
    left, right = ("" if re.match(rf"[{_CJK}]", c) else r"\w" for c in (keyword[:1], keyword[-1:]))
    body = r"\s+".join(re.escape(word) for word in keyword.split())
    return (rf"(?<!{left})" if left else "") + body + (rf"(?!{right})" if right else "")


_ENGINE_NUMBER = re.compile(r"(?<!\w)[+-]?(?:\d{1,3}(?:,\d{3})*(?:\.\d+)?|\d*\.\d+|\d+)(?:[eE][+-]?\d+)?%?(?!\w)")
_ENGINE_ARABIC = re.compile(r"(?<![.\w])(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?%?|\d+(?:\.\d+)?(?:%|[eE][+-]?\d+)?)(?![.\w])")
_VALUE = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
_STRICT_NUMBER = re.compile(
    rf"""
      ^[ \t>]*(?:[-*+•][ \t]+)?(?:\#{{1,6}}[ \t]+)?[*_]*\(?\d{{1,3}}[.)](?=[\s*_])    # list marker
    | \d{{4}}([-/.])\d{{1,2}}\1\d{{1,2}} | \d{{1,2}}([-/.])\d{{1,2}}\2\d{{2,4}}   # date
    | \d{{1,2}}:\d{{2}}(?::\d{{2}})?                                  # time
    | \d+(?:\.\d+){{2,}}                                              # version, section
    | (?<!\w)[^\W\d_]\w*-?\d[\w.]*                                    # name: v1.2, A4, COVID-19
    | (?P<value>{_VALUE})(?:[eE][+-]?\d+)?(?P<unit>[^\W\d_]\w*)?
    """,
    re.MULTILINE | re.VERBOSE,
)


def percentages(text: str, mode: Mode) -> list[str]:
    """The numbers before a percent sign. strict: with thousands commas and any space; tool: no integers, no space."""
    # The lookbehind changes no result: it keeps long runs of digits from being tried from each of their digits.
    if mode == "engine":
        return re.findall(r"(?<!\d)(\d+\.\d+|\d+)\s*%", text)
    if mode == "tool":
        return re.findall(r"(?<!\d)(\d+\.\d+)%", text)
    return [value for value, sign in re.findall(rf"({_VALUE})(\s*[%％])?", text) if sign]


def numbers(text: str, mode: Mode) -> list[str]:
    """The numbers whose decimals count, without exponent, sign, unit and percent sign.

    strict: list markers, dates, times, versions ("1.2.3"), names with digits ("v1.2", "A4", "COVID-19") and whole
    numbers with letters ("2nd", "10kg") are none; decimals with a unit ("3.10kg") are. Of "1e-5" the "1" counts, as in
    engine.
    """
    if mode == "tool":
        return re.findall(r"(?<!\d)\d+\.\d+", text)
    if mode == "engine":
        return [re.split("[eE]", m.group().rstrip("%"))[0].lstrip("+-") for m in _ENGINE_NUMBER.finditer(text)]
    found = [(m["value"], m["unit"]) for m in _STRICT_NUMBER.finditer(text)]
    return [value for value, unit in found if value and ("." in value or not unit)]


def decimals(number: str) -> int:
    """Digits after the decimal point; 0 for a whole number."""
    return len(number.partition(".")[2])


def arabic_numbers(text: str, mode: Mode) -> list[str]:
    """The numbers in digits.

    strict: every run of decimal digits of any script, also inside words ("A4", "2nd") and before a full stop.
    """
    if mode == "engine":
        return [m.group() for m in _ENGINE_ARABIC.finditer(text)]
    return re.findall(r"\b\d+\b" if mode == "tool" else r"\d+", text)
