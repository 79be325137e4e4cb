"""`--where`, `--sort`, `--search`, `--n`, `--compare`: which rows are looked at, and what mistakes are told."""

import json
from pathlib import Path

import pytest
from view_rows import small_run

from armlite.errors import ArmliteError
from armlite.view.selection import Selection, gather, in_order, select

COMMITTED = Path(__file__).parent / "real" / "committed" / "page.json"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("run"))


def numbers(run, **wishes):
    """Places, from 1, in the run's seven rows: two of grpo1's evaluation, sft's, and a group of four rollouts."""
    chosen = gather(run, False, Selection(**wishes))
    return [chosen.everything.index(entry) + 1 for entry in chosen.entries]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7]),
        ("stage=grpo1", [1, 2, 4, 5, 6, 7]),
        ("stage=grpo1 and round=greedy", [1]),
        ("Stage = SFT", [3]),
        ("status=failed", [2]),
        ("status=budget and tool=zoom", [2]),
        ("outcome=wrong", [2, 3, 5]),
        ("outcome!=wrong and step=2", [4, 6, 7]),
        ("step!=2", [1, 2, 3]),
        ("rollout>=1 and rollout<3", [5, 6]),
        ("round=greedy,rollout", [1, 2, 3]),
        ("probability>0.5", [1]),
        ("reward<0.5 or probability<=0.75", [1, 2, 3, 5]),
        ("reward.answer=0.7", [1, 4, 6, 7]),
        ("advantage<0", [5]),
        ("advantage>0.4", [4, 6, 7]),
        ("id~MARKET and turns=3 and file~step", [4, 5, 6, 7]),
        ("id='demo-market-stall' and stop=turn_budget", [2]),
        ("tool=image_zoom_in_tool and calls=2 and failed_calls=0 and kind=pairwise", [1, 2, 3, 4, 5, 6, 7]),
    ],
)  # fmt: skip
def test_conditions_choose_rows(run, where, found):
    assert numbers(run, where=where) == found


def test_the_transfer_split_is_a_round(tmp_path):
    folder = small_run(tmp_path)
    (folder / "eval/sft/greedy.jsonl").rename(folder / "eval/sft/transfer.jsonl")
    assert numbers(folder, where="round=transfer") == [3]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("stage", r"--where 'stage' cannot be read at stage: write FIELD=VALUE"),
        ("stage=sft and", r"at its end"),
        ("stage=sft outcome=wrong", r"at outcome=wrong: between conditions stands and or or"),
        ("(stage=sft)", r"cannot be read at \(stage=sft\)"),
        ("stag=sft", r"there is no field 'stag'\. Did you mean 'stage'\?"),
        ("stage>2", r"stage is no number; use =, != or ~ in place of >"),
        ("step>two", r"step>two needs a number in place of 'two'"),
        ("stage=sft2", r"no trajectory fits --where 'stage=sft2': stage is grpo1, sft$"),
        ("step=7", r"step is 2 to 2"),
        ("seconds>1", r"none has seconds"),
    ],
)
def test_conditions_that_cannot_be_met_are_told_in_a_sentence(run, where, message):
    with pytest.raises(ArmliteError, match=message) as error:
        gather(run, False, Selection(where=where))
    assert "\n" not in str(error.value)


def test_search_is_in_all_that_was_said_and_seen(run):
    assert numbers(run, search="THIS TAG SAYS PEARS") == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(ArmliteError, match="no trajectory fits --search 'bananas'"):
        numbers(run, search="bananas")


def test_rows_are_sorted_and_those_without_the_field_come_last(run):
    assert numbers(run, sort="advantage") == [5, 4, 6, 7, 1, 2, 3]
    assert numbers(run, sort="-reward", n=2) == [1, 4]
    assert numbers(run, sort="-probability", where="round=greedy") == [1, 3]
    with pytest.raises(ArmliteError, match="--sort: there is no field 'rewrd'. Did you mean 'reward'"):
        numbers(run, sort="rewrd")
    with pytest.raises(ArmliteError, match="--n 0 shows nothing"):
        numbers(run, n=0)


def test_advantages_are_what_trl_makes_of_the_saved_rewards(run):
    found = [e.first("advantage") for e in gather(run, False, Selection(where="round=grpo")).entries]
    assert found == pytest.approx([0.175 / 0.3501, -0.525 / 0.3501, 0.175 / 0.3501, 0.175 / 0.3501])
    (run / "recipe.yaml").write_text("stages: {grpo1: {scale_rewards: none}}\n", "utf-8")
    found = [e.first("advantage") for e in gather(run, False, Selection(where="round=grpo")).entries]
    assert found == pytest.approx([0.175, -0.525, 0.175, 0.175])
    (run / "recipe.yaml").unlink()


def test_comparing_shows_a_task_after_two_stages(run):
    chosen = gather(run, False, Selection(), compare=("sft", "grpo1"))
    assert [e.first("stage") for e in chosen.entries] == ["grpo1"] * 6
    assert {e.first("stage") for e in chosen.beside} == {"sft"}
    with pytest.raises(ArmliteError, match=r"--compare: there is no stage 'grpo9'; there are grpo1, sft"):
        gather(run, False, Selection(), compare=("sft", "grpo9"))


def test_in_order_and_select_take_any_rows(run):
    rows = gather(run, False, Selection()).everything
    assert in_order(rows, "", ()) == rows
    assert select(rows[:1], Selection(where="stage=grpo1")) == rows[:1]


def test_the_measured_page_of_a_whole_run_keeps_its_promises():
    found = json.loads(COMMITTED.read_text("utf-8"))
    assert found["trajectories"] == 8660
    assert max(found["seconds_to_open"]) <= 3
    assert max(found["megabytes_more_than_empty"]) <= 300
    assert found["next_milliseconds"]["largest"] <= 100
    assert set(map(str, found["axe_violations"].values())) == {"[]"}
    assert all(page == terminal for page, terminal in found["found_by_page_and_terminal"].values())
