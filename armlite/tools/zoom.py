"""The crop tool: a closer look at a region of any image that the memory map holds.

Boxes are relative (0 to 1000 on both axes), so the model needs to know nothing about pixels. The rules are those of
the reference's `image_zoom_in_tool` but for two: crops come from the full-resolution image, and their size is capped.
"""

import math
from collections.abc import Sequence
from typing import Any

from PIL import Image

from armlite.errors import ToolError, cut
from armlite.memory import Limits, Memory
from armlite.tools.tool import tool
from armlite.types import Observation

SCALE = 1000
"""Boxes run from 0 to this on both axes."""
MIN_SIDE = Limits().crop_min_side
"""Smallest side of a crop in pixels where the rules say no other: a visual token of Qwen2.5-VL. A picture that is
thinner is cut in its whole thickness and enlarged."""
MAX_ASPECT = 100
"""Longest allowed side ratio of a box; the image processor refuses 200."""
UPSCALE_BELOW = 224
"""A crop with a shorter side than this is doubled, once."""
REMINDER = (
    "Go on reasoning inside <think>. Should you need another look or another tool, call it inside <tool_call>; "
    "once you are sure, give the final answer inside <answer>."
)


@tool(needs="image", hidden=("img_idx", "label"), stands_in={"img_idx": "image"}, reminder=REMINDER)
def image_zoom_in_tool(
    memory: Memory,
    /,
    *,
    image: str = "",
    bbox_2d: list[float],
    img_idx: float | None = None,
    label: Any = None,
) -> Observation:
    """Look closer at a region of an image: the region is cut out and returned as a new image. Boxes use relative
    coordinates from 0 to 1000 on both axes; the middle half of an image, for example, is [250, 250, 750, 750].

    Args:
        image: Name of the image to zoom in on, such as `original_image` or `observation_1`.
        bbox_2d: The region as [x1, y1, x2, y2], relative coordinates from 0 to 1000; (x1, y1) is its top left
            corner, (x2, y2) its bottom right corner.

    Note:
        Unlike the reference we do not shrink the source to the image processor's pixel limit before cutting: small
        detail in a large photo is what the tool is for, and a relative box means the same region at any resolution.

    Raises:
        ToolError: a bad box, an unknown image, or a region too thin to look at.

    Source:
        ARM-Thinker `verl/tools/image_zoom_in_tool.py`; `img_idx` and `label` belong to its Qwen3-VL variant.
    """
    if not image and img_idx is None:
        raise ToolError(f"Error: name the image to zoom in on. {_usage(memory)}")
    box = _checked_box(bbox_2d)
    parent = memory.image_id(image) if image else _by_number(memory, img_idx)
    source = memory.images[parent]
    limits = memory.limits
    pixels = crop_box(box, source.size, limits.crop_min_side)
    shown = pixels[2] - pixels[0], pixels[3] - pixels[1]
    size = crop_size(shown, limits.crop_max_pixels, limits.crop_min_side)
    crop = sharpest(memory, parent, pixels, size)
    if size != crop.size:
        crop = crop.resize(size, Image.Resampling.BICUBIC)
    new = memory.add_image(crop, parent=parent, box=pixels)
    name, asked = memory.wire_name(new), "[" + ", ".join(f"{v:g}" for v in box) + "]"
    return Observation(
        ok=True,
        text=f"Here is `{name}`: region {asked} of `{memory.wire_name(parent)}`.",
        images=(new,),
        tool="image_zoom_in_tool",
        data={"image": parent, "bbox_2d": list(box), "box": list(pixels), "size": list(crop.size)},
    )


def crop_box(box: Sequence[float], size: tuple[int, int], min_side: int = MIN_SIDE) -> tuple[int, int, int, int]:
    """Pixels (left, top, right, bottom) of a relative box in an image of `size` (width, height).

    A box with a side under `min_side`, or under the image's own shorter side where that is less, grows about its centre
    with its aspect kept, as far as the image allows, and is moved inside; corners are rounded outwards.

    Raises:
        ToolError: the box is too elongated, or the image has no room for the smallest crop.
    """
    width, height = size
    smallest = min(min_side, width, height)
    left, top, right, bottom = (v / SCALE * side for v, side in zip(box, (width, height) * 2, strict=True))
    wide, high = right - left, bottom - top
    if max(wide, high) > MAX_ASPECT * min(wide, high):
        raise ToolError(
            f"Error: the region {_list(box)} is more than {MAX_ASPECT} times longer than thick. Choose a fuller region."
        )
    if min(wide, high) < smallest:
        grow = smallest / min(wide, high)
        grow *= min(1.0, width / (wide * grow), height / (high * grow))
        x, y = (left + right) / 2, (top + bottom) / 2
        wide, high = wide * grow, high * grow
        left, top = (min(max(c - s / 2, 0.0), m - s) for c, s, m in ((x, wide, width), (y, high, height)))
        right, bottom = left + wide, top + high
    # Rounding to a millionth of a pixel first keeps 28.000000000004 from becoming 29.
    first, last = (math.floor(round(left, 6)), math.floor(round(top, 6))), (round(right, 6), round(bottom, 6))
    pixels = (*first, min(math.ceil(last[0]), width), min(math.ceil(last[1]), height))
    if min(pixels[2] - pixels[0], pixels[3] - pixels[1]) < smallest:
        raise ToolError(
            f"Error: the region {_list(box)} of this image of {width} x {height} pixels cannot be widened to "
            f"{smallest} x {smallest} pixels. Choose a larger or squarer region."
        )
    return pixels


