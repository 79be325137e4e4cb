"""A run's `report.md` and plots: made from its files alone, with nothing drawn that a stage does not have."""

import json
import re
import shlex

import pytest
from command_line import runner
from PIL import Image
from view_rows import small_run

from armlite.train.plots import plots
from armlite.train.report import write_report

STEPS = [
    *({"stage": "grpo2", "step": i, "reward": 1.2, "rewards/answer/mean": 0.7, "rewards/format/mean": 0.3,
       "entropy": 0.2}
      for i in (1, 2)),
    *({"stage": "sft", "step": i, "loss": 3.0 / i, "time": f"2026-11-26T10:00:0{i}.000+00:00"} for i in (1, 2, 3)),
    *({"stage": "grpo1", "step": i, "reward": 0.3, "rewards/answer/mean": 0.0, "rewards/format/mean": 0.3,
       "completions/mean_length": 20.0, "frac_reward_zero_std": 0.5, "entropy": None} for i in (1, 2, 3)),
]  # fmt: skip


def test_no_line_crosses_from_one_stage_to_the_next_and_parts_that_a_stage_lacks_are_absent():
    found = {plot.name: plot for plot in plots(STEPS)}
    assert list(found) == ["sft_loss", "rewards", "length", "entropy", "zero_std"]
    assert found["rewards"].lines == {
        "total": [([1, 2, 3], [0.3] * 3), ([4, 5], [1.2] * 2)],
        "format": [([1, 2, 3], [0.3] * 3), ([4, 5], [0.3] * 2)],
        "answer": [([4, 5], [0.7] * 2)],
    }
    assert found["rewards"].borders == ((0.5, "grpo1"), (3.5, "grpo2"))
    assert found["entropy"].lines == {"entropy": [([4, 5], [0.2] * 2)]}
    assert found["sft_loss"].lines == {"loss": [([1, 2, 3], [3.0, 1.5, 1.0])]}
    assert all(plot.xlabel and plot.ylabel for plot in found.values())


@pytest.fixture
def run(tmp_path):
    folder = small_run(tmp_path / "a run")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in STEPS), "utf-8")
    (folder / "recipe.yaml").write_text(
        "seed: 7\nmodel: {path: some/model, quantize: 4bit, backend: unsloth}\nstages: {sft: {}}\n", "utf-8"
    )
    around = {"python": "3.12.1", "platform": "Linux", "versions": {"torch": "2.13.0"}, "gpu": "A card", "git": "abc"}
    (folder / "environment.json").write_text(json.dumps(around), "utf-8")
    (folder / "stages.json").write_text('{"sft": {"seconds": 60.5}, "grpo1": {"seconds": 40}}', "utf-8")
    figures = {"accuracy": {"value": 0.5, "n": 4, "ci95": [0.4, 0.6]}, "tool_calls_per_task": {"value": 1.0, "n": 4}}
    summary = {name: {"items": 4, "figures": figures} for name in ("rollout", "greedy", "no_tools")}
    for stage in ("sft", "grpo1"):
        (folder / "eval" / stage / "summary.json").write_text(json.dumps(summary), "utf-8")
    write_report(folder)
    return folder


def test_the_report_says_with_what_a_run_was_made_and_shows_its_plots(run):
    text = (run / "report.md").read_text("utf-8")
    for said in (
        "some/model, quantize 4bit",
        "| seed | 7 |",
        "torch 2.13.0",
        "A card; Linux",
        "| 100 s |",
        "| 2 s (0.00 h) |",
    ):
        assert said in text
    shown = re.findall(r"!\[.*?\]\((plots/\w+\.png)\)", text)
    assert len(shown) == 7
    assert all(Image.open(run / file).size == (880, 352) for file in shown)


def test_the_reports_commands_work_as_they_are_printed(run, monkeypatch, capsys):
    monkeypatch.chdir(run)
    lines = re.search(r"```bash\n(.*?)```", (run / "report.md").read_text("utf-8"), re.DOTALL)[1].splitlines()
    assert len(lines) == 3
    for line in lines:
        program, *words = shlex.split(line)
        code, _, err = runner(capsys)(*words)
        assert (program, code) == ("armlite", 0), err
    assert (run / "trajectories.html").is_file()
