"""The judge as a scorer of `inspect_ai` tasks.

Tried with inspect_ai 0.3.285. What could not be judged is an unscored sample, which its metrics leave out.
"""

from collections.abc import Sequence
from typing import Any

from armlite.adapters.scored import Item, Mode, Scorer
from armlite.asking import Asking
from armlite.errors import ArmliteError
from armlite.rubric import Rubric


def judge_scorer(
    judge: Asking,
    mode: Mode = "check",
    *,
    rubric: Rubric | str | None = None,
    against: str | None = None,
    document: str = "document",
    constraints: str = "constraints",
    votes: int = 1,
) -> Any:
    """A scorer for `Task(scorer=...)` that asks a judge: 0 to 1, with mean and standard error.

    The question is the sample's input with its pictures, the response is what the model under test completed.

    Args:
        judge: as for `armlite.adapters.scored.Scorer`, likewise `mode`, `rubric` and `votes`.
        against: of `compare`: the metadata field with the other response. None: the sample's target.
        document: metadata field with the path of a PDF or of a folder of pages.
        constraints: metadata field with what responses must satisfy.

    Raises:
        ArmliteError: inspect_ai is not installed, or as `Scorer`.
    """
    try:
        from anyio import CapacityLimiter, to_thread
        from inspect_ai.scorer import Score, mean, scorer, stderr
    except ImportError as error:
        raise ArmliteError(f"inspect_ai is not installed here ({error}): pip install inspect_ai") from error
    scores = Scorer(judge, mode, rubric, votes)

    @scorer(metrics=[mean(), stderr()], name=f"armlite_{mode}")
    def armlite() -> Any:
        async def score(state: Any, target: Any) -> Any:
            known = state.metadata or {}
            item = Item(
                question=state.input_text,
                response=state.output.completion,
                images=_images(state.input),
                document=known.get(document),
                constraints=known.get(constraints) or (),
                against=target.text if against is None else known.get(against),
            )
            own = CapacityLimiter(1)  # beside the usual limit on threads: those that wait together are judged together
            found = await to_thread.run_sync(scores.score, item, limiter=own)
            said = {"answer": item.response, "explanation": found.reason, "metadata": found.facts}
            if found.value is None:
                return Score.unscored(reason="grader_failed" if found.verdict else "scoring_failed", **said)
            return Score(value=found.value, **said)

        return score

    return armlite()


def _images(messages: str | Sequence[Any]) -> list[str]:
    """Paths, URLs and data URLs of a sample's pictures."""
    if isinstance(messages, str):
        return []
    parts = (part for message in messages if not isinstance(message.content, str) for part in message.content)
    return [part.image for part in parts if part.type == "image"]
