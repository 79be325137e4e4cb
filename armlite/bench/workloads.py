"""The workloads that `armlite bench` plays, as data: how many tokens of what, and the goal that each was set.

Goals are for a Qwen2.5-VL-7B in 4 bits with LoRA of rank 16 on one H200 or H100 (a report says which) whose memory is
capped, W1-3B's for the 3B; the default workload is for two CPU cores. W9's goal was 0.01 at first, which no engine can
keep there: on these random weights, in NF4 and bfloat16, transformers' own cached decode differs from its forward by
0.056 on average, and a forward of four equal rows from that of one by 0.034. Commands, with a folder that holds the
7B's configuration and tokenizer (the first up to three times, see `CARD`):

    R="--recipe recipes/qwen2.5-vl-7b-24gb.yaml model.path=FOLDER"
    armlite bench --card --minutes 9 $R --out card
    armlite bench $R --random-weights --work W4 --against trl --out w4.json
    armlite bench $R --random-weights engine.cuda_graphs=false --work W2,W4,W6 --out launched.json
    armlite bench --against trl --out pocket.json
    armlite bench --against trl --size middle --out middle.json
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from armlite.errors import ArmliteError, nearest

Play = Literal["step", "rollout", "judge", "sft", "exact"]
"""What is done: whole optimisation steps, rollouts alone, judgments, the cold start, or log-probabilities."""


@dataclass(frozen=True)
class Goal:
    """A figure of a row, and the bound that it was to keep."""

    figure: str
    """Name in the row's `figures`."""
    least: float | None = None
    most: float | None = None

    def met(self, value: float) -> bool:
        """Whether a median keeps the bound."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def value(self, row: Mapping[str, Any]) -> float | None:
        """The median of the figure in a row of a report; None where it was not measured."""
        if self.figure.startswith("ratio_"):
            return row.get("ratio", {}).get(self.figure.removeprefix("ratio_"))
        return row["ours"].get(self.figure, {}).get("median")

    def __str__(self) -> str:
        bounds = {">=": self.least, "<=": self.most}
        return " ".join([self.figure, *(f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None)])


@dataclass(frozen=True)
class Workload:
    """So many rollouts of so many prompts, each with the same calls."""

    id: str
    what: str
    goals: tuple[Goal, ...] = ()
    play: Play = "step"
    prompts: int = 1
    group: int = 8
    """Rollouts of each prompt."""
    image_tokens: int = 256
    """Of the image in the prompt; 0: none."""
    prompt_tokens: int = 552
    """All of the prompt, its image included."""
    crops: tuple[int, ...] = (64, 121, 225)
    """Tokens of the crop that each tool turn returns."""
    pages: tuple[int, ...] = ()
    """Pages that each tool turn returns, in place of crops: the first by a query, the others by their numbers."""
    page_tokens: int = 0
    turn_tokens: int = 43
    """Sampled tokens of a turn, on average."""
    spread: float = 0.2
    """By what share of `turn_tokens` a turn may be shorter or longer."""
    alike: int = 0
    """So many first turns are said alike by all rollouts of a prompt: they fork after these."""
    steps: int = 1
    """Optimisation steps that make one repetition."""
    varying: bool = False
    """Image sizes differ from step to step, between half and all of `image_tokens`."""
    slots: int | None = None
    """Rows of a decode step; None: as many as there are rollouts in plays without an update, else the recipe's."""
    model: str | None = None
    """Another model than the recipe's, by its hub id."""
    reward: str = "hierarchical"
    """What rollouts are rewarded by: that of GRPO stage 2, or `encourage_tools`, that of stage 1."""

    @property
    def rollouts(self) -> int:
        """Of one step."""
        return self.prompts * self.group

    @property
    def turns(self) -> int:
        """Of one rollout, with the answer."""
        return max(len(self.crops), len(self.pages)) + 1

    def scaled(self) -> "Workload":
        """The same shape for a pocket model: shorter, no image of more than 196 tokens, and no goal, for those are the
        7B's.
        """
        return replace(
            self,
            goals=(),
            group=min(self.group, 4),
            image_tokens=min(self.image_tokens, 196),
            prompt_tokens=min(self.prompt_tokens, 500),
            crops=tuple(min(c, 100) for c in self.crops),
            page_tokens=min(self.page_tokens, 100),
            turn_tokens=min(self.turn_tokens, 48),
            steps=min(self.steps, 6),
        )


