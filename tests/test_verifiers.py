"""The 19 verifiers in their three modes, and as tools."""

import re
import time

import pytest

from armlite.errors import ArmliteError, ToolError
from armlite.memory import Limits, Memory
from armlite.tools.checks.verifiers import MODES, VERIFIERS, check, parameters
from armlite.tools.instruction import INSTRUCTION_TOOLS

NAMES = dict(enumerate(VERIFIERS, 1))
"""The number of a verifier in the published table -> its name."""
T, F = True, False
POEM = "Roses are red -\nViolets are blue -"

# number, parameters in order, response, then the result in engine, tool and strict mode (None: refused by strict).
RESULTS = [
    # The differential table of the two originals.
    (8, ["apple"], "Apple pie", T, F, F),
    (13, ["hello"], "Hello world", F, T, F),
    (14, ["end"], "The end.", F, T, T),
    (14, ["."], "done", F, T, F),
    (5, [4, 4], "* item one\n* item two", T, F, T),
    (5, [6, 6], "* item one\n* item two", F, T, F),
    (17, [2], "50%", F, T, F),
    (18, [2], "3 cats", F, T, F),
    (18, [2], "3.10kg", F, T, T),  # the engine reads the "3" before the dot
    (19, [], "In 2024.", T, F, F),
    (15, [["#AI"], 1, 1], "#AI", F, T, T),
    (3, [1, 1], "Roses are red\nViolets are blue", T, T, T),
    (3, [2, 2], POEM, F, T, F),
    # 1 and 6: what a paragraph is.
    (1, [0, 0], "", T, T, T),
    (1, [1, 1], "one\ntwo\r\nthree", T, T, T),
    (1, [2, 2], "  one\n \t \n\n  two  \n\n", T, T, T),
    (1, [2, 2], "# Title\n\none\n\n---\n\n> two", F, F, T),
    (1, [2, 2], "# One\n\n# Two", T, T, T),
    (1, [1, 1], "# One\n\n---\n\ntwo", F, F, T),
    (1, [1, 1], "```python\n# load\nx = 1\n```", T, T, T),
    (1, [2, 2], "~~~\n> a\n---\n# b\n~~~\n\nend", T, T, T),
    (1, [1, 1], "# Title\n\n> ```\n> # load\n> ```", F, F, T),
    (1, [1, 1], "```x``` is code\n\n# Title", F, F, T),
    (6, [2, 3], "one two\n\nthree four five", T, T, T),
    (6, [2, 3], "one two\n\n---\n\nthree four five", F, F, T),
    # 2 to 4: what a sentence is.
    (2, [2, 2], "Title\nOne.\nTwo", T, T, T),
    (2, [1, 1], "你好。世界。", T, T, F),
    (2, [2, 2], "你好。世界。", F, F, T),
    (2, [3, 3], "# Title\n\nOne\n\n- two\n- three", F, F, T),
    (2, [2, 2], "1. Foo bar.\n2. Baz.", F, F, T),
    (2, [1, 1], "One. 😊", F, F, T),
    (4, [[[1, 1], [2, 3]]], "One.\n\nTwo. Three.", T, T, T),
    (4, [[[1, 1], [1, 1]]], "One.\n\nTwo. Three.", F, F, F),
    (4, [[[1, 1]]], "One.\n\nTwo.", F, F, F),
    (4, [[[2, 2]]], POEM, F, F, F),
    # 5: what a word is.
    (5, [0, 0], "", T, T, T),
    (5, [3, 3], "it's - well-known", T, T, F),
    (5, [2, 2], "it's - well-known", F, F, T),
    (5, [2, 2], "one—two", F, F, T),
    (5, [4, 4], "你好世界", F, F, T),
    # 7 and 8: substrings, not words.
    (7, [["x", "cat"]], "category", F, F, F),
    (7, [["x", "Cat"]], "category", T, F, F),
    (7, [["x", "z"]], "category", T, T, T),
    (7, [["don't"]], "I don’t", T, T, F),
    # 9 to 14: beginnings and ends.
    (9, ["Well"], "Well, yes. Well, no.", T, T, T),
    (9, ["Well"], "Well, yes. well, no.", F, T, F),
    (9, ["Well"], '**Well** yes. "Well," no.\n- Well then', F, F, T),
    (9, ["Well"], "Well, yes. No.", F, F, F),
    (10, ["So"], "So one.\n\n> So two.\n\n1. So three.", F, F, T),
    (10, ["So"], "So one.\n\nso two.", F, T, F),
    (11, ["over."], "It is over.\n\nAll over.", T, T, T),
    (11, ["over"], "It is over.\n\n(All **over**)!", F, F, T),
    (12, ["meow"], "Yes meow. Meow meow!", F, F, T),
    (12, ["."], "Yes. No!", F, T, F),
    (12, ['."'], '"Yes." "No."', T, T, T),
    (13, ["Hello"], "\n ## **Hello** world", F, F, T),
    (13, ["..."], "Hello", F, T, F),
    (13, ["Hello"], "...Hello", F, T, F),
    (14, ["Bye!"], "Bye!  \n", T, T, T),
    (14, ["bye!"], "Bye!", F, T, F),
    # 15 and 16: mentions.
    (15, [["C++"], 1, 1], "C++ rocks", F, F, T),
    (15, [["$5"], 1, 1], "for $5.", F, F, T),
    (15, [["#AI"], 1, 1], "#AIart", F, T, F),
    (15, [["art"], 2, 2], "state-of-the-art Art, artist", T, T, T),
    (15, [["cat", "dog"], 1, 1], "cat and dogs", F, F, F),
    (15, [["deep learning"], 1, 1], "Deep\nlearning", F, F, T),
    (15, [["猫"], 2, 2], "我喜欢猫。猫", F, F, T),
    (16, [["learning", "deep learning"], 2, 2], "deep learning, learning", F, F, T),
    (16, [["learning", "deep learning"], 3, 3], "deep learning, learning", T, T, F),
    # 17: percentages.
    (17, [2], "none", T, T, T),
    (17, [0], "50%", F, T, T),
    (17, [1], "12.3 % and 4.5%", T, T, T),
    (17, [1], "12.34 %", F, T, F),
    (17, [2], "1,234.50%", T, T, T),
    # 18: numbers.
    (18, [0], "1,234 and -5", T, T, T),
    (18, [2], "1,234.56, .25 and 1.25e-5", T, T, T),
    (18, [0], "1e-5", T, T, T),
    (18, [2], "1. First 3.14\n2) Then 2.72", F, T, T),
    (18, [2], "on 2024-05-01 at 10:30 for 3.50", F, T, T),
    (18, [2], "v1.2", F, F, T),
    (18, [2], "1.2.3", F, F, T),
    (18, [1], "the 2nd of 10kg in COVID-19, 1.5 m", F, T, T),
    (18, [2], "3.1kg", F, F, F),
    (18, [2], "10kg", T, T, T),
    # 19: digits.
    (19, [], "10.5.", T, F, F),
    (19, [], "1. Foo", T, F, F),
    (19, [], "A4, 2nd and v2", T, T, F),
    (19, [], "COVID-19", F, F, F),
    (19, [], "٣", F, F, F),
    (19, [], "３", F, F, F),
    (19, [], "3.14", F, F, F),
    (19, [], "one", T, T, T),
    # An empty response is in order for the originals, and fails where strict is asked about each part.
    *((n, p, " \n", T, T, F) for n, p in ((3, [1, 2]), (6, [1, 2]), (9, ["a"]), (10, ["a"]), (11, ["a"]), (12, ["a"]))),
    # What makes no sense is answered by the originals and refused by strict.
    (1, [2, 1], "one", F, F, None),
    (1, [-1, 1], "one", T, T, None),
    (4, [[]], "", T, T, None),
    (4, [[[2, 1]]], "One.", F, F, None),
    (7, [[]], "one", T, T, None),
    (7, [[""]], "one", F, F, None),
    (8, [""], "one", F, F, None),
    *((n, [""], "one", T, T, None) for n in range(9, 15)),
    (15, [[], 1, 1], "one", T, T, None),
    (16, [["one"], 2, 1], "one", F, F, None),
    (17, [-1], "none", T, T, None),
]  # fmt: skip


