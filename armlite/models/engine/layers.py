"""A text layer of Qwen2.5-VL in the three parts that the engine's forward needs, around what attention mixes.

`Layer` goes through the model's own modules. `PackedLayer` is for small float32 models on the CPU, where calling
modules costs more than their arithmetic: it holds copies of the weights, adapters and dequantisation worked in, with
those that share an input side by side. Its numbers are the modules' up to rounding.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import linear, rms_norm

SMALL = 1 << 26
"""Weights of the text layers up to which they are copied (0.25 GiB)."""
WIDE = 256
"""Inputs of a linear layer from which oneDNN's blocked weights beat plain ones: twice as fast for the few rows of a
decode step, and no slower for many (measured on an AVX-512 core with 1 to 551 rows of 512 and 1,664 numbers).
"""


class Layer:
    """One layer.

    Args:
        layer: a decoder layer of transformers, possibly with LoRA or 4-bit modules in it.
    """

    def __init__(self, layer: Any):
        self._layer, self._attention = layer, layer.self_attn

    def qkv(self, x: torch.Tensor) -> torch.Tensor:
        """Queries, keys and values (B, T, (heads + 2 kv_heads) * head_dim) of hidden states (B, T, hidden)."""
        a, h = self._attention, self._layer.input_layernorm(x)
        return torch.cat((a.q_proj(h), a.k_proj(h), a.v_proj(h)), -1)

    def out(self, mixed: torch.Tensor) -> torch.Tensor:
        """What attention adds to the hidden states, from the mixed values (B, T, heads * head_dim)."""
        return self._attention.o_proj(mixed)

    def mlp(self, x: torch.Tensor) -> torch.Tensor:
        """What the MLP adds to the hidden states (B, T, hidden)."""
        return self._layer.mlp(self._layer.post_attention_layernorm(x))


class PackedLayer(Layer):
    """The same from copied weights; valid until the weights change, and to be made in eval mode."""

    def __init__(self, layer: Any):
        super().__init__(layer)
        a, m = layer.self_attn, layer.mlp
        size = a.q_proj.in_features
        self._qkv = _stack(size, a.q_proj, a.k_proj, a.v_proj)
        self._out = _stack(a.o_proj.in_features, a.o_proj)
        self._up = _stack(size, m.gate_proj, m.up_proj)
        self._down = _stack(m.down_proj.in_features, m.down_proj)
        self._norms = [(n.weight, n.variance_epsilon) for n in (layer.input_layernorm, layer.post_attention_layernorm)]
        self._act = m.act_fn

    def qkv(self, x: torch.Tensor) -> torch.Tensor:
        weight, epsilon = self._norms[0]
        return self._qkv(rms_norm(x, weight.shape, weight, epsilon))

    def out(self, mixed: torch.Tensor) -> torch.Tensor:
        return self._out(mixed)

    def mlp(self, x: torch.Tensor) -> torch.Tensor:
        weight, epsilon = self._norms[1]
        gate, up = self._up(rms_norm(x, weight.shape, weight, epsilon)).chunk(2, -1)
        return self._down(self._act(gate) * up)


def layers_of(text: Any) -> list[Layer]:
    """The layers of a text model, packed where that is faster."""
    weight, config = text.norm.weight, text.config
    count = config.num_hidden_layers * config.hidden_size * (4 * config.hidden_size + 3 * config.intermediate_size)
    packed = weight.device.type == "cpu" and weight.dtype == torch.float32 and count <= SMALL
    return [PackedLayer(layer) if packed else Layer(layer) for layer in text.layers]


def _stack(size: int, *modules: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Linear modules side by side, whatever is in them: made of their answers to unit vectors and zero."""
    units = torch.cat((torch.zeros(1, size), torch.eye(size)))
    answers = torch.cat([module(units) for module in modules], -1)
    return _affine((answers[1:] - answers[0]).T.contiguous(), answers[0].clone())


def _affine(weight: torch.Tensor, bias: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function x -> x weight^T + bias, from a copy of the weights in the order that is read fastest."""
    # The operators that torch's compiler uses for frozen weights; there are no others for blocked ones.
    block, run = (getattr(torch.ops.mkldnn, n, None) for n in ("_reorder_linear_weight", "_linear_pointwise"))
    if weight.shape[1] < WIDE or not torch.backends.mkldnn.is_available() or block is None or run is None:
        return lambda x: linear(x, weight, bias)
    blocked = block(weight)
    return lambda x: run(x, blocked, bias, "none", [], "")
