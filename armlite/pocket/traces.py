"""Expert traces for the cold start: scripted judgments, played through the same Episode and loop as any model's.

`share` is the knob for how good the cold start is: that share of the traces calls the right tool and decides by what it
shows; the others guess without a tool. A few traces have no tools at all, or no call left, so that the model can do
both.
"""

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from armlite.episode import Episode, EpisodeSettings
from armlite.models.scripted import ScriptedModel
from armlite.protocol.render import Conversation, render
from armlite.runner import Job, run_jobs
from armlite.types import Task

GUESS = "I have not looked, so I guess."


def expert_episodes(
    tasks: Iterable[Task], settings: EpisodeSettings, root: Path, share: float, without_tools: float, seed: int
) -> Iterator[Episode]:
    """Play one expert episode for each task.

    Args:
        tasks: tasks of the pocket world.
        settings: the episode's rules.
        root: folder that the tasks' paths are relative to.
        share: share of traces, among those with tools, that use the right tool.
        without_tools: share of traces whose episode shows no tools; they guess.
        seed: of the draw which is which.
    """
    said: dict[str, list[str]] = {}

    def jobs() -> Iterator[Job]:
        for task in tasks:
            rng = random.Random(f"trace/{seed}/{task.id}")
            blind = rng.random() < without_tools
            rules = settings.model_copy(update={"tools": ()}) if blind else settings
            order = rng.sample((1, 2), 2)
            said[task.id] = expert_turns(task, order, uses_tool=not blind and rng.random() < share, rng=rng)
            yield Job(task, rules, root, tuple(order))

    def expert(conversation: Conversation) -> str:
        turns = said[conversation.task_id]
        return turns[min(conversation.turns, len(turns) - 1)]

    # One at a time: the traces come in the order of the tasks.
    for outcome in run_jobs(jobs(), ScriptedModel(expert, name="expert"), in_flight=1):
        if outcome.episode is None:
            raise RuntimeError(f"the pocket world made a task that cannot be opened: {outcome.fault}")
        yield outcome.episode


def expert_turns(task: Task, order: list[int], uses_tool: bool, rng: random.Random) -> list[str]:
    """What the expert says, turn by turn, when the responses are presented in `order`."""
    expert = task.meta["expert"]
    best = order.index(task.gold) + 1 if uses_tool else rng.randint(1, 2)
    if not uses_tool:
        return [f"<think>{GUESS}</think>\n{_answer(best)}"]
    call = json.dumps(expert["call"])
    if expert["finding"]:
        said = ", ".join(f'resp_{i} says "{task.responses[n - 1]}"' for i, n in enumerate(order, 1))
        finding = f'{said}. I see "{expert["finding"]}": resp_{best}.'
    else:
        finding = f"The check of `resp_1` says {best == 1}: resp_{best}."
    return [
        f"<think>{expert['plan']}</think>\n<tool_call>\n{call}\n</tool_call>",
        f"<think>{finding}</think>\n{_answer(best)}",
    ]


def _answer(best: int) -> str:
    return f"<answer>Overall Judgment: Answer {best} is better.</answer>"


def sample_texts(tasks: Iterable[Task], settings: EpisodeSettings, root: Path, seed: int) -> list[str]:
    """Rendered expert conversations, with and without the tool, to train a tokenizer on."""
    episodes = expert_episodes(tasks, settings, root, share=0.8, without_tools=0.1, seed=seed)
    return [render(e.conversation.messages, e.conversation.tools, add_generation_prompt=False) for e in episodes]
