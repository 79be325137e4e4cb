"""The key-value cache of all conversations in flight: one tensor of keys and one of values a layer, one row a slot.

It only holds and moves numbers; which conversation sits in which slot is the scheduler's business.
"""

import torch


class KVCache:
    """Keys and values (slots, kv_heads, length, head_dim) for each layer, zero where nothing was written.

    Args:
        layers: number of layers.
        kv_heads: heads of keys and values.
        head_dim: numbers a head.
        dtype: of keys and values.
        device: where they live.
    """

    def __init__(self, layers: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device):
        empty = torch.zeros(0, kv_heads, 0, head_dim, dtype=dtype, device=device)
        self.keys = [empty] * layers
        self.values = [empty] * layers

    @property
    def slots(self) -> int:
        return self.keys[0].shape[0]

    @property
    def length(self) -> int:
        """Tokens a slot can hold."""
        return self.keys[0].shape[2]

    @property
    def token_bytes(self) -> int:
        """Bytes that one token takes in all layers."""
        _, heads, _, size = self.keys[0].shape
        return 2 * len(self.keys) * heads * size * self.keys[0].element_size()

    def resize(self, slots: int, length: int) -> None:
        """Make room for `slots` rows of `length` tokens, keeping what is there; layer by layer, for a small peak."""
        if (slots, length) == (self.slots, self.length):
            return
        rows, tokens = min(slots, self.slots), min(length, self.length)
        for side in (self.keys, self.values):
            for i, old in enumerate(side):
                # Zeros, not empty: a masked position still enters the product with weight 0, and 0 * nan is nan.
                side[i] = old.new_zeros(slots, old.shape[1], length, old.shape[3])
                side[i][:rows, :, :tokens] = old[:rows, :, :tokens]

    def copy(self, source: int, target: int, tokens: int, start: int = 0) -> None:
        """Copy the tokens of a slot from `start` up to `tokens` to another."""
        for tensor in (*self.keys, *self.values):
            tensor[target, :, start:tokens] = tensor[source, :, start:tokens]

    def read(self, slot: int, tokens: int) -> list[torch.Tensor]:
        """A copy of the first tokens of a slot, for `write`: (kv_heads, tokens, head_dim) each."""
        return [tensor[slot, :, :tokens].clone() for tensor in (*self.keys, *self.values)]

    def write(self, slot: int, saved: list[torch.Tensor]) -> None:
        """Put what `read` returned into a slot."""
        for tensor, part in zip((*self.keys, *self.values), saved, strict=True):
            tensor[slot, :, : part.shape[1]] = part
