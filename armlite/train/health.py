"""Whether a GRPO stage is well: rules over the figures of its steps, each with what to try.

Signs, not verdicts: a rule compares the first steps of a stage with its last ones and says what looks like trouble that
is known of RL. Rollouts that teach nothing at all are told by `armlite.train.fruitless`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from armlite.evals.report import markdown_table

WINDOW = 5
"""Steps whose mean counts as one value: the first so many of a stage are its beginning, the last so many are now."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Course:
    """The figures of a stage so far: at its beginning, and now."""

    rows: Sequence[Row]

    def first(self, key: str) -> float | None:
        """The mean of the first steps; None where a figure is missing."""
        return _mean(self.rows[:WINDOW], key)

    def now(self, key: str) -> float | None:
        """The mean of the last steps."""
        return _mean(self.rows[-WINDOW:], key)

    def rise(self, key: str) -> float | None:
        """How much a figure has risen."""
        first, now = self.first(key), self.now(key)
        return None if first is None or now is None else now - first

    def ever(self, key: str) -> bool:
        """Whether a figure was ever above 0."""
        return any(row.get(key) or 0 for row in self.rows)


@dataclass(frozen=True)
class Rule:
    """What is looked for, and what to do about it."""

    name: str
    when: str
    """The condition in words, as the table of `armlite docs training` has it."""
    applies: Callable[[Course], bool]
    says: str
    """A sentence; `{FIGURE}` stand for figures now, `{first FIGURE}` for those of the beginning."""
    try_: str


def _mean(rows: Iterable[Row], key: str) -> float | None:
    values = [row.get(key) for row in rows]
    known = [value for value in values if isinstance(value, int | float)]
    return sum(known) / len(known) if len(known) == len(values) and known else None


def _above(value: float | None, border: float) -> bool:
    return value is not None and value > border


def _below(value: float | None, border: float) -> bool:
    return value is not None and value < border


def _hack(c: Course) -> bool:
    pays_rightness = c.ever("rewards/answer/mean") or c.ever("rewards/instruction/mean")
    least = 0.01 if pays_rightness else -0.05
    return _above(c.rise("reward"), 0.1) and _below(c.rise("accuracy"), least)


def _collapse(c: Course) -> bool:
    first, now = c.first("entropy"), c.now("entropy")
    return first is not None and now is not None and now < 0.2 * first and _below(c.now("accuracy"), 0.9)


def _longer(c: Course) -> bool:
    first, now = c.first("completions/mean_length"), c.now("completions/mean_length")
    return first is not None and now is not None and now > 1.5 * first and _below(c.rise("accuracy"), 0.05)


EQUAL = "frac_reward_zero_std"
RULES = (
    Rule(
        "reward hack",
        "the reward has risen by 0.1 and accuracy by less than 1 point (where rightness is not paid for: has fallen by "
        "5 points)",
        _hack,
        "the reward rises ({first reward:.2f} to {reward:.2f}) and accuracy does not ({first accuracy:.0%} to "
        "{accuracy:.0%}): it earns by something else than being right",
        "see in the plot of the reward which part rises and lower its weight; look at what earns most with "
        "`armlite view RUN --sort -reward`",
    ),
    Rule(
        "entropy collapse",
        "entropy is below a fifth of its beginning, and accuracy below 90 %",
        _collapse,
        "the policy hardly varies any more (entropy {first entropy:.3f} to {entropy:.3f}) and is right in "
        "{accuracy:.0%} only",
        "lower learning_rate, set epsilon_high to 0.28, or beta to 0.01; go back to an earlier checkpoint",
    ),
    Rule(
        "groups too easy",
        "more than 80 % of the groups earn all the same, and accuracy is above 80 %",
        lambda c: _above(c.now(EQUAL), 0.8) and _above(c.now("accuracy"), 0.8),
        "{frac_reward_zero_std:.0%} of the groups earn all the same, most of them for being right: steps teach little",
        "set filter_rollouts, give harder tasks, or end the stage here",
    ),
    Rule(
        "groups too alike",
        "more than 80 % of the groups earn all the same, and accuracy is at most 80 %",
        lambda c: _above(c.now(EQUAL), 0.8) and not _above(c.now("accuracy"), 0.8),
        "{frac_reward_zero_std:.0%} of the groups earn all the same with {accuracy:.0%} right: steps teach little",
        "raise num_generations or temperature, begin from a better cold start, or give easier tasks",
    ),
    Rule(
        "growing length",
        "completions are half as long again as at the beginning, and accuracy has risen by less than 5 points",
        _longer,
        "completions grow ({first completions/mean_length:.0f} to {completions/mean_length:.0f} tokens) and accuracy "
        "does not",
        "lower max_new_tokens, use loss_type: dapo or dr_grpo, or a reward with a part for being brief",
    ),
    Rule(
        "cut off",
        "more than 20 % of the rollouts run out of tokens",
        lambda c: _above(c.now("completions/clipped_ratio"), 0.2),
        "{completions/clipped_ratio:.0%} of the rollouts run out of tokens and teach nothing",
        "raise max_new_tokens or max_context, or show fewer pixels (episode.limits)",
    ),
    Rule(
        "calls fail",
        "more than 30 % of the calls fail, of at least one call in ten rollouts",
        lambda c: _above(c.now("tools/failure_frequency"), 0.3) and _above(c.now("tools/call_frequency"), 0.1),
        "{tools/failure_frequency:.0%} of the calls fail",
        "read the errors (`armlite view RUN --where status=failed`); teach the arguments in the cold start",
    ),
    Rule(
        "malformed turns",
        "more than one turn in five rollouts is malformed",
        lambda c: _above(c.now("tools/malformed_frequency"), 0.2),
        "{tools/malformed_frequency:.2f} turns a rollout are malformed",
        "train the cold start for longer; give the part `format` more weight",
    ),
    Rule(
        "tools given up",
        "calls a rollout have fallen from above 0.3 to below 0.05",
        lambda c: _above(c.first("tools/call_frequency"), 0.3) and _below(c.now("tools/call_frequency"), 0.05),
        "it has given up its tools ({first tools/call_frequency:.2f} calls a rollout to {tools/call_frequency:.2f})",
        "have stage 1 pay for trying (reward: encourage_tools), or give `success` more weight",
    ),
)
"""The table: `armlite docs training` shows it, in this order."""


