"""The route `/v1/systemone`: the protocol of decision models, as TypeSafe's SDK, `verifiers` and `deepeval` speak it.

Questions about one state, each answered with its probabilities. A decision model takes one look; this judge has tools,
so an answer has one key more: `evidence`. Each question is a multiple choice task.
"""

import json
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from armlite.errors import first_fault
from armlite.memory import image_file
from armlite.serve.body import read_body
from armlite.serve.chat import digest_of
from armlite.serve.engine import ServedJudge
from armlite.serve.inputs import Inputs
from armlite.serve.judging import outside
from armlite.serve.service import Service
from armlite.serve.settings import Refusal
from armlite.types import Evidence, Task, Verdict

Content = StrictStr | dict[str, Any] | list[Any]
MOST = 64
"""Options of a choice."""


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    instructions: Content | None = None

    def options(self) -> list[tuple[str, Content | None]]:
        """What may be answered: names and what they mean."""
        raise NotImplementedError

    def answer(self, shares: list[float]) -> dict[str, Any]:
        """The answer by the probability of each option."""
        raise NotImplementedError


class NoulCriteria(BaseModel):
    """What yes and no mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    true: Content | None = None
    false: Content | None = None


class Noul(_Asked):
    """Yes or no."""

    type: Literal["noul"]
    criteria: NoulCriteria | None = None

    def options(self) -> list[tuple[str, Content | None]]:
        own = self.criteria or NoulCriteria()
        return [("Yes", own.true or "it is so"), ("No", own.false or "it is not so")]

    def answer(self, shares: list[float]) -> dict[str, Any]:
        return {"type": "noul", "noul": shares[0]}


class Choice(_Asked):
    """One of several."""

    type: Literal["choice"]
    criteria: dict[str, Content | None] = Field(min_length=1, max_length=MOST)

    def options(self) -> list[tuple[str, Content | None]]:
        return list(self.criteria.items())

    def answer(self, shares: list[float]) -> dict[str, Any]:
        names = list(self.criteria)
        best = names[shares.index(max(shares))]
        probabilities = dict(zip(names, shares, strict=True))
        return {"type": "choice", "choice": best, "confidence": _confidence(shares), "probabilities": probabilities}


class Score(_Asked):
    """A level, worst first."""

    type: Literal["score"]
    criteria: list[Content] = Field(min_length=1, max_length=MOST)

    def options(self) -> list[tuple[str, Content | None]]:
        return [(str(level), means) for level, means in enumerate(self.criteria)]

    def answer(self, shares: list[float]) -> dict[str, Any]:
        return {
            "type": "score",
            "score": sum(level * share for level, share in enumerate(shares)),
            "confidence": _confidence(shares),
            "legend": {str(level): means for level, means in enumerate(self.criteria)},
            "probabilities": {str(level): share for level, share in enumerate(shares)},
        }


class Asset(BaseModel):
    """A picture."""

    model_config = ConfigDict(frozen=True)

    type: Literal["image"] = "image"
    data_base64: StrictStr


class SystemOneRequest(BaseModel):
    """A request; `images` and `document` are ours, as for `/v1/judge`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: StrictStr = ""
    """Whatever stands here, the one judge answers, and the answer says its name."""
    state: Content
    questions: dict[str, Annotated[Noul | Choice | Score, Field(discriminator="type")]] = Field(min_length=1)
    assets: dict[str, Asset] | None = None
    images: Any = None
    document: Any = None


async def systemone(service: Service, request: Request) -> Response:
    """Answer questions about a state."""
    body = await read_body(request, service.settings)
    try:
        asked = SystemOneRequest.model_validate(body)
    except ValidationError as error:
        name, why = first_fault(error, SystemOneRequest)
        raise Refusal(f"{name}: {why}", 422) from error
    if len(asked.questions) > service.settings.batch:
        raise Refusal(f"{len(asked.questions)} questions are too many: ask at most {service.settings.batch}", 413)

    def work(own: ServedJudge) -> dict[str, Any]:
        with Inputs(service.settings) as inputs:
            return _answered(asked, inputs, own, service)

    return JSONResponse(await service.work(request, work))


@dataclass(frozen=True)
class _State:
    """What all questions are about, as the judge is shown it."""

    text: str
    images: list[Image.Image]
    document: str | None
    named: dict[str, str]
    """What stands for a picture -> its name."""

    def say(self, value: Any) -> str:
        """A part of a request as text, with the names of pictures."""
        text = _text(value)
        for name, shown in self.named.items():
            text = text.replace(name, shown)
        return text


