"""The judge as a judge of `verifiers` environments: in a task's `@reward`, or plugged in by a config.

Tried with verifiers 0.4.0. What could not be judged is an error of the rollout, as with its own judges, and no reward.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from armlite.adapters.scored import Item, Mode, Scorer
from armlite.asking import Asking
from armlite.errors import ArmliteError
from armlite.rubric import Rubric


def judge_class(
    judge: Callable[[], Asking],
    mode: Mode = "check",
    *,
    rubric: Rubric | str | None = None,
    against: str = "answer",
    document: str = "document",
    constraints: str = "constraints",
    votes: int = 1,
) -> Any:
    """A subclass of `verifiers.v1.Judge`: its `score(task, trace)` is 0 to 1.

    The question is the task's prompt with its pictures, the response the last reply. Called in a `@reward`
    (`await PocketJudge().score(self.data, trace)`), or, from a module that names it in `__all__`, an entry of
    `taskset.task.judges`.

    Args:
        judge: makes the judge, when the first score is asked for.
        mode: as for `armlite.adapters.scored.Scorer`, likewise `rubric` and `votes`.
        against: of `compare`: field of the task with the other response.
        document: field of the task with the path of a PDF or of a folder of pages.
        constraints: field of the task with what responses must satisfy.

    Raises:
        ArmliteError: verifiers is not installed, or as `Scorer`.
    """
    try:
        import verifiers.v1 as vf
        from verifiers.v1.configs.judge import JudgeConfig
    except ImportError as error:
        raise ArmliteError(f"verifiers is not installed here ({error}): pip install 'verifiers>=0.4'") from error
    made: list[Scorer] = []

    class ArmliteJudge(vf.Judge[float, JudgeConfig]):  # type: ignore[misc]
        """See `judge_class`."""

        async def score(self, task: Any, trace: Any) -> float:
            """Score a rollout.

            Raises:
                ValueError: it could not be judged.
            """
            if not made:
                made.append(Scorer(judge(), mode, rubric, votes))
            item = Item(
                question=task.prompt_text,
                response=trace.last_reply,
                images=_images(task.prompt),
                document=getattr(task, document, None),
                constraints=getattr(task, constraints, None) or (),
                against=getattr(task, against, None),
            )
            found = await asyncio.to_thread(made[0].score, item)
            trace.info.setdefault("armlite", []).append({"score": found.value, "reason": found.reason, **found.facts})
            if found.value is None:
                raise ValueError(found.reason)
            return found.value

    return ArmliteJudge


def _images(prompt: Any) -> list[str]:
    """URLs and data URLs of a prompt's pictures."""
    messages = prompt if isinstance(prompt, list) else []
    parts = (part for message in messages if isinstance(message.content, list) for part in message.content)
    return [part.image_url.url for part in parts if part.type == "image_url"]
