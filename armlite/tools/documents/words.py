"""Words as the page search sees them: normalised, numbers in one spelling, English ones stemmed.

Scripts that are written without spaces (Han, kana, Thai, Lao, Khmer, Burmese), and Hangul with its endings, have no
words to be found by rule: there every two neighbouring characters are one.
"""

import re
import unicodedata
from functools import cache, lru_cache
from itertools import pairwise

_UNSPACED = (
    "\u0e01-\u0eff\u1000-\u1049\u104c-\u109f\u1780-\u17d3\u17d7\u17db-\u17ff"
    "\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u200c\u200d]")
"""Accents, and the vowel points that Arabic and Hebrew may leave out. Other marks, as vowel signs, are letters."""
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[12][0-9]{3}(?![0-9A-Za-z]))")
_INITIALS = re.compile(r"\b(?:[A-Za-z][.&]){1,3}[A-Za-z]\b")
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
_SPELT = {word: str(n) for n, word in enumerate(NUMBERS)} | {
    word: f"{n}{('st', 'nd', 'rd')[n - 1] if n < 4 else 'th'}" for n, word in enumerate(ORDINALS, 1)
}

_STOP_WORDS = """
    a about above after all also am an and any are as at be because been before being below between both but by
    can could did do does doing down during each either else ever for from further had has have having he her here hers
    him his how i if in into is it its itself just may me might more most must my no nor not of off on once only or
    other our out over own per same shall she should so some such than that the their them then there these they this
    those through to too under until up upon use used using very was we were what when where which while who whom whose
    why will with within would you your"""
STOP = frozenset(_STOP_WORDS.split())
"""Words that carry no topic; they are neither indexed nor searched."""


def words(text: str) -> list[str]:
    """The words of a text in order: NFKC, lower case, without accents, numbers without separators.

    `CamelCase` and `FY2019` are split, initials (`U.S.`, `R&D`) joined.
    """
    text = _CAMEL.sub(" ", unicodedata.normalize("NFKC", text))
    text = _INITIALS.sub(lambda m: re.sub("[.&]", "", m[0]), text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))
    found: list[str] = []
    number_or_word, character = _patterns()
    for word in number_or_word.findall(text.casefold()):
        if word.isascii() or not is_unspaced(word[0]):
            found.append(_spell(word))
        else:
            signs = character.findall(word)
            found += [a + b for a, b in pairwise(signs)] or signs
    return found


def is_unspaced(word: str) -> bool:
    """Whether a word begins in a script that is written without spaces."""
    return re.match(f"[{_UNSPACED}]", word) is not None


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What finds a number, a word, or a run of an unspaced script; and in a run a character with its marks."""
    marks = "".join(c for c in map(chr, range(0x0483, 0x20000)) if unicodedata.category(c)[0] == "M")
    other = rf"[^\W_{_UNSPACED}]"
    run = rf"[{_UNSPACED}{marks}]+"
    number = r"[0-9]+(?:[.,][0-9]+)*(?:st|nd|rd|th)?(?![a-z])"
    return re.compile(f"{number}|{run}|{other}(?:{other}|[{marks}])*"), re.compile(f".[{marks}]*")


def terms(text: str) -> list[str]:
    """The stems of the words that carry a topic, in order."""
    return [stem(w) for w in words(text) if w not in STOP and (len(w) > 1 or w.isdigit() or is_unspaced(w))]


def _spell(word: str) -> str:
    if word[0].isdigit():
        # 1,234 is 1234, while 3,14 and 1.5 keep their point.
        return re.sub(r",(?=[0-9]{3}(?![0-9]))", "", word).replace(",", ".")
    return _SPELT.get(word, word)


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """A word without its common English endings, after steps 1 to 4 of Porter in outline; numbers stay as they are.

    Snowball's English stemmer in its place tells organise from organize and appendices from appendix, and finds 0.7 %
    fewer of the pages (of 97 questions of MMLongBench-Doc; 2026-11).
    """
    if len(word) < 4 or not word.isalpha() or not word.isascii():
        return word
    word = _plural(word)
    word = _verb(word)
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)] + instead
            break
    if len(word) > 3 and word[-1] == "e":
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 2 and word[-1] == "y" else word


_CHANGES = """
    ization/iz ational/at fulness/ful ousness/ous iveness/iv ation/at ition/it ator/at ment/ ness/ tion/t sion/s able/
    ible/ ance/ ence/ ally/al ious/i ive/iv ize/iz ise/iz ate/at ly/"""
_ENDINGS = [change.split("/") for change in _CHANGES.split()]
"""An ending and what it becomes; the first that fits counts."""


def _plural(word: str) -> str:
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith(("dices", "trices")):
        return word[:-4] + "ix"
    if word.endswith("ies"):
        return word[:-3] + ("y" if len(word) > 4 else "ie")
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _verb(word: str) -> str:
    for ending in ("ing", "ed"):
        root = word[: -len(ending)]
        if word.endswith(ending) and len(root) >= 3 and re.search(r"[aeiouy]", root) and not word.endswith("eed"):
            if root[-1] == root[-2] and root[-1] not in "lsz":
                return root[:-1]
            return root
    return word
