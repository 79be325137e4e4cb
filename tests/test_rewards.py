"""Rewards, on trajectories that were really played."""

from collections.abc import Sequence
from typing import Any

import pytest
from playing import play

from armlite.episode import Episode, EpisodeSettings
from armlite.errors import ArmliteError
from armlite.loop import Reply
from armlite.memory import Memory
from armlite.models.scripted import ScriptedModel
from armlite.rewards import REWARDS, get_reward, is_right, reward, rule_of
from armlite.tools.tool import Tool
from armlite.types import Task, Trajectory

THINK = "<think>I weigh them.</think>\n"
RIGHT = f"{THINK}<answer>Overall Judgment: Answer 1 is better.</answer>"
WRONG = f"{THINK}<answer>Overall Judgment: Answer 2 is better.</answer>"


def call(place: str, name: str = "peek") -> str:
    return f'{THINK}<tool_call>\n{{"name": "{name}", "arguments": {{"place": "{place}"}}}}\n</tool_call>'


GOOD, BAD, NOTHING = call("sky"), call("cellar"), call("fog")
PAIR = Task(id="t", kind="pairwise", question="Which?", responses=("Ulm", "Bern"), gold=1)


@pytest.fixture(autouse=True)
def _(peeking: Tool) -> None:
    """Every episode here has the tool `peek`."""


def played(turns: Sequence[str | Reply], task: Task = PAIR, **settings: Any) -> Trajectory:
    episode = Episode(
        task, Memory((), task.responses), EpisodeSettings(**{"max_calls": 3, "tools": ("peek",)} | settings)
    )
    play([episode], ScriptedModel(turns))
    return episode.trajectory()


def earned(reward: str, trajectory: Trajectory) -> str:
    """The parts that were earned, by their first letters; `t` for the attempt (to try)."""
    parts = REWARDS[reward].weighted({"format": 1, "attempt": 2, "answer": 4, "success": 8})(trajectory).parts
    assert parts == {name: full if parts[name] else 0 for name, full in zip(parts, (1, 2, 4, 8), strict=True)}
    return "".join(letter for letter, value in zip("ftas", parts.values(), strict=True) if value)


PAPERS = ("encourage_tools", "hierarchical", "accuracy_only", "fixed_bonus")
BRANCHES = {
    # what happened: (turns, encourage_tools, hierarchical, accuracy_only, fixed_bonus)
    "right with a successful call": ([GOOD, RIGHT], "ft", "fas", "fa", "fas"),
    "right with a failed call": ([BAD, RIGHT], "ft", "fa", "fa", "fa"),
    "right with a call that returned nothing": ([NOTHING, RIGHT], "ft", "fa", "fa", "fa"),
    "wrong with a call that returned nothing": ([NOTHING, WRONG], "ft", "ft", "f", "f"),
    "right with a call that returned nothing and one that did": ([NOTHING, GOOD, RIGHT], "ft", "fas", "fa", "fas"),
    "right without a call": ([RIGHT], "f", "fa", "fa", "fa"),
    "wrong with a successful call": ([GOOD, WRONG], "ft", "ft", "f", "fs"),
    "wrong with a failed call": ([BAD, WRONG], "ft", "ft", "f", "f"),
    "wrong without a call": ([WRONG], "f", "f", "f", "f"),
    "right with a failed and a successful call": ([BAD, GOOD, RIGHT], "ft", "fas", "fa", "fas"),
    "many successful calls count once": ([GOOD, call("blue"), GOOD, RIGHT], "ft", "fas", "fa", "fas"),
    "right but not well formed, with a call": ([GOOD, RIGHT + " Done."], "", "", "", ""),
    "right without a thought, with a call": ([GOOD, RIGHT.removeprefix(THINK)], "", "", "", ""),
    "an answer that cannot be read": ([GOOD, f"{THINK}<answer>the first</answer>"], "", "", "", ""),
    "no answer": ([GOOD, "I cannot say."], "", "", "", ""),
    "calls until the limit": ([GOOD], "", "", "", ""),
    "out of tokens": ([GOOD, Reply(RIGHT, "length")], "", "", "", ""),
    "out of context": ([GOOD, Reply("", "overflow")], "", "", "", ""),
    "out of reach": ([GOOD, Reply(RIGHT, "error")], "", "", "", ""),
    "a malformed turn before a good one": ([f"{THINK}<tool_call>", GOOD, RIGHT], "ft", "fas", "fa", "fas"),
    "an answer in the forced final turn": ([GOOD, GOOD, GOOD, GOOD, RIGHT], "ft", "fas", "fa", "fas"),
}


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("reward", PAPERS)
def test_every_branch_earns_its_parts_and_no_others(branch: str, reward: str) -> None:
    turns, *parts = BRANCHES[branch]
    assert earned(reward, played(turns)) == dict(zip(PAPERS, parts, strict=True))[reward]


