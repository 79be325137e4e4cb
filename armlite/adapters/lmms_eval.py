"""An lmms-eval model: `lmms_eval --model armlite --model_args model=openai:MODEL@URL` (see `armlite.adapters.plugin`).

Interface: `lmms_eval/api/model.py` of EvolvingLMMs-Lab/lmms-eval 0.7. A request's `args` are the context, the
generation arguments, a function from a document to its pictures, the document's number, the task and the split.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from armlite.adapters.answerer import Answerer, need, tell_faults
from armlite.adapters.asked import PAIR_COLUMNS, Asked, answer_of
from armlite.errors import ArmliteError, InputError
from armlite.images import SUFFIXES, open_image, to_rgb
from armlite.models import model_prefix
from armlite.types import Trajectory

try:
    from lmms_eval.api.model import lmms
except ImportError as error:
    lmms, WHY = object, str(error)
else:
    WHY = ""

FOLLOWED = ("temperature", "do_sample", "until")
"""Generation arguments that decide something here."""
NEUTRAL: dict[str, Any] = {"top_p": 1, "num_beams": 1, "image_aspect_ratio": None}
"""Values of others that ask for nothing."""
BLANK_LINE = "\n\n"
"""The kit's stop string of tasks that name none; no more than that, so it cuts no answer."""


class ArmliteModel(lmms):
    """A judge as lmms-eval calls it; further arguments as for `armlite.adapters.answerer.Answerer`.

    Args:
        model: anything that `Judge.load` takes; also under lmms-eval's name `pretrained`.
        batch_size: requests played at once, at most; `auto` and 1, the kit's default: as many as the model can use.
        temperature: of all tasks, instead of what their generation arguments say.

    Raises:
        ArmliteError: lmms-eval is not installed, no model is named, or it cannot be loaded.
    """

    is_simple = True

    def __init__(
        self,
        model: str | None = None,
        pretrained: str | None = None,
        batch_size: int | str = 1,
        device: str | None = None,
        temperature: float | None = None,
        **options: Any,
    ):
        need("lmms-eval", WHY)
        super().__init__()
        name = model or pretrained
        if not name:
            raise ArmliteError("say which model: model=openai:MODEL@URL, or a folder or hub id")
        if device and model_prefix(name) is None:
            options["device"] = device
        options.pop("max_batch_size", None)
        self._temperature, self._in_flight = temperature, _in_flight(batch_size)
        self._answerer = Answerer(name, **options)
        self._told: set[str] = set()

    def generate_until(self, requests: Sequence[Any]) -> list[str | None]:
        """The answers, in the order of the requests; None, which the kit takes for no response, after a fault.

        Requests for the same item are other tries at it, with seeds of their own.
        """
        tries: Counter[tuple[str, str, int]] = Counter()
        rollouts: list[int] = []
        batches: dict[float, list[int]] = {}
        for place, request in enumerate(requests):
            _, settings, _, number, task, split = request.args
            rollouts.append(tries[task, split, number])
            tries[task, split, number] += 1
            batches.setdefault(self._warmth(settings), []).append(place)
        played: dict[int, tuple[Asked, Trajectory]] = {}
        for temperature, places in batches.items():
            asked = (self._ask(requests[i], rollouts[i]) for i in places)
            played |= zip(places, self._answerer.play(asked, temperature, self._in_flight), strict=True)
        tell_faults([played[place][1] for place in range(len(requests))])
        return [_until(answer_of(*played[place]), request.args[1]) for place, request in enumerate(requests)]

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not offered: the rounds would be the kit's, and the judge has its own."""
        raise ArmliteError("armlite answers in one round; choose a task without rounds")

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not offered: a judge that uses tools has no likelihood of a given text."""
        raise ArmliteError("armlite gives no likelihoods; choose a task that generates")

    def _ask(self, request: Any, rollout: int) -> Asked:
        context, _, visuals, number, task, split = request.args
        name, docs = f"{task}/{split}/{number}", self.task_dict[task][split]
        return self._answerer.ask(
            name, context, _columns(docs, number), lambda: _pictures(visuals, docs[number], name), rollout
        )

    def _warmth(self, settings: Mapping[str, Any]) -> float:
        """The temperature that a task asks for; tells once of each other thing that it asks for in vain."""
        for name, value in settings.items():
            if name in FOLLOWED or value is None or value == NEUTRAL.get(name, ...) or name in self._told:
                continue
            self._told.add(name)
            hint = (
                "; max_new_tokens=N in --model_args is a turn's, thoughts included" if name == "max_new_tokens" else ""
            )
            print(f"armlite: the generation argument {name}={value} is not followed{hint}", file=sys.stderr)
        return float(settings.get("temperature") or 0.0) if self._temperature is None else self._temperature


def _columns(docs: Any, number: int) -> Mapping[str, Any]:
    """What of a document could make a pair of it; its pictures are left alone, since reading a row decodes them."""
    if not hasattr(docs, "select_columns"):
        return {name: docs[number][name] for name in PAIR_COLUMNS if name in docs[number]}
    wanted = [name for name in PAIR_COLUMNS if name in docs.column_names]
    return docs.select_columns(wanted)[number] if wanted else {}


def _in_flight(batch_size: int | str) -> int | None:
    text = str(batch_size)
    if text.startswith("auto") or text == "1":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ArmliteError(f"--batch_size {batch_size!r} must be a number of requests from 1, or auto")
    return int(text)


def _until(answer: str | None, settings: Mapping[str, Any]) -> str | None:
    """The answer up to the first of the stop strings."""
    stops = settings.get("until") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        if answer and stop and stop != BLANK_LINE:
            answer = answer.split(stop)[0]
    return answer


def _pictures(visuals: Any, row: Mapping[str, Any], name: str) -> list[Image.Image]:
    """The pictures of an item.

    Raises:
        InputError: one cannot be read.
        ArmliteError: there is something else to see or hear.
    """
    try:
        shown = visuals(row) or []
    except (OSError, ValueError) as error:  # the task's own code, which decodes them
        raise InputError(f"a picture of {name} cannot be read ({error})") from error
    return [_picture(visual, name) for visual in shown]


def _picture(visual: Any, name: str) -> Image.Image:
    if isinstance(visual, str) and Path(visual).suffix.lower() in SUFFIXES:
        return open_image(visual)
    if not isinstance(visual, Image.Image):
        what = f"the file {visual}" if isinstance(visual, str) else f"a {type(visual).__name__}"
        raise ArmliteError(
            f"{name} shows {what}: armlite sees pictures only, no video and no sound; choose another task"
        )
    try:
        return to_rgb(visual, f"a picture of {name}")
    except OSError as error:  # it is decoded only now
        raise InputError(f"a picture of {name} cannot be read ({error})") from error
