"""What a call was worth: chances of the right answer before and after each observation, the reward that pays for them,
and verdicts that follow observations which were swapped.
"""

import json

import pytest
import torch
from command_line import is_one_line, runner
from tiny_run import RULES, alone, answer, call, make_recipe, mixed_plans, trainer_of

from armlite.episode import Episode
from armlite.models.chances import NO_THOUGHT, answers, chances
from armlite.models.loading import load
from armlite.models.local import LocalModel, Sampling
from armlite.protocol.parse import parse_decision, parse_turn
from armlite.protocol.render import Conversation, Message
from armlite.rewards import get_reward
from armlite.train.encode import encode_conversation
from armlite.types import Observation, Step, Task, Trajectory, Turn

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def judge(pocket):
    model, processor = load(pocket.folder)
    return LocalModel(model, processor, Sampling(max_new_tokens=200, max_context=900))


def played(task, root, *turns):
    episode = Episode.open(task, RULES, root)
    for turn in turns:
        episode.advance(turn)
    return episode


def by_hand(judge, episode, at):
    """Of the two answers, behind the thought of a turn, the share of the right one; by forward passes of their own."""
    talk, thought, logprobs = episode.conversation, episode.steps[at].turn.think, []
    before = talk.messages[: 1 + 2 * at]
    images = [image for message in before for image in message.images]
    for number in (1, 2):
        text = f"<think>{thought}</think>\n<answer>Overall Judgment: Answer {number} is better.</answer>"
        talk_to_its_end = Conversation("", 0, talk.tools, [*before, Message("assistant", text)])
        row = encode_conversation(talk_to_its_end, judge.processor)
        start = len(row.labels) - len(judge.spell(text))
        logprobs.append(alone(judge.model, judge.processor, row.input_ids, start, images, 1.0).sum())
    return torch.stack(logprobs).softmax(0)[episode.in_own_order(episode.task.gold) - 1].item()


def test_chances_are_those_of_the_answers_tokens_with_the_judges_own_thoughts(pocket, judge):
    zoom, document, instruction = pocket.tasks[:3]
    episodes = [
        played(zoom, pocket.root, call(zoom), call(zoom, bbox_2d=[0, 0, 333, 333]), answer(1)),
        played(document, pocket.root, answer(2)),
        played(instruction, pocket.root, call(instruction), answer(1, "It is kept.")),
    ]
    found = chances(judge, episodes)
    assert [len(own) for own in found] == [3, 1, 2]
    for own, episode in zip(found, episodes, strict=True):
        assert own == pytest.approx([by_hand(judge, episode, at) for at in range(len(own))], abs=1e-3)


def test_rollouts_that_have_come_to_the_same_are_asked_once_and_pictures_tell_them_apart(pocket, judge, monkeypatch):
    zoom, other = pocket.tasks[0], pocket.tasks[3]
    asked = []
    monkeypatch.setattr(judge, "spell", lambda turn, spell=judge.spell: asked.append(turn) or spell(turn))
    same = [played(zoom, pocket.root, call(zoom), answer(n)) for n in (1, 1, 2)]
    elsewhere = played(zoom, pocket.root, call(zoom, bbox_2d=[100, 100, 400, 400]), answer(1))
    found = chances(judge, [*same, elsewhere, played(other, pocket.root, answer(1))])
    assert found[0] == found[1] == found[2]
    assert len(asked) == 2 * (2 + 1 + 1), "before, after the one look, after the other, and of the other task"
    assert found[0][0] == found[3][0] and found[0][1] != found[3][1]


def test_a_turn_that_was_no_call_has_no_place_and_a_call_that_ended_the_episode_changes_nothing(pocket, judge):
    zoom = pocket.tasks[0]
    twice = played(zoom, pocket.root, "<think>I", call(zoom), answer(1))
    [own] = chances(judge, [twice])
    assert len(own) == 2 and own[1] == pytest.approx(by_hand(judge, twice, 2), abs=1e-3)
    [alone_] = chances(judge, [played(zoom, pocket.root, call(zoom))])
    assert len(alone_) == 2 and alone_[0] == alone_[1]


def test_without_a_gold_answer_or_a_list_of_verdicts_there_are_no_chances(pocket, judge):
    nobody_knows = pocket.tasks[0].model_copy(update={"gold": None})
    assert chances(judge, [played(nobody_knows, pocket.root, answer(1))]) == [()]
    assert chances(judge, []) == []
    assert answers(Task(id="q", kind="open_qa", question="q")) == {}