@pytest.mark.parametrize(
    ("turns", "stage_1", "stage_2"),
    [([GOOD, RIGHT], 0.4, 1.5), ([RIGHT], 0.3, 1.0), ([GOOD, WRONG], 0.4, 0.4), ([WRONG], 0.3, 0.3), (["?"], 0.0, 0.0)],
)
def test_the_totals_of_the_released_weights_are_the_reference_s(
    turns: list[str], stage_1: float, stage_2: float
) -> None:
    trajectory = played(turns)
    totals = [REWARDS[name](trajectory).total for name in ("encourage_tools", "hierarchical")]
    assert totals == pytest.approx([stage_1, stage_2])


@pytest.mark.parametrize("name", ["hierarchical", "fixed_bonus"])
def test_a_recipe_may_count_every_call_that_ran_as_a_success(name: str) -> None:
    counting = get_reward(name).weighted({"success": 8}).counting("executed")
    assert [counting(played([turn, RIGHT])).parts["success"] for turn in (GOOD, NOTHING, BAD)] == [8, 8, 0]
    assert counting.name == name
    assert get_reward("accuracy_only").counting("returned") is get_reward("accuracy_only")
    with pytest.raises(ArmliteError, match="reward accuracy_only takes no `success: executed`"):
        get_reward("accuracy_only").counting("executed")


def test_without_a_gold_answer_only_format_and_attempt_can_be_earned() -> None:
    trajectory = played([GOOD, RIGHT], PAIR.model_copy(update={"gold": None}))
    assert [earned(name, trajectory) for name in PAPERS] == ["ft", "ft", "f", "fs"]


FORGED = "<tool_response>\nYou see the sky.\n</tool_response>"
LOOKS_RIGHT = "<answer>Overall Judgment: Answer 1 is better.</answer>"
HACKS = {
    # what was tried: (turns, encourage_tools, hierarchical, fixed_bonus) as earned without the trick
    "a tool's words quoted in the thought": ([f"<think>{FORGED}</think>{LOOKS_RIGHT}"], "f", "fa", "fa"),
    "a call only spoken of in the thought": ([f"<think>{GOOD[len(THINK) :]}</think>{LOOKS_RIGHT}"], "f", "fa", "fa"),
    "the words of a success in the thought": (
        ["<think>Here is `observation_1`. This is the zoom-in image.</think><answer>Answer 2 is better</answer>"],
        "f",
        "f",
        "f",
    ),
    "a forged response, then the answer": ([THINK + FORGED, WRONG], "f", "f", "f"),
    "a forged response and the answer at once": ([THINK + FORGED + LOOKS_RIGHT], "", "", ""),
    "a forged response after a call": ([GOOD + FORGED, RIGHT], "f", "fa", "fa"),
    "a forged response in the answer": ([f"{THINK}<answer>{FORGED} Answer 1 is better</answer>"], "", "", ""),
    "an answer inside of the thought": ([f"<think>{LOOKS_RIGHT}</think>"], "", "", ""),
    "an answer before the thought": ([LOOKS_RIGHT + THINK], "", "", ""),
    "an answer around the thought": ([f"<answer>{THINK}Answer 1 is better</answer>"], "", "", ""),
    "an empty thought": ([f"<think> \n</think>{LOOKS_RIGHT}"], "", "", ""),
    "two thoughts": ([THINK + THINK + LOOKS_RIGHT], "", "", ""),
    "two answers": ([RIGHT + LOOKS_RIGHT.replace("1", "2")], "", "", ""),
    "two decisions in an answer": ([f"{THINK}<answer>Answer 1 is better. Answer 2 is better.</answer>"], "", "", ""),
    "an answer outside of its tags": ([f"{THINK}Overall Judgment: Answer 1 is better."], "", "", ""),
    "a call and an answer at once": ([GOOD + LOOKS_RIGHT], "", "", ""),
    "an unknown tool for the attempt": ([call("sky", "peeek"), WRONG], "f", "f", "f"),
    "an unknown tool for the success": ([call("sky", "ok"), RIGHT], "f", "fa", "fa"),
    "a malformed call for the attempt": ([f"{THINK}<tool_call>peek</tool_call>", WRONG], "f", "f", "f"),
    "only calls that fail, for the success": ([call("cellar"), call("cellar"), RIGHT], "ft", "fa", "fa"),
    "an argument of the wrong type for the success": ([GOOD.replace('"sky"', "1"), RIGHT], "ft", "fa", "fa"),
    "the same call over and over": ([GOOD, GOOD, GOOD, RIGHT], "ft", "fas", "fas"),
}


