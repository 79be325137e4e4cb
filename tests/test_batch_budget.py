"""Budgets of `armlite judge FILE`: it ends gracefully, says what is left, and goes on with more."""

import csv
import json
import shutil

import pytest
from PIL import Image

from armlite.batch.budget import Price
from armlite.batch.run import judge_file
from armlite.cli import main
from armlite.errors import ArmliteError
from armlite.loop import Reply
from armlite.models import _MAKERS
from armlite.models.scripted import ScriptedModel
from armlite.store import read

ANSWER = "<think>I know.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"
ZOOM = (
    '<think>I look.</think>\n<tool_call>\n{"name": "image_zoom_in_tool", "arguments": '
    '{"image": "original_image", "bbox_2d": [100, 100, %d, 900]}}\n</tool_call>'
)


def looks_three_times(conversation):
    """A turn of 10 tokens that read 100; three calls, unless it is told to answer."""
    told = conversation.messages[-1].text
    calls = conversation.turns < 3 and "answer" not in told.casefold()[:200] if conversation.turns else True
    return Reply(ZOOM % (400 + 100 * conversation.turns) if calls else ANSWER, tokens=10, prompt_tokens=100)


class TwoAtOnce(ScriptedModel):
    in_flight = 2


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setitem(_MAKERS, "looking", lambda name, sampling: TwoAtOnce(looks_three_times))
    Image.radial_gradient("L").convert("RGB").save(tmp_path / "a.png")
    rows = [
        {"id": f"r{i}", "question": f"Q{i}?", "response_1": "a", "response_2": "b", "image": "a.png"} for i in range(10)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return tmp_path


def judge(place, **how):
    return judge_file(place / "rows.jsonl", "looking:x", place / "out", cache="off", **how)


def table(place):
    with (place / "out" / "verdicts.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_cost_is_a_column_and_a_sum(place):
    summary = judge(place, price="2,10")
    # four turns of 100 tokens read and 10 written
    assert {row["cost"] for row in table(place)} == {str(4 * (2 * 100 + 10 * 10) / 1e6)}
    assert summary["cost"] == pytest.approx(10 * 0.0012) and summary["stopped"] is None and summary["left"] == 0


def test_without_a_price_there_is_no_cost(place):
    assert judge(place)["cost"] is None and {row["cost"] for row in table(place)} == {""}


def test_a_cost_that_is_reached_ends_what_is_in_play_with_one_turn_without_tools(place):
    summary = judge(place, price="2,10", max_cost=0.0026)
    assert (
        summary["stopped"] == "--max-cost 0.0026 is used up (0.0042)" and summary["rows"] == 4 and summary["left"] == 6
    )
    assert summary["cut_short"] == 2
    votes = [row.trajectory for row in read(place / "out" / "trajectories.jsonl")]
    # The first two took four turns each (8 x 0.0003); the next two a call in time, one too late, and their answer.
    assert sorted((len(v.calls), len(v.steps), v.cut_short) for v in votes) == [(1, 3, True)] * 2 + [(3, 4, False)] * 2
    assert all(v.decision == 1 or v.decision == 2 for v in votes)


def test_with_more_it_goes_on_and_earlier_runs_count(place):
    judge(place, max_total_tokens=900)
    again = judge(place, max_total_tokens=900)
    assert again["rows"] == 4 and again["left"] == 6, "nothing was asked: the budget is that of the folder"
    whole = judge(place, max_total_tokens=100_000)
    assert whole["rows"] == 10 and whole["left"] == 0 and whole["stopped"] is None
    assert len({row["id"] for row in table(place)}) == 10


def test_no_judgment_is_begun_once_the_seconds_are_over(place):
    summary = judge(place, max_seconds=0)
    assert summary["rows"] == 0 and summary["left"] == 10 and "--max-seconds 0" in summary["stopped"]


def test_what_was_cut_short_is_not_cached_and_what_is_known_costs_nothing(place, monkeypatch):
    from armlite.batch import run

    monkeypatch.setattr(run, "_cache", lambda asked, settings, model: run.Cache(place / "cache", settings, model))
    judge(place, max_total_tokens=900)
    shutil.rmtree(place / "out")
    summary = judge(place, price="2,10", max_total_tokens=1)
    assert summary["rows"] == 4 and summary["cut_short"] == 2
    assert summary["cost"] == pytest.approx(2 * 3 * 0.0003), "the two that were judged in full are known"


@pytest.mark.parametrize("price", ["1", "1,2,3", "a,b", "-1,2", "nan,1", "inf,1", ""])
def test_a_price_that_is_none_is_a_sentence(price):
    with pytest.raises(ArmliteError, match="must be two numbers"):
        Price.of(price)


def test_the_command_says_what_is_left_and_wants_a_price_for_a_cost(place, capsys):
    words = ["judge", str(place / "rows.jsonl"), "--model", "looking:x", "--out", str(place / "out")]
    with pytest.raises(SystemExit) as end:
        main([*words, "--max-cost", "1"])
    assert end.value.code == 2 and "--max-cost needs --price" in capsys.readouterr().err
    assert not (place / "out").exists()
    with pytest.raises(SystemExit) as end:
        main([*words, "--max-total-tokens", "900"])
    assert end.value.code == 0
    err = capsys.readouterr().err
    assert "stopped: --max-total-tokens 900 are used up" in err and "6 judgments are left" in err
    with pytest.raises(SystemExit) as end:
        main(["judge", "--model", "looking:x", "--question", "Q?", "--response", "a", "--max-cost", "1"])
    assert end.value.code == 2
