"""The reference's own words: what a published ARM-Thinker checkpoint was asked and told when it was evaluated.

Reads `reference.yaml`, where all of it stands as data, and fills it in. An Episode speaks so where its settings say
`like`; what is different all the same stands in `armlite/docs/reference.md`. Evaluation takes the budgets from here.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from armlite.errors import ArmliteError, InputError, nearest
from armlite.memory import Memory
from armlite.protocol.render import harmless
from armlite.types import Call, Observation, Task

TASKS = "tasks"
"""Stands for any file of tasks among the benchmarks."""


@cache
def data() -> dict[str, Any]:
    """All of `reference.yaml`."""
    return yaml.safe_load(files("armlite.protocol").joinpath("reference.yaml").read_text(encoding="utf-8"))


def entry(benchmark: str) -> dict[str, Any]:
    """A benchmark's `runner`, `prompt` and `order`.

    Raises:
        ArmliteError: how the reference evaluated it is not known; names those that are.
    """
    known = data()["benchmarks"]
    if benchmark not in known:
        raise ArmliteError(
            f"how the reference asks {benchmark} is not known, so nothing can be like it.{nearest(benchmark, known)} "
            f"Known: {', '.join(known)} (see `armlite docs reference`)"
        )
    return known[benchmark]


class Wording:
    """Prompts, tools and results of tools in the reference's words.

    Args:
        benchmark: whose prompt is meant; `tasks`: by the kind of each task.

    Raises:
        ArmliteError: as `entry`.
    """

    def __init__(self, benchmark: str):
        self._data, self._prompt = data(), entry(benchmark)["prompt"]
        self.limit_reached: str = self._data["limit_reached"]

    def tool_names(self, memory: Memory) -> tuple[str, ...]:
        """Tools of a task, where nobody names them: those of one need, as in each configuration of the reference."""
        tools = tuple(self._data["tools"])
        zoom, pages = tools[:1], tools[1:3]
        if memory.constraints and memory.texts:
            return tools[3:]
        return pages if memory.document is not None else zoom if memory.images else ()

    def schema(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """A tool's schema in the reference's words; a tool that it has not keeps its own."""
        name = schema["function"]["name"]
        words = self._data["tools"].get(name)
        if words is None:
            return dict(schema)
        properties = {key: dict(value) for key, value in words["parameters"].items()}
        parameters = {"type": "object", "properties": properties, "required": list(properties)}
        function = {"name": name, "description": words["description"], "parameters": parameters}
        return {"type": "function", "function": function}

    def user_text(self, task: Task, order: Sequence[int], memory: Memory, with_tools: bool) -> str:
        """Text of the first user message; the arguments are those of `armlite.protocol.prompts.user_text`.

        Raises:
            InputError: the reference has no prompt for what is to be judged.
        """
        texts = {f"resp_{i}": harmless(task.responses[n - 1]) for i, n in enumerate(order, 1)}
        options = {key: harmless(text) for key, text in task.options.items()}
        values = {
            "question": harmless(task.question.replace("<image>", "", len(task.images)).strip()),
            "constraint": harmless(task.constraints[0].text) if task.constraints else "",
            "options": "".join(_filled(self._data["option"], {"key": k, "text": t}) for k, t in options.items()),
            "choices": "\n".join(_filled(self._data["choice"], {"key": k, "text": t}) for k, t in options.items()),
            **texts,
        }
        return f"{_filled(self._template(task), values)}\n\n{self._contract(memory, with_tools)}"

    def system(self, task: Task) -> str | None:
        """System text before the tools; None: the usual one."""
        return self._data["systems"].get(self._name(task))

    def _name(self, task: Task) -> str:
        """Which of the prompts a task has."""
        if isinstance(self._prompt, dict):
            return self._prompt.get(task.kind, "")
        if self._prompt == "by kind":
            return "constraint" if task.kind == "pointwise" and task.constraints else task.kind
        return self._prompt

    def _template(self, task: Task) -> str:
        template = self._data["prompts"].get(self._name(task))
        responses = len(set(re.findall(r"\{(resp_\d)\}", template or "")))
        if template is None or responses != len(task.responses):
            what = f"{task.kind} task with {len(task.responses)} responses"
            raise InputError(f"task {task.id}: the reference has no prompt for a {what}, so nothing can be like it")
        return template

    def _contract(self, memory: Memory, with_tools: bool) -> str:
        if not with_tools:
            return self._data["contract_direct"]
        if memory.document is None:
            return self._data["contract"]
        given = _filled(self._data["about_document"], {"document": harmless(memory.document.name)})
        return self._data["contract"].replace(self._data["about_picture"], given)

    def unknown_tool(self, name: str) -> str:
        """What a call of a tool gives that is not there."""
        return _filled(self._data["unknown_tool"], {"name": harmless(name)})

    def result(self, call: Call, observation: Observation, memory: Memory) -> str:
        """What a tool says that has done its work; its complaints, and what has no words there, are as they are."""
        template = self._data["results"].get(call.name)
        if not observation.ok or template is None:
            return observation.text
        if observation.empty:
            template = self._data["nothing_found"]
        values = {key: harmless(str(value)) for key, value in call.arguments.items()}
        values["pages"] = str(observation.data.get("pages", []))
        values["observation"] = memory.wire_name(observation.images[-1]) if observation.images else ""
        return _filled(template, values)


def _filled(template: str, values: Mapping[str, str]) -> str:
    """The template with `{name}` replaced, in one go: what is filled in is never looked at again."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), template)
