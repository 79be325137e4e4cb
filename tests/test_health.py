"""Signs of trouble in a GRPO stage, on scripted curves: each rule is told where it belongs, once, and nowhere else."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from armlite.cli.training import TrainingLog, TrainingScreen
from armlite.train.health import RULES, HealthWatch, health_lines, rules_table

ROOT = Path(__file__).parents[1]
STEPS = 40
WELL = {
    "reward": (0.6, 1.4),
    "rewards/answer/mean": (0.3, 0.65),
    "accuracy": (0.5, 0.95),
    "entropy": (1.2, 0.3),
    "frac_reward_zero_std": (0.2, 0.6),
    "completions/mean_length": (60, 70),
    "completions/clipped_ratio": (0.1, 0.0),
    "tools/call_frequency": (0.4, 1.0),
    "tools/failure_frequency": (0.2, 0.05),
    "tools/malformed_frequency": (0.1, 0.0),
}
"""First and last value of each figure of a stage that is well; straight lines between."""
CURVES = {
    "reward hack": {"accuracy": (0.6, 0.55)},
    "entropy collapse": {"entropy": (1.2, 0.05), "accuracy": (0.5, 0.6)},
    "groups too easy": {"frac_reward_zero_std": (0.2, 0.95)},
    "groups too alike": {"frac_reward_zero_std": (0.7, 0.95), "accuracy": (0.5, 0.6)},
    "growing length": {"reward": (1.0, 1.05), "completions/mean_length": (60, 200), "accuracy": (0.5, 0.52)},
    "cut off": {"completions/clipped_ratio": (0.1, 0.5)},
    "calls fail": {"tools/failure_frequency": (0.2, 0.6)},
    "malformed turns": {"tools/malformed_frequency": (0.1, 0.5)},
    "tools given up": {"tools/call_frequency": (0.6, 0.0)},
}


def curve(stage="grpo2", steps=STEPS, **changes):
    figures = {**WELL, **changes}
    return [
        {"stage": stage, "step": n, **{key: a + (b - a) * (n - 1) / (steps - 1) for key, (a, b) in figures.items()}}
        for n in range(1, steps + 1)
    ]


def seen(rows):
    watch = HealthWatch()
    return [sign for row in rows for sign in watch.see(row)]


def test_a_stage_that_is_well_has_no_sign_and_the_report_says_so():
    assert seen(curve()) == []
    assert health_lines(curve()) == [
        f"None of the {len(RULES)} signs of trouble that `armlite docs training` lists: grpo2."
    ]


@pytest.mark.parametrize("name", [rule.name for rule in RULES])
def test_each_rule_has_a_curve_on_which_it_alone_is_told_and_once(name):
    found = seen(curve(**CURVES[name]))
    assert [sign.rule.name for sign in found] == [name]
    assert 10 <= found[0].step <= STEPS
    assert found[0].text[0].islower() or found[0].text[0].isdigit()
    [row] = health_lines(curve(**CURVES[name]))[2:]
    assert row.startswith(f"| grpo2 | {found[0].step} | yes | {name} | {found[0].text} | {found[0].rule.try_} |")


def test_a_sentence_has_the_figures_of_the_beginning_and_of_now():
    rows = curve(reward=(0.5, 1.3), accuracy=(0.6, 0.55))
    watch = HealthWatch(rows[:-1])
    assert watch.see(rows[-1]) == [], "what was told before is not told again"
    last = HealthWatch()._rows  # nothing is shared between two watches
    assert last == {}
    flat = [{**row, "reward": 0.5 if row["step"] < 20 else 1.25, "accuracy": 0.6} for row in curve()]
    [sign] = seen(flat)
    assert sign.text.startswith("the reward rises (0.50 to 0.65) and accuracy does not (60% to 60%): it earns by")
    assert sign.step == 20


def test_a_stage_that_does_not_pay_for_rightness_may_raise_its_reward_without_it():
    unpaid = {"rewards/answer/mean": (0.0, 0.0)}
    assert seen(curve("grpo1", accuracy=(0.5, 0.48), **unpaid)) == []
    assert [s.rule.name for s in seen(curve("grpo1", accuracy=(0.6, 0.45), **unpaid))] == ["reward hack"]


def test_too_few_steps_a_cold_start_and_figures_that_are_missing_say_nothing():
    assert seen(curve(**CURVES["reward hack"])[:9]) == []
    assert health_lines(curve(**CURVES["reward hack"])[:9]) == []
    assert seen([{"stage": "sft", "step": n, "loss": 1.0, "entropy": 5.0 / n} for n in range(1, 30)]) == []
    assert seen([{**row, "entropy": None} for row in curve(**CURVES["entropy collapse"])]) == []


def test_a_sign_that_passes_is_told_as_passed():
    rows = curve(**{"tools/failure_frequency": (0.6, 0.0)})
    [line] = health_lines(rows)[2:]
    assert line.startswith("| grpo2 | 10 | no | calls fail | ")


def test_steps_that_are_taken_again_after_a_kill_count_once():
    rows = curve(**CURVES["reward hack"])
    again = [*rows[:12], *rows[8:]]
    assert [(s.step, s.rule.name) for s in seen(again)] == [(s.step, s.rule.name) for s in seen(rows)]


def test_a_sign_is_a_line_of_the_log_and_stays_above_the_screen():
    [sign] = seen(curve(**CURVES["calls fail"]))
    values = {"stage": "grpo2", "line": sign.line()}
    out = io.StringIO()
    with TrainingLog(out) as log:
        log.notify("health", values)
    assert out.getvalue().rstrip("\n").endswith(sign.line())
    console = Console(file=io.StringIO(), width=300, force_terminal=True, color_system=None)
    TrainingScreen(console).notify("health", values)
    assert "calls fail: 3" in console.file.getvalue() and "; try: read the errors" in console.file.getvalue()


def test_the_page_on_training_has_the_table_of_rules():
    assert "\n".join(rules_table()) in (ROOT / "armlite" / "docs" / "training.md").read_text("utf-8")
