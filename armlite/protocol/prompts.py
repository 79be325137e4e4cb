"""Task prompts: the first user message of every kind of task, and the think/act/answer contract at its end.

Same sense and same answer formats as the reference's prompts (its 1.3, 1.11, 4.4); the wording is ours.
Constant text stands on lines of its own, so that a small tokenizer can hold a line as one token.
"""

from collections.abc import Sequence

from armlite.memory import Memory
from armlite.protocol.render import harmless
from armlite.types import Task

WORD = 40
"""Characters of a word that is left out rather than cut."""
_NUMBERS = {2: "Two", 3: "Three", 4: "Four"}


def user_text(task: Task, order: Sequence[int], memory: Memory, with_tools: bool) -> str:
    """Text of the first user message.

    Args:
        task: what is judged.
        order: `order[i]` is the caller's number of the response shown as `resp_{i+1}`.
        memory: the episode's memory, for names and limits.
        with_tools: tools may be called.
    """
    parts = [*_task_lines(task, memory), *_body(task, order, memory), "## Output format", _answer_format(task)]
    parts += ["", *_contract(memory, with_tools)]
    return "\n".join(parts)


def given_text(task: Task, memory: Memory, with_tools: bool) -> str:
    """Text of the first user message where another's prompt is asked as it is: that says what the answer looks like.

    Args:
        task: an `open_qa`, whose question is the prompt.
        memory: the episode's memory, for names.
        with_tools: tools may be called.
    """
    form = "<answer>what is asked for above, in the form that is asked for there</answer>"
    return "\n".join(
        [harmless(_question(task)).strip(), "", "## Output format", form, "", *_contract(memory, with_tools)]
    )


def _task_lines(task: Task, memory: Memory) -> list[str]:
    n = len(task.responses)
    if task.kind in ("pairwise", "listwise"):
        names = ", ".join(f"`resp_{i}`" for i in range(1, n + 1))
        word = "better" if n == 2 else "best"
        return [
            f"{_NUMBERS.get(n, str(n))} responses to the same question are to be compared: {names}.",
            f"Judge which one is {word}. Correctness matters most; if none is correct, weigh their other qualities.",
        ]
    if task.kind == "pointwise":
        what = "satisfies the constraint" if task.constraints else "is correct"
        return [f"Judge whether the response `{memory.text_name(1)}` {what}."]
    if task.kind == "rating":
        return [
            f"Rate the response `{memory.text_name(1)}` from 1 (useless) to 10 (perfect). Correctness matters most."
        ]
    if task.kind == "multiple_choice":
        return ["Answer the question by choosing one of the options."]
    return ["Answer the question."]


def _body(task: Task, order: Sequence[int], memory: Memory) -> list[str]:
    lines = ["<start_of_question>", harmless(_question(task)), "<end_of_question>"]
    for constraint in task.constraints:
        lines += ["<start_of_constraint>", harmless(constraint.text), "<end_of_constraint>"]
    for key, option in task.options.items():
        lines.append(f"{key}. {harmless(option)}")
    for i, number in enumerate(order, 1):
        name = memory.text_name(i)
        lines += [f"<start_of_{name}>", _shown(task.responses[number - 1], memory), f"<end_of_{name}>"]
    return lines


def _question(task: Task) -> str:
    """The question without the marks that data sets put where an image belongs; `<image>` in other places is text."""
    return task.question.replace("<image>", "", len(task.images))


def _shown(text: str, memory: Memory) -> str:
    """As much of a response as the eye may see; a tool sees all of it."""
    limit = memory.limits.shown_characters
    if len(text) <= limit:
        return harmless(text)
    shown = text[:limit].rstrip()
    words = "".join(shown.rsplit(None, 1)[:1])
    if len(words) >= limit - WORD:  # else it ends in an address, or in a script that has no blanks
        shown = words
    return f"{harmless(shown)}\n... (cut here for the eye; a tool sees the whole response)"


def _answer_format(task: Task) -> str:
    n = len(task.responses)
    if task.kind in ("pairwise", "listwise"):
        numbers = "either 1 or 2" if n == 2 else f"one of 1 to {n}"
        return f"<answer>Overall Judgment: Answer X is better.</answer> where X is {numbers}"
    if task.kind == "pointwise":
        return "<answer>Overall Judgment: True</answer> or <answer>Overall Judgment: False</answer>"
    if task.kind == "rating":
        return "<answer>Overall Judgment: X</answer> where X is a whole number from 1 to 10"
    if task.kind == "multiple_choice":
        letters = "the letters " if max(map(len, task.options)) == 1 else ""
        return f"<answer>X</answer> where X is one of {letters}{', '.join(task.options)}"
    return "<answer>your short answer</answer>"


def _contract(memory: Memory, with_tools: bool) -> list[str]:
    lines = ["**Important Requirement:**", *_given(memory)]
    if not with_tools:
        return [*lines, "Reason in <think>...</think>, then give your answer in <answer>...</answer>."]
    return [
        *lines,
        "Reason in <think>...</think>, then either call a tool in <tool_call>...</tool_call> "
        "or answer in <answer>...</answer>.",
        "You may call tools in several turns, **but only one tool per turn**. If a call fails, try again or stop.",
        "When you need no more calls, give your answer in <answer>...</answer>.",
    ]


def _given(memory: Memory) -> list[str]:
    """Names of what the model has in hand."""
    lines = []
    images = list(memory.images)
    if memory.document is not None:
        images = images[:-1]
    if len(images) == 1:
        lines.append(f"The given image is `{memory.wire_name(images[0])}`.")
    elif images:
        names = ", ".join(f"`{memory.wire_name(i)}`" for i in images)
        lines.append(f"The given images, in order, are {names}.")
    if memory.document is not None:
        total, drawn = len(memory.document), min(len(memory.document), memory.limits.sheet_max_pages)
        lines.append(f"The given document is named `{harmless(memory.document.name)}`.")
        lines.append(f"It has {total} pages; the {'last ' if images else ''}image shows pages 1 to {drawn}.")
        lines.append("The pages are numbered from 1 at the top left, from left to right, then row by row.")
    if memory.texts and memory.constraints:
        names = ", ".join(f"`{memory.text_name(i)}`" for i in range(1, len(memory.texts) + 1))
        lines.append(f"Tools take a response by its name ({names}); never paste its text.")
    return lines


LIMIT_REACHED = (
    "**Important Requirement:**\nYou have reached the maximum number of tool calls and cannot call any more tools. "
    "Reason in <think>...</think> and give your final answer in <answer>...</answer> now."
)
"""The notice before the one forced final turn (reference: 1.7)."""
NO_TOOLS = (
    "Error: there are no tools here. Reason in <think>...</think> and give your answer in <answer>...</answer> now."
)
SAME_CALL = "Note: you made this same call before and the result is the same; look elsewhere or answer."
