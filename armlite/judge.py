"""`Judge`, the public way to have something judged: one call, one Verdict.

It makes tasks of the caller's words and lets the runner play all votes of a call; `armlite.votes` counts. A model that
`Judge.load` names is loaded by the first judgment, after its inputs have been opened: a bad file costs no minutes.
"""

import copy
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack, get_args

from PIL import Image
from pydantic import ValidationError

from armlite.asking import Asked, Asking, Picture, make_task
from armlite.calibration import Calibration, read_calibration
from armlite.episode import EpisodeSettings
from armlite.errors import ArmliteError, first_fault
from armlite.hub import is_hub_id
from armlite.loop import ChatModel, OnStep, OnText
from armlite.models import model_prefix
from armlite.models.endpoint import parse_spec
from armlite.models.lazy import LazyModel, at_temperature
from armlite.models.places import calibration_file
from armlite.models.sampling import Sampling
from armlite.rules import Rules, carries_rules, hub_rules, read_rules, run_recipe
from armlite.runner import Job, Outcome, run_jobs
from armlite.store import Saved, append, relative
from armlite.tournament import Tournament, method_for
from armlite.types import Constraint, Method, Task, Trajectory, Verdict
from armlite.votes import count_votes

Quantize = Literal["none", "4bit"]

Case = tuple[Task, Sequence[tuple[int, ...]], Sequence[Image.Image] | None]
"""A task, the orders that its responses are shown in, and its images where they are open."""
TOP_LOGPROBS = 20
"""Likeliest tokens that a probability is read from: all ratings and option keys are among so many."""
VOTING_TEMPERATURE = 0.7
"""Where several votes are asked of a greedy model: they would all be the same vote."""
TRAJECTORIES = "trajectories.jsonl"
"""What `save` writes to."""


