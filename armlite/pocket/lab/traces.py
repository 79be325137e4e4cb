"""Scripted judgments of the lab world, played through the same Episode and loop as any model's: expert traces for the
cold start, and those of which the base model is made.

The base has learnt to see, to read and to answer in the right form. With tools at hand it calls something, not what the
question asks for, and believes what comes back: tools hurt it.
"""

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armlite.data.tasks import family
from armlite.episode import Episode, EpisodeSettings
from armlite.models.scripted import ScriptedModel
from armlite.pocket import words
from armlite.pocket.lab.mosaic import CORNERS, box_of, zoom
from armlite.pocket.lab.prose import KINDS, Rule
from armlite.pocket.lab.reading import TRUE, corner_shown, read, way_shown
from armlite.protocol.render import Conversation, Message, render
from armlite.runner import Job, run_jobs
from armlite.types import Task

GUESS = "I have not looked, so I guess."
LOST = "It does not say, so I guess."


@dataclass
class Part:
    """How one judgment is to be played."""

    task: Task
    order: tuple[int, ...]
    rng: random.Random
    calls: Sequence[dict[str, Any]] = ()
    plans: Sequence[str] = ()
    expert: bool = False
    """It calls what is needed and no more; else it believes what its last call brings, or guesses."""
    first: str = ""
    """What it says before all else."""

    @property
    def best(self) -> int:
        """The presented number of the right response."""
        assert isinstance(self.task.gold, int)
        return self.order.index(self.task.gold) + 1

    @property
    def shown(self) -> list[str]:
        """The responses in the order that they are shown in."""
        return [self.task.responses[number - 1] for number in self.order]

    def say(self, conversation: Conversation) -> str:
        """The next turn."""
        turn = self._turn(conversation)
        first = self.first and not conversation.turns
        return turn.replace("<think>", f"<think>{self.first} ", 1) if first else turn

    def _turn(self, conversation: Conversation) -> str:
        if self.task.kind != "pairwise":
            return f"<think>I see it.</think>\n<answer>{self.task.gold}</answer>"
        if conversation.turns < len(self.calls):
            plan, call = self.plans[conversation.turns], json.dumps(self.calls[conversation.turns])
            seen = "" if self.expert or not conversation.turns else f"{describe(conversation.messages[-1])} "
            return f"<think>{seen}{plan}</think>\n<tool_call>\n{call}\n</tool_call>"
        if self.calls and not self.expert:
            believed = read(self.task, self.order, conversation.messages[-1])
            seen = self._seen(believed, conversation) if believed else f"{describe(conversation.messages[-1])} {LOST}"
            return _answer(seen, believed or self.rng.randint(1, 2))
        if self.expert or self.task.meta["needs"] == 0:
            return _answer(self._seen(self.best, conversation), self.best)
        if glimpse := self.task.meta["expert"]["glimpse"]:
            believed = 1 + self.shown.index(glimpse)
            return _answer(f'The frame speaks for "{glimpse}": resp_{believed}.', believed)
        seen = GUESS if family(self.task) == "prose" else f"{self._said()}. {GUESS}"
        return _answer(seen, self.rng.randint(1, 2))

    def _said(self) -> str:
        """What the responses say."""
        return ", ".join(f'"{text.removesuffix(".")}" is resp_{i}' for i, text in enumerate(self.shown, 1))

    def _seen(self, best: int, conversation: Conversation) -> str:
        """What speaks for a response."""
        results = [m.text.startswith(TRUE) for m in conversation.messages if m.role == "tool" and "Check" in m.text[:5]]
        if results:
            checks = "check of `resp_1` says" if len(results) == 1 else "checks of `resp_1` say"
            return f"The {checks} {' and '.join(map(str, results))}: resp_{best}."
        responses, said = self.shown, self._said()
        if family(self.task) != "prose":
            return f'{said}. I see "{responses[best - 1]}" is resp_{best}.'
        word = self.task.meta["expert"]["finding"]
        holder = next(i for i, text in enumerate(responses, 1) if word in text)
        return f'{said}. I read "{word}" in resp_{holder}: resp_{best}.'


def _answer(think: str, best: int) -> str:
    return f"<think>{think}</think>\n<answer>Overall Judgment: Answer {best} is better.</answer>"


def expert_episodes(
    tasks: Iterable[Task],
    settings: EpisodeSettings,
    root: Path,
    share: float,
    without_tools: float,
    seed: int,
    idle: float = 0.0,
) -> Iterator[Episode]:
    """Play one trace for each task: what needs no call is answered at once.

    Those who do not wander say first whether they can see it without a call: what is to be done hangs on that.

    Args:
        tasks: of the lab world.
        settings: the episode's rules.
        root: folder that the tasks' paths are relative to.
        share: share of traces, among those of tasks that need calls, that make them; the others guess.
        without_tools: share of traces whose episode shows no tools.
        seed: of the draw which is which.
        idle: share of all traces with tools that call what is of no use, and believe it.
    """

    def part(task: Task, order: tuple[int, ...], rng: random.Random, blind: bool) -> Part:
        expert, drawn = task.meta["expert"], rng.random()
        if not blind and drawn >= 1 - idle:
            return _wandering(task, order, rng)
        if blind or drawn >= share:
            return Part(task, order, rng, first=expert["sight"])
        return Part(task, order, rng, expert["calls"], expert["plans"], expert=True, first=expert["sight"])

    return _play(tasks, settings, root, without_tools, seed, part)


