"""What the ARM-Thinker paper (arXiv 2512.05111) reports, and the settings that are known of each number.

Figures only, in percent as printed, transcribed from summaries of the paper's tables; a number that only one, less
reliable summary gives is marked. `armlite eval compare --paper` lays them beside a run.
"""

import re
from dataclasses import dataclass
from typing import Any

from armlite.evals.folder import EvalSettings
from armlite.evals.likeness import reference_runner, unlike

ASIDE = "given by one summary of the paper only, which contradicts others elsewhere"
UNKNOWN = "not stated"
TEXT_ONLY = ("rewardbench-2",)
"""No tool takes part in these, whatever a run's settings say."""
BASE, TRAINED = "Qwen2.5-VL-7B", "ARM-Thinker-7B"
"""The paper's names of the model that it trains and of what comes of it."""
MODELS = {r"qwen2\.5-vl-7b(-instruct)?": BASE, r"arm-thinker(-7b)?": TRAINED}
"""What a run's model is called, without its owner and in lower case -> the paper's name of that model."""


@dataclass(frozen=True)
class Row:
    """One number of the paper."""

    bench: str
    model: str
    value: float
    """Percent."""
    tools: bool
    where: str
    """Which of its tables."""
    note: str = ""


def _rows(where: str, benches: tuple[str, ...], models: dict[str, tuple[float | None, ...]]) -> list[Row]:
    """A table of the paper: benchmarks across, models down; only ARM-Thinker's numbers are with tools."""
    return [
        Row(bench, model, value, model.startswith("ARM-Thinker") and bench not in TEXT_ONLY, where)
        for model, values in models.items()
        for bench, value in zip(benches, values, strict=True)
        if value is not None
    ]


_REWARD = _rows(
    "reward benchmarks",
    ("vl-rewardbench", "rewardbench-2", "armbench-vl"),
    {
        "Qwen2.5-VL-7B": (50.1, 47.1, 46.1),
        "InternVL3.5-8B": (50.9, 53.7, 55.5),
        "Qwen3-VL-8B": (66.0, 58.9, 50.6),
        "GPT-4o": (65.8, 65.5, 63.3),
        "UnifiedReward-7B": (66.1, 45.1, None),
        "ARM-Thinker-7B": (67.8, 59.6, 64.6),
    },
)
_IMAGES = _rows(
    "thinking with images",
    ("vstar", "hr-bench-4k", "hr-bench-8k", "mme-realworld"),
    {
        "Qwen2.5-VL-7B": (75.4, 69.1, 64.6, 58.5),
        "Mini-o3": (88.2, 77.5, 73.3, 65.5),
        "Qwen3-VL-8B": (82.2, 76.8, 70.4, 63.1),
        "ARM-Thinker-7B": (86.4, 80.1, 73.7, 65.8),
    },
)
_ABLATION = [
    Row(bench, model, value, tools, "tool ablation (table 5)")
    for model, tools, values in (
        ("Qwen2.5-VL-7B", True, (44.3, 50.3, 60.1, 51.8)),
        ("ARM-Thinker-7B", False, (59.2, 82.2, 76.6, 70.5)),
    )
    for bench, value in zip(("armbench-vl", "vstar", "hr-bench-4k", "hr-bench-8k"), values, strict=True)
]
PAPER: tuple[Row, ...] = (
    *_REWARD,
    *_IMAGES,
    *_ABLATION,
    Row("we-math", "ARM-Thinker-7B", 46.1, False, "reasoning benchmarks", ASIDE),
)
PAPER_CALLS = (
    "In the paper's training (its figure 4) they end at about 0.7 a sample where only accuracy and format are "
    "rewarded, at 1.15 with a fixed bonus for a call, and at 1.12 with its own reward."
)
PROTOCOL: dict[str, dict[str, Any]] = {
    "vl-rewardbench": {"figure": "average; whether over rows or over the three groups is not stated"},
    "rewardbench-2": {"figure": "average; over rows or over subsets, with or without Ties is not stated"},
    "armbench-vl": {"figure": "mean of the three tracks, which are not published"},
    "hr-bench-4k": {"figure": "mean over the four cycles"},
    "hr-bench-8k": {"figure": "mean over the four cycles"},
    "we-math": {"figure": UNKNOWN},
}
"""What is known of how a benchmark's number was made; absent: its usual accuracy."""

REFERENCE = {"votes": 1, "temperature": 0.0}
"""Of the reference's evaluation, where its further settings for a benchmark are not known."""
EXTRACT = "rule here, in part a language model in VLMEvalKit"
"""How the kit reads decisions out of answers, where a benchmark's figure comes from it."""


def rows_of(bench: str) -> list[Row]:
    """The paper's numbers for a benchmark; none where it has none."""
    return [row for row in PAPER if row.bench == bench]


def same_model(settings: EvalSettings, row: Row) -> bool:
    """Whether a run's model goes by the name of a row's. What was made of it (`runs/qwen2.5-vl-7b-24gb`) does not."""
    name = settings.model.casefold().rpartition("/")[2].rpartition(":")[2]
    return any(re.fullmatch(pattern, name) and row.model == model for pattern, model in MODELS.items())


def differing(settings: EvalSettings, row: Row) -> list[str]:
    """What differs between a run and a number of the paper, as far as that is known; what is not stated is said so."""
    said = [] if same_model(settings, row) else [f"model: {settings.model}, not {row.model}"]
    if settings.tools != row.tools and settings.benchmark not in TEXT_ONLY:
        said.append(f"tools: {_word(settings.tools)} here, {_word(row.tools)} there")
    if known := reference_runner(settings.benchmark):
        calls = settings.tools and row.tools
        said += [word for word in unlike(settings) if calls or not word.startswith("max_calls")]
        said += [f"extract: {EXTRACT}"] if known == "kit" else []
    else:
        differing = [(name, getattr(settings, name), value) for name, value in REFERENCE.items()]
        said += [f"{name}: {ours} here, {value} there" for name, ours, value in differing if ours != value]
        said.append(f"all else of how it was judged there: {UNKNOWN}")
    if settings.skip_missing:
        said.append("items: those whose pictures are missing are left out here")
    if settings.n is not None:
        said.append(f"items: the first {settings.n} here, all there")
    if "figure" in PROTOCOL.get(settings.benchmark, {}):
        said.append(f"figure there: {PROTOCOL[settings.benchmark]['figure']}")
    if row.note:
        said.append(f"the number is {row.note}")
    return said


def _word(yes: bool) -> str:
    return "yes" if yes else "no"
