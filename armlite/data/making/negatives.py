"""Flawed answers written by a chat model: what it is asked, and how strictly its reply is read.

The model sees the question, the pictures and the good answer, and is to write one with a single flaw. Of a document it
sees the name only: it can spoil what the good answer says. It is asked as a chat model, without tools and loop.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from armlite.errors import ArmliteError
from armlite.images import open_image, shrink
from armlite.loop import ChatModel, Reply
from armlite.memory import Limits
from armlite.protocol.render import Conversation, Message, harmless
from armlite.types import Task

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
    again: bool = False
    """Worth asking for in another run: the model was out of reach."""


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


def write_negatives(
    jobs: Sequence[tuple[Task, str]], model: ChatModel, limits: Limits, root: Path
) -> dict[str, Written]:
    """Ask for a flawed answer to each good one, twice where the first reply cannot be read.

    Args:
        jobs: tasks with their good answers.
        limits: how large the model sees the pictures.
        root: folder that the tasks' paths are relative to.

    Returns:
        Task id -> what came of it, for every job.
    """
    done: dict[str, Written] = {}
    waiting: dict[str, Conversation] = {}
    for task, good in jobs:
        try:
            images = tuple(shrink(open_image(root / path), limits.image_max_pixels) for path in task.images)
        except ArmliteError as error:
            done[task.id] = Written(why="cannot be read", detail=str(error))
            continue
        waiting[task.id] = Conversation(task.id, 0, (), [Message("user", prompt(task, good), images)])
    for attempt in (0, 1):
        for key, reply in _ask(list(waiting.values()), model).items():
            written = _read(reply)
            if written.why == "the model's reply cannot be read" and attempt == 0:
                first = waiting[key].messages[0]
                again = Message("user", f"{first.text}\n\n{_AGAIN}", first.images)
                waiting[key] = Conversation(key, 1, (), [again])
            else:
                done[key] = written
                del waiting[key]
    return done


def _ask(conversations: Sequence[Conversation], model: ChatModel) -> dict[str, Reply]:
    """One turn of each conversation, by its task's id."""
    session = model.session()
    for conversation in conversations:
        session.submit(conversation)
    replies: dict[str, Reply] = {}
    while len(replies) < len(conversations):
        for conversation, reply in session.wait():
            replies[conversation.task_id] = reply
            session.close(conversation)
    return replies


def _read(reply: Reply) -> Written:
    if reply.finish == "error":
        return Written(why="the model could not be asked", detail=reply.text, again=True)
    if reply.finish == "overflow":
        return Written(why="does not fit the model's context")
    found = parse(reply.text) if reply.finish == "stop" else None
    if found is None:
        return Written(why="the model's reply cannot be read", detail=reply.text[:200])
    return Written(*found)
