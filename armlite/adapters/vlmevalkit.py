"""A VLMEvalKit model: in a config, `partial(ArmliteModel, model="openai:judge-7b@http://localhost:8000/v1")`.

Interface: `vlmeval/vlm/base.py` of open-compass/VLMEvalKit, which calls `generate_inner` with a list of parts, each of
`type` (`text` or `image`) and `value` (the text, or a file). Its prompts are used as they are.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from armlite.adapters import Answerer, final_text, need
from armlite.images import open_image

try:
    from vlmeval.vlm.base import BaseModel
except ImportError as error:
    BaseModel, WHY = object, str(error)
else:
    WHY = ""

FAILED = "Failed to obtain answer via API."
"""By this VLMEvalKit knows a prediction to ask for again."""


class ArmliteModel(BaseModel):
    """A judge as VLMEvalKit calls it. Arguments as for `armlite.adapters.Answerer`.

    Raises:
        ArmliteError: VLMEvalKit is not installed, or the model cannot be.
    """

    INTERLEAVE = True
    """Asks to be given all parts in order; pictures go before the text all the same, as the judge was trained."""
    is_api = False

    def __init__(self, model: str, tools: bool = True, **options: Any):
        need("VLMEvalKit", WHY)
        super().__init__()
        self._answerer = Answerer(model, tools, **options)

    def generate_inner(self, message: Sequence[Mapping[str, str]], dataset: str | None = None) -> str:
        """The final answer to a message; FAILED where the model could not be asked.

        Raises:
            ArmliteError: a picture cannot be read.
        """
        text = "\n".join(part["value"] for part in message if part["type"] == "text")
        files = [part["value"] for part in message if part["type"] == "image"]
        name = hashlib.sha256(json.dumps([dataset, text, files]).encode()).hexdigest()[:16]
        [trajectory] = self._answerer.answer([(name, text, [open_image(file) for file in files])])
        said = final_text(trajectory)
        return FAILED if said is None else said
