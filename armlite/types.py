"""The records that flow through armlite: frozen, JSON in and out without loss, no behaviour beyond reading themselves.

Pixels are never in a record: an `ImageInfo` names the PNG file that `armlite.store` writes beside it.
`rating` is a kind of its own (design proposals fold it into `pointwise`), because the kind alone decides the answer
format.
"""

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

Kind = Literal["pairwise", "listwise", "pointwise", "rating", "multiple_choice", "open_qa"]
Method = Literal["round_robin", "merge_sort", "knockout"]
Decision = bool | int | float | str
Source = Literal["tokens", "logprobs", "votes"]
TIE = 0
"""A `gold` or `decision` of 0 says that the responses are equally good."""


def decision_key(decision: Decision) -> str:
    """A decision as a key of JSON: `1`, `0` (a tie), `true`, `7`, `7.5`, or the option's own."""
    if isinstance(decision, bool):
        return str(decision).lower()
    return f"{decision:g}" if isinstance(decision, int | float) else decision


class Record(BaseModel):
    """Base of all records: immutable, unknown fields refused, equal when their public fields are equal."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", use_enum_values=False)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def to_json(self) -> str:
        """One line of JSON; `from_json` gives back an equal record."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read one line of JSON.

        Raises:
            pydantic.ValidationError: the text breaks the schema.
        """
        return cls.model_validate_json(text)


class Constraint(Record):
    """Something that a response has to satisfy; a bare string is accepted as its text."""

    text: str
    """What the judge reads."""
    check: str | None = None
    """Name of an instruction verifier, where the constraint is known to be one."""
    arguments: dict[str, Any] = {}
    """Arguments of the verifier, without `response`."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value


class Task(Record):
    """What is to be judged. Presentation order is not part of it: a Trajectory holds the permutation."""

    id: str
    kind: Kind
    question: str
    images: tuple[str, ...] = ()
    """Paths, relative to the folder of the file that holds the record."""
    document: str | None = None
    """Path of a PDF or of a folder of page images, relative likewise."""
    responses: tuple[str, ...] = ()
    options: dict[str, str] = {}
    """Key -> text, for multiple choice: `A`, `1`, `Yes`. The judge answers with a key."""
    constraints: tuple[Constraint, ...] = ()
    gold: bool | int | float | str | tuple[StrictInt, ...] | tuple[StrictStr, ...] | None = None
    """pairwise, listwise: number of the best response from 1 (0: tie; several numbers: any of them); pointwise: bool;
    rating: number; multiple_choice: key; open_qa: the accepted answers."""
    source: str = ""
    """Where the task comes from; evaluation groups by it."""
    numbers: tuple[int, ...] = ()
    """The caller's numbers of the responses, where the task holds some of several: the pairs of a ranking."""
    meta: dict[str, Any] = {}
    """Anything else; read by no core code."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        n = len(self.responses)
        wanted = {"pairwise": n == 2, "listwise": n >= 2, "pointwise": n == 1, "rating": n == 1}.get(self.kind, n == 0)
        if not wanted:
            raise ValueError(f"a {self.kind} task cannot have {n} responses")
        if self.kind == "multiple_choice" and len(self.options) < 2:
            raise ValueError("a multiple_choice task needs at least two options")
        for key in self.options:
            if not re.fullmatch(r"\w(?:[\w .-]{0,30}\w)?", key):
                raise ValueError(
                    f"options: the key {key!r} must be letters and digits, such as A, 1 or Yes (between them blanks, "
                    "dots and hyphens; at most 32 characters)"
                )
        if len({key.casefold() for key in self.options}) < len(self.options):
            raise ValueError(f"options: keys must differ by more than case: {', '.join(self.options)}")
        if self.gold is not None:
            self._check_gold()
        return self

    def _check_gold(self) -> None:
        gold, fine = self.gold, True
        if self.kind in ("pairwise", "listwise"):
            numbers = gold if isinstance(gold, tuple) else (gold,)
            fine = bool(numbers) and all(type(g) is int and 0 <= g <= len(self.responses) for g in numbers)
        elif self.kind == "pointwise":
            fine = isinstance(gold, bool)
        elif self.kind == "rating":
            fine = type(gold) in (int, float) and 1 <= float(gold) <= 10  # type: ignore[arg-type]
        elif self.kind == "multiple_choice":
            fine = gold in self.options
        else:
            fine = isinstance(gold, str) or (isinstance(gold, tuple) and all(isinstance(g, str) for g in gold))
        if not fine:
            raise ValueError(f"gold {gold!r} is out of range for a {self.kind} task")


class Call(Record):
    """A tool call as the model wrote it."""

    name: str
    arguments: dict[str, Any] = {}


class Turn(Record):
    """What the model said in one turn, and what the parser made of it."""

    text: str
    think: str | None = None
    call: Call | None = None
    answer: str | None = None
    """Text inside `<answer>`."""
    fault: str | None = None
    """Code of the parser's complaint (see `armlite.protocol.parse.FAULTS`); then there is neither call nor answer."""
    well_formed: bool = False
    """Exactly one non-empty `<think>`, then exactly one call or answer, and nothing else."""
    lenient: bool = False
    """Its thoughts are not opened and closed as they should be: the call or answer after them was read because the
    episode's `parse` is `lenient`."""
    finish: Literal["stop", "length", "error"] = "stop"
    """`length`: the turn ran out of its token budget; `error`: the model could not be asked."""
    tokens: int = 0
    """Sampled tokens; 0 where the model does not say."""
    prompt_tokens: int = 0
    """Tokens of all that the model read before this turn, pictures included; 0 where it does not say."""


