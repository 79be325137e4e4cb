"""`armlite bench --card`: what is left is measured within the time, each in a process of its own, then told."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from armlite.bench.card import REPORT, Device, _completed, collected, measure_card
from armlite.bench.card_report import card_lines, part_errors
from armlite.bench.report import Wanted
from armlite.bench.workloads import CARD, TABLE, Part
from armlite.cli import app
from armlite.errors import ArmliteError
from armlite.recipe import load_recipe

WANTED = Wanted(None, [], False, None, None, "", "default", 3, None)
SEVEN = Path("recipes/qwen2.5-vl-7b-24gb.yaml")
H200 = Device("NVIDIA H200", 139.8)


def a_row(work="W1", reserved=9.0, step=6.8, errors=(("weights", 0.0), ("activations", 0.3))):
    ours = {name: {"median": value} for name, value in {"reserved_gib": reserved, "step_seconds": step}.items()}
    goals = {str(goal): goal.met(ours[goal.figure]["median"]) for goal in TABLE[work].goals}
    memory = {part: {"planned_gib": 1 + error, "measured_gib": 1.0, "error": error} for part, error in errors}
    return {"work": work, "what": "", "ours": ours, "goals": goals, "memory": memory, "settings": {}}


def write_row(folder, row, model="random 7B", device="NVIDIA H200"):
    report = {"model": model, "device": device, "date": "2026-11-26", "versions": {}, "command": "", "cap_gib": 16.0}
    (folder / f"{row['work']}.json").write_text(json.dumps({**report, "rows": [row]}))


def test_every_workload_for_a_card_has_its_place_once():
    ids = [part.work for part in CARD]
    assert sorted(ids) == sorted(work for work in TABLE if work != "default")
    assert ids[:2] == ["W1", "W2"]
    # Three calls of nine minutes: every workload fits into one, and all but the last fit into the three.
    assert max(part.seconds for part in CARD) < 540
    assert sum(part.seconds for part in CARD[:-1]) < 3 * 540


def test_goals_are_those_of_a_7b_in_4_bits():
    goals = {work.id: " ".join(map(str, work.goals)) for work in TABLE.values()}
    assert goals["W1"] == "reserved_gib <= 12 step_seconds <= 6"
    assert goals["W2"] == "reserved_gib <= 14.5 trajectories_per_second >= 1 update_ms_per_token <= 0.35"
    rates = [goals[f"W4-{n}"].split()[2] for n in (1, 8, 16, 32, 64)]
    assert rates == ["60", "700", "1300", "2200", "3000"]
    assert (goals["W7"], goals["W1-3B"]) == ("reserved_gib <= 9.5", "reserved_gib <= 7")


def test_what_is_done_is_one_report_and_what_is_not_says_why(tmp_path):
    write_row(tmp_path, a_row())
    (tmp_path / "W2.failed.json").write_text(json.dumps({"why": "failed with 1: out of memory", "seconds": 9}))
    report = collected(tmp_path)
    assert [(row["work"], row["cap_gib"]) for row in report["rows"]] == [("W1", 16.0)]
    assert report["left"]["W2"] == "failed with 1: out of memory" and report["left"]["W8"] == "not begun"
    assert report["device"] == "NVIDIA H200"


def test_the_end_tells_goals_the_plans_error_and_what_to_change(tmp_path):
    write_row(tmp_path, a_row())
    write_row(tmp_path, a_row("W1-3B", errors=(("weights", 0.0), ("activations", 0.5))))
    report = collected(tmp_path)
    assert part_errors(report)["activations"] == {"W1": 0.3, "W1-3B": 0.5}
    said = "\n".join(card_lines(report, load_recipe(SEVEN)))
    for words in (
        "reserved_gib <= 12                                  9  met",
        "step_seconds <= 6                                 6.8  missed",
        "reserved_gib <= 7                                   9  missed",
        "weights                  +0.0%",
        "activations             +40.0%     +30.0%     +50.0%   W1, W1-3B",
        "activations are planned 40% more than it takes",
        "W2 (not begun)",
    ):
        assert words in said, said


def test_a_card_measures_the_7b_and_a_processor_the_pocket_model_or_a_miniature():
    assert _completed(WANTED, H200).recipe == SEVEN
    assert _completed(WANTED, Device("CPU", None)).size == "pocket"
    mini = replace(WANTED, recipe=SEVEN, size="miniature")
    assert _completed(mini, Device("CPU", None)) == mini
    with pytest.raises(ArmliteError, match="--size miniature"):
        _completed(replace(WANTED, recipe=SEVEN), Device("CPU", None))


def test_what_cannot_be_asked_of_it_is_said_in_a_line(tmp_path):
    for words, why in ((["--size", "huge"], "--size is 'huge'"), (["--size", "miniature"], "give --recipe")):
        said = CliRunner().invoke(app, ["bench", "--card", "--out", str(tmp_path / "out"), *words])
        assert said.exit_code == 2 and why in said.output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_call_goes_on_with_what_is_left_within_its_time_and_refuses_other_settings(tmp_path):
    out = tmp_path / "card"
    parts = (Part("W6-1", 14, 20), Part("W1", 16, 3600), Part("W8", 18, 20))
    wanted, said = replace(WANTED, out=out), []
    late = measure_card(wanted, 0.02, said.append, parts)
    assert late["left"]["W6-1"].startswith("did not end in 1 s") and late["rows"] == []
    report = measure_card(wanted, 30, said.append, parts[:1])
    (row,) = report["rows"]
    assert row["work"] == "W6-1" and row["ours"]["verdict_seconds"]["median"] > 0
    assert any("no CUDA here" in line for line in report["summary"])
    assert json.loads((out / REPORT).read_text())["rows"] == report["rows"]
    said.clear()
    measure_card(wanted, 30, said.append, parts[:1])
    assert said == []  # it is done
    with pytest.raises(ArmliteError, match="was begun with size 'pocket', not 'middle'"):
        measure_card(replace(wanted, size="middle"), 1, said.append, parts)


@pytest.mark.slow
def test_a_call_that_is_killed_amid_a_workload_repeats_that_one_only(tmp_path):
    out = tmp_path / "card"
    command = [sys.executable, "-m", "armlite", "bench", "--card", "--minutes", "30", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=os.environ)
    until = time.monotonic() + 600
    while not (out / "W2.log").is_file() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = (out / "W1.json").stat().st_mtime_ns
    assert not (out / "W2.json").is_file()
    time.sleep(0.5)
    before, said = (out / "W2.log").stat().st_size, []
    time.sleep(2)
    assert (out / "W2.log").stat().st_size == before  # nobody goes on behind its back
    report = measure_card(replace(WANTED, out=out), 30, said.append, CARD[:2])
    assert [row["work"] for row in report["rows"]] == ["W1", "W2"]
    assert (out / "W1.json").stat().st_mtime_ns == done and [line[:3] for line in said] == ["W2:", "W2:"]
