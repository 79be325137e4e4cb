"""A VLMEvalKit model: `partial(ArmliteModel, model="openai:judge-7b@http://localhost:8000/v1")` in the kit's config.

Interface: `vlmeval/vlm/base.py` and `vlmeval/inference*.py` of open-compass/VLMEvalKit (August 2026). A message is a
list of parts, each of `type` (`text` or `image`) and `value` (the text, or a file); `chat_inner` gets a list of
messages.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from armlite.adapters.answerer import Answerer, need
from armlite.adapters.asked import Asked, answer_of, as_pair
from armlite.errors import ArmliteError
from armlite.evals.exports import FAILED
from armlite.images import open_image
from armlite.models import model_prefix
from armlite.types import Trajectory

try:
    from vlmeval.vlm.base import BaseModel
except ImportError as error:
    BaseModel, WHY = object, str(error)
else:
    WHY = ""

PAIR = "armlite_pair"
"""Key of the text part of a message that holds a row of a reward benchmark."""


class Said(dict[str, Any]):
    """A prediction with the record behind it, as the kit keeps them for agents; as text only the prediction.

    After a fault the kit's mark is a key too: by that it knows which to ask for again.
    """

    def __str__(self) -> str:
        return str(self["prediction"])


class ArmliteModel(BaseModel):
    """A judge as VLMEvalKit calls it. Arguments as for `armlite.adapters.answerer.Answerer`.

    Args:
        model: anything that `Judge.load` takes. A server's is asked by many of the kit's threads at once (`is_api`).

    Raises:
        ArmliteError: VLMEvalKit is not installed, or the model cannot be loaded.
    """

    INTERLEAVE = True
    """Asks to be given all parts in order; pictures go before the text all the same, as the judge was trained."""
    VIDEO_LLM = False
    """Asks for the frames of videos as pictures."""

    def __init__(self, model: str, **options: Any):
        need("VLMEvalKit", WHY)
        super().__init__()
        self.is_api = model_prefix(model) == "openai"
        self._answerer = Answerer(model, **options)

    def use_custom_prompt(self, dataset: str | None) -> bool:
        """Whether rows are to be handed over: those of VL-RewardBench, whose pairs are judged in our own form."""
        return self._answerer.pairs and (dataset or "").startswith("VL-RewardBench")

    def build_prompt(self, line: Any, dataset: str | None = None) -> list[dict[str, Any]]:
        """The message of a row: its pictures, its question, and beside it what makes a pair of it."""
        pictures = self.dump_image(line, dataset)
        files = pictures if isinstance(pictures, list) else [pictures]
        row = {"question": str(line["question"]), "response": str(line["response"])}
        if as_pair("row", row) is None:
            raise ArmliteError(f"{dataset}: row {line['index']} holds no pair of responses")
        return [*({"type": "image", "value": file} for file in files), _text(row["question"]) | {PAIR: row}]

    def generate_inner(self, message: Sequence[Mapping[str, Any]], dataset: str | None = None) -> Said:
        """The prediction and its record; `FAILED` where the judge could not be asked or a picture not be read.

        Raises:
            ArmliteError: there is something else to see than pictures.
        """
        asked = self._ask(message, dataset)
        [(_, played)] = self._answerer.play([asked])
        answer = answer_of(asked, played)
        failed = {} if answer is not None else {FAILED: True}
        return Said(prediction=answer or FAILED, extra_records=_record(played), **failed)

    def chat_inner(self, messages: Sequence[Mapping[str, Any]], dataset: str | None = None) -> str:
        """The answer to the last of several messages, the earlier ones told before it."""
        parts = [part for message in messages for part in message["content"]]
        turns = [f"{message['role']}: {_words(message['content'])}" for message in messages[:-1]]
        text = _words(messages[-1]["content"])
        if turns:
            text = "\n\n".join(["The conversation so far:", *turns, "The message to answer now:", text])
        pictures = [part for part in parts if part["type"] != "text"]
        return str(self.generate_inner([*pictures, _text(text)], dataset))

    def _ask(self, message: Sequence[Mapping[str, Any]], dataset: str | None) -> Asked:
        for part in message:
            if part["type"] not in ("text", "image"):
                raise ArmliteError(f"{dataset}: armlite sees pictures only, no {part['type']}; choose another data set")
        text, files = _words(message), [part["value"] for part in message if part["type"] == "image"]
        row = next((part[PAIR] for part in message if PAIR in part), {})
        # Names of files only: the random stream is the same wherever the kit has its data.
        told = json.dumps([dataset, text, [Path(file).name for file in files], row])
        digest = hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()[:16]
        return self._answerer.ask(f"{dataset}/{digest}", text, row, lambda: [open_image(file) for file in files])


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "value": text}


def _words(message: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(part["value"] for part in message if part["type"] == "text")


def _record(played: Trajectory) -> dict[str, Any]:
    """What the kit keeps beside a prediction; pictures by their files' names, which are those in the `save` folder."""
    conversation = [{"role": "user", "content": played.prompt}]
    for step in played.steps:
        conversation.append({"role": "assistant", "content": step.turn.text})
        if step.observation is not None:
            conversation.append({"role": "tool", "content": step.observation.text})
    return {
        "tool_call_count": len(played.calls),
        "stop": str(played.stop),
        "fault": None if played.fault is None else played.fault.reason,
        "task": played.task.id,
        "conversation": conversation,
    }
