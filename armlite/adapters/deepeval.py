"""The judge as a metric of `deepeval`.

Tried with deepeval 4.3.1. What could not be judged is the metric's `error`, without a score: deepeval counts it as
errored, which is not 0.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from armlite.adapters.scored import Item, Mode, Scorer
from armlite.asking import Asking
from armlite.errors import ArmliteError
from armlite.rubric import Rubric


def judge_metric(
    judge: Asking,
    mode: Mode = "check",
    *,
    rubric: Rubric | str | None = None,
    threshold: float = 0.5,
    document: str = "document",
    constraints: str = "constraints",
    votes: int = 1,
) -> Any:
    """A metric for `evaluate(metrics=[...])` and `assert_test` that asks a judge: 0 to 1.

    The question is the case's `input` (its `MLLMImage`s are the pictures), the response its `actual_output`; of
    `compare` the other response is its `expected_output`.

    Args:
        judge: as for `armlite.adapters.scored.Scorer`, likewise `mode`, `rubric` and `votes`.
        threshold: score from which a case passes.
        document: field of the case's metadata with the path of a PDF or of a folder of pages.
        constraints: field of the case's metadata with what responses must satisfy.

    Raises:
        ArmliteError: deepeval is not installed, or as `Scorer`.
    """
    try:
        from deepeval.metrics import BaseMetric
        from deepeval.test_case import MLLMImage
    except ImportError as error:
        raise ArmliteError(f"deepeval is not installed here ({error}): pip install deepeval") from error
    scores = Scorer(judge, mode, rubric, votes)

    class ArmliteMetric(BaseMetric):  # type: ignore[misc, valid-type]  # deepeval is not there where types are checked
        """See `judge_metric`; deepeval copies it for each case."""

        _required_params: Sequence[Any] = ()

        def __init__(self) -> None:
            self.threshold, self.async_mode, self.include_reason = threshold, True, True
            self.evaluation_model = getattr(getattr(judge, "model", None), "name", type(judge).__name__)

        def measure(self, test_case: Any, *args: Any, **kwargs: Any) -> float | None:
            """Score a case; None and `error` where it could not be judged."""
            question, images = _parts(test_case.input, MLLMImage)
            known = test_case.metadata or {}
            item = Item(
                question=question,
                response=test_case.actual_output or "",
                images=images,
                document=known.get(document),
                constraints=known.get(constraints) or (),
                against=test_case.expected_output,
            )
            found = scores.score(item)
            self.score, self.reason = found.value, found.reason
            self.score_breakdown = found.facts
            self.error = found.reason if found.value is None else None
            self.success = found.value is not None and found.value >= threshold
            return found.value

        async def a_measure(self, test_case: Any, *args: Any, **kwargs: Any) -> float | None:
            """As `measure`, beside other cases."""
            return await asyncio.to_thread(self.measure, test_case)

        @property
        def __name__(self) -> str:
            return f"armlite {mode}"

        def __deepcopy__(self, memo: Any) -> "ArmliteMetric":
            return ArmliteMetric()

    return ArmliteMetric()


def _parts(text: str, image: Any) -> tuple[str, list[str | Path]]:
    """The text of an input and its pictures, which stand in it as `[DEEPEVAL:IMAGE:...]`."""
    parts = image.parse_multimodal_string(text)
    words = "".join(part for part in parts if isinstance(part, str)).strip()
    pictures = [part for part in parts if not isinstance(part, str)]
    data = [f"data:{part.mimeType};base64,{part.dataBase64}" if part.dataBase64 else part.url for part in pictures]
    return words, data