def _answered(asked: SystemOneRequest, inputs: Inputs, own: ServedJudge, service: Service) -> dict[str, Any]:
    state = _state(asked, inputs)
    tasks = {name: task for name, one in asked.questions.items() if (task := _task(one, state)) is not None}
    verdicts = own.judge_many(list(tasks.values()), images=[state.images or None] * len(tasks))
    found = {name: outside(verdict) for name, verdict in zip(tasks, verdicts, strict=True)}
    for verdict in found.values():
        service.keep(verdict)
    answers = {}
    for name, question in asked.questions.items():
        keys = _keys(question)
        shares = [1.0] if name not in found else _shares(name, found[name], keys)
        evidence = found[name].evidence if name in found else ()
        answers[name] = {**question.answer(shares), "evidence": [_shown(one) for one in evidence]}
    turns = [step.turn for verdict in found.values() for vote in verdict.trajectories for step in vote.steps]
    usage = {"input_tokens": sum(t.prompt_tokens for t in turns), "output_tokens": sum(t.tokens for t in turns)}
    return {"model": service.settings.name, "answers": answers, "usage": usage}


def _state(asked: SystemOneRequest, inputs: Inputs) -> _State:
    """The state's text, with the names of pictures where they stood, and the pictures in that order."""
    assets = asked.assets or {}
    if not all(name.strip() for name in assets):
        raise Refusal("assets: a name is empty; give what stands for the picture in the state", 422)
    images = inputs.images([asset.data_base64 for asset in assets.values()], "assets")
    images += inputs.images(asked.images, "images")
    document = inputs.document(asked.document)
    named = {name: f"(image {number})" for number, name in enumerate(assets, 1)}
    state, pictures = _without_data(asked.state, len(images))
    images += inputs.images(pictures, "state")
    looked = _State("", images, None if document is None else str(document), named)
    return replace(looked, text=looked.say(state))


def _without_data(value: Any, known: int) -> tuple[Any, list[str]]:
    """A state with a name in the place of each picture (a data URL), and the pictures."""
    found: list[str] = []

    def walk(part: Any) -> Any:
        if isinstance(part, str) and part[:11].lower() == "data:image/":
            found.append(part)
            return f"(image {known + len(found)})"
        if isinstance(part, list):
            return [walk(item) for item in part]
        return {name: walk(item) for name, item in part.items()} if isinstance(part, dict) else part

    return walk(value), found


def _task(question: _Asked, state: _State) -> Task | None:
    """A question as a multiple choice task; None: there is nothing to choose from."""
    options = question.options()
    if len(options) < 2:
        return None
    text = f"{state.text}\n\n{state.say(question.instructions) or 'Which of these is it?'}"
    named = {}
    for key, (name, means) in zip(_keys(question), options, strict=True):
        said = state.say(means)
        named[key] = said if key == name else f"{name}: {said}" if said else name
    return Task(
        id=f"systemone-{digest_of(json.dumps([text, named]), state.images)}",
        kind="multiple_choice",
        question=text,
        options=named,
        images=tuple(f"images/{image_file(image)}" for image in state.images),
        document=state.document,
    )


def _keys(question: _Asked) -> list[str]:
    """What the judge answers with: levels and Yes or No as they are; letters for choices, whose names may be long."""
    names = [name for name, _ in question.options()]
    if not isinstance(question, Choice):
        return names
    letters = string.ascii_uppercase
    return [letters[n] if len(names) <= len(letters) else str(n + 1) for n in range(len(names))]


def _shares(name: str, verdict: Verdict, keys: list[str]) -> list[float]:
    """The probability of each option, in their order.

    Raises:
        Refusal: the judge could not judge: no answer is made up.
    """
    known = {key.casefold(): share for key, share in verdict.probabilities.items()}
    shares = [known.get(key.casefold(), 0.0) for key in keys]
    if verdict.answer is not None and not sum(shares):
        shares = [float(key.casefold() == verdict.answer.casefold()) for key in keys]
    if not sum(shares):
        why = verdict.status.replace("_", " ")
        raise Refusal(f"questions.{name}: the judge could not judge it ({why})", 422, "not_judged")
    return [share / sum(shares) for share in shares]


def _confidence(shares: list[float]) -> float:
    """How far the likeliest stands above chance, 0 to 1; TypeSafe's definition."""
    n = len(shares)
    return 1.0 if n == 1 else max(0.0, (n * max(shares) - 1) / (n - 1))


def _shown(evidence: Evidence) -> Mapping[str, Any]:
    return {"tool": evidence.tool, "arguments": evidence.arguments, "text": evidence.text, "data": evidence.data}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