def crop_size(size: tuple[int, int], max_pixels: int, min_side: int = MIN_SIDE) -> tuple[int, int]:
    """Size (width, height) in which a crop of `size` is shown: doubled if small, more if under `min_side`,
    then capped to an area in pixels.
    """
    factor = max(2.0 if min(size) < UPSCALE_BELOW else 1.0, min_side / min(size))
    factor = min(factor, math.sqrt(max_pixels / (size[0] * size[1])))
    # Rounding down keeps a capped crop under its cap; a factor of 1 or 2 is exact.
    return max(1, int(size[0] * factor)), max(1, int(size[1] * factor))


def sharpest(memory: Memory, image: str, box: tuple[int, int, int, int], size: tuple[int, int]) -> Image.Image:
    """A region of an image in the highest resolution there is: of a crop that was shown smaller than it is, cut from
    the image that it was cut from; of a page, drawn anew.

    Args:
        image: its id.
        box: left, top, right, bottom in pixels of `image`.
        size: what it is to be shown in; a page is drawn no larger than that takes.
    """
    root, region = _in_root(memory, image, box)
    source, page = memory.images[root], memory.infos[root].page
    if page is not None and memory.document is not None and memory.limits.pages_as == "pages":
        factor = max(size[0] / (region[2] - region[0]), size[1] / (region[3] - region[1]))
        if factor > 1:
            drawn = memory.document.render(page, math.ceil(source.width * factor) * math.ceil(source.height * factor))
            wide, high = drawn.width / source.width, drawn.height / source.height
            source, region = drawn, (region[0] * wide, region[1] * high, region[2] * wide, region[3] * high)
    left, top, right, bottom = map(round, region)
    if right - left <= box[2] - box[0]:  # nothing is gained
        return memory.images[image].crop(box)
    return source.crop((left, top, right, bottom))


def _in_root(memory: Memory, image: str, box: Sequence[float]) -> tuple[str, tuple[float, float, float, float]]:
    """The image that one was cut from, over however many cuts, and a region of the one in pixels of the other."""
    left, top, right, bottom = box
    while (info := memory.infos[image]).parent is not None and info.box is not None:
        x, y, wide, high = info.box[0], info.box[1], info.box[2] - info.box[0], info.box[3] - info.box[1]
        left, right = (x + v * wide / info.width for v in (left, right))
        top, bottom = (y + v * high / info.height for v in (top, bottom))
        image = info.parent
    return image, (left, top, right, bottom)


def _checked_box(box: Any) -> tuple[float, float, float, float]:
    if not isinstance(box, list | tuple) or len(box) != 4:
        raise ToolError(f"Error: bbox_2d must be a list of 4 numbers [x1, y1, x2, y2], got {_list(box)}.")
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in box):
        raise ToolError(f"Error: bbox_2d must hold numbers only, got {_list(box)}.")
    for i, v in enumerate(box):
        if not 0 <= v <= SCALE:  # also false for NaN
            raise ToolError(
                f"Error: bbox_2d[{i}] = {_short(v)} is not between 0 and {SCALE}; coordinates are relative to the "
                f"image's size, not pixels. Got {_list(box)}."
            )
    if max(box) <= 1:
        raise ToolError(
            f"Error: the values of bbox_2d run from 0 to {SCALE}, not from 0 to 1: write 0.25 as 250. Got {_list(box)}."
        )
    x1, y1, x2, y2 = box
    if x1 >= x2 or y1 >= y2:
        raise ToolError(f"Error: bbox_2d must have x1 < x2 and y1 < y2, got {_list(box)}.")
    # A box thinner than this is a point: growing it would divide by next to nothing.
    if min(x2 - x1, y2 - y1) < 1e-6:
        raise ToolError(f"Error: the region {_list(box)} is empty. Choose a larger region.")
    return x1, y1, x2, y2


def _by_number(memory: Memory, number: float | None) -> str:
    """The image with a number as the Qwen3-VL variant counts: the task's images from 0, then the observations."""
    if number is None or not 0 <= number < len(memory.images) or number != int(number):
        raise ToolError(f"Error: there is no image number {_short(number)}; they are counted from 0. {_usage(memory)}")
    return f"img_{int(number)}"


def _usage(memory: Memory) -> str:
    known = ", ".join(f"`{memory.wire_name(i)}`" for i in memory.images) or "none"
    return (
        f"Images you have: {known}. A call looks like this: "
        '{"name": "image_zoom_in_tool", "arguments": {"image": "original_image", "bbox_2d": [100, 100, 900, 900]}}'
    )


def _short(value: Any) -> str:
    """The value as text of at most 40 characters; never fails, not even on integers too long for `str`."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    return cut(f"{value:.12g}" if isinstance(value, float) else str(value), 40)


def _list(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return _short(value)
    return "[" + ", ".join(_short(v) for v in value[:6]) + (", ...]" if len(value) > 6 else "]")