class Observation(Record):
    """What the model gets back after a turn."""

    ok: bool
    text: str
    images: tuple[str, ...] = ()
    """Ids of the new images."""
    tool: str | None = None
    """The tool that ran; None for notices of the loop (a parse fault, the call limit)."""
    data: dict[str, Any] = {}
    """The structured result, for example `{"pages": [7, 5]}` or `{"result": true}`."""
    duplicate: bool = False
    """The same call was made before in this episode."""
    empty: bool = False
    """The tool did its work and had nothing to return, as a search without a hit."""

    @property
    def returned(self) -> bool:
        """The tool gave the model something that it did not have."""
        return self.ok and not self.empty


class Step(Record):
    """A turn and the observation that followed it (none after the last turn)."""

    turn: Turn
    observation: Observation | None = None


class StopReason(StrEnum):
    """Why an episode ended."""

    ANSWERED = "answered"
    NO_ANSWER = "no_answer"
    """A finished turn held neither a call nor an answer."""
    TURN_BUDGET = "turn_budget"
    """A turn ran out of tokens before it ended."""
    CONTEXT_BUDGET = "context_budget"
    """An observation did not fit; the policy never saw it."""
    CALL_LIMIT = "call_limit"
    """The model did not answer in its forced final turn."""
    MODEL_ERROR = "model_error"
    """The model could not be asked; the last turn's text says why."""
    BAD_INPUT = "bad_input"
    """A picture, page or document could not be read, or a tool cannot work here; the trajectory's `fault` says why."""


class Fault(Record):
    """Why a job has no judgment, where something other than the judge stood in the way."""

    whose: Literal["model", "data", "user"]
    """`model`: its server could not be asked; `data`: a file or row cannot be read; `user`: a setting or an
    installation is wrong."""
    reason: str
    """One sentence; of a file it names the file."""


class ImageInfo(Record):
    """An image of an episode; its pixels are in the PNG file `file`."""

    id: str
    file: str
    """`<first 32 hex digits of SHA-256 of size and RGB bytes>.png`"""
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    parent: str | None = None
    """Id of the image that this is a crop of."""
    box: tuple[int, int, int, int] | None = None
    """Left, top, right, bottom of the crop, in pixels of the parent."""
    page: int | None = None
    """Page number, from 1, of a document page."""


class Trajectory(Record):
    """Frozen record of one episode: all that the viewer, the rewards, SFT export and evaluation need."""

    task: Task
    order: tuple[int, ...] = ()
    """`order[i]` is the caller's number (from 1) of the response presented as `resp_{i+1}`."""
    tools: tuple[str, ...] = ()
    """Names of the tools that the model was shown."""
    system: str = ""
    prompt: str = ""
    """Text of the first user message; the images that go with it are those without a parent and not from a step."""
    prompt_images: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    images: tuple[ImageInfo, ...] = ()
    stop: StopReason
    decision: Decision | None = None
    """The parsed answer in the caller's own order; None if there is none."""
    probabilities: dict[str, float] = {}
    """Decision (`decision_key`, in the caller's own order) -> how likely the model was to answer so after what it had
    thought and seen, from the tokens of its answer; empty where they are not known."""
    chances: tuple[float, ...] = ()
    """How likely the right answer was before the first call and after each call's observation, where that was measured
    (`armlite.models.chances`): the difference of two is what a call was worth."""
    model: str = ""
    rollout: int = 0
    """Number of this rollout of the task; part of its random stream."""
    fault: Fault | None = None
    """Why the episode could not be played to an end of its own; None: it was."""
    cut_short: bool = False
    """The model had to answer before its calls were used up, because the budget of a batch was."""

    @model_validator(mode="after")
    def _fault_of_older_files(self) -> Self:
        """Files of version 0.1.0 have no `fault` beside the stop `model_error`: their last turn says why."""
        if self.stop is StopReason.MODEL_ERROR and self.fault is None:
            reason = self.steps[-1].turn.text if self.steps else ""
            self.__dict__["fault"] = Fault(whose="model", reason=reason)
        return self

    @property
    def calls(self) -> tuple[Step, ...]:
        """The steps in which a known tool was run."""
        return tuple(s for s in self.steps if s.observation is not None and s.observation.tool is not None)

    @property
    def answer(self) -> str | None:
        """Text inside the final `<answer>`."""
        return self.steps[-1].turn.answer if self.steps and self.stop is StopReason.ANSWERED else None