@pytest.mark.parametrize("row", RESULTS, ids=lambda row: f"{row[0]}-{row[2][:20]!r}-{row[1]}")
def test_a_verifier_gives_its_result_in_each_mode(row):
    number, values, text, *wanted = row
    params = dict(zip(parameters(NAMES[number]), values, strict=True))
    got = []
    for mode in MODES:
        try:
            got.append(check(NAMES[number], text, mode, **params).ok)
        except ToolError:
            got.append(None)
    assert got == wanted
    assert wanted[2] is None or VERIFIERS[NAMES[number]](text, *values).ok == wanted[2]


@pytest.mark.parametrize("number", [*range(1, 7), 15, 16])
@pytest.mark.parametrize(("low", "high", "wanted"), [(2, 3, T), (1, 2, T), (2, 2, T), (3, 4, F), (0, 1, F)])
@pytest.mark.parametrize("mode", MODES)
def test_both_bounds_are_included(number, low, high, wanted, mode):
    text = {1: "a\n\nb", 2: "A. B.", 3: "One. Two.", 4: "One. Two.", 5: "a b", 6: "a b"}.get(number, "a b a")
    values = {4: [[[low, high]]], 15: [["a"], low, high], 16: [["a"], low, high]}.get(number, [low, high])
    text = "A one. B two." if number == 2 else text
    assert VERIFIERS[NAMES[number]](text, *values, mode=mode).ok == wanted