def base_episodes(
    tasks: Iterable[Task], settings: EpisodeSettings, root: Path, without_tools: float, seed: int
) -> Iterator[Episode]:
    """Play one trace for each task as the base model is to judge; arguments as of `expert_episodes`.

    Tasks that are no pairs ask what is to be seen, and are answered.
    """

    def part(task: Task, order: tuple[int, ...], rng: random.Random, blind: bool) -> Part:
        if blind or task.kind != "pairwise":
            return Part(task, order, rng, first=task.meta["expert"]["sight"] if task.kind == "pairwise" else "")
        return _wandering(task, order, rng)

    return _play(tasks, settings, root, without_tools, seed, part)


def _wandering(task: Task, order: tuple[int, ...], rng: random.Random) -> Part:
    calls = wander(task, rng)
    return Part(task, order, rng, calls, ["I look somewhere."] * len(calls))


def describe(seen: Message) -> str:
    """What a call brought, in words: the code of a page, and what the picture shows."""
    if not seen.images:
        return "I see nothing."
    code = re.search(r'code "(\w+)"', seen.text)
    read_out = f'I read code "{code[1]}". ' if code else ""
    corner, way = corner_shown(seen.images[-1]), way_shown(seen.images[-1], True)
    where = f"A bright corner {CORNERS[corner][0]} {CORNERS[corner][1]}: " if corner is not None else ""
    return f'{read_out}{where}I see "{way}".' if way else f"{read_out}{where}I see nothing."


def wander(task: Task, rng: random.Random) -> list[dict[str, Any]]:
    """One or two calls that could be of use, but miss what is asked for: another place or page, another check.

    Words are taken from the task where they can be, so that copying them is learnt.
    """
    if family(task) == "prose":
        return [_another_check(task, rng) for _ in range(rng.choice((1, 1, 2)))]
    if family(task) == "mosaic":
        first = zoom("original_image", box_of(rng.randrange(9)))
    else:
        title, topic = Path(task.document or "").stem, re.search(r'"(\w+) (\w+)"', task.question)
        arguments: dict[str, Any] = {"filename": title, "image_idx": rng.randint(1, 4)}
        first = {"name": "doc_page_retrieval_by_index", "arguments": arguments}
        if topic and rng.random() < 0.5:
            query = rng.choice((f"{topic[1]} {rng.choice(words.TOPICS)}", f"{rng.choice(words.FILLER)} {topic[2]}"))
            first = {"name": "doc_page_retrieval_by_query", "arguments": {"filename": title, "query": query}}
    more = [zoom("observation_1", rng.choice(CORNERS))] if rng.random() < 0.4 else []
    return [first, *more]


def _another_check(task: Task, rng: random.Random) -> dict[str, Any]:
    """A check of a response for another kind of constraint than is asked for, by the word that is spoken of if any; of
    short texts for their number of words, which is wrong of both.
    """
    asked = rng.choice(task.constraints)
    spoken = re.search(r'"(\w+)"', asked.text)
    word = spoken[1] if spoken else rng.choice(words.KEYWORDS)
    kinds = [k for k in KINDS if Rule(k, word).constraint["check"] != asked.check and not (k == "names" and spoken)]
    kinds = kinds if task.meta["needs"] else ["counts"]
    rule = Rule(rng.choice(kinds), word, rng.randint(12, 24)).constraint
    return {"name": rule["check"], "arguments": {"response": f"resp_{rng.randint(1, 2)}", **rule["arguments"]}}


def _play(
    tasks: Iterable[Task],
    settings: EpisodeSettings,
    root: Path,
    without_tools: float,
    seed: int,
    part: Callable[[Task, tuple[int, ...], random.Random, bool], Part],
) -> Iterator[Episode]:
    parts: dict[str, Part] = {}

    def jobs() -> Iterator[Job]:
        for task in tasks:
            rng = random.Random(f"trace/{seed}/{task.id}")
            blind = rng.random() < without_tools
            rules = settings.model_copy(update={"tools": ()}) if blind else settings
            order = tuple(rng.sample((1, 2), 2)) if task.kind == "pairwise" else ()
            parts[task.id] = part(task, order, rng, blind)
            yield Job(task, rules, root, order)

    model = ScriptedModel(lambda conversation: parts[conversation.task_id].say(conversation), name="script")
    # One at a time: the traces come in the order of the tasks.
    for outcome in run_jobs(jobs(), model, in_flight=1):
        if outcome.episode is None:
            raise RuntimeError(f"the lab world made a task that cannot be opened: {outcome.fault}")
        yield outcome.episode


def sample_texts(tasks: Iterable[Task], settings: EpisodeSettings, root: Path, seed: int) -> list[str]:
    """Rendered conversations of both kinds, to train a tokenizer on."""
    tasks = list(tasks)
    pairs = [task for task in tasks if task.kind == "pairwise"]
    episodes = [
        *expert_episodes(pairs, settings, root, share=0.8, without_tools=0.1, seed=seed),
        *base_episodes(tasks, settings, root, without_tools=0.1, seed=seed),
    ]
    return [render(e.conversation.messages, e.conversation.tools, add_generation_prompt=False) for e in episodes]