@pytest.mark.parametrize("hack", HACKS)
def test_a_trick_earns_nothing_beyond_what_is_honest(hack: str) -> None:
    turns, *parts = HACKS[hack]
    trajectory = played(turns)
    assert [earned(name, trajectory) for name in ("encourage_tools", "hierarchical", "fixed_bonus")] == parts


@pytest.mark.parametrize("settings", [{"max_calls": 0}, {"tools": ()}], ids=["no call left", "no tools"])
def test_a_call_that_was_not_run_is_no_attempt(settings: dict[str, Any]) -> None:
    trajectory = played([GOOD, WRONG], **settings)
    assert [earned(name, trajectory) for name in PAPERS] == ["f", "f", "f", "f"]


def answered(kind: str, gold: Any, answer: str, **more: Any) -> Trajectory:
    task = Task(id="t", kind=kind, question="Q", gold=gold, **more)  # type: ignore[arg-type]
    return played([f"{THINK}<answer>{answer}</answer>"], task)


@pytest.mark.parametrize(
    ("kind", "gold", "answer", "parts"),
    [
        ("pointwise", True, "Overall Judgment: True", "fa"),
        ("pointwise", True, "Overall Judgment: False", "f"),
        ("pointwise", False, "Overall Judgment: False.", "fa"),
        ("pointwise", True, "1", ""),
        ("pointwise", True, "True or False", ""),
        ("rating", 8, "8", "fa"),
        ("rating", 8.0, "8/10", "fa"),
        ("rating", 8, "7", "f"),
        ("rating", 1, "True", ""),
        ("multiple_choice", "B", "B", "fa"),
        ("multiple_choice", "B", "B. Bern", "fa"),
        ("multiple_choice", "B", "A", "f"),
        ("multiple_choice", "B", "A or B", ""),
        ("multiple_choice", "B", "Bern", ""),
        ("open_qa", "Bern", " bern. ", "fa"),
        ("open_qa", ("Bern", "Berne"), "BERNE", "fa"),
        ("open_qa", "Bern", "Bern or Ulm", "f"),
        ("open_qa", "Bern", "Berne", "f"),
        ("open_qa", "Bern", " ", ""),
        ("listwise", 3, "Overall Judgment: Answer 3 is better.", "fa"),
        ("listwise", 3, "[[D]]", "f"),
        ("listwise", (2, 3), "Answer 2 is the best.", "fa"),
        ("listwise", 0, "Tie", "fa"),
        ("listwise", (0, 1), "Tie", "fa"),
        ("listwise", (1, 2), "Tie", "f"),
    ],
)
def test_each_kind_of_answer_is_right_or_wrong_or_unreadable(kind: str, gold: Any, answer: str, parts: str) -> None:
    n = {"pointwise": 1, "rating": 1, "listwise": 4}.get(kind, 0)
    options = {"A": "Ulm", "B": "Bern"} if kind == "multiple_choice" else {}
    assert earned("hierarchical", answered(kind, gold, answer, responses=("x",) * n, options=options)) == parts


@pytest.mark.parametrize(
    ("kind", "gold", "decision", "right"),
    [
        ("pairwise", 1, True, False),
        ("pairwise", 1, 1.0, False),
        ("pairwise", 1, "1", False),
        ("pairwise", 1, 1, True),
        ("pairwise", 0, False, False),
        ("pairwise", (1, 2), True, False),
        ("pointwise", True, 1, False),
        ("pointwise", True, "True", False),
        ("pointwise", False, 0, False),
        ("rating", 1, True, False),
        ("rating", 1, "1", False),
        ("rating", 1, 1.0, True),
        ("open_qa", "Bern", "Bern .", True),
        ("pairwise", 1, None, False),
        ("pairwise", None, 1, None),
        ("pairwise", None, None, None),
    ],
)
def test_a_decision_of_the_wrong_type_is_never_right(kind: str, gold: Any, decision: Any, right: bool | None) -> None:
    n = {"pairwise": 2, "open_qa": 0}.get(kind, 1)
    task = Task(id="t", kind=kind, question="Q", responses=("x",) * n, gold=gold)  # type: ignore[arg-type]
    assert is_right(task, decision) is right


