"""Each distinct image through the frozen vision tower once: for rollouts, and for the trainer's passes over them.

Images are told apart by their content. They are always encoded alone, and the same way, so that features are the same
to the last bit whatever else was asked for, before or with them, and after they were dropped and made again.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import BatchFeature
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from armlite.errors import ArmliteError
from armlite.images import image_key
from armlite.models.bases import base_of
from armlite.models.engine.decoder import base_model
from armlite.models.engine.patches import can_patch, patches, value_table
from armlite.models.engine.selfcheck import SelfCheck
from armlite.models.engine.tower import WAY, can_fuse, fused_blocks
from armlite.models.sampling import FEATURE_BYTES


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as the model will see it."""

    key: str
    """Content hash."""
    image: Image.Image
    grid: tuple[int, int, int]
    """Patches: time, height, width."""
    tokens: int
    """Visual tokens: the grid's product over the square of the merge size."""


def picture_grid(image: Image.Image, image_processor: Any) -> tuple[int, int, int]:
    """Patches (time, height, width) that an image processor makes of an image.

    Raises:
        ArmliteError: the image is more than 200 times as long as wide.
    """
    ip = image_processor
    edge = ip.patch_size * ip.merge_size
    try:
        height, width = smart_resize(image.height, image.width, edge, ip.size["shortest_edge"], ip.size["longest_edge"])
    except ValueError as error:
        raise ArmliteError(f"an image of {image.width} x {image.height} pixels cannot be shown: {error}") from error
    return 1, height // ip.patch_size, width // ip.patch_size


