"""Responses and parameters that all 19 verifiers are asked about: by the references' own code in
`tests/real/verifiers.py`, by ours in `tests/test_verifiers_recorded.py`. Plain data, without armlite.
"""

from typing import Any

TEXTS = [
    "",
    "Apple pie",
    "Hello world",
    "The end.",
    "done",
    "* item one\n* item two",
    "50%",
    "3 cats",
    "3.10kg",
    "In 2024.",
    "#AI and #ai, in C++ for $5.",
    "Roses are red\nViolets are blue",
    "Short lines -\nend like this -\nall of them -",
    'He said "Go!" and left. Dr. Poe et al. stayed until 5 p.m. on Monday. See Fig. 3.',
    "First. Second one?\n\nThird! A fourth... and a fifth.\n \nSixth: it costs 12.50 %, not 3.1% or $1,000.50.",
    "I am not sure . . . really. **Bold.** It's state-of-the-art, the U.S. way. St. Mary's too.",
    "- A list item\n- Another one.\n\n# A heading\n\nText under it. More text; e.g. this.",
    "Answer: yes. answer: no.\n\nanswer again.",
    "“Quoted.” said Ann. ‘So?’ Bob asked. (Really.) Yes",
    "你好。世界。 Then English. And 1e-5, +3, -2.50, 3,000, v1.2, 2nd, A4.",
]
RANGES = [(0, 0), (1, 1), (1, 3), (2, 4), (3, 9)]
WORDS = ["apple", "answer", "the", "end", ".", "#AI", "item", "hello", "text", "-", "Answer"]


def calls() -> list[tuple[str, dict[str, Any]]]:
    """Verifier, as the reference's tools spell it, and parameters, in the order of the engine's."""
    bounds = [{"lower_bound": low, "upper_bound": high} for low, high in RANGES]
    times = [{"lower_bound_times": low, "upper_bound_times": high} for low, high in RANGES]
    found: list[tuple[str, dict[str, Any]]] = []
    for name in (
        "response_paragraph_number_in_range",
        "response_sentence_number_in_range",
        "each_paragraph_sentence_number_in_range",
        "response_word_count_in_range",
        "each_paragraph_word_count_in_range",
    ):
        found += [(f"check_whether_{name}", params) for params in bounds]
    for ranges in ([], [[1, 1]], [[1, 3], [1, 4]], [[2, 2], [2, 3], [1, 2]], [[1, 2], [1, 2], [1, 9]]):
        found.append(("check_whether_each_paragraph_sentence_number_in_range_list", {"ranges": ranges}))
    for word in WORDS:
        found.append(("check_whether_whole_response_not_contain_certain_substring", {"substring": word}))
        for scope in ("each_sentence", "each_paragraph", "whole_response"):
            for end in ("begin", "end"):
                found.append((f"check_whether_{scope}_{end}_with_certain_substring", {"substring": word}))
    found += [
        ("check_whether_whole_response_not_contain_certain_substrings", {"substrings": words})
        for words in (["apple", "zebra"], ["Apple"], ["zebra"])
    ]
    for scope in ("each", "total"):
        name = f"check_whether_{scope}_keyword_in_list_mentioned_in_range"
        found += [(name, {"keywords": ["answer", "#AI"], **params}) for params in times]
        found += [(name, {"keywords": ["C++"], **params}) for params in times[:2]]
    for precision in (0, 1, 2):
        found.append(("check_percentage_number_precision_in_response", {"precision": precision}))
        found.append(("check_number_precision_in_response", {"precision": precision}))
    return [*found, ("check_whether_has_no_arabic_number_in_response", {})]
