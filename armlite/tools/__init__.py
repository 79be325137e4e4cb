"""The table of tools: adding one is one function in a file of its own, one line here, one test."""

from collections.abc import Sequence
from functools import cache

from armlite.errors import ArmliteError, nearest
from armlite.imports import check_free, imports_hint
from armlite.memory import Memory
from armlite.tools.tool import Tool
from armlite.types import Task

_REGISTERED: dict[str, Tool] = {}


@cache
def _shipped() -> tuple[Tool, ...]:
    from armlite.tools.document import doc_page_retrieval_by_index, doc_page_retrieval_by_query
    from armlite.tools.instruction import INSTRUCTION_TOOLS
    from armlite.tools.zoom import image_zoom_in_tool

    return (image_zoom_in_tool, doc_page_retrieval_by_query, doc_page_retrieval_by_index, *INSTRUCTION_TOOLS)


def all_tools() -> dict[str, Tool]:
    """Name -> tool, shipped and registered ones."""
    return {t.name: t for t in _shipped()} | _REGISTERED


def register(tool: Tool) -> Tool:
    """Make a tool of one's own known to judges, chat, evaluation and training of this process.

    Raises:
        ArmliteError: there is another tool of that name, shipped or from another file.
    """
    check_free("tool", tool.name, tool, all_tools().get(tool.name))
    _REGISTERED[tool.name] = tool
    return tool


def get_tool(name: str) -> Tool:
    """A tool by name.

    Raises:
        ArmliteError: there is none; names the nearest.
    """
    tools = all_tools()
    if name not in tools:
        near = nearest(name, tools)
        raise ArmliteError(f"there is no tool {name!r}.{near} `armlite tools list` shows them all{imports_hint()}")
    return tools[name]


def tools_for(memory: Memory, names: Sequence[str] | None = None) -> list[Tool]:
    """The tools shown to the model: the named ones, or those whose needs the memory meets.

    Zoom is for photos: a document's pages are images too, but its contact sheet alone does not call for it.

    Raises:
        ArmliteError: an unknown name.
    """
    if names is not None:
        return [get_tool(name) for name in names]
    pictures = len(memory.images) - (memory.document is not None)
    return _fitting(pictures > 0, memory.document is not None, bool(memory.constraints) and bool(memory.texts))


def shows_tools(task: Task, names: Sequence[str] | None = None) -> bool:
    """Whether any tool is shown in a judgment of a task; nothing is opened.

    Raises:
        ArmliteError: an unknown name.
    """
    if names is not None:
        return bool([get_tool(name) for name in names])
    return bool(_fitting(bool(task.images), task.document is not None, bool(task.constraints and task.responses)))


def _fitting(pictures: bool, document: bool, constraints: bool) -> list[Tool]:
    """The tools whose needs are met."""
    has = {"image": pictures, "document": document, "constraints": constraints, "nothing": True}
    return [t for t in all_tools().values() if has[t.needs]]
