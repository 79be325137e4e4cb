"""The engine's kernel for weights in 4 bits, without a card: `python tests/real/nf4_kernel.py`; a minute.

Needs `pip install "triton>=3.6" "numpy<2.4"` beside armlite (Triton's interpreter of 3.6 fails with a newer numpy). The
kernel runs in the interpreter, in float16, over shapes that are no whole tiles, beside products in float64; the
interpreter knows no assembly, so the look-up is another there. It is compiled for cards from Ampere to Blackwell: what
counts is that no number is spilled to memory and that a card has so much shared memory. The table of the look-up is
compared with what the assembly's byte permutations, played in Python, make of every pair of weights.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KEPT = Path(__file__).parent / "committed" / "nf4_kernel.json"
CARDS = {80: "A100", 86: "RTX 3060 to 3090", 89: "RTX 4060 to 4090, L40S", 90: "H100, H200", 120: "RTX 5060 to 5090"}
SHARED = {80: 163, 86: 99, 89: 99, 90: 227, 120: 99}
"""Compute capability -> KiB of shared memory that a program may have."""
SHAPES = (
    (192, 384, 5, 3, True, 0),
    (200, 256, 2, 1, False, 16),
    (64, 640, 33, 2, False, 48),
    (64, 512, 64, 2, True, 64),
)
"""Outputs, inputs, rows, shares, bias, rank of the adapter."""


def interpreted() -> list[float]:
    """Relative errors of each shape."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    from armlite.models.engine.nf4_kernel import Weights, multiply, table_of

    torch.manual_seed(0)
    errors = []
    for outputs, inputs, rows, shares, biased, rank in SHAPES:
        packed, state = quantize_4bit((torch.randn(outputs, inputs) * 0.02).half(), quant_type="nf4", blocksize=64)
        bias = torch.randn(outputs).half() if biased else None
        x, down, up = torch.randn(rows, inputs).half(), torch.randn(rank, inputs) * 0.05, torch.randn(rank, outputs)
        code = state.code.float()
        weights = Weights(packed, state.absmax.float(), code, table_of(code), outputs, bias, shares)
        made = multiply(x, weights, *((down.half(), up.half()) if rank else ()))
        wanted = x.double() @ dequantize_4bit(packed, state).half().double().T + (bias.double() if biased else 0)
        if rank:
            wanted += x.double() @ down.half().double().T @ up.half().double()
        errors.append(float((made.double() - wanted).norm() / wanted.norm()))
    return errors


def played() -> int:
    """How many pairs of weights the assembly looks up right, of 256; played in Python."""
    import torch
    from bitsandbytes.functional import quantize_4bit

    from armlite.models.engine.nf4_kernel import table_of

    code = quantize_4bit(torch.ones(64), quant_type="nf4", blocksize=64)[1].code
    table = [word & 0xFFFFFFFF for word in table_of(code).tolist()]
    halves = code.half().view(torch.int16).int().bitwise_and(0xFFFF).tolist()
    right = 0
    for byte in range(256):
        word = byte | (255 - byte) << 8
        s, q = word & 0x7777, word >> 1 & 0x4444 | 0x3210
        low, high = (permuted(permuted(*table[i : i + 2], s), permuted(*table[i + 2 : i + 4], s), q) for i in (0, 4))
        first, second = permuted(low, high, 0x7351), permuted(low, high, 0x6240)
        wanted = [[halves[b >> 4], halves[b & 15]] for b in (byte, 255 - byte)]
        right += [[first >> at & 0xFFFF, second >> at & 0xFFFF] for at in (0, 16)] == wanted
    return right


def permuted(a: int, b: int, selector: int) -> int:
    """PTX's `prmt.b32`."""
    of = a.to_bytes(4, "little") + b.to_bytes(4, "little")
    return int.from_bytes(bytes(of[selector >> 4 * i & 7] for i in range(4)), "little")


def compiled() -> dict[str, dict[str, int]]:
    """Card and rows -> registers, bytes spilled and KiB of shared memory."""
    import triton
    import triton.backends.nvidia
    from triton import language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from armlite.models.engine import nf4_kernel as kernel

    tool = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"
    types = {"packed": "*u8", "table": "*i32", **dict.fromkeys(("scales", "code", "parts"), "*fp32")}
    types |= dict.fromkeys(("rows", "inputs", "outputs", "rank"), "i32")
    found = {}
    for capability, card in CARDS.items():
        for rows in (16, 32, 64):
            for dtype, name in ((tl.bfloat16, "bf16"), (tl.float16, "fp16")):
                fixed = {"ROWS": rows, "BN": kernel.BN, "BK": kernel.BK, "STAGES": kernel.STAGES, "ADAPTER": 1}
                fixed |= {"DTYPE": dtype, "INTERPRETED": False}
                signature = {
                    one: types.get(one, "constexpr" if one in fixed else f"*{name}")
                    for one in kernel._multiply.arg_names
                }
                whole = [i for i, one in enumerate(signature) if one not in ("rows", "rank") and one not in fixed]
                source = ASTSource(kernel._multiply, signature, fixed, {(i,): [["tt.divisibility", 16]] for i in whole})
                made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 4})
                with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
                    Path(file.name).write_bytes(made.asm["cubin"])
                    command = [tool, "-res-usage", file.name]
                    said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
                registers, spilled = map(int, re.search(r"REG:(\d+) STACK:(\d+)", said).groups())  # type: ignore[union-attr]
                shared = -(-made.metadata.shared // 1024)
                if spilled or shared > SHARED[capability]:
                    raise SystemExit(f"{card}, {rows} rows, {name}: spills {spilled} bytes, shares {shared} KiB")
                found[f"{card}: {rows} rows, {name}"] = {
                    "registers": registers,
                    "spilled": spilled,
                    "shared_kib": shared,
                }
    return found


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("part", nargs="?", choices=("interpreted", "compiled"))
    asked = words.parse_args()
    if asked.part:
        print(json.dumps({"interpreted": interpreted, "compiled": compiled}[asked.part]()))
        return
    import triton

    def apart(part: str) -> Any:  # Triton's interpreter is a matter of the whole process
        env = {**os.environ, **({"TRITON_INTERPRET": "1"} if part == "interpreted" else {})}
        said = subprocess.run([sys.executable, __file__, part], env=env, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(said.stdout.splitlines()[-1])

    errors, pairs = apart("interpreted"), played()
    if max(errors) > 1e-3 or pairs != 256:
        raise SystemExit(f"wrong products: errors {errors}, {pairs} of 256 pairs of weights")
    told = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "triton": triton.__version__, "errors": errors, "pairs": pairs}
    KEPT.write_text(json.dumps({**told, "compiled": apart("compiled")}, indent=1) + "\n", encoding="utf-8")
    print(KEPT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
