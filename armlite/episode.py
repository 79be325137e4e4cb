"""One judgment in progress: takes the model's text for a turn, runs the tool, returns the observation, knows when to
stop.

Single use; it never calls a model (the loop does) and never prints. Everything it did comes out as a Trajectory.
"""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict

from armlite.errors import ArmliteError, DataError, InputError, ToolError, nearest
from armlite.images import image_source, open_image, shrink
from armlite.memory import Limits, Memory
from armlite.protocol import prompts
from armlite.protocol.parse import feedback, parse_decision, parse_turn
from armlite.protocol.probability import TokenLogprobs, answer_probabilities
from armlite.protocol.reference import Wording
from armlite.protocol.render import Conversation, Message, harmless, system_text
from armlite.tools import tools_for
from armlite.tools.tool import Tool
from armlite.types import Decision, Fault, Observation, Step, StopReason, Task, Trajectory, Turn, decision_key


class EpisodeSettings(BaseModel):
    """The rules of an episode; part of every recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tools: tuple[str, ...] | None = None
    """Names of the tools shown; None: by what the memory holds; empty: none."""
    max_calls: int = 5
    """Calls, failed and malformed ones included, before the forced final turn. Reference: 7 in evaluation, 5 in RL."""
    like: str | None = None
    """A benchmark that the reference was evaluated on (`armlite docs reference`), or `tasks`: prompts, tools and what
    tools say are in its words, and a turn that cannot be read ends the judgment, as there. None: ours."""
    system: str | None = None
    """What the system block says before the tools. None: "You are a helpful assistant."; empty: nothing, as Qwen3-VL's
    own template has it. With `like` the reference's words stand there."""
    parse: Literal["strict", "lenient"] = "strict"
    """`lenient`: a good call or answer counts after a `<think>` that is not closed, too, as in the reference's loop.
    For checkpoints that were made there; never in training."""
    limits: Limits = Limits()