DETAILS = [
    (1, [2, 4], "a\n\nb\n\nc", "3 paragraphs, asked for 2 to 4"),
    (2, [3, 3], "One.", "1 sentence (regex splitter), asked for 3"),
    (3, [1, 1], "One.\n\nTwo. Three.", "paragraph 2 has 2 sentences (regex splitter), asked for 1"),
    (8, ["pie"], "Apple pie", "contains 'pie'"),
    (9, ["Well"], "Well, yes. No, no.", "sentence 2 of 2 (regex splitter) does not begin with 'Well': 'No, no.'"),
    (10, ["So"], "So.\n\nSo.", "all 2 paragraphs begin with 'So'"),
    (14, ["."], "done", "ends 'done', asked for '.'"),
    (15, [["a", "b"], 1, 2], "a a a", "'a' 3 times, 'b' 0 times, asked for 1 to 2 each"),
    (18, [2], "3 and 3.14", "2 numbers, asked for 2 decimals; not so: 3"),
    (19, [], "In 2024.", "1 number in digits: 2024"),
]


@pytest.mark.parametrize(("number", "values", "text", "detail"), DETAILS, ids=[str(d[0]) for d in DETAILS])
def test_the_detail_says_what_was_measured(number, values, text, detail):
    result = VERIFIERS[NAMES[number]](text, *values)
    assert result.detail == detail
    assert (result.splitter == "regex") == ("splitter" in detail)


MISTAKES = [
    (
        "check_whether_response_sentence_number_in_rang",
        {},
        "Did you mean 'check_whether_response_sentence_number_in_range'",
    ),
    (NAMES[1], {"lower_bound": 1}, "missing a required argument: 'upper_bound'"),
    (NAMES[1], {"lower_bound": 1, "upper_bound": 2, "bound": 3}, "unexpected keyword argument 'bound'"),
    (NAMES[1], {"lower_bound": "1", "upper_bound": 2}, "lower_bound must be an integer, got '1'"),
    (NAMES[1], {"lower_bound": True, "upper_bound": 2}, "lower_bound must be an integer, got True"),
    (NAMES[1], {"lower_bound": 3, "upper_bound": 2}, r"lower_bound \(3\) is greater than upper_bound \(2\)"),
    (NAMES[4], {"ranges": [[1, 2], [3]]}, "ranges must be a list of"),
    (NAMES[4], {"ranges": [[2, 1]]}, "ranges must hold pairs of 0 or more, the lower bound first"),
    (NAMES[7], {"substrings": "cat"}, "substrings must be a list of strings"),
    (NAMES[8], {"substring": " "}, "substring must not be empty"),
    (NAMES[15], {"keywords": ["a", ""], "lower_bound_times": 0, "upper_bound_times": 1}, "keywords must hold"),
    (NAMES[18], {"precision": -1}, "precision must be 0 or more, got -1"),
]