@dataclass(frozen=True)
class Sign:
    """A rule that applies to a stage."""

    stage: str
    step: int
    """The first step at which it does."""
    rule: Rule
    text: str

    def line(self) -> str:
        """All of it, with what to try."""
        return f"{self.stage}, step {self.step}: {self.rule.name}: {self.text}; try: {self.rule.try_}"


class HealthWatch:
    """Watches the steps of a run.

    Args:
        rows: steps that were taken before, of which it says nothing.
    """

    def __init__(self, rows: Iterable[Row] = ()):
        self._rows: dict[str, list[Row]] = {}
        self._said: set[tuple[str, str]] = set()
        for row in rows:
            self.see(row)

    def see(self, row: Row) -> list[Sign]:
        """The signs that are new with a step of `metrics.jsonl`; each is told once a stage."""
        stage, step = row["stage"], row["step"]
        if "reward" not in row:
            return []
        rows = self._rows.setdefault(stage, [])
        rows[:] = [known for known in rows if known["step"] < step]  # a step that is taken again
        rows.append(row)
        found = signs(stage, rows) if len(rows) >= 2 * WINDOW else []
        new = [sign for sign in found if (stage, sign.rule.name) not in self._said]
        self._said |= {(stage, sign.rule.name) for sign in new}
        return new


def signs(stage: str, rows: Sequence[Row]) -> list[Sign]:
    """The rules that apply to a stage as it stands."""
    course = Course(rows)
    return [Sign(stage, rows[-1]["step"], rule, _said(rule.says, course)) for rule in RULES if rule.applies(course)]


def _said(text: str, course: Course) -> str:
    class Figures(dict[str, Any]):
        def __missing__(self, key: str) -> float:
            begun = key.startswith("first ")
            value = course.first(key.removeprefix("first ")) if begun else course.now(key)
            assert value is not None, f"the rule has looked at {key}"
            return value

    return text.format_map(Figures())


def health_lines(rows: Sequence[Row]) -> list[str]:
    """The part of a report on health: what was seen, from when, and whether it lasted; nothing where no stage of RL is
    long enough to tell.
    """
    watch, found, stages = HealthWatch(), list[Sign](), dict[str, list[Row]]()
    for row in sorted(rows, key=lambda r: (r["stage"], r["step"])):
        found += watch.see(row)
        if "reward" in row:
            stages.setdefault(row["stage"], []).append(row)
    told = [stage for stage, own in stages.items() if len(own) >= 2 * WINDOW]
    if not told:
        return []
    if not found:
        return [f"None of the {len(RULES)} signs of trouble that `armlite docs training` lists: {', '.join(told)}."]
    last = {(stage, sign.rule.name) for stage in told for sign in signs(stage, stages[stage])}
    cells = [
        (s.stage, s.step, "yes" if (s.stage, s.rule.name) in last else "no", s.rule.name, s.text, s.rule.try_)
        for s in found
    ]
    return markdown_table(("stage", "from step", "at its end", "sign", "what is seen", "what to try"), cells)


def rules_table() -> list[str]:
    """The rules as a table in Markdown."""
    return markdown_table(("sign", "when", "what to try"), [(rule.name, rule.when, rule.try_) for rule in RULES])