@pytest.mark.parametrize(
    "about",
    [
        {"kind": "pairwise", "responses": ("x", "y")},
        {"kind": "listwise", "responses": ("x", "y", "z")},
        {"kind": "pointwise", "responses": ("x",)},
        {"kind": "rating", "responses": ("x",)},
        {"kind": "multiple_choice", "options": {"B": "x", "C": "y"}},
    ],
    ids=lambda about: about["kind"],
)
def test_each_answer_is_written_as_it_is_read(about):
    task = Task(id="q", question="q", **about)
    for verdict, text in answers(task).items():
        turn = parse_turn(f"<think>{NO_THOUGHT}</think>\n{text}")
        assert turn.well_formed
        assert parse_decision(turn.answer, task.kind, len(task.responses), task.options) == verdict


def trajectory(known, calls, right):
    look = Step(turn=Turn(text="t"), observation=Observation(ok=True, text="o", tool="zoom"))
    last = Step(turn=Turn(text="t", think="t", answer="a", well_formed=True))
    task = Task(id="t", kind="pairwise", question="q", responses=("x", "y"), gold=1)
    steps = (*[look] * calls, last)
    return Trajectory(task=task, steps=steps, stop="answered", decision=1 if right else 2, chances=known)


@pytest.mark.parametrize(
    ("known", "calls", "right", "parts"),
    [
        ((0.5, 1.0), 1, True, {"format": 0.3, "answer": 0.7, "gain": 0.5}),
        ((0.5, 0.75), 1, True, {"format": 0.3, "answer": 0.7, "gain": 0.25}),
        ((0.5, 0.6, 0.9), 2, True, {"format": 0.3, "answer": 0.7, "gain": 0.4}),
        ((0.5, 0.4), 1, True, {"format": 0.3, "answer": 0.7, "gain": 0}),
        ((0.995, 1.0), 1, True, {"format": 0.3, "answer": 0.7, "gain": 0}),
        ((1.0,), 0, True, {"format": 0.3, "answer": 0.7, "gain": 0}),
        ((), 1, True, {"format": 0.3, "answer": 0.7, "gain": 0}),
        ((0.5, 0.9), 1, False, {"format": 0.3, "attempt": 0.1, "gain": 0}),
        ((0.5,), 0, False, {"format": 0.3, "gain": 0}),
    ],
    ids=["decided", "half", "two calls", "misled", "known before", "no call", "not measured", "wrong", "a wrong guess"],
)
def test_credit_pays_for_the_doubt_that_calls_removed(known, calls, right, parts):
    earned = get_reward("credit")(trajectory(known, calls, right)).parts
    assert {"attempt": 0, "answer": 0, **parts} == pytest.approx(dict(earned))


def test_training_measures_chances_for_a_reward_that_looks_at_them(pocket, tmp_path):
    kept, tasks = {}, pocket.tasks[:3]
    for reward in ("credit", "hierarchical"):
        rows = kept.setdefault(reward, [])
        trainer = trainer_of(
            pocket,
            tmp_path / reward,
            mixed_plans(tasks),
            tasks,
            make_recipe(reward=reward, steps=1, max_context=pocket.tight),
            on_rollouts=lambda step, outcomes, scores, rows=rows: rows.extend(o.trajectory for o in outcomes),
        )
        with trainer._chat.vision.features_from_ids():
            trainer.train()
    assert {t.chances for t in kept["hierarchical"]} == {()}
    assert [t.model_copy(update={"chances": ()}) for t in kept["credit"]] == kept["hierarchical"]
    known = [t for t in kept["credit"] if t.chances]
    assert len(known) >= 10
    assert all(len(t.chances) == 1 + len(t.calls) and all(0 <= c <= 1 for c in t.chances) for t in known)
    assert any(t.chances[0] != t.chances[-1] for t in known)


def test_verdicts_of_the_pocket_judge_follow_what_it_sees(tmp_path, capsys):
    words = ("eval", "--model", "pocket-judge", "--benchmark", "pocket", "--n", 24, "--no-swap", "--out", tmp_path)
    code, out, err = runner(capsys)(*words, "--faithfulness", "--json")
    assert code == 0, err
    found = json.loads(out)["faithfulness"]
    assert found == json.loads((tmp_path / "pocket" / "faithfulness.json").read_text())
    assert found["chance_before"] < 0.7 < 0.95 < found["chance_after"]
    assert found["deciding"] >= 15
    assert found["follows"]["n"] == found["deciding"] - found["no_donor"] >= 10
    assert found["follows"]["value"] >= 0.9


def test_a_server_keeps_its_probabilities_to_itself(tmp_path, capsys):
    words = "eval", "--model", "openai:m@http://127.0.0.1:9/v1", "--n", 2, "--out", tmp_path, "--faithfulness"
    code, _, err = runner(capsys)(*words)
    assert code == 2 and is_one_line(err, "--faithfulness needs a model on this machine that judges")
    assert not list(tmp_path.iterdir())