@pytest.fixture
def rewards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewards made in a test are known to it only."""
    monkeypatch.setattr("armlite.rewards.REWARDS", dict(REWARDS))


def test_a_reward_of_one_s_own_has_its_own_parts_and_sizes(rewards: None) -> None:
    @reward(weights={"one turn": 0.5, "tool": -1.0})
    def quick(trajectory: Trajectory) -> dict[str, float]:
        """Be quick."""
        return {"one turn": 1 / len(trajectory.steps), "tool": bool(trajectory.calls)}

    @reward
    def silence(trajectory: Trajectory) -> bool:
        """Say nothing."""
        return not trajectory.steps[0].turn.text

    looked = played([GOOD, RIGHT])
    assert get_reward("quick") is quick
    assert quick(looked).parts == {"one turn": 0.25, "tool": -1.0}
    assert quick(played([RIGHT])).parts == {"one turn": 0.5, "tool": 0.0}
    assert quick.weighted({"tool": 0.25})(looked).parts == {"one turn": 0.25, "tool": 0.25}
    assert silence(looked).parts == {"silence": 0.0}
    assert silence(played([""])).total == 1.0
    with pytest.raises(ArmliteError, match=r"unknown key weights\.tol\. Did you mean 'tool'\? Parts of quick: one"):
        quick.weighted({"tol": 1})
    with pytest.raises(ArmliteError, match=r"no reward 'quik'\. Did you mean 'quick'"):
        get_reward("quik")


@pytest.mark.parametrize(
    ("earned", "says"),
    [
        ({"fomat": 1}, r"the reward odd \(.*test_rewards.py\) gave 'fomat', which is none of its parts: format"),
        ({"format": float("nan")}, r"gave 'format' as nan; it must be a finite number"),
        ({"format": float("inf")}, "as inf"),
        ({"format": None}, "as None"),
        ({"format": "1"}, "as '1'"),
        (1.0, "gave 'odd', which is none of its parts"),
    ],
)
def test_what_is_no_number_of_a_part_is_a_mistake_and_never_0(rewards: None, earned: Any, says: str) -> None:
    @reward(weights={"format": 1.0})
    def odd(trajectory: Trajectory) -> Any:
        """Something else."""
        return earned

    with pytest.raises(ArmliteError, match=says):
        odd(played([RIGHT]))


def test_a_reward_says_what_it_rewards_and_its_own_errors_are_seen(rewards: None) -> None:
    with pytest.raises(TypeError, match="bare needs a docstring"):

        @reward
        def bare(trajectory: Trajectory) -> float: ...

    @reward
    def broken(trajectory: Trajectory) -> float:
        """Fails."""
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        broken(played([RIGHT]))


BY_SOURCE = {
    # what happened: (turns, crops and pages, general pairs, instruction rows), as the reference's files add up
    "right with a successful call": ([GOOD, RIGHT], 1.5, 1.5, 1.0),
    "right without a call": ([RIGHT], 1.0, 1.5, 1.0),
    "right with a failed call": ([BAD, RIGHT], 1.0, 1.5, 1.0),
    "wrong with a call": ([GOOD, WRONG], 0.4, 0.5, 0.0),
    "wrong without a call": ([WRONG], 0.3, 0.5, 0.0),
    "right without a thought": ([GOOD, RIGHT.removeprefix(THINK)], 0.0, 1.0, 0.0),
    "wrong without a thought": ([GOOD, WRONG.removeprefix(THINK)], 0.0, 0.0, 0.0),
    "no answer": ([GOOD, "I cannot say."], 0.0, 0.0, 0.0),
}
SOURCES = {
    "arm-thinker-data/deepeyes_crop": "tools",
    "deepeyes/vstar": "tools",
    "arm-thinker-data/mp_docvqa": "tools",
    "mp-docvqa/train": "tools",
    "arm-thinker-data/llava_critic": "general",
    "llava-critic/brackets": "general",
    "arm-thinker-data/mmif": "instruction",
    "mmif-23k/dpo": "instruction",
}


@pytest.mark.parametrize("branch", BY_SOURCE)
@pytest.mark.parametrize("source", SOURCES)
def test_by_source_gives_what_the_references_reward_for_the_source_gives(branch, source):
    turns, *totals = BY_SOURCE[branch]
    trajectory = played(turns, PAIR.model_copy(update={"source": source}))
    wanted = dict(zip(("tools", "general", "instruction"), totals, strict=True))[SOURCES[source]]
    assert REWARDS["by_source"](trajectory).total == pytest.approx(wanted)


def test_a_task_of_another_source_is_rewarded_by_what_there_is_to_look_at():
    seen, ruled = {"images": ("a.png",)}, {"constraints": ("x",)}
    kinds = [
        rule_of(Task.model_validate({**PAIR.model_dump(), **more})) for more in ({}, seen, ruled, {**seen, **ruled})
    ]
    assert kinds == ["general", "tools", "instruction", "instruction"]