class Score(Record):
    """Named reward parts; `total` is their sum."""

    parts: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())

    @property
    def shares(self) -> dict[str, float]:
        """How large each part is beside the largest, 0 to 1, for bars; 0 of one that is not finite."""
        sizes = {name: abs(value) if math.isfinite(value) else 0.0 for name, value in self.parts.items()}
        largest = max([*sizes.values(), 1e-9])
        return {name: size / largest for name, size in sizes.items()}


class Evidence(Record):
    """A tool result that a verdict rests on."""

    tool: str
    arguments: dict[str, Any]
    text: str
    images: tuple[str, ...] = ()
    """File names: keys of `Verdict.images`, and names below `images/` where trajectories are saved."""
    data: dict[str, Any] = {}


Status = Literal["judged", "split", "no_answer", "budget", "model_error", "bad_input"]


class Verdict(Record):
    """What the user gets. Not being able to judge is a status, never a default score."""

    status: Status
    """`judged`; `split`: the votes are even; `no_answer`: no readable answer (`rationale` is what was said instead);
    `budget`: ran out of tokens or calls; `model_error`: the model could not be asked; `bad_input`: a picture, page or
    document could not be read (`rationale` says why)."""
    kind: Kind
    choice: int | None = None
    """Number of the better response, from 1, in the caller's own order; 0 for a tie."""
    ranking: tuple[int, ...] = ()
    """All responses, best first, where they were ranked."""
    correct: bool | None = None
    """Answer of `check`."""
    rating: float | None = None
    """1 to 10, answer of `rate`."""
    answer: str | None = None
    """Answer of a multiple choice or open question."""
    confidence: float | None = None
    """Share of the asked votes that agree with the verdict (of a knockout: of those on its winner); None for a single
    vote."""
    method: Method | None = None
    """How several responses were compared in pairs: each with each, a sort, or a knockout."""
    comparisons: int = 0
    """Pairs that were compared, each in both orders."""
    comparisons_failed: int = 0
    """Those of them that no vote could judge; they count as ties."""
    probability: float | None = None
    """Of the verdict; of a rating: that the rating is within one point of it. None: not known, or no verdict."""
    probabilities: dict[str, float] = {}
    """Decision (`decision_key`) -> probability, mean of the votes; of a split verdict, too."""
    probability_from: Source | None = None
    """Where these come from. `tokens`: the local model's own; `logprobs`: what a server says of its tokens; `votes`:
    the shares of the votes, where there is more than one and neither is known. None beside probabilities: those of a
    panel whose judges have them from different places."""
    calibrated: bool = False
    """The probabilities are those that `armlite calibrate` made of the model's."""
    rationale: str = ""
    """The reasoning of the last turn of the first vote that agrees with the verdict."""
    evidence: tuple[Evidence, ...] = ()
    lenient: bool = False
    """A vote was read by the rule `parse: lenient`: without it a turn of it would have been a fault."""
    model: str = ""
    """Of a member: name of its model."""
    members: tuple["Verdict", ...] = ()
    """Of a panel each judge's own verdict, and of a cascade that went on the first's and the second's, in order and
    without trajectories."""
    trajectories: tuple[Trajectory, ...] = ()

    _images: Mapping[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def trajectory(self) -> Trajectory | None:
        """The first vote's record."""
        return self.trajectories[0] if self.trajectories else None

    @property
    def images(self) -> Mapping[str, Any]:
        """File name -> PIL image, for the trajectories of a verdict made in this process."""
        return self._images

    @field_validator("confidence")
    @classmethod
    def _is_a_share(cls, value: float | None) -> float | None:
        if value is not None and not 0 <= value <= 1:
            raise ValueError("confidence is a share between 0 and 1")
        return value
