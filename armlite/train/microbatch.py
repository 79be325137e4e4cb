"""How the rollouts of an optimisation step are split into parts (micro-batches), and what each part's loss weighs.

Invariant: the split changes memory and time, never what is learnt, since parts are weighted so that their losses add up
to the loss of all rows at once. Rows of a group stay together as far as they fit: their prompt is then computed once.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from trl.trainer.utils import split_pixel_values_by_grid, unsplit_pixel_values_by_grid

from armlite.train.prefix import Row
from armlite.train.tree import pieces_of

BY_TOKENS = ("cispo", "dapo", "vespo")
"""Losses that TRL divides by `num_items_in_batch`, the trained tokens of all rows: their parts simply add up."""

PROMPT = ("prompt_ids", "prompt_mask")
COMPLETION = (
    "completion_ids",
    "completion_mask",
    "tool_mask",
    "old_per_token_logps",
    "ref_per_token_logps",
    "wanted",
)
"""What has a column for each token of the padded completions."""


@dataclass(frozen=True)
class Budget:
    """What may go through the model at once."""

    rows: int | None
    """Rollouts; None: `tokens` decides."""
    tokens: int | None = None
    """Tokens, padding included where there is any."""
    packed: bool = True
    """Rows share what they begin with and are not padded."""

    def cost(self, rows: Sequence[Row]) -> int:
        """Tokens that some rows take together."""
        if not self.packed:
            prompt = max((len(r.record.prompt_ids) for r in rows), default=0)
            return len(rows) * (prompt + max((len(r.record.completion_ids) for r in rows), default=0))
        return sum(piece.length for piece in pieces_of([r.path for r in rows if r.wanted]))

    def fits(self, rows: Sequence[Row]) -> bool:
        """Whether some rows may go through the model together; one alone always may."""
        few = self.rows is None or len(rows) <= self.rows
        return len(rows) == 1 or (few and (self.tokens is None or self.cost(rows) <= self.tokens))

    def smaller(self, parts: Sequence[Sequence[Row]]) -> "Budget | None":
        """Half of what the largest of some parts took, which was too much; None: no part can be cut any more."""
        if all(len(part) == 1 for part in parts):
            return None
        if self.tokens is None:
            return Budget(max(map(len, parts)) // 2, None, self.packed)
        worst = max(self.cost(part) for part in parts if len(part) > 1)
        return Budget(self.rows, max(1, worst // 2), self.packed)


def split_rows(rows: Sequence[Row], budget: Budget, at_least: int = 1) -> list[list[Row]]:
    """Split rows into parts within a budget, the largest first, so that memory peaks at the start; deterministic.

    Args:
        rows: of a batch.
        budget: of a part.
        at_least: number of parts, as far as there are rows: processes that train together must agree on it.
    """
    groups: dict[bytes, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    for group in groups.values():
        group.sort(key=lambda r: -r.length)
    ordered = sorted(groups.values(), key=budget.cost, reverse=True)
    parts: list[list[Row]] = []
    for group in ordered:
        # A group that fits as a whole is never split, since its prompt would be computed once in each part.
        if parts and budget.fits(parts[-1] + group):
            parts[-1] += group
            continue
        whole = budget.fits(group)
        for i, row in enumerate(group):
            fresh = not parts or (whole and i == 0)
            if fresh or not budget.fits([*parts[-1], row]):
                parts.append([row])
            else:
                parts[-1].append(row)
    while len(parts) < min(at_least, len(rows)):
        largest = max(parts, key=len)
        parts.remove(largest)
        parts += [largest[: len(largest) // 2], largest[len(largest) // 2 :]]
    parts.sort(key=budget.cost, reverse=True)
    return [sorted(part, key=lambda r: r.number) for part in parts]


def select_rows(inputs: dict[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
    """Some rows of TRL's batch, as a batch of their own: their images only, and no more padding than they need."""
    split = split_pixel_values_by_grid(inputs)
    index = torch.tensor(list(numbers), device=inputs["prompt_ids"].device)
    some: dict[str, Any] = {}
    for key, value in split.items():
        if isinstance(value, list):
            some[key] = [value[i] for i in numbers]
        else:
            some[key] = value[index] if isinstance(value, torch.Tensor) and value.ndim else value
    some = unsplit_pixel_values_by_grid(some)
    # Prompts (B, P) are padded on the left, completions (B, T) on the right: less padding is a slice of each.
    width = inputs["prompt_ids"].shape[1]
    low = width - int(some["prompt_mask"].sum(1).max())
    high = int(some["completion_mask"].sum(1).max())
    sides = {**dict.fromkeys(PROMPT, slice(low, None)), **dict.fromkeys(COMPLETION, slice(0, high))}
    sides["mm_token_type_ids"] = slice(low, width + high)
    for key in sides.keys() & some.keys():
        some[key] = some[key][:, sides[key]]
    return some


def loss_weight(loss_type: str, part: dict[str, Any], whole: dict[str, Any]) -> float:
    """Factor by which a part's loss, as TRL computes it of the part alone, enters the loss of the whole batch.

    TRL divides `bnpo` by the batch's own trained tokens and `grpo`, `dr_grpo` and the like by its rows.
    """
    if loss_type in BY_TOKENS:
        return 1.0
    if loss_type == "bnpo":
        return count_loss_tokens(part) / max(1, count_loss_tokens(whole))
    return len(part["prompt_ids"]) / len(whole["prompt_ids"])


def count_loss_tokens(inputs: dict[str, Any]) -> int:
    """Trained tokens of a batch."""
    return int(loss_mask(inputs).sum())


def loss_mask(inputs: dict[str, Any]) -> torch.Tensor:
    """(B, T) 1 on trained tokens: not padding, not a tool's output."""
    return inputs["completion_mask"] * inputs.get("tool_mask", 1)


def merge_metrics(metrics: dict[str, list[float]], before: dict[str, int], tokens: Sequence[int], scored: int) -> None:
    """Replace the metrics that each part has logged by those of all parts together: means over tokens, and extremes.

    Args:
        metrics: TRL's lists, one value each time it logs.
        before: their lengths before the parts.
        tokens: trained tokens of each part.
        scored: tokens whose entropy is known: those of rollouts that teach nothing are not computed.
    """
    for name, values in metrics.items():
        new = values[before.get(name, 0) :]
        if len(new) != len(tokens):
            continue
        del values[before.get(name, 0) :]
        known = [v for v in new if not math.isnan(v)]
        if name.endswith(("_min", "_max")):
            extreme = min if name.endswith("_min") else max
            values.append(extreme(known) if known else math.nan)
        else:
            total = scored if name == "entropy" else sum(tokens)
            values.append(sum(v * n for v, n in zip(new, tokens, strict=True) if n) / max(1, total))
