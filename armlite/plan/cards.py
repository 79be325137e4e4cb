"""Graphics cards by size or name, with the figures of their data sheets; and what a word for one stands for."""

import re
from dataclasses import dataclass

from armlite.errors import ArmliteError, nearest

CONTEXT = 0.6
"""GiB that the driver and the CUDA context take of a card before the first tensor; an estimate."""


@dataclass(frozen=True)
class Card:
    """A card."""

    name: str
    gib: float
    """Memory, as the driver reports it."""
    tflops: float
    """Dense bfloat16 (float16 where there is none), 1e12 operations a second, data sheet."""
    bandwidth: float
    """Of its memory, 1e9 bytes a second, data sheet."""
    bfloat16: bool = True
    """Whether it computes in it; cards before 2020 do not and take float16."""

    @property
    def usable(self) -> float:
        """GiB that tensors can take."""
        return self.gib - CONTEXT


CARDS = {
    "rtx4060": Card("RTX 4060", 7.6, 30, 272),
    "rtx3060": Card("RTX 3060", 11.6, 25, 360),
    "rtx4070": Card("RTX 4070", 11.6, 58, 504),
    "t4": Card("T4", 14.7, 65, 300, bfloat16=False),
    "v100": Card("V100 16 GB", 15.8, 125, 900, bfloat16=False),
    "rtx4060ti": Card("RTX 4060 Ti 16 GB", 15.6, 44, 288),
    "rtx3090": Card("RTX 3090", 23.7, 71, 936),
    "rtx4090": Card("RTX 4090", 23.6, 165, 1008),
    "rtx5090": Card("RTX 5090", 31.4, 210, 1792),
    "l40s": Card("L40S", 44.4, 362, 864),
    "a6000": Card("RTX A6000", 47.5, 155, 768),
    "a100": Card("A100 80 GB", 79.3, 312, 2039),
    "h100": Card("H100 80 GB", 79.1, 989, 3350),
    "h200": Card("H200", 139.8, 989, 4800),
}
SIZES = {
    "8gb": "rtx4060",
    "12gb": "rtx3060",
    "16gb": "t4",
    "24gb": "rtx4090",
    "32gb": "rtx5090",
    "48gb": "l40s",
    "80gb": "a100",
    "141gb": "h200",
}
"""What a size stands for: of the cards of that size, a common one."""


def find_card(word: str) -> Card:
    """A card by its name, its size (`24gb`), or memory that is free (`20gib`, with the speed of the next larger card).

    Raises:
        ArmliteError: it is none of these.
    """
    key = word.lower().replace(" ", "").replace("-", "")
    if key in CARDS:
        return CARDS[key]
    if key in SIZES:
        return CARDS[SIZES[key]]
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)gi?b", key):
        gib = float(match[1])
        like = next((c for c in map(CARDS.get, SIZES.values()) if c and c.gib >= gib), CARDS["h200"])
        return Card(f"{match[1]} GiB", gib, like.tflops, like.bandwidth)
    known = [*SIZES, *CARDS]
    raise ArmliteError(
        f"there is no card {word!r}.{nearest(key, known)} Give a size like 24gb or one of {', '.join(CARDS)}"
    )


def card_named(name: str) -> Card | None:
    """The card that a driver calls so, such as `NVIDIA GeForce RTX 4090`; None: not known here."""
    key = re.sub(r"[^a-z0-9]", "", name.lower().replace("nvidia", "").replace("geforce", ""))
    found = max((word for word in CARDS if word in key), key=len, default=None)  # a 4060 Ti is no 4060
    return None if found is None else CARDS[found]


def this_card() -> Card | None:
    """The card of this machine, with the memory that is free on it now; None where there is none."""
    import torch

    from armlite.models.device import has_bfloat16

    if not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info()
    name = torch.cuda.get_device_name()
    like = card_named(name) or CARDS["rtx4090"]
    return Card(name, free / 2**30 + CONTEXT, like.tflops, like.bandwidth, has_bfloat16("cuda"))