class Episode:
    """One judgment.

    Args:
        task: what is judged.
        memory: opened images, texts in presented order, document.
        settings: the rules.
        order: permutation: `order[i]` is the caller's number of the response shown as `resp_{i+1}`.
        rollout: number of this attempt at the task; part of its random stream.
    """

    def __init__(
        self, task: Task, memory: Memory, settings: EpisodeSettings, order: Sequence[int] = (), rollout: int = 0
    ):
        self.task, self.memory, self.settings = task, memory, settings
        self.order = tuple(order) or tuple(range(1, len(task.responses) + 1))
        self._wording = Wording(settings.like) if settings.like else None
        names = self._wording.tool_names(memory) if self._wording and settings.tools is None else settings.tools
        self.tools: dict[str, Tool] = {t.name: t for t in tools_for(memory, names)}
        self.steps: list[Step] = []
        self.stop: StopReason | None = None
        self.decision: Decision | None = None
        self.fault: Fault | None = None
        self.probabilities: dict[str, float] = {}
        self.chances: tuple[float, ...] = ()
        """As of `Trajectory.chances`; set from outside."""
        self.model = ""
        self.hurried: Callable[[], bool] | None = None
        """Says whether the model has to answer now: its next call is not run. None: never."""
        self._cut_short = False
        self._attempts = 0
        self._forced = False
        self._seen: set[str] = set()
        self._prompt_images = tuple(memory.images)
        words = self._wording or prompts
        text = words.user_text(task, self.order, memory, bool(self.tools))
        schemas = tuple(self._wording.schema(t.schema) if self._wording else t.schema for t in self.tools.values())
        shown = tuple(shrink(image, self._prompt_pixels(i)) for i, image in memory.images.items())
        system = self._wording.system(task) if self._wording else settings.system
        self.conversation = Conversation(task.id, rollout, schemas, [Message("user", text, shown)], system)

    @classmethod
    def open(
        cls,
        task: Task,
        settings: EpisodeSettings,
        root: Path | str = ".",
        order: Sequence[int] = (),
        rollout: int = 0,
        images: Sequence[Image.Image] | None = None,
    ) -> "Episode":
        """Open the task's images and document and start an episode.

        Args:
            root: folder that the task's paths are relative to.
            images: the task's images where they are already open.

        Raises:
            ArmliteError: an image or document that cannot be read.
        """
        from armlite.tools.documents.pages import open_document
        from armlite.tools.documents.sheet import contact_sheet

        if images is None:
            images = [open_image(image_source(root, path)) for path in task.images]
        document = open_document(Path(root) / task.document) if task.document else None
        shown = tuple(order) or tuple(range(1, len(task.responses) + 1))
        texts = [task.responses[n - 1] for n in shown]
        memory = Memory(images, texts, document, task.constraints, settings.limits)
        if document is not None:
            memory.add_image(contact_sheet(document, settings.limits))
            memory.start()
        return cls(task, memory, settings, order, rollout)

    def _prompt_pixels(self, image_id: str) -> int:
        limits = self.memory.limits
        is_sheet = self.memory.document is not None and image_id == self._prompt_images[-1]
        return limits.sheet_max_pixels if is_sheet else limits.image_max_pixels

    def advance(
        self,
        text: str,
        finish: Literal["stop", "length", "overflow", "error"] = "stop",
        tokens: int = 0,
        prompt_tokens: int = 0,
        logprobs: Sequence[TokenLogprobs] = (),
    ) -> Step | None:
        """Take the model's turn and act on it; appends to the conversation what the model is to see next.

        Args:
            text: what it wrote.
            finish: how the turn ended.
            tokens: sampled.
            prompt_tokens: read.
            logprobs: of the tokens of an answer.

        Returns:
            The new step, or None where the model could not take the last observation (`overflow`).
        """
        if self.stop is not None:
            raise RuntimeError("this episode has stopped")
        if finish == "overflow":
            self._take_back()
            return None
        turn = parse_turn(text, finish, tokens, self.settings.parse == "lenient")
        turn = turn.model_copy(update={"prompt_tokens": prompt_tokens})
        observation = self._observe(turn)
        if self.decision is not None:
            self.probabilities = self._probabilities(logprobs)
        step = Step(turn=turn, observation=observation)
        self.steps.append(step)
        self.conversation.messages.append(Message("assistant", text))
        if observation is not None:
            images = tuple(self.memory.images[i] for i in observation.images)
            self.conversation.messages.append(Message("tool", observation.text, images))
        return step

    def _observe(self, turn: Turn) -> Observation | None:
        """The observation for a turn; None when the turn was the last, with `stop` set."""
        if turn.finish == "error":
            self.stop, self.fault = StopReason.MODEL_ERROR, Fault(whose="model", reason=turn.text)
        elif turn.finish == "length":
            self.stop = StopReason.TURN_BUDGET
        elif turn.answer is not None:
            self.stop = StopReason.ANSWERED
            self.decision = self._decide(turn.answer)
        elif turn.call is None and (turn.fault is None or self._wording):
            self.stop = StopReason.NO_ANSWER
        elif self._forced:
            self.stop = StopReason.CALL_LIMIT
        if self.stop is not None:
            return None
        allowed = bool(self.tools) and self._attempts < self.settings.max_calls
        if allowed and self.hurried is not None and self.hurried():
            allowed, self._cut_short = False, True
        if not allowed:
            self._forced = True
            reached = self._wording.limit_reached if self._wording else prompts.LIMIT_REACHED
            return Observation(ok=False, text=reached if self.tools else prompts.NO_TOOLS)
        self._attempts += 1
        known = tuple(self.memory.images)
        try:
            return self.act(turn)
        except ArmliteError as error:  # a page that cannot be read ends this episode, and no other
            self.memory.forget([name for name in self.memory.images if name not in known])
            self.stop, self.fault = StopReason.BAD_INPUT, fault_of(error)
            return None

    def act(self, turn: Turn) -> Observation:
        """Run the tool that a turn calls and say what the model is to see; the conversation stays as it is.

        Raises:
            ArmliteError: a file of the task cannot be read, or the tool cannot work here.
        """
        if turn.call is None:
            return Observation(ok=False, text=feedback(turn.fault or "empty"))
        call = turn.call
        if call.name not in self.tools:
            name, hint = _cut(harmless(call.name), 100), nearest(call.name, self.tools)
            text = f"Error: there is no tool named '{name}'.{hint} Tools: {', '.join(self.tools)}."
            text = self._wording.unknown_tool(call.name) if self._wording else text
            return Observation(ok=False, text=text)
        key = json.dumps([call.name, call.arguments], sort_keys=True)
        duplicate = key in self._seen
        self._seen.add(key)
        try:
            result = self.tools[call.name](self.memory, **call.arguments)
        except ToolError as error:
            result = Observation(ok=False, text=str(error))
        said = self._wording.result(call, result, self.memory) if self._wording else result.text
        text = _cut(said, self.memory.limits.observation_max_characters)
        if duplicate and not self._wording:
            text = f"{text}\n{prompts.SAME_CALL}"
        return result.model_copy(update={"text": text, "tool": call.name, "duplicate": duplicate})

    def _take_back(self) -> None:
        """The last observation did not fit: undo it, as the policy never saw it."""
        self.stop = StopReason.CONTEXT_BUDGET
        if not self.steps:
            return
        last = self.steps[-1]
        if last.observation is not None:
            self.memory.forget(last.observation.images)
            self.steps[-1] = Step(turn=last.turn)
            self.conversation.messages.pop()

    def _decide(self, answer: str) -> Decision | None:
        decision = parse_decision(answer, self.task.kind, len(self.task.responses), self.task.options)
        return None if decision is None else self.in_own_order(decision)

    def in_own_order(self, decision: Decision) -> Decision:
        """A verdict on presented responses in the caller's numbers."""
        numbered = self.task.kind in ("pairwise", "listwise") and decision
        return self.order[int(decision) - 1] if numbered else decision

    def _probabilities(self, logprobs: Sequence[TokenLogprobs]) -> dict[str, float]:
        kind, count = self.task.kind, len(self.task.responses)
        found = answer_probabilities(logprobs, kind, count, self.task.options)
        return {decision_key(self.in_own_order(verdict)): share for verdict, share in found.items()}

    def trajectory(self) -> Trajectory:
        """The record of the episode so far.

        Raises:
            RuntimeError: the episode has not stopped.
        """
        if self.stop is None:
            raise RuntimeError("this episode has not stopped")
        prompt = self.conversation.messages[0].text
        return Trajectory(
            task=self.task,
            order=self.order,
            tools=tuple(self.tools),
            system=system_text(self.conversation.tools, self.conversation.system),
            prompt=prompt,
            prompt_images=self._prompt_images,
            steps=tuple(self.steps),
            images=tuple(self.memory.infos.values()),
            stop=self.stop,
            decision=self.decision,
            probabilities=self.probabilities,
            chances=self.chances,
            model=self.model,
            rollout=self.conversation.rollout,
            fault=self.fault,
            cut_short=self._cut_short,
        )

    def pixels(self) -> dict[str, Image.Image]:
        """File name -> image, for the store."""
        return {info.file: self.memory.images[i] for i, info in self.memory.infos.items()}


def fault_of(error: ArmliteError) -> Fault:
    """Whose fault an error is: the data's where a file or row cannot be read, else the user's."""
    return Fault(whose="data" if isinstance(error, InputError | DataError) else "user", reason=str(error))


def _cut(text: str, limit: int) -> str:
    """Cut in the middle, as the reference does for tool text (its 1.5)."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}...(truncated)...{text[-(limit - limit // 2) :]}"


def presented_order(task: Task, seed: int, swapped: bool = False) -> tuple[int, ...]:
    """A permutation of the responses that depends on the task and the seed only; `swapped` reverses it."""
    order = list(range(1, len(task.responses) + 1))
    random.Random(f"order/{seed}/{task.id}").shuffle(order)
    return tuple(reversed(order) if swapped else order)