class Judge(Asking):
    """Judges with a chat model. What the methods share is said in `Asking`.

    Several votes of a greedy model would all be the same, so more than one at temperature 0 are sampled at
    `VOTING_TEMPERATURE`.

    Args:
        model: any ChatModel. One that does not say its `sampling` (an endpoint, a script) votes at its own temperature.
        settings: the rules of an episode.
    """

    def __init__(self, model: ChatModel, settings: EpisodeSettings | None = None):
        super().__init__()
        self.model, self.settings = model, settings or EpisodeSettings()

    @cached_property
    def calibration(self) -> Calibration | None:
        """What `armlite calibrate` has found for the model; probabilities are told by it. None: nothing.

        Raises:
            ArmliteError: its file is damaged.
        """
        return read_calibration(calibration_file(self.model.spec)) if isinstance(self.model, LazyModel) else None

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        device: str = "auto",
        quantize: Quantize | None = None,
        temperature: float = 0.0,
        settings: EpisodeSettings | None = None,
        rules: str | Path | None = None,
        max_calls: int | None = None,
        seed: int = 0,
        max_new_tokens: int | None = None,
        max_context: int | None = None,
        top_logprobs: int = TOP_LOGPROBS,
        **options: Any,
    ) -> "Judge":
        """A judge by the name of its model; the weights are loaded when the first judgment needs them.

        A run directory, or a model (a folder, or on the hub) that carries them, brings the rules (limits, tools,
        budgets) that its model was trained with.

        Args:
            model: hub id, model folder, adapter folder, run directory (or a checkpoint in one), `openai:MODEL@URL`, or
                `mine:NAME` of a `@chat_model`.
            device: `auto`: CUDA where there is one, else the CPU; `mps`: Apple's GPU.
            quantize: `4bit`: NF4. None: as the run was trained, else `none`.
            temperature: 0 takes the likeliest token, always.
            settings: rules of an episode, instead of the run's or the defaults.
            rules: run directory, model folder or file with the rules, where the model does not bring them: on a server.
            max_calls: tool calls before the judge has to answer, instead of what the settings say.
            seed: random seed: equal calls give equal verdicts.
            max_new_tokens: budget of a turn, instead of the run's or the default.
            max_context: of a conversation, likewise; a server has its own.
            top_logprobs: likeliest tokens that the probability of a verdict is read from; 0: it is not. A server is
                asked for at most five.
            options: further ones of `armlite.models.load_chat_model`.

        Raises:
            ArmliteError: the run's recipe cannot be read, or an option does not go with the model.
        """
        spec, recipe = str(model), run_recipe(str(model))
        if recipe is not None:
            options = {"settings": recipe.engine, **options}
            quantize = quantize or recipe.model.quantize
        budgets = {"max_new_tokens": max_new_tokens, "max_context": max_context}
        given = {name: value for name, value in budgets.items() if value is not None}
        _check_place(spec, device, quantize)
        try:
            sampling = Sampling(temperature=temperature, seed=seed, top_logprobs=top_logprobs, **given)
        except ValidationError as error:
            raise ArmliteError(": ".join(first_fault(error))) from error
        known = _rules(spec, rules)  # last: it may ask the hub
        if known is not None:
            own = {name: getattr(known, name) for name in budgets.keys() - given.keys()}
            sampling = sampling.model_copy(update=own)  # which checks nothing: rules were checked when they were read
            settings = settings or known.episode
        if model_prefix(spec) is None:
            options |= {"device": device, "quantize": "4bit" if quantize == "4bit" else None}
        elif model_prefix(spec) == "openai":
            options = {"ruled": settings is not None, **options}
        settings = settings or EpisodeSettings()
        if max_calls is not None:
            settings = settings.model_copy(update={"max_calls": max_calls})
        return cls(LazyModel(spec, sampling, options), settings)

    def without_tools(self) -> "Judge":
        """The same model, judging by eye."""
        other = copy.copy(self)
        other.settings = self.settings.model_copy(update={"tools": ()})
        return other

    def release(self) -> None:
        """Let go of the model's weights; the next judgment loads them again."""
        if isinstance(self.model, LazyModel):
            self.model.release()

    def prepare(self) -> "Judge":
        """Load the model now, instead of with the first judgment.

        Raises:
            ArmliteError: there is no such model.
        """
        if isinstance(self.model, LazyModel):
            self.model.load()
        return self

    def rank(
        self,
        question: str,
        responses: Sequence[str],
        images: Sequence[Picture] | Picture = (),
        document: str | Path | None = None,
        constraints: Sequence[Constraint | str] = (),
        *,
        method: Method | None = None,
        **asked: Unpack[Asked],
    ) -> Verdict:
        """Put responses in order: `ranking`, best first, and `choice`, the best.

        Pairs are judged in both orders, so that no place is favoured. Up to eight responses each meets each
        (`armlite.votes.count_pairs` counts); more are sorted, with at most n * log2(n) comparisons. The verdict's
        `method` and `comparisons` say what was done, its confidence is the share of votes that agree with the ranking.

        Args:
            method: `round_robin` or `merge_sort`, whatever the number.
        """
        whole = make_task("listwise", question, responses, images, document, constraints)
        return self._tournament(*whole, method or method_for(len(responses), whole=True), asked)

    def best(
        self,
        question: str,
        responses: Sequence[str],
        images: Sequence[Picture] | Picture = (),
        document: str | Path | None = None,
        constraints: Sequence[Constraint | str] = (),
        *,
        method: Method | None = None,
        **asked: Unpack[Asked],
    ) -> Verdict:
        """Find the best of many responses, as for best-of-n sampling: `choice`.

        Up to eight responses are ranked; of more the winner of a knockout is found, with n - 1 comparisons, each in
        both orders. Its confidence is the share of votes on the winner that are for it.

        Args:
            method: `round_robin`, `merge_sort` or `knockout`, whatever the number.
        """
        whole = make_task("listwise", question, responses, images, document, constraints)
        return self._tournament(*whole, method or method_for(len(responses), whole=False), asked)

    def judge_many(
        self,
        tasks: Sequence[Task],
        *,
        root: str | Path = ".",
        images: Sequence[Sequence[Image.Image] | None] | None = None,
        swap: bool = False,
        **asked: Unpack[Asked],
    ) -> list[Verdict]:
        """Judge many tasks of any kinds at once, which is faster than one after the other; verdicts in their order.

        A file that cannot be read costs its own task: the status `bad_input`.

        Args:
            root: folder that the tasks' paths are relative to.
            images: those of each task where they are already open.
            swap: judge in both orders; nothing to swap with fewer than two responses.
        """
        opened = [None] * len(tasks) if images is None else images
        cases = []
        for task, own in zip(tasks, opened, strict=True):
            given = tuple(range(1, len(task.responses) + 1))
            cases.append((task, [given, given[::-1]] if swap and len(given) > 1 else [given], own))
        played = self._play(cases, Path(root), asked)
        return [
            _with_images(count_votes(task.kind, [o.trajectory for o in outcomes], self.calibration), outcomes)
            for task, outcomes in zip(tasks, played, strict=True)
        ]

    def _tournament(self, task: Task, opened: list[Image.Image], method: Method, asked: Asked) -> Verdict:
        """Play a tournament, each round of it at once."""
        game, played = Tournament(task, method, 2 * asked.get("votes", 1)), []
        while due := game.due:
            for outcomes in self._play([(pair, [(1, 2), (2, 1)], opened) for pair in due], Path(), asked):
                played += outcomes
                for outcome in outcomes:
                    game.add(outcome.trajectory)
        return _with_images(game.verdict(), played)

    def _play(self, cases: Sequence[Case], root: Path, asked: Asked) -> list[list[Outcome]]:
        """All votes on each task in each of its orders, in that order."""
        votes, first, settings = asked.get("votes", 1), asked.get("rollout", 0), self.settings
        if votes < 1:
            raise ArmliteError(f"votes must be at least 1, not {votes}")
        tools = asked.get("tools")
        if tools is not None:
            settings = settings.model_copy(update={"tools": tuple(tools)})
        jobs = [
            [
                Job(task, settings, root, order, rollout, images)
                for rollout, order in enumerate([*orders] * votes, first)
            ]
            for task, orders, images in cases
        ]
        sampling: Sampling | None = getattr(self.model, "sampling", None)
        warm = (votes > 1 or first > 0) and sampling is not None and sampling.temperature == 0
        model = at_temperature(self.model, VOTING_TEMPERATURE) if warm else self.model
        watched = asked.get("on_step"), asked.get("on_text")
        played = self._run([job for own in jobs for job in own], model, *watched)
        outcomes = {id(outcome.job): outcome for outcome in played}
        return [[outcomes[id(job)] for job in own] for own in jobs]

    def _run(
        self, jobs: Sequence[Job], model: ChatModel, on_step: OnStep | None, on_text: OnText | None
    ) -> Iterable[Outcome]:
        """Play jobs; a served judge has its engine do it, beside those of others."""
        return run_jobs(jobs, model, on_step=on_step, on_text=on_text)


