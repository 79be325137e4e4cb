"""Tools in threads: others go on decoding meanwhile, and what comes out is the same."""

import threading
import time

import pytest
import torch
from PIL import Image
from tiny_run import CONTEXT, RULES, TURN, mixed_plans, script

from armlite.episode import Episode, EpisodeSettings
from armlite.loop import play
from armlite.memory import Memory
from armlite.models.engine.vocabulary import Vocabulary
from armlite.models.loading import load
from armlite.models.local import EngineSettings, LocalModel, Sampling
from armlite.tools import register
from armlite.tools.tool import tool
from armlite.types import Observation, StopReason, Task

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(pocket):
    return load(pocket.folder)


def played(pocket, model, threads, scripted, slots=5):
    """Twelve episodes with 0 to 4 calls each, and what the session counted."""
    tasks = pocket.tasks[:3]
    says = script(Vocabulary(model[1].tokenizer, model[0].config.text_config.vocab_size), mixed_plans(tasks))
    sampling = Sampling(temperature=1.0, max_new_tokens=TURN if scripted else 24, max_context=CONTEXT)
    settings = EngineSettings(max_slots=slots, tool_threads=threads)
    chat = LocalModel(*model, sampling, settings, script=says if scripted else None)
    episodes = [Episode.open(t, RULES, pocket.root, (2, 1), rollout) for t in tasks for rollout in range(4)]
    session = play(episodes, chat)
    return [e.trajectory() for e in episodes], session.stats


@pytest.mark.parametrize("scripted", [True, False])
def test_trajectories_do_not_depend_on_threads(pocket, model, scripted):
    alone, counted = played(pocket, model, 0, scripted)
    beside, recounted = played(pocket, model, 3, scripted)
    assert beside == alone
    assert recounted.tokens_decoded == counted.tokens_decoded
    if scripted:
        assert sum(len(t.calls) for t in alone) > 10


def test_others_decode_while_a_tool_runs_and_an_idle_model_waits_for_it(pocket, model, monkeypatch):
    monkeypatch.setattr("armlite.tools._REGISTERED", {})
    steps: list[int] = []

    @tool
    def dawdle(memory: Memory, /) -> Observation:
        """Look at nothing until others have said something."""
        began, end = stats().steps, time.monotonic() + 20
        while stats().steps < began + 10 and time.monotonic() < end:
            time.sleep(0.001)
        steps.append(stats().steps - began)
        return Observation(ok=True, text=threading.current_thread().name)

    register(dawdle)
    vocabulary = Vocabulary(model[1].tokenizer, model[0].config.text_config.vocab_size)
    call = '<think>I dawdle.</think>\n<tool_call>\n{"name": "dawdle", "arguments": {}}\n</tool_call>'
    final = "<think>Done.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"
    turns = {"slow": [call, final], "busy": ["<think>" + "why " * 40 + "</think>\n" + final[final.index("<answer>") :]]}

    def says(conversation):
        ids = vocabulary.ids(turns[conversation.task_id][conversation.turns])
        return [*ids, vocabulary.end]

    sampling = Sampling(max_new_tokens=150, max_context=900)
    chat = LocalModel(*model, sampling, EngineSettings(tool_threads=1), script=says)
    sessions = []
    make = chat.session
    monkeypatch.setattr(chat, "session", lambda: sessions.append(make()) or sessions[-1])
    stats = lambda: sessions[0].stats  # noqa: E731
    texts = ("a", "b")
    rules = EpisodeSettings(tools=("dawdle",))
    episodes = [
        Episode(
            Task(id=name, kind="pairwise", question="?", responses=texts),
            Memory([Image.new("RGB", (56, 56))], texts),
            rules,
        )
        for name in ("slow", "busy")
    ]
    play(episodes, chat)
    assert [e.stop for e in episodes] == [StopReason.ANSWERED] * 2
    assert steps == [max(10, steps[0])], "the other conversation went on"
    observation = episodes[0].steps[0].observation
    assert observation is not None and observation.text.startswith("armlite-tools")


def test_a_bug_in_a_tool_is_raised_and_not_swallowed(pocket, model, monkeypatch):
    monkeypatch.setattr(Episode, "advance", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        played(pocket, model, 2, False)