@pytest.mark.parametrize(("name", "params", "said"), MISTAKES)
def test_a_mistake_in_the_parameters_is_told_to_the_model(name, params, said):
    with pytest.raises(ToolError, match=f"^Error: .*{said}"):
        check(name, "text", **params)


@pytest.mark.parametrize("mode", MODES)
def test_an_ill_typed_parameter_is_refused_in_every_mode(mode):
    with pytest.raises(ToolError, match="must be an integer"):
        check(NAMES[18], "3", mode, precision="2")


def test_an_unknown_mode_is_the_users_mistake():
    with pytest.raises(ArmliteError, match="'strickt'. Did you mean 'strict'"):
        check(NAMES[19], "text", "strickt")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["each", "total"])
def test_the_engines_spelling_is_accepted(kind):
    for spelling in ("metioned", "mentioned"):
        name = f"check_whether_{kind}_keyword_in_list_{spelling}_in_range"
        assert check(name, "a b", keywords=["a"], lower_bound_times=1, upper_bound_times=1).ok
        assert parameters(name) == ("keywords", "lower_bound_times", "upper_bound_times")


VALUES = {"ranges": [[1, 2]], "substrings": ["a"], "substring": "a", "keywords": ["a b", "#x"]}


@pytest.mark.parametrize("unit", ["1", "1,", "111,", "1.", "a1-", "a", ".", "- ", "> ", "\n", ' "', "*", "(1) "])
def test_degenerate_text_takes_no_more_than_a_moment(unit):
    start = time.perf_counter()
    for mode in MODES:
        for name, verifier in VERIFIERS.items():
            verifier(unit * (30_000 // len(unit)) + "x", mode=mode, **{p: VALUES.get(p, 1) for p in parameters(name)})
    assert time.perf_counter() - start < 5


def test_there_is_a_documented_tool_for_each_verifier():
    assert [tool.name for tool in INSTRUCTION_TOOLS] == list(VERIFIERS)
    for tool in INSTRUCTION_TOOLS:
        function = tool.schema["function"]
        assert tool.needs == "constraints" and len(function["description"]) > 40
        assert tuple(function["parameters"]["properties"]) == ("response", *parameters(tool.name))
        assert list(tool.required) == list(function["parameters"]["properties"])
        for name, shown in function["parameters"]["properties"].items():
            many, text = name in ("ranges", "substrings", "keywords"), name in ("response", "substring")
            assert shown["type"] == ("array" if many else "string" if text else "integer")
            assert re.fullmatch(r"[A-Z].{10,}\.", shown["description"])


TOOLS = {tool.name: tool for tool in INSTRUCTION_TOOLS}


@pytest.mark.parametrize(
    ("mode", "said"),
    [("engine", "True"), ("tool", "False"), ("strict", "False (1 number in digits: 2024)")],
)
def test_a_tool_checks_a_stored_text_in_the_mode_of_the_memory(mode, said):
    memory = Memory(texts=["one", "In 2024."], limits=Limits(verifier_mode=mode))
    observation = TOOLS[NAMES[19]](memory, response="resp_2")
    assert observation.ok and observation.tool == NAMES[19]
    assert observation.text == f"Check result: {said}"
    assert observation.data["result"] is said.startswith("True")


def test_a_tool_records_the_splitter_and_refuses_what_it_cannot_read():
    memory = Memory(texts=["One. Two."])
    tool = TOOLS[NAMES[4]]
    observation = tool(memory, response="text_0", ranges=[[1, 2]])
    assert observation.data == {
        "result": True,
        "detail": "paragraphs of 2 sentences (regex splitter), as asked",
        "splitter": "regex",
    }
    for arguments, said in (
        ({"response": "One. Two.", "ranges": [[1, 2]]}, "there is no text named"),
        ({"response": "text_0", "ranges": [1, 2]}, "must be a list of list of integer"),
        ({"response": "text_0", "ranges": []}, "must not be empty"),
        ({"response": "text_0"}, "needs the parameter 'ranges'"),
    ):
        with pytest.raises(ToolError, match=said):
            tool(memory, **arguments)
