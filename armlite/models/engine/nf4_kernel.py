"""A Triton kernel: a few rows times weights in 4 bits, which are unpacked where they are used, and a LoRA adapter.

Imported only where CUDA and Triton are (`stacked.kernel_here`). A decode step reads every weight once for a handful of
rows, so what it can take least is the time to read half a byte a weight. Each program has `BN` outputs and a share of
the inputs; the adapter's A matrix is outputs more. A second kernel sums the shares, always in one order, so that equal
inputs give equal bits, and adds what B makes of A's. Weights are bitsandbytes': code times scale in float32, rounded
to the dtype of the inputs; of the code 11 bits are kept.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

BN = 64
"""Outputs of a program."""
BK = 64
"""Bytes of a row of weights that it takes at once."""
STAGES = 3
"""How many of those are on their way."""
COLUMNS = 64
"""Outputs of a program of the second kernel."""
INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Triton runs kernels in Python, without a card, and knows no assembly."""

# What 8 halves of 4 bytes stand for, in float16. A byte permutation looks 4 of them up in 8 bytes: bits 0 to 2 of each
# say where in the lower and in the upper half of the table, bit 3 which of both is meant; low and high bytes apart.
_HALF = """prmt.b32 a, $5, $9, s;
prmt.b32 b, $13, $17, s;
prmt.b32 c, a, b, q;
prmt.b32 a, $21, $25, s;
prmt.b32 b, $29, $33, s;
prmt.b32 d, a, b, q;
prmt.b32 {high}, c, d, 0x7351;
prmt.b32 {low}, c, d, 0x6240;
"""
_UNPACK = tl.constexpr(
    """{
.reg .b32 s, q, a, b, c, d;
and.b32 s, $4, 0x77777777;
shr.u32 q, $4, 1;
lop3.b32 q, q, 0x44444444, 0x32103210, 0xEA;
"""
    + _HALF.format(high="$0", low="$2")
    + "shr.u32 s, s, 16;\nshr.u32 q, q, 16;\n"
    + _HALF.format(high="$1", low="$3")
    + "}"
)
_PLACES = tl.constexpr("=&r,=&r,=&r,=&r" + 33 * ",r")


@dataclass(frozen=True)
class Weights:
    """Of linear modules with the same input, in 4 bits."""

    packed: torch.Tensor
    """(outputs * inputs / 2,) bytes as bitsandbytes packs them."""
    scales: torch.Tensor
    """(outputs * inputs / 64,) in float32: blocks within a row."""
    code: torch.Tensor
    """(16,) in float32."""
    table: torch.Tensor
    """(8,) of int32: the code in float16, low bytes and then high ones."""
    outputs: int
    bias: torch.Tensor | None
    """(outputs,)"""
    shares: int
    """Into so many the inputs are split, a program each."""


def table_of(code: torch.Tensor) -> torch.Tensor:
    """`Weights.table` of a code (16,)."""
    return code.to(torch.float16).view(torch.uint8).view(16, 2).T.contiguous().view(torch.int32).flatten()


@triton.jit
def _in_register(value):  # type: ignore[no-untyped-def]
    """A number that all threads have, in a register of each: out of a shared one it would be moved each time."""
    return tl.inline_asm_elementwise(
        "{ .reg .u32 zero; mov.u32 zero, %laneid; shr.u32 zero, zero, 5; add.u32 $0, $1, zero; }",
        "=r,r",
        [value],
        dtype=tl.int32,
        is_pure=True,
        pack=1,
    )


