"""The judge as TRL's reward function, and many tasks at once: what TRL hands over, and what it gets back."""

import asyncio
import re

import pytest
from PIL import Image

from armlite import Judge, reward_func
from armlite.asking import make_task
from armlite.errors import ArmliteError
from armlite.models.scripted import ScriptedModel
from armlite.types import Task

ANSWER = "<think>I know.</think>\n<answer>Overall Judgment: %s</answer>"


def says(conversation):
    """Likes long responses, shrugs at the word quagga."""
    text = conversation.messages[0].text
    responses = re.findall(r"<start_of_resp_\d>\n(.*?)\n<end_of_resp", text, re.DOTALL)
    if any("quagga" in response for response in responses):
        return "I would rather not."
    if len(responses) == 2:
        return ANSWER % f"Answer {1 if len(responses[0]) >= len(responses[1]) else 2} is better."
    if "from 1 to 10" in text:
        return ANSWER % min(10, len(responses[0]))
    return ANSWER % (len(responses[0]) > 3)


@pytest.fixture
def judge():
    return Judge(ScriptedModel(says, "m"))


PROMPTS = ["Which?", "Which?", "And?", "And?"]
COMPLETIONS = ["four", "two", "a quagga", "seven"]


def test_a_completion_is_checked_or_rated_and_what_cannot_be_judged_is_none(judge):
    assert reward_func(judge)(PROMPTS, COMPLETIONS) == [1.0, 0.0, None, 1.0]
    rated = reward_func(judge, "rate")(PROMPTS, COMPLETIONS)
    assert rated == [pytest.approx(3 / 9), pytest.approx(2 / 9), None, pytest.approx(4 / 9)]
    assert reward_func(judge, "rate").__name__ == "armlite_rate"


def test_a_group_is_compared_in_both_orders(judge):
    prompts = ["Which?"] * 3 + ["And?"] * 2
    completions = ["four", "three", "a", "a quagga", "seven"]
    assert reward_func(judge, "group")(prompts, completions) == [0.5, 1.0, 0.0, None, None]
    with pytest.raises(ArmliteError, match="with one only"):
        reward_func(judge, "group")(["Which?", "And?"], ["a", "b"])
    with pytest.raises(ArmliteError, match="mode is 'grade'"):
        reward_func(judge, "grade")


def test_messages_pictures_and_constraints_come_from_trls_columns():
    seen = []

    def looks(conversation):
        seen.append((conversation.messages[0].text, len(conversation.messages[0].images)))
        return ANSWER % True

    image = Image.new("RGB", (60, 40))
    prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which?"}]}]
    completion = [{"role": "assistant", "content": "The left one."}]
    columns = {"images": [[image], image], "constraints": [["It is short."], None], "trainer_state": object()}
    found = reward_func(Judge(ScriptedModel(looks, "m")))([prompt] * 2, [completion] * 2, **columns)
    assert found == [1.0, 1.0] and [n for _, n in seen] == [1, 1]
    assert "The left one." in seen[0][0] and "It is short." in seen[0][0] and "It is short." not in seen[1][0]


def test_many_tasks_are_judged_at_once_and_a_bad_file_costs_its_own(judge, tmp_path):
    tasks = [make_task("pairwise", f"Which, {i}?", ["a", "bcd"])[0] for i in range(4)]
    tasks.insert(2, Task(id="gone", kind="pairwise", question="Q?", responses=("a", "b"), images=("gone.png",)))
    tasks.append(make_task("pointwise", "Which?", ["four"])[0])
    verdicts = judge.judge_many(tasks, root=tmp_path, swap=True)
    assert [verdict.status for verdict in verdicts] == ["judged", "judged", "bad_input", "judged", "judged", "judged"]
    assert [verdict.choice for verdict in verdicts] == [2, 2, None, 2, 2, None] and verdicts[-1].correct is True
    assert [len(verdict.trajectories) for verdict in verdicts] == [2, 2, 2, 2, 2, 1]

    async def both():
        return await asyncio.gather(*(judge.judge_many_async(tasks, root=tmp_path, swap=True) for _ in range(2)))

    for found in asyncio.run(both()):
        assert [verdict.choice for verdict in found] == [verdict.choice for verdict in verdicts]