class VisionCache:
    """Features by image content, the least recently used ones moved to the CPU and then dropped.

    Args:
        model: whose tower encodes; PEFT wrappers and 4-bit language models are fine.
        processor: whose image processor makes the pixels.
        device_bytes: features kept on the model's device; None: 256 MiB, or 1 GiB where that is the CPU.
        host_bytes: features kept on the CPU beyond that; None: 8 GiB, or nothing where the model itself is there.
        frozen: False where the tower trains: sessions then start from an empty cache, and the loss sees pixels.
        check: compares fused blocks (`engine.tower`) with transformers' own for the first images. Where they differ
            they are off, and all that they made is forgotten; until then, and after it, an image has the same bits.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        device_bytes: int | None = None,
        host_bytes: int | None = None,
        frozen: bool = True,
        check: SelfCheck | None = None,
    ):
        self.frozen, self.check = frozen, check or SelfCheck()
        self.encoded, self.seconds = 0, 0.0
        """Images that went through the tower, and the time they took."""
        self._inner = base_model(model).model
        self.base = base_of(self._inner)
        self._images = processor.image_processor
        on_cpu = self._inner.visual.device.type == "cpu"
        if device_bytes is None:
            device_bytes = 1 << 30 if on_cpu else FEATURE_BYTES
        if host_bytes is None:
            host_bytes = 0 if on_cpu else 8 << 30
        self._device, self._host = LruCache(device_bytes), LruCache(host_bytes)
        self._lock = threading.Lock()
        self._table: torch.Tensor | None = None
        """From `value_table`, once it is needed."""
        self._ids: dict[str, int] = {}
        self._pictures: list[Picture] = []

    @property
    def merge(self) -> int:
        """Patches that make a visual token, along each axis."""
        return self._images.merge_size

    @property
    def held_bytes(self) -> int:
        """Of the features on the model's device."""
        return self._device.held_bytes

    def look(self, image: Image.Image) -> Picture:
        """An image's key and size in tokens, without encoding it.

        Raises:
            ArmliteError: the image is more than 200 times as long as wide.
        """
        grid = picture_grid(image, self._images)
        return Picture(image_key(image), image, grid, grid[1] * grid[2] // self.merge**2)

    def features(self, picture: Picture) -> torch.Tensor:
        """The tower's output (tokens, (1 + levels) * hidden) for a picture, on the model's device. Safe for threads.

        What stands in for its embeddings, then what is added behind each of the first layers (`Base.features`).
        """
        with self._lock:
            found = self._device.get(picture.key)
            if found is None:
                stored = self._host.get(picture.key)
                found = self._encode(picture) if stored is None else stored.to(self._inner.visual.device)
                for key, old in self._device.put(picture.key, found):
                    self._host.put(key, old.cpu())
            return found

    @torch.no_grad()
    def _encode(self, picture: Picture) -> torch.Tensor:
        start = time.perf_counter()
        tower = self._inner.visual
        features = self._through_tower(*self._pixels(picture, tower.device))
        features = features.to(self._inner.language_model.embed_tokens.weight.dtype)  # the tower's may be a wider one
        self.encoded += 1
        self.seconds += time.perf_counter() - start
        return features

    def _pixels(self, picture: Picture, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """What the tower takes: patches (N, numbers of each), and the grid (1, 3)."""
        if can_patch(self._images):
            if self._table is None or self._table.device != device:
                self._table = value_table(self._images, device)
            grid = torch.tensor([picture.grid], device=device)
            return patches(picture.image, picture.grid, self._images, self._table), grid
        made = self._images(images=[picture.image], return_tensors="pt")
        grid = made["image_grid_thw"].to(device)
        if grid.tolist() != [list(picture.grid)]:
            raise RuntimeError(f"the image processor made a grid of {grid.tolist()}, expected {picture.grid}")
        return made["pixel_values"].to(device), grid

    def _through_tower(self, pixels: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        """Fused where that is known to be right; the first images both ways."""
        # The class's own, for an instance's may stand for ids just now.
        get, tower = type(self._inner).get_image_features, self._inner.visual

        def encode() -> torch.Tensor:
            (features,) = self.base.features(get(self._inner, pixels, grid))
            return features

        if not (self.frozen and self.check.on(WAY) and can_fuse(tower)):
            return encode()
        with fused_blocks(tower):
            fused = encode()
        if self.check.due(WAY):
            plain = encode()
            if not self.check.agree(WAY, fused, plain, tower.dtype):
                self.clear()
                return plain
        return fused

    def clear(self) -> None:
        """Forget all features: the tower's weights have changed."""
        self._device.clear()
        self._host.clear()

    def clear_ids(self) -> None:
        """Forget the ids handed out by `ids_as_pixels`; batches that hold some can no longer be scored."""
        self._ids.clear()
        self._pictures.clear()

    def id(self, image: Image.Image) -> int:
        """A number that stands for an image's content until `clear_ids`."""
        picture = self.look(image)
        if picture.key not in self._ids:
            self._ids[picture.key] = len(self._pictures)
            self._pictures.append(picture)
        return self._ids[picture.key]

    def picture(self, number: int) -> Picture:
        """The picture that an id stands for."""
        return self._pictures[number]

    @contextmanager
    def ids_as_pixels(self, processor: Any) -> Iterator[None]:
        """Inside, the processor makes `pixel_values` (patches, 1) that hold each image's id, a thousandth to carry.

        For as long as a trainer prepares a batch, not longer: a processor must not be saved in here. Where the tower
        trains this changes nothing.
        """
        real = processor.image_processor
        if self.frozen:
            processor.image_processor = _IdMaker(real, self)
        try:
            yield
        finally:
            processor.image_processor = real

    @contextmanager
    def features_from_ids(self) -> Iterator[None]:
        """Inside, the model takes what `ids_as_pixels` made, and looks its features up; real pixels work as ever."""
        inner = self._inner
        original, hidden = inner.get_image_features, inner.visual.config.out_hidden_size
        levels = self.base.levels(inner.visual.config.to_dict())

        def get_image_features(pixel_values: torch.Tensor, image_grid_thw: torch.Tensor, *rest: Any, **kw: Any) -> Any:
            if not len(image_grid_thw):  # a micro-batch whose rollouts hold no image
                nothing = torch.empty(0, (1 + levels) * hidden, device=pixel_values.device)
                return self.base.output([nothing], hidden)
            if pixel_values.shape[-1] != 1:
                return original(pixel_values, image_grid_thw, *rest, **kw)
            patches = image_grid_thw.prod(-1).cpu()
            numbers = pixel_values[:, 0].cpu()[patches.cumsum(0) - patches].tolist()
            return self.base.output([self.features(self._pictures[n]) for n in numbers], hidden)

        inner.get_image_features = get_image_features
        try:
            yield
        finally:
            del inner.get_image_features


@contextmanager
def no_vision_gradient(model: Any) -> Iterator[None]:
    """Inside, the tower of a model runs without an autograd graph.

    Transformers makes the output of every embedding require gradients when adapters are trained under checkpointing,
    the tower's too: its graph would be built, kept and walked for nothing.
    """
    inner = base_model(model).model
    inner.get_image_features = torch.no_grad()(inner.get_image_features)
    try:
        yield
    finally:
        del inner.get_image_features


class _IdMaker:
    """The image processor inside `ids_as_pixels`; all but the call is the real one's."""

    def __init__(self, real: Any, cache: VisionCache):
        self._real, self._cache = real, cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __call__(self, images: Any, return_tensors: str | None = None, **_: Any) -> BatchFeature:
        numbers = [self._cache.id(image) for image in _flat(images)]
        grids = [self._cache.picture(n).grid for n in numbers]
        # Integers: a float that is cast to bfloat16 on its way would name another image from 257 on.
        pixels = torch.cat([torch.full((t * h * w, 1), n) for n, (t, h, w) in zip(numbers, grids, strict=True)])
        data = {"pixel_values": pixels, "image_grid_thw": torch.tensor(grids)}
        return BatchFeature(data=data, tensor_type=return_tensors)


def _flat(images: Any) -> Iterator[Image.Image]:
    if isinstance(images, Sequence):
        for item in images:
            yield from _flat(item)
    else:
        yield images if images.mode == "RGB" else images.convert("RGB")


class LruCache:
    """Tensors within a number of bytes: the least recently used ones go first."""

    def __init__(self, limit: int):
        self._limit, self.held_bytes = limit, 0
        self._tensors: OrderedDict[str, torch.Tensor] = OrderedDict()

    def get(self, key: str) -> torch.Tensor | None:
        if key in self._tensors:
            self._tensors.move_to_end(key)
        return self._tensors.get(key)

    def put(self, key: str, tensor: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
        """Keep a tensor; returns those that had to go, which may include it."""
        if key in self._tensors:
            return []
        self._tensors[key] = tensor
        self.held_bytes += tensor.nbytes
        gone = []
        while self.held_bytes > self._limit:
            name, old = self._tensors.popitem(last=False)
            self.held_bytes -= old.nbytes
            gone.append((name, old))
        return gone

    def clear(self) -> None:
        self._tensors.clear()
        self.held_bytes = 0
