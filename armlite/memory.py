"""The indexed memory map of one episode: texts, images and a document under stable ids.

Ids are the paper's (`img_0`, `resp_1`); the reference code's names (`original_image`, `observation_1`, `text_0`) are
the names on the wire and are accepted for the same things. A tool can reach nothing outside this map.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict

from armlite.errors import ToolError
from armlite.images import image_key
from armlite.types import Constraint, ImageInfo

if TYPE_CHECKING:
    from armlite.tools.documents.pages import Document


class Limits(BaseModel):
    """How much of the world the model gets to see; part of every recipe. Pixel limits are areas."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_max_pixels: int = 1024 * 28 * 28
    """An image of the prompt is shrunk to this area; tools crop from the original. Reference SFT: 4096*28*28."""
    crop_max_pixels: int = 1024 * 28 * 28
    """Cap on the image that a zoom returns. Reference: none."""
    crop_min_side: int = 28
    """No crop is thinner: the side of a visual token, 28 for Qwen2.5-VL and 32 for Qwen3-VL."""
    sheet_max_pixels: int = 1024 * 28 * 28
    """Cap on the contact sheet of a document."""
    page_max_pixels: int = 1024 * 28 * 28
    """Cap on each page image that a document tool returns. Reference: long side 1120."""
    sheet_max_pages: int = 30
    """Pages drawn on a contact sheet; the total is always said."""
    pages_per_query: int = 5
    """k of the page retrieval. Reference: RETRIEVE_K=5."""
    pages_as: Literal["pages", "strip"] = "pages"
    """How document tools show pages: each as a picture with its text, or `strip`: side by side in one, without text, as
    the reference does."""
    page_max_characters: int = 1500
    """Characters of page text returned with each page."""
    shown_characters: int = 4000
    """Characters of a response shown in the prompt; its whole text stays under its id."""
    observation_max_characters: int = 4096
    """Characters of an observation, cut in the middle. Reference: 4096."""
    verifier_mode: Literal["engine", "tool", "strict"] = "strict"
    """`engine`, `tool` or `strict`; see `armlite.tools.checks.verifiers`."""


def image_file(image: Image.Image) -> str:
    """File name of an RGB image's pixels: its content hash, so equal pixels share a file."""
    return f"{image_key(image)}.png"


class Memory:
    """What one episode holds.

    Args:
        images: the images of the task, RGB, in full resolution.
        texts: candidate responses in presented order.
        document: an opened document, or None.
        constraints: what responses have to satisfy.
        limits: caps that tools keep to.
    """

    def __init__(
        self,
        images: Sequence[Image.Image] = (),
        texts: Sequence[str] = (),
        document: "Document | None" = None,
        constraints: Sequence[Constraint] = (),
        limits: Limits | None = None,
    ):
        self.limits = limits or Limits()
        self.document = document
        self.constraints = tuple(constraints)
        self.texts = {f"resp_{i}": text for i, text in enumerate(texts, 1)}
        self.images: dict[str, Image.Image] = {}
        self.infos: dict[str, ImageInfo] = {}
        for image in images:
            self.add_image(image)
        self._initial = len(self.images)

    def start(self) -> None:
        """Declare all images added so far to be the task's own: later ones are observations."""
        self._initial = len(self.images)

    def add_image(
        self,
        image: Image.Image,
        parent: str | None = None,
        box: tuple[int, int, int, int] | None = None,
        page: int | None = None,
    ) -> str:
        """Keep an image (converted to RGB) under the next free id and return the id."""
        image = image if image.mode == "RGB" else image.convert("RGB")
        name = f"img_{len(self.images)}"
        self.images[name] = image
        self.infos[name] = ImageInfo(
            id=name, file=image_file(image), width=image.width, height=image.height, parent=parent, box=box, page=page
        )
        return name

    def changed(self) -> list[str]:
        """Ids of images whose pixels are no longer those that were added: the record would show another picture."""
        return [name for name, image in self.images.items() if image_file(image) != self.infos[name].file]

    def forget(self, ids: Sequence[str]) -> None:
        """Take back the newest images, for an observation that the policy never saw."""
        for name in reversed(ids):
            if name != f"img_{len(self.images) - 1}":
                raise ValueError(f"{name} is not the newest image")
            del self.images[name], self.infos[name]

    def wire_name(self, image_id: str) -> str:
        """The reference code's name of an image: `original_image`, `original_image_2`, `observation_1`."""
        index = int(image_id.removeprefix("img_"))
        if index >= self._initial:
            return f"observation_{index - self._initial + 1}"
        return "original_image" if self._initial == 1 else f"original_image_{index + 1}"

    def text_name(self, index: int) -> str:
        """The wire name of response `index` (from 1): `resp_1`, or `text_0` / `resp_0` of a single response."""
        if len(self.texts) == 1:
            return "text_0" if self.constraints else "resp_0"
        return f"resp_{index}"

    def image_id(self, name: str) -> str:
        """Resolve any accepted name of an image to its id.

        Raises:
            ToolError: there is no such image; the message lists those there are.
        """
        index: int | None = None
        if m := re.fullmatch(r"(?:img|image)_(\d{1,9})", name):
            index = int(m[1])
        elif name == "original_image":
            index = 0 if self._initial else None
        elif m := re.fullmatch(r"original_image_(\d{1,9})", name):
            index = int(m[1]) - 1 if 0 < int(m[1]) <= self._initial else None
        elif m := re.fullmatch(r"observation_(\d{1,9})", name):
            index = self._initial + int(m[1]) - 1 if int(m[1]) > 0 else None
        if index is None or index >= len(self.images):
            known = ", ".join(f"`{self.wire_name(i)}`" for i in self.images) or "none"
            raise ToolError(f"Error: there is no image named '{name}'. Images you have: {known}.")
        return f"img_{index}"

    def text(self, name: str) -> str:
        """Resolve any accepted name of a response to its whole text.

        Raises:
            ToolError: there is no such text; the message lists those there are.
        """
        index: int | None = None
        if m := re.fullmatch(r"resp_(\d{1,9})", name):
            index = 1 if m[1] == "0" and len(self.texts) == 1 else int(m[1])
        elif m := re.fullmatch(r"text_(\d{1,9})", name):
            index = int(m[1]) + 1
        if index is None or f"resp_{index}" not in self.texts:
            known = ", ".join(f"`{self.text_name(i)}`" for i in range(1, len(self.texts) + 1)) or "none"
            raise ToolError(
                f"Error: there is no text named '{name}'. Texts you have: {known}. Pass the name, not the text itself."
            )
        return self.texts[f"resp_{index}"]