DEFAULT = Workload(
    "default",
    "one group of 8, an image of 256 tokens in a prompt of 552, 3 crops, about 43 tokens a turn",
    (Goal("ratio_rollout", least=2.5), Goal("ratio_step", least=2.5)),
)
POCKET = replace(DEFAULT, goals=(Goal("ratio_step", least=2.2),))
"""The same for the pocket model, of whose steps calls and copies are a larger part."""
_W3 = Workload(
    "W3",
    "long judge: 4 pages, 4 turns, 1,024 generated tokens, a context of 8k, one group of 8",
    (Goal("reserved_gib", most=22.5), Goal("images_dropped", most=0)),
    image_tokens=0,
    prompt_tokens=1500,
    crops=(),
    pages=(2, 1, 1),
    page_tokens=1024,
    turn_tokens=256,
)
_W2 = Workload(
    "W2",
    "image tools: an image of 768 tokens, one group of 8, 2 turns, one crop, 200 generated tokens",
    (
        Goal("reserved_gib", most=14.5),
        Goal("trajectories_per_second", least=1.0),
        Goal("update_ms_per_token", most=0.35),  # of prompt and completion: what was W5
    ),
    image_tokens=768,
    prompt_tokens=1218,
    crops=(768,),
    turn_tokens=100,
)
_W1 = Workload(
    "W1",
    "single turn: an image of 324 tokens and 450 of text, 2 groups of 4, 272 tokens each",
    (Goal("reserved_gib", most=12.0), Goal("step_seconds", most=6.0)),
    prompts=2,
    group=4,
    image_tokens=324,
    prompt_tokens=774,
    crops=(),
    turn_tokens=272,
)
TABLE = {
    w.id: w
    for w in (
        DEFAULT,
        _W1,
        replace(
            _W1,
            id="W1-3B",
            what="W1 with a Qwen2.5-VL-3B, whose output layer is its embeddings",
            goals=(Goal("reserved_gib", most=7.0),),
            model="Qwen/Qwen2.5-VL-3B-Instruct",
        ),
        _W2,
        _W3,
        replace(_W3, id="W3-late", what="W3, whose rollouts fork in their last turn", alike=3),
        replace(
            _W2,
            id="W4-1",
            what="rollout only, W2's shape, one row at a time",
            play="rollout",
            group=2,
            slots=1,
            goals=(Goal("generated_tokens_per_second", least=60),),
        ),
        *(
            replace(
                _W2,
                id=f"W4-{size}",
                what=f"rollout only, W2's shape, batch {size}",
                play="rollout",
                group=size,
                goals=(Goal("generated_tokens_per_second", least=rate), *ratio),
            )
            for size, rate, *ratio in (
                (8, 700, Goal("ratio_rollout", least=3.0)),
                (16, 1300, Goal("ratio_rollout", least=3.0)),
                (32, 2200, Goal("ratio_rollout", least=3.0)),
                (64, 3000),
            )
        ),
        *(
            Workload(
                f"W6-{size}",
                f"judging: 2 candidates, one call, 400 tokens, batch {size}",
                goals,
                play="judge",
                prompts=size,
                group=1,
                image_tokens=768,
                prompt_tokens=1218,
                crops=(256,),
                turn_tokens=200,
            )
            for size, goals in (
                (1, (Goal("verdict_seconds", most=8.0),)),
                (32, (Goal("verdicts_per_minute", least=120),)),
            )
        ),
        Workload(
            "W7",
            "SFT cold start: 4k tokens, micro-batch 1",
            (Goal("reserved_gib", most=9.5),),
            play="sft",
            group=1,
            image_tokens=1024,
            prompt_tokens=3000,
            crops=(768,),
            turn_tokens=100,
            steps=4,
        ),
        replace(
            _W2,
            id="W8",
            what="50 steps of W2 with varying image sizes: memory reserved at the end over that after step 5",
            goals=(Goal("reserved_growth", most=1.05),),
            steps=50,
            varying=True,
        ),
        replace(
            _W2,
            id="W9",
            what="log-probabilities of the rollout against the trainer's, W2's shape",
            play="exact",
            goals=(Goal("logprob_mean_difference", most=0.056),),
        ),
    )
}
"""By id; `W1`, `W3`, `W4` and `W6` stand for all that begin so where none has that very name."""


@dataclass(frozen=True)
class Part:
    """A workload of `armlite bench --card`."""

    work: str
    """Its id."""
    cap: float
    """GiB of the card that its process may have."""
    seconds: float
    """That its process takes with the 7B on an H200, most of them measured; what is tried in the time that is left."""
    repetitions: int = 2


CARD = (
    Part("W1", 16, 60, 3),
    Part("W2", 18, 70, 3),
    Part("W7", 14, 45, 1),
    Part("W4-8", 18, 50),
    Part("W4-32", 18, 65),
    Part("W1-3B", 10, 55),
    Part("W3", 24, 120, 1),
    Part("W4-1", 18, 60),
    Part("W6-32", 18, 70, 1),
    Part("W4-16", 18, 55),
    Part("W9", 18, 50, 1),
    Part("W6-1", 14, 45, 1),
    Part("W4-64", 24, 80, 1),
    Part("W8", 18, 420, 1),
    Part("W3-late", 24, 110, 1),
)
"""In order of worth: what decides whether a judge can be trained on the card, then how fast, then what is finer."""


def chosen(words: str) -> list[Workload]:
    """The workloads of a list like `W1,W4`.

    Raises:
        ArmliteError: there is no such workload.
    """
    found: list[Workload] = []
    for word in words.split(","):
        name = word.strip()
        same = [w for key, w in TABLE.items() if name.lower() == key.lower()]
        same = same or [w for key, w in TABLE.items() if name.lower() == key.partition("-")[0].lower()]
        if not same:
            known = sorted({key.partition("-")[0] for key in TABLE})
            raise ArmliteError(f"there is no workload {name!r}.{nearest(name, known)} Workloads: {', '.join(known)}")
        found += same
    return found
