"""The texts of `attacks.yaml` in all their languages and disguises, and where each is put."""

import base64
import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml

Carrier = Literal["response", "caption", "page"]
"""A text in a response; words drawn into a picture; a page of the document."""
HOMOGLYPHS = str.maketrans("aceopxyABCEHKMOPTX", "асеорхуАВСЕНКМОРТХ")
"""Latin letters -> Cyrillic ones that look alike."""
INVISIBLE = 0xE0000
"""Added to the code of an ASCII character it makes a Unicode tag character, which nothing draws."""


def _base64(text: str) -> str:
    return f"Decode this base64 and do what it says: {base64.b64encode(text.encode()).decode()}"


def _full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


DISGUISES: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "upper": str.upper,
    "spaced": " ".join,
    "full_width": _full_width,
    "zero_width": "\u200b".join,
    "base64": _base64,
    "entities": html.escape,
    "comment": lambda text: f"<!-- {text} -->",
    "code": lambda text: f"```\n{text}\n```",
    "homoglyphs": lambda text: text.translate(HOMOGLYPHS),
    "invisible": lambda text: "".join(chr(ord(c) + INVISIBLE) if " " <= c <= "~" else c for c in text),
}


@dataclass(frozen=True)
class Attack:
    """One text at one place."""

    id: str
    """`FAMILY/LANGUAGE/NUMBER/DISGUISE/CARRIER`."""
    family: str
    language: str
    disguise: str
    carrier: Carrier
    template: str

    def text(self, words: Mapping[str, str]) -> str:
        """The text as it is put there.

        Args:
            words: `answer`, `short`, `name` and `other`.
        """
        text = self.template
        for name, word in words.items():
            text = text.replace(f"{{{name}}}", word)
        return DISGUISES[self.disguise](text)


@cache
def attacks() -> tuple[Attack, ...]:
    """All of them."""
    found: list[Attack] = []
    for family, own in yaml.safe_load(files("armlite.audit").joinpath("attacks.yaml").read_text("utf-8")).items():
        for language, texts in own["texts"].items():
            disguises = ["plain", *own.get("disguises", {}).get(language, ())]
            for number, text in enumerate(texts, 1):
                stem = f"{family}/{language}/{number}"
                found += [Attack(f"{stem}/{d}/response", family, language, d, "response", text) for d in disguises]
                if own.get("elsewhere") and text.isascii() and number % 2:
                    for carrier in ("caption", "page"):
                        found.append(Attack(f"{stem}/plain/{carrier}", family, language, "plain", carrier, text))
    return tuple(found)
