"""What `armlite train` shows while it runs: a log that a person can follow, a screen that fits 80 columns."""

import io
import re
import time
from itertools import pairwise

import pytest
from rich.console import Console

from armlite.cli import training
from armlite.cli.screen import Counter
from armlite.cli.training import TrainingLog, TrainingScreen, Work, duration, ended, memory, sparkline

STAGES = (("sft", 1000), ("grpo1", 80))
PARTS = {"rewards/format/mean": 0.3, "rewards/answer/mean": 0.61, "rewards/answer/std": 0.2}


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

        def strftime(self, form):
            return time.strftime(form, time.gmtime(self.now))

    clock = Clock()
    monkeypatch.setattr(training, "time", clock)
    return clock


def summary(share):
    figure = {"figures": {"accuracy": {"value": share, "n": 300, "ci95": [0, 1]}}}
    return {"rollout": figure, "greedy": figure, "no_tools": figure}


def play(display, clock, seconds_a_step=2.0, after=0):
    """A run of two stages, with what comes between."""
    for stage, steps in STAGES:
        display.notify("stage", {"stage": stage, "steps": steps, "done": after})
        if stage != "sft":
            for done in range(0, 301, 20):
                clock.now += 2
                display.notify("filter", {"stage": stage, "done": done, "total": 300})
        for step in range(after + 1, steps + 1):
            clock.now += seconds_a_step
            row = {"stage": stage, "step": step, "loss": 1 / step, "time": "x", "grad_norm": 1.0}
            row |= {"reward": 0.9, "accuracy": 0.8, "tools/call_frequency": 1.0, **PARTS} if stage != "sft" else {}
            display.notify("step", row)
        for name in ("rollout", "greedy"):
            total = 600 if name == "greedy" else 300
            for done in range(0, total + 1, 50):
                clock.now += 1
                display.notify("evaluation", {"stage": stage, "round": name, "done": done, "total": total})
        display.notify("evaluated", {"stage": stage, "seconds": 27.0, "summary": summary(0.81)})
        display.notify("note", {"stage": stage, "seconds": 2000.0, "tasks": 300, "kept": 103})


def test_a_log_says_all_that_a_person_wants_to_know_once_a_minute(clock):
    out = io.StringIO()
    with TrainingLog(out) as log:
        play(log, clock)
    lines = out.getvalue().splitlines()
    assert len(lines) < 100
    times = [int(h) * 3600 + int(m) * 60 + int(s) for h, m, s in (line[:8].split(":") for line in lines)]
    assert max(b - a for a, b in pairwise(times)) <= 62
    assert re.fullmatch(r"\d\d:\d\d:\d\d sft 30 of 1,000, 32 min left, loss 0\.0333, [\d.]+ GiB", lines[1]), lines[1]
    assert "sft: 1,000 steps" in lines[0]
    [grpo] = [line for line in lines if " grpo1 80 of 80" in line]
    for part in ("loss", "reward 0.9", "format 0.3", "answer 0.61", "accuracy 0.8", "calls 1"):
        assert part in grpo
    assert "std" not in grpo
    assert any(line.endswith("sft: accuracy rollout 81.0 %, greedy 81.0 %, no tools 81.0 % (27 s)") for line in lines)
    assert any(line.endswith("grpo1: done in 33 min; tasks 300, kept 103") for line in lines)


def test_a_run_that_goes_on_says_from_where_and_counts_its_own_pace(clock):
    out = io.StringIO()
    with TrainingLog(out) as log:
        log.notify("stage", {"stage": "sft", "steps": 1000, "done": 400})
        clock.now += 61
        log.notify("step", {"stage": "sft", "step": 410, "loss": 0.5})
    first, second = out.getvalue().splitlines()
    assert first.endswith("sft: 1,000 steps, after step 400")
    assert "410 of 1,000, 60 min left" in second or "410 of 1,000, 1 h 00 min left" in second


def test_the_screen_fits_80_columns_counts_right_and_finished_work_is_a_line(clock):
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    screen = TrainingScreen(console)
    shown = []

    def look():
        with console.capture() as capture:
            console.print(screen._draw())
        shown.append(capture.get())

    screen.notify("stage", {"stage": "grpo1", "steps": 80, "done": 0})
    for step in range(1, 61):
        clock.now += 2
        row = {"stage": "grpo1", "step": step, "loss": 1 / step, "reward": step / 60, "accuracy": 0.8, **PARTS}
        screen.notify("step", row)
    look()
    screen.notify("evaluation", {"stage": "grpo1", "round": "rollout", "done": 12, "total": 12})
    look()
    screen.notify("evaluation", {"stage": "grpo1", "round": "greedy", "done": 24, "total": 24})
    look()
    screen.notify("evaluated", {"stage": "grpo1", "seconds": 3.0, "summary": summary(0.5)})
    look()
    assert max(len(line) for text in shown for line in text.splitlines()) <= 80
    assert "grpo1" in shown[0] and "60 of 80" in shown[0] and "40 s left" in shown[0]
    assert re.search(r" {4}answer +▁+ 0\.61 +\n +accuracy ▁+ 0\.8 ", shown[0])
    assert re.search(r"reward +▁▁[▁▂▃▄▅▆▇█]+█ 1 +\n", shown[0]) and re.search(
        r" {4}answer +▁+ 0\.61 +\n +accuracy ▁+ 0\.8 ", shown[0]
    )
    assert "12 of 12" in shown[1] and "reward" not in shown[1]
    assert "24 of 24" in shown[2]
    assert shown[3].strip() == ""
    assert "grpo1: accuracy rollout 50.0 %" in console.file.getvalue()


def test_a_counter_off_a_terminal_says_how_far_it_is_once_a_minute(clock, monkeypatch, capsys):
    monkeypatch.setattr("armlite.cli.screen.time", clock)
    with Counter("rows") as counter:
        for done in range(100):
            clock.now += 2.5
            counter.show(done + 1, 100)
    err = capsys.readouterr().err.splitlines()
    assert err[0][9:] == "rows 24 of 100, 3 min left"
    assert len(err) == 4


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min")]
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_a_curve_is_as_wide_as_it_may_be():
    assert sparkline([1.0]) == "▁" and sparkline([0, 7]) == "▁█"
    assert sparkline(range(240)) == "".join(sorted(sparkline(range(240)))) and len(sparkline(range(240))) == 24


def test_small_words():
    assert Work("x").left is None and Work("x", 3).count() == "0 of 3"
    assert ended({"stage": "sft", "conversations": 5000}) == "sft: done; conversations 5000"
    assert memory().endswith("GiB")