def _rules(spec: str, given: str | Path | None) -> Rules | None:
    """The rules that are given, or that a model brings: a folder, which an absolute path may name to a server, too."""
    if given is not None:
        return read_rules(given)
    served = model_prefix(spec) == "openai"
    folder = parse_spec(spec)[0] if served else spec
    if model_prefix(spec) is None and is_hub_id(spec):
        return hub_rules(spec)
    if not carries_rules(folder) or (served and not Path(folder).is_absolute()):
        return None
    if served:
        warnings.warn(f"judging by the rules that the folder {folder} carries", UserWarning, stacklevel=2)
    return read_rules(folder)


def check_folder(folder: Path) -> None:
    """Find out before a long judgment that it could not be saved.

    Raises:
        ArmliteError: it is no folder, or nothing can be written there.
    """
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not place.is_dir():
        raise ArmliteError(f"cannot save to {folder}: {place} is not a folder")
    if not os.access(place, os.W_OK):
        raise ArmliteError(f"cannot save to {folder}: {place} is not writable")


def save(verdict: Verdict, folder: str | Path, root: str | Path = ".") -> Path:
    """Add a verdict's trajectories and images to a folder that `armlite view` reads; returns the file.

    Paths of images and document become relative to the folder, as Task records want them.

    Args:
        root: folder that the task's document was relative to.

    Raises:
        ArmliteError: the folder cannot be written to; nothing is half-written.
    """
    folder = Path(folder)
    rows = [Saved(trajectory=moved_to(folder, t, Path(root))) for t in verdict.trajectories]
    append(folder / TRAJECTORIES, rows, verdict.images)
    return folder / TRAJECTORIES


def moved_to(folder: Path, vote: Trajectory, root: Path = Path()) -> Trajectory:
    """The record with paths of its task as seen from a folder that `append` writes its images to.

    Args:
        root: folder that the task's document was relative to.
    """
    task, files = vote.task, {info.id: info.file for info in vote.images}
    images = tuple(f"images/{files[i]}" for i in vote.prompt_images[: len(task.images)])
    document = task.document and relative(root / task.document, folder)
    return vote.model_copy(update={"task": task.model_copy(update={"images": images, "document": document})})


def _check_place(spec: str, device: str, quantize: str | None) -> None:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", device):
        raise ArmliteError(f"device {device!r} is not one of auto, cpu, cuda, cuda:N, mps")
    if quantize not in (None, *get_args(Quantize)):
        raise ArmliteError(f"quantize {quantize!r} is not one of {', '.join(get_args(Quantize))}")
    if model_prefix(spec) and (quantize == "4bit" or device != "auto"):
        raise ArmliteError("device and quantize are for local models; a server decides them itself")


def _with_images(verdict: Verdict, played: Sequence[Outcome]) -> Verdict:
    verdict._images = {file: image for outcome in played for file, image in outcome.images.items()}
    return verdict
