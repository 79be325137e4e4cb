"""Flawed answers written by a chat model: what it is asked, and how strictly its reply is read.

The model sees the question, the pictures and the good answer, and is to write one with a single flaw. Of a document it
sees the name only: it can spoil what the good answer says. It is asked as a chat model, without tools.
"""

import re
from dataclasses import dataclass

from armlite.images import image_source, open_image, shrink
from armlite.protocol.render import Conversation, Message, harmless
from armlite.runner import Job
from armlite.types import Fault, StopReason, Task

_FORMAT = "<flaw>what is wrong with it, in a few words</flaw>\n<answer>the flawed answer</answer>"
_REPLY = re.compile(
    r"\s*(?:<think>.*?</think>)?\s*<flaw>(?P<flaw>[^<>]*)</flaw>\s*<answer>(?P<answer>.*?)</answer>\s*", re.DOTALL
)
_AGAIN = f"Your last reply could not be read. Write nothing but this:\n{_FORMAT}"


@dataclass(frozen=True)
class Written:
    """What came of asking for one flawed answer."""

    answer: str | None = None
    flaw: str = ""
    """The flaw in the model's words."""
    why: str = ""
    """Why there is no answer."""
    detail: str = ""


def prompt(task: Task, good: str) -> str:
    """What the model reads."""
    seen = "what can be seen in the image" if task.images else "what the good answer says"
    if task.document and not task.images:
        seen = "what the good answer says about the document"
    rules = [
        "- It is about the same things, and has the style, the tone and about the length of the good answer.",
        f"- It has exactly one factual flaw, about {seen}: a wrong number, name, colour, count, place or relation.",
        "- A reader who does not check must find it as convincing as the good one. Do not hint at the flaw in it.",
    ]
    if task.constraints:
        rules[1] = "- It breaks exactly one of the constraints."
    parts = [
        "Here is a question with a good answer. Write a flawed one beside it, to train a judge that checks answers.",
        *rules,
        *_block("question", task.question),
        *(line for c in task.constraints for line in _block("constraint", c.text)),
        *_block("good_answer", good),
        f"Reply with nothing but this:\n{_FORMAT}",
    ]
    return "\n".join(parts)


def _block(name: str, text: str) -> list[str]:
    return [f"<start_of_{name}>", harmless(text), f"<end_of_{name}>"]


def parse(text: str) -> tuple[str, str] | None:
    """(flawed answer, flaw) of a reply, or None where it is anything but the two tags, a thought before them aside."""
    match = _REPLY.fullmatch(text)
    answer, flaw = (match["answer"].strip(), match["flaw"].strip()) if match else ("", "")
    return (answer, flaw) if answer and flaw and "<answer>" not in answer else None


@dataclass(frozen=True, eq=False)
class WriteFlaw(Job):
    """Asks for a flawed answer beside a good one, again where the first reply cannot be read."""

    good: str = ""

    def open(self) -> "Writing":  # type: ignore[override]  # played like an episode
        limit = self.settings.limits.image_max_pixels
        images = tuple(shrink(open_image(image_source(self.root, path)), limit) for path in self.task.images)
        return Writing(Conversation(self.task.id, 0, (), [Message("user", prompt(self.task, self.good), images)]))


class Writing:
    """A conversation with the model that writes flawed answers, played like an episode."""

    def __init__(self, conversation: Conversation):
        self.conversation, self.model = conversation, ""
        self.stop: StopReason | None = None
        self.fault: Fault | None = None
        self.written = Written()

    def advance(self, text: str, finish: str = "stop", *_: object) -> None:
        """Read the reply, or ask once more."""
        if finish == "error":
            self.stop, self.fault = StopReason.MODEL_ERROR, Fault(whose="model", reason=text)
        elif finish == "overflow":
            self.stop, self.written = StopReason.CONTEXT_BUDGET, Written(why="does not fit the model's context")
        elif finish == "stop" and (found := parse(text)) is not None:
            self.stop, self.written = StopReason.ANSWERED, Written(*found)
        elif self.conversation.turns == 0:
            self.conversation.messages += [Message("assistant", text), Message("user", _AGAIN)]
        else:
            self.stop = StopReason.NO_ANSWER
            self.written = Written(why="the model's reply cannot be read", detail=text[:200])
