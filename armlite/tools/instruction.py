"""The 19 instruction-following verifiers as tools: what the model reads about them, and how it gets the result.

Names and parameters are the reference's, the words are ours. What is measured is in `armlite.tools.checks.verifiers`.
"""

import inspect
from typing import Any

from armlite.memory import Memory
from armlite.tools.checks.verifiers import VERIFIERS, check
from armlite.tools.tool import Tool, tool
from armlite.types import Observation

_RESPONSE = "Name of the response to check, such as 'text_0' or 'resp_1'; not its text."


def _range(of: str, suffix: str = "") -> dict[str, str]:
    return {f"lower_bound{suffix}": f"Least allowed {of}.", f"upper_bound{suffix}": f"Greatest allowed {of}."}


_MANUALS: dict[str, tuple[str, dict[str, str]]] = {
    "check_whether_response_paragraph_number_in_range": (
        "Check whether the number of paragraphs of a response lies in a range, both bounds included. Paragraphs are "
        "separated by blank lines.",
        _range("number of paragraphs"),
    ),
    "check_whether_response_sentence_number_in_range": (
        "Check whether the number of sentences of a response lies in a range, both bounds included.",
        _range("number of sentences"),
    ),
    "check_whether_each_paragraph_sentence_number_in_range": (
        "Check whether every paragraph of a response has a number of sentences in a range, both bounds included.",
        _range("number of sentences of a paragraph"),
    ),
    "check_whether_each_paragraph_sentence_number_in_range_list": (
        "Check whether each paragraph of a response has a number of sentences in a range of its own. There must be as "
        "many paragraphs as ranges.",
        {"ranges": "One [lower bound, upper bound] pair for each paragraph, in order, such as [[1, 2], [3, 5]]."},
    ),
    "check_whether_response_word_count_in_range": (
        "Check whether the number of words of a response lies in a range, both bounds included.",
        _range("number of words"),
    ),
    "check_whether_each_paragraph_word_count_in_range": (
        "Check whether every paragraph of a response has a number of words in a range, both bounds included.",
        _range("number of words of a paragraph"),
    ),
    "check_whether_whole_response_not_contain_certain_substrings": (
        "Check whether a response contains none of the given strings.",
        {"substrings": "Strings that must not occur, not even inside a word."},
    ),
    "check_whether_whole_response_not_contain_certain_substring": (
        "Check whether a response does not contain the given string.",
        {"substring": "String that must not occur, not even inside a word."},
    ),
    "check_whether_each_sentence_begin_with_certain_substring": (
        "Check whether every sentence of a response begins with the given string.",
        {"substring": "String that each sentence must begin with."},
    ),
    "check_whether_each_paragraph_begin_with_certain_substring": (
        "Check whether every paragraph of a response begins with the given string.",
        {"substring": "String that each paragraph must begin with."},
    ),
    "check_whether_each_paragraph_end_with_certain_substring": (
        "Check whether every paragraph of a response ends with the given string.",
        {"substring": "String that each paragraph must end with."},
    ),
    "check_whether_each_sentence_end_with_certain_substring": (
        "Check whether every sentence of a response ends with the given string.",
        {"substring": "String that each sentence must end with."},
    ),
    "check_whether_whole_response_begin_with_certain_substring": (
        "Check whether a response begins with the given string.",
        {"substring": "String that the response must begin with."},
    ),
    "check_whether_whole_response_end_with_certain_substring": (
        "Check whether a response ends with the given string.",
        {"substring": "String that the response must end with."},
    ),
    "check_whether_each_keyword_in_list_mentioned_in_range": (
        "Check whether each keyword of a list is mentioned in a response a number of times in a range, both bounds "
        "included. Whole words are counted, in any case.",
        {"keywords": "Keywords to count."} | _range("number of mentions of each keyword", "_times"),
    ),
    "check_whether_total_keyword_in_list_mentioned_in_range": (
        "Check whether the keywords of a list are together mentioned in a response a number of times in a range, both "
        "bounds included. Whole words are counted, in any case.",
        {"keywords": "Keywords to count."} | _range("number of mentions of all keywords together", "_times"),
    ),
    "check_percentage_number_precision_in_response": (
        "Check whether every number before a percent sign in a response has a given number of decimal places.",
        {"precision": "Required number of decimal places."},
    ),
    "check_number_precision_in_response": (
        "Check whether every number in a response has a given number of decimal places.",
        {"precision": "Required number of decimal places; a whole number has 0."},
    ),
    "check_whether_has_no_arabic_number_in_response": (
        "Check whether a response contains no numbers written in digits, such as 12, 3.14 or 1,000.",
        {},
    ),
}


def _make(name: str, description: str, arguments: dict[str, str]) -> Tool:
    """The tool of a verifier, whose type hints it takes over."""

    def run(memory: Memory, /, **params: Any) -> Observation:
        text, mode = memory.text(params.pop("response")), memory.limits.verifier_mode
        result = check(name, text, mode, **params)  # an unknown mode is refused there
        data: dict[str, Any] = {"result": result.ok, "detail": result.detail}
        if result.splitter:
            data["splitter"] = result.splitter
        # Checkpoints know the bare sentence; only `strict` says what it saw.
        said = f" ({result.detail})" if mode == "strict" else ""
        return Observation(ok=True, text=f"Check result: {result.ok}{said}", tool=name, data=data)

    hints = {"response": str} | {p: inspect.signature(VERIFIERS[name]).parameters[p].annotation for p in arguments}
    keyword = inspect.Parameter.KEYWORD_ONLY
    run.__name__ = name
    run.__doc__ = "\n".join([description, "", "Args:", f"    response: {_RESPONSE}"])
    run.__doc__ += "".join(f"\n    {p}: {words}" for p, words in arguments.items())
    run.__annotations__ = hints
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("memory", inspect.Parameter.POSITIONAL_ONLY),
            *(inspect.Parameter(p, keyword, annotation=hint) for p, hint in hints.items()),
        ]
    )
    return tool(run, needs="constraints")


INSTRUCTION_TOOLS: tuple[Tool, ...] = tuple(_make(name, *manual) for name, manual in _MANUALS.items())
"""In the reference's order."""
