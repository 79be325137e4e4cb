"""An lmms-eval model: `LMMS_EVAL_PLUGINS=armlite.adapters lmms_eval --model armlite --model_args pretrained=...`.

Interface: `lmms_eval/api/model.py` of EvolvingLMMs-Lab/lmms-eval. A request's `args` are the context, the generation
arguments, a function from a document to its pictures, the document's number, the task and the split. The generation
arguments are not followed: how the judge writes is decided when it is made.
"""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from armlite.adapters import Answerer, final_text, need
from armlite.errors import ArmliteError
from armlite.images import to_rgb
from armlite.models import model_prefix

try:
    from lmms_eval.api.model import lmms
except ImportError as error:
    lmms, WHY = object, str(error)
else:
    WHY = ""


class ArmliteModel(lmms):
    """A judge as lmms-eval calls it; further arguments as for `armlite.adapters.Answerer`.

    Args:
        model: anything that `Judge.load` takes; also under lmms-eval's name `pretrained`.
        batch_size: requests played at once.

    Raises:
        ArmliteError: lmms-eval is not installed, no model is named, or it cannot be loaded.
    """

    is_simple = True

    def __init__(
        self,
        model: str | None = None,
        pretrained: str | None = None,
        tools: bool = True,
        batch_size: int | str = 8,
        device: str | None = None,
        **options: Any,
    ):
        need("lmms-eval", WHY)
        super().__init__()
        name = model or pretrained
        if not name:
            raise ArmliteError("say which model: model=openai:MODEL@URL, or a folder or hub id")
        if device and model_prefix(name) is None:
            options["device"] = device
        self._answerer = Answerer(name, tools, **options)
        self._batch_size = int(batch_size)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """The final answers, in the order of the requests; empty where the model could not be asked."""
        said = []
        for start in range(0, len(requests), self._batch_size):
            prompts = [self._prompt(request) for request in requests[start : start + self._batch_size]]
            said += [final_text(trajectory) or "" for trajectory in self._answerer.answer(prompts)]
        return said

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not offered: the rounds would be the kit's, and the judge has its own."""
        raise ArmliteError("armlite answers in one round; choose a task without rounds")

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not offered: a judge that uses tools has no likelihood of a given text."""
        raise ArmliteError("armlite gives no likelihoods; choose a task that generates")

    def _prompt(self, request: Any) -> tuple[str, str, list[Image.Image]]:
        context, _, visuals, number, task, split = request.args
        shown = visuals(self.task_dict[task][split][number]) or []
        pictures = [to_rgb(picture) for picture in shown]
        return f"{task}/{split}/{number}", context.replace("<image>", "").strip(), pictures