@triton.jit(do_not_specialize=["rows", "rank"])
def _multiply(  # type: ignore[no-untyped-def]
    x,  # (rows, inputs) of 16 bits
    packed,  # (outputs, inputs / 2) bytes, the first weight of each in the high bits
    scales,  # (outputs, inputs / 64)
    code,
    table,
    down,  # (rank, inputs): an adapter's A
    parts,  # (shares, rows, outputs + rank)
    rows,
    inputs,
    outputs,
    rank,
    ROWS: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,  # bytes of a row of weights in a step
    STAGES: tl.constexpr,
    ADAPTER: tl.constexpr,  # 1, or 0: there is none
    DTYPE: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    # The adapter's program is the first, so that none waits for it in the end.
    tile, m = tl.program_id(0) - ADAPTER, tl.arange(0, ROWS)
    half = inputs // 2
    steps = half // BK
    share = tl.cdiv(steps, tl.num_programs(1))
    first = tl.program_id(1) * share
    last = tl.minimum(first + share, steps)
    # Behind the last output and row the last one is read once more, so that no load needs a mask.
    m_read = tl.minimum(m, rows - 1)
    total = tl.zeros((BN, ROWS), tl.float32)
    if tile >= 0:
        n, limit = tile * BN + tl.arange(0, BN), outputs
        n_read = tl.minimum(n, outputs - 1)
        k = tl.arange(0, BK)
        weight_at = packed + n_read[:, None] * half + k[None, :]
        scale_at = scales + n_read[:, None] * (half // 32) + tl.arange(0, BK // 32)[None, :]
        x_at = x.to(tl.pointer_type(tl.int32)) + m_read[None, :] * half + k[:, None]  # two neighbours at once
        if not INTERPRETED:
            t0, t1 = _in_register(tl.load(table)), _in_register(tl.load(table + 1))
            t2, t3 = _in_register(tl.load(table + 2)), _in_register(tl.load(table + 3))
            t4, t5 = _in_register(tl.load(table + 4)), _in_register(tl.load(table + 5))
            t6, t7 = _in_register(tl.load(table + 6)), _in_register(tl.load(table + 7))
        for step in tl.range(first, last, num_stages=STAGES):
            byte = tl.load(weight_at + step * BK)  # (BN, BK)
            scale = tl.load(scale_at + step * (BK // 32))
            scale = tl.reshape(tl.broadcast_to(scale[:, :, None], (BN, BK // 32, 32)), (BN, BK))
            pair = tl.load(x_at + step * BK)  # (BK, ROWS)
            if INTERPRETED:
                index = byte.to(tl.int32)
                high, low = tl.load(code + (index >> 4)), tl.load(code + (index & 15))
            else:
                high, low = tl.inline_asm_elementwise(
                    _UNPACK,
                    _PLACES,
                    [byte, t0, t1, t2, t3, t4, t5, t6, t7],
                    dtype=(tl.float16, tl.float16),
                    is_pure=True,
                    pack=4,
                )
            # Memory is little-endian: the first of two neighbours is in the low half.
            even = (pair & 0xFFFF).to(tl.int16).to(DTYPE, bitcast=True)
            odd = (pair >> 16).to(tl.int16).to(DTYPE, bitcast=True)
            total = tl.dot((high.to(tl.float32) * scale).to(DTYPE), even, total)
            total = tl.dot((low.to(tl.float32) * scale).to(DTYPE), odd, total)
    else:
        r, k = tl.arange(0, BN), tl.arange(0, 64)
        n, limit = outputs + r, outputs + rank
        down_at = down + tl.minimum(r, rank - 1)[:, None] * inputs + k[None, :]
        wide_at = x + m_read[None, :] * inputs + k[:, None]
        for start in tl.range(first * 2 * BK, last * 2 * BK, 64, num_stages=3):
            total = tl.dot(tl.load(down_at + start), tl.load(wide_at + start), total)
    place = (tl.program_id(1) * rows + m[None, :]) * (outputs + rank) + n[:, None]
    tl.store(parts + place, total, mask=(n < limit)[:, None] & (m < rows)[None, :])


@triton.jit(do_not_specialize=["rows", "rank", "shares"])
def _finish(  # type: ignore[no-untyped-def]
    parts,  # (shares, rows, outputs + rank)
    bias,  # (outputs,)
    up,  # (rank, outputs): an adapter's B
    out,  # (rows, outputs)
    rows,
    outputs,
    rank,
    shares,
    ROWS: tl.constexpr,
    RANK: tl.constexpr,  # 0: there is no adapter
    BIAS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    m, n = tl.arange(0, ROWS), tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    width, here = outputs + rank, (m < rows)[:, None] & (n < outputs)[None, :]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for share in range(shares):
        row = (share * rows + m)[:, None] * width
        total += tl.load(parts + row + n[None, :], mask=here, other=0.0)
    if RANK:
        r = tl.arange(0, RANK)
        low, known = tl.zeros((ROWS, RANK), tl.float32), (m < rows)[:, None] & (r < rank)[None, :]
        for share in range(shares):
            low += tl.load(parts + (share * rows + m)[:, None] * width + outputs + r[None, :], mask=known, other=0.0)
        b = tl.load(
            up + r[:, None] * outputs + n[None, :], mask=(r < rank)[:, None] & (n < outputs)[None, :], other=0.0
        )
        total = tl.dot(low.to(b.dtype), b, total)
    if BIAS:
        total += tl.load(bias + n, mask=n < outputs, other=0.0).to(tl.float32)[None, :]
    tl.store(out + m[:, None] * outputs + n[None, :], total.to(out.dtype.element_ty), mask=here)


def multiply(
    x: torch.Tensor, weights: Weights, down: torch.Tensor | None = None, up: torch.Tensor | None = None
) -> torch.Tensor:
    """Rows (M, inputs) of 16 bits to (M, outputs) of the same dtype.

    Args:
        x: contiguous; M at most 64, inputs a multiple of 128.
        weights: what they are multiplied with.
        down: (rank, inputs) in the dtype of x, contiguous: an adapter's A, of rank at most 64; None: there is none.
        up: (rank, outputs) likewise: its B, scaled.
    """
    (rows, inputs), outputs = x.shape, weights.outputs
    rank = 0 if down is None else len(down)
    parts = torch.empty(weights.shares, rows, outputs + rank, dtype=torch.float32, device=x.device)
    padded = max(16, triton.next_power_of_2(rows))
    adapter = int(rank > 0)
    _multiply[(triton.cdiv(outputs, BN) + adapter, weights.shares)](
        x,
        weights.packed,
        weights.scales,
        weights.code,
        weights.table,
        down,
        parts,
        rows,
        inputs,
        outputs,
        rank,
        ROWS=padded,
        BN=BN,
        BK=BK,
        STAGES=STAGES,
        ADAPTER=adapter,
        DTYPE=tl.bfloat16 if x.dtype == torch.bfloat16 else tl.float16,
        INTERPRETED=INTERPRETED,
        num_warps=4,
    )
    out = torch.empty(rows, outputs, dtype=x.dtype, device=x.device)
    _finish[(triton.cdiv(outputs, COLUMNS),)](
        parts,
        weights.bias,
        up,
        out,
        rows,
        outputs,
        rank,
        weights.shares,
        ROWS=padded,
        RANK=max(16, triton.next_power_of_2(rank)) if rank else 0,
        BIAS=weights.bias is not None,
        COLUMNS=COLUMNS,
    )
    return out
