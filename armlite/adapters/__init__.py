"""armlite as a model of other evaluation kits: `vlmevalkit` and `lmms_eval`, each imported on its own.

Importing them works without the kit; making a model then says that it is missing. The kits own prompts, data and
scoring; the judge's own benchmarks are in `armlite.evals`.
"""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from armlite.errors import ArmliteError
from armlite.judge import Judge
from armlite.runner import Job, run_jobs
from armlite.types import Task, Trajectory


class Answerer:
    """Answers a kit's prompts inside our loop, with tools for the pictures that come with them.

    Args:
        model: anything that `Judge.load` takes.
        tools: show the model the tools that go with what there is to look at.
        options: further ones of `Judge.load`, as `temperature` or `max_calls`.
    """

    def __init__(self, model: str, tools: bool = True, **options: Any):
        self._judge = Judge.load(model, **options)
        settings = self._judge.settings
        self._rules = settings if tools else settings.model_copy(update={"tools": ()})

    def answer(self, prompts: Sequence[tuple[str, str, Sequence[Image.Image]]]) -> list[Trajectory]:
        """Play (name, text, images); trajectories in that order.

        The name goes into the random stream: the same prompt under another name is another try where the model samples.
        """
        jobs = []
        for name, text, images in prompts:
            task = Task(id=name, kind="open_qa", question=text, images=tuple(f"image_{i}" for i in range(len(images))))
            jobs.append(Job(task, self._rules, images=list(images)))
        ended = {id(outcome.job): outcome.trajectory for outcome in run_jobs(jobs, self._judge.model)}
        return [ended[id(job)] for job in jobs]


def final_text(trajectory: Trajectory) -> str | None:
    """What a kit scores: the text inside `<answer>`, else the whole last turn; None where there was a fault."""
    if trajectory.fault is not None:
        return None
    if trajectory.answer is not None:
        return trajectory.answer
    return trajectory.steps[-1].turn.text if trajectory.steps else ""


def need(kit: str, why: str) -> None:
    """Find out that a kit could not be imported.

    Args:
        why: what its import said; empty: it worked.

    Raises:
        ArmliteError: it did not.
    """
    if why:
        raise ArmliteError(f"{kit} is not installed here ({why}): armlite is a model of it only where it is")
