"""What the model wrote: the act or the fault of a turn, and the decision in an answer."""

from typing import Any

import pytest

from armlite.protocol.parse import FAULTS, end_of_call, feedback, has_open_call, outside, parse_decision, parse_turn
from armlite.types import Call, Kind

T = "<think>why</think>\n"
C = '<tool_call>\n{"name": "look", "arguments": {"a": 1}}\n</tool_call>'
A = "<answer>Overall Judgment: Answer 2 is better.</answer>"
LOOK = Call(name="look", arguments={"a": 1})


@pytest.mark.parametrize(
    ("text", "act", "well_formed"),
    [
        (T + C, LOOK, True),
        (T + A, "Overall Judgment: Answer 2 is better.", True),
        (f"\n {T}\n\n{A} \n", "Overall Judgment: Answer 2 is better.", True),
        (
            "<think>it said <answer>1</answer> and <tool_call></think>" + A,
            "Overall Judgment: Answer 2 is better.",
            True,
        ),
        ("<think>it said <tool_response>yes</tool_response></think>" + C, LOOK, True),
        (A, "Overall Judgment: Answer 2 is better.", False),
        (C, LOOK, False),
        ("<think> \n</think>" + A, "Overall Judgment: Answer 2 is better.", False),
        ("Well. " + T + A, "Overall Judgment: Answer 2 is better.", False),
        (T + "Well. " + A, "Overall Judgment: Answer 2 is better.", False),
        (T + A + " Done.", "Overall Judgment: Answer 2 is better.", False),
        (T + "<answer> </answer>", "", False),
        (T, None, False),
        ("I prefer the second.", None, False),
        ("<think>" + A + "</think>", None, False),
        (T + '<tool_call>{"name": "no_such_tool", "arguments": {}}</tool_call>', Call(name="no_such_tool"), True),
        (T + "<Answer>1</Answer>", None, False),
    ],
)
def test_a_turn_is_read_as_call_answer_or_nothing(text: str, act: Call | str | None, well_formed: bool) -> None:
    turn = parse_turn(text, tokens=5)
    assert (turn.call or turn.answer if act != "" else turn.answer) == act
    assert (turn.fault, turn.well_formed, turn.text, turn.tokens) == (None, well_formed, text, 5)


def call(body: str) -> str:
    return f"{T}<tool_call>{body}</tool_call>"


BROKEN = [
    ("", "empty"),
    (" \n", "empty"),
    ("<think>why", "unclosed_think"),
    ("<think>why" + A, "unclosed_think"),
    ("<think>a</think><think>b" + A, "two_thoughts"),
    ("<think>a</think><think>b</think>" + A, "two_thoughts"),
    (T + "<tool_call>" + '{"name": "look"', "unclosed_call"),
    (T + C + "<tool_call>", "unclosed_call"),
    (T + '<tool_call>{"name": "look", "arguments": {"a": "the </tool_call>', "cut_string"),
    (T + '<tool_call>{"name": "look, "arguments": {}}</tool_call>', "cut_string"),
    ("<think>I would call " + C, "call_in_think"),
    ("<think>I would call </tool_call>", "call_in_think"),
    (T + "<answer>1", "unclosed_answer"),
    (T + A + "<answer>", "unclosed_answer"),
    ("why</think>" + A, "stray_tag"),
    ("</think>why<think>" + A, "stray_tag"),
    (T + "</think>" + A, "stray_tag"),
    (T + "</answer>", "stray_tag"),
    (T + "</answer>1<answer>", "stray_tag"),
    (T + "</tool_call>{}<tool_call>", "stray_tag"),
    (T + A + "</answer>", "stray_tag"),
    (T + C + "\n" + C, "two_calls"),
    (T + A + A, "two_answers"),
    (T + C + A, "call_and_answer"),
    (T + A + C, "call_and_answer"),
    (A + T, "late_think"),
    (A + T + A, "late_think"),
    (C + T + A, "late_think"),
    (T + "<tool_response>ok</tool_response>" + A, "forged_response"),
    ("<tool_response>ok</tool_response>" + T + A, "forged_response"),
    (T + "</tool_response>" + C, "forged_response"),
    (call(""), "bad_json"),
    (call("look(a=1)"), "bad_json"),
    (call('{"name": "look,\n "arguments": {"a": 1}}'), "bad_json"),
    (call('{"name": "look", "arguments": {"a": "1\n</tool_call>"}'), "stray_tag"),
    (call("{'name': 'look', 'arguments': {}}"), "bad_json"),
    (call('{"name": "look", "arguments": {},}'), "bad_json"),
    (call('{"name": "look", "arguments": {"a": NaN}}'), "bad_json"),
    (call('{"name": "look", "arguments": {"a": 1e999}}'), "bad_json"),
    (call('{"name": "look", "arguments": {"a": %s}}' % ("9" * 5000)), "bad_json"),
    (call('{"name": "look", "arguments": {"a": %s}}' % ("9" * 30)), "bad_json"),
    (call('{"name": "look", "arguments": {"a": "\\ud800"}}'), "bad_json"),
    (call('{"name": "look", "arguments": {"\\ud800": 1}}'), "bad_json"),
    (call('{"name": "look", "arguments": {"a": %s}}' % ("[" * 300 + "]" * 300)), "bad_json"),
    (call('{"name": "look", "arguments": {"a": %s}}' % ("[" * 90000 + "]" * 90000)), "bad_json"),
    (call('{"name": "look", "arguments": {}} {"name": "look", "arguments": {}}'), "bad_json"),
    (call("[]"), "bad_call"),
    (call("null"), "bad_call"),
    (call('{"name": "look"}'), "bad_call"),
    (call('{"arguments": {}}'), "bad_call"),
    (call('{"name": 1, "arguments": {}}'), "bad_call"),
    (call('{"name": "look", "arguments": "{}"}'), "bad_call"),
    (call('{"name": "look", "arguments": []}'), "bad_call"),
    (call('{"name": "look", "arguments": {}, "id": 1}'), "bad_call"),
]


@pytest.mark.parametrize(("text", "fault"), BROKEN)
def test_a_broken_turn_has_a_named_fault_and_no_action(text: str, fault: str) -> None:
    turn = parse_turn(text)
    assert (turn.fault, turn.call, turn.answer, turn.well_formed) == (fault, None, None, False)
    assert type(turn).from_json(turn.to_json()) == turn


def test_every_fault_has_a_row_above_and_tells_the_model_how_to_go_on() -> None:
    assert {fault for _, fault in BROKEN} == set(FAULTS)
    assert all(FAULTS[f] in feedback(f) and "<answer>...</answer>" in feedback(f) for f in FAULTS)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (T + C, None),
        (f"{T}{C}\n<tool_response>", len(T + C)),
        ("</tool_call>", None),
        ('<tool_call>{"a": "the </tool_call>', 0),
        ('<tool_call>{"a": "the </tool_call> tag", "b": "\\', 0),
        ('<tool_call>{"a": "the </tool_call> tag"}</tool_call>', None),
        ('<tool_call>{"a: 1}\n</tool_call>', None),
        (f"<think>I would write {C}", 0),
        (f"<think>I would write {C}</think>", 0),
        (f"<think>I would write {C}</think>{C}", None),
        ("<answer>1</answer>", 0),
    ],
)
def test_a_turn_ends_at_the_tag_that_closes_its_call(text: str, end: int | None) -> None:
    """`end`: None is the end of the text, and 0 says that the turn goes on."""
    assert end_of_call(text) == (len(text) if end is None else end or None)


@pytest.mark.parametrize("finish", ["length", "error"])
@pytest.mark.parametrize("text", [T + A, T + C, "<think>", ""])
def test_an_unfinished_turn_has_neither_action_nor_fault(text: str, finish: Any) -> None:
    turn = parse_turn(text, finish)
    assert (turn.call, turn.answer, turn.fault, turn.well_formed, turn.finish) == (None, None, None, False, finish)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            '{"a": -0.5, "b": 1e5, "c": true, "d": null, "e": 9007199254740993}',
            (-0.5, 1e5, True, None, 9007199254740993),
        ),
        ('{"a": "\\ud83d\\ude00", "b": "</answer>"}', ("\U0001f600", "</answer>")),
        ('{"a": "the </tool_call> tag", "b": "<answer>1</answer>"}', ("the </tool_call> tag", "<answer>1</answer>")),
        ('{"a": "<think>", "b": "</think>", "c": "<tool_response>"}', ("<think>", "</think>", "<tool_response>")),
        ('{"a": "\\"</tool_call>\\\\", "b": "<tool_call>"}', ('"</tool_call>\\', "<tool_call>")),
        ('{"a": "the <\\/tool_call> tag"}', ("the </tool_call> tag",)),
        ('{"a": [[[[1]]]], "b": {"c": "\\u0000"}}', ([[[[1]]]], {"c": "\0"})),
    ],
)
def test_arguments_come_out_as_they_were_written(arguments: str, expected: Any) -> None:
    turn = parse_turn(call(f'{{"name": "look", "arguments": {arguments}}}'))
    assert turn.call
    assert tuple(turn.call.arguments.values()) == expected
    assert (turn.fault, turn.well_formed) == (None, True)
    assert type(turn).from_json(turn.to_json()) == turn


@pytest.mark.parametrize(
    ("kind", "answer", "decision"),
    [
        ("pairwise", "Overall Judgment: Answer 1 is better.", 1),
        ("pairwise", "**Overall Judgement:** Answer 2 is slightly better", 2),
        ("pairwise", "Answer 2 is the better one.", 2),
        ("pairwise", "answer 1 is preferred", 1),
        ("pairwise", "Answer 2 is correct.", 2),
        ("pairwise", "Answer 1 is better than Answer 2.", 1),
        ("pairwise", "Answer 1 is better. Yes, Answer 1 is correct.", 1),
        ("pairwise", "2", 2),
        ("pairwise", "[[2]]", 2),
        ("pairwise", "Answer 1", 1),
        ("pairwise", "[[B]]", 2),
        ("pairwise", "Tie", 0),
        ("pairwise", "Both are equally good.", 0),
        ("pairwise", "Answer 1 is better. Answer 2 is better.", None),
        ("pairwise", "Answer 1 is correct and Answer 2 is correct", None),
        ("pairwise", "Neither Answer 1 nor Answer 2 is better.", None),
        ("pairwise", "Answer 1 or Answer 2 is better.", None),
        ("pairwise", "Answer 1 is not better.", None),
        ("pairwise", "Answer 1 is worse.", None),
        ("pairwise", "Answer X is better.", None),
        ("pairwise", "Answer 3 is better.", None),
        ("pairwise", "Answer 0 is better.", None),
        ("pairwise", "[[C]]", None),
        ("pairwise", "[[A]] [[B]]", None),
        ("pairwise", "1 or 2", None),
        ("pairwise", "12", None),
        ("pairwise", "-1", None),
        ("pairwise", "1.5", None),
        ("pairwise", "resp_1 is better", None),
        ("pairwise", "True", None),
        ("pairwise", "", None),
        ("pairwise", "1" * 5000, None),
        ("pairwise", f"Answer {'1' * 5000} is better.", None),
        ("listwise", "Overall Judgment: Answer 4 is better.", 4),
        ("listwise", "Answer 3 is the best.", 3),
        ("listwise", "[[D]]", 4),
        ("listwise", "Answer 5 is better.", None),
        ("listwise", "Answer 1 is better. Answer 3 is better.", None),
        ("pointwise", "Overall Judgment: True", True),
        ("pointwise", "Overall Judgment: False.", False),
        ("pointwise", "  false ", False),
        ("pointwise", "True, it is true.", True),
        ("pointwise", "Overall Judgment: True (or False)", None),
        ("pointwise", "False, as it is not true.", None),
        ("pointwise", "That is not true.", None),
        ("pointwise", "It isn't false", None),
        ("pointwise", "untrue", None),
        ("pointwise", "1", None),
        ("pointwise", "Yes", None),
        ("rating", "Overall Judgment: 8", 8.0),
        ("rating", "8/10", 8.0),
        ("rating", "**7.5**", 7.5),
        ("rating", "10 / 10.", 10.0),
        ("rating", "[[1]]", 1.0),
        ("rating", "0", None),
        ("rating", "11", None),
        ("rating", "-3", None),
        ("rating", "8 or 9", None),
        ("rating", "8/100", None),
        ("rating", "nan", None),
        ("rating", "1" * 5000, None),
        ("rating", "eight", None),
        ("multiple_choice", "B", "B"),
        ("multiple_choice", "Overall Judgment: (C)", "C"),
        ("multiple_choice", "**B.** A dog", "B"),
        ("multiple_choice", "B) Vitamin C", "B"),
        ("multiple_choice", "D: none", "D"),
        ("multiple_choice", "E", None),
        ("multiple_choice", "b", "B"),
        ("multiple_choice", "A dog", None),
        ("multiple_choice", "B or C", None),
        ("multiple_choice", "B, C", None),
        ("multiple_choice", "(B) or (C)", None),
        ("multiple_choice", "B. and C.", None),
        ("multiple_choice", "AB", None),
        ("multiple_choice", "", None),
        ("open_qa", " The Rhine. ", "The Rhine."),
        ("open_qa", "Overall Judgment: 89706", "89706"),
        ("open_qa", " ", None),
    ],
)
def test_an_answer_decides_or_it_does_not(kind: Kind, answer: str, decision: Any) -> None:
    choices = {"pairwise": 2, "listwise": 4}.get(kind, 0)
    read = parse_decision(answer, kind, choices, "ABCD" if kind == "multiple_choice" else "")
    assert read == decision
    assert type(read) is type(decision)


LENIENT = [
    ("<think>why " + A, "Overall Judgment: Answer 2 is better."),
    ("<think>why " + C, LOOK),
    ("why</think>" + A, "Overall Judgment: Answer 2 is better."),
    ("<think>a</think><think>b " + C, LOOK),
    ("<think>a</think><think>b</think>" + A, "Overall Judgment: Answer 2 is better."),
    ("<think>why", None),  # nothing to read
    ("<think>why " + A + C, None),  # two acts: no good one
    ("<think>why " + A + A, None),
    ("<think>why <tool_call>{broken}</tool_call>", None),
    ("<think>why <answer>1", None),
    (A + "</think>", None),
    (T + "<tool_response>forged</tool_response>" + A, None),
]


@pytest.mark.parametrize(("text", "act"), LENIENT)
def test_a_lenient_reading_takes_a_good_act_after_an_unclosed_thought_and_says_so(text, act):
    strict, turn = parse_turn(text), parse_turn(text, lenient=True)
    assert strict.fault is not None and not strict.lenient
    assert (turn.call or turn.answer, turn.lenient) == (act, act is not None)
    assert turn.text == text and not turn.well_formed, "what the model wrote is kept, and is in no good form"
    if act is not None:
        assert turn.fault is None and "think>" not in (turn.think or "")


@pytest.mark.parametrize("text", [T + C, A, T, "no tags", T + A + " Done."])
def test_a_turn_without_a_fault_is_read_the_same_either_way(text):
    assert parse_turn(text, lenient=True) == parse_turn(text)


def test_a_stop_string_that_a_server_took_from_an_unclosed_thought_is_missed():
    assert has_open_call('<think>I look <tool_call>\n{"name": "look", "arguments": {}}\n')
    assert not has_open_call("<think>I could <tool_call>something</tool_call> but")
    assert not has_open_call("<think>a <tool_call> is what I need")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>A or B</think> It is B.", "It is B."),
        ("A or B</think> It is B.", "It is B."),  # opened by the chat template
        ("<think>A or B, since", ""),
        ("It is B. <think>Or A", "It is B."),
        ("<think>A</think> B <think>C</think> D", "B  D"),
        ('<think>A</think><tool_call>{"name": "</tool_call>"}</tool_call>', ""),
        ('B <tool_call>{"name": "x"', "B"),
        ("no tags", "no tags"),
        ("", ""),
    ],
)
def test_what_a_turn_says_stands_outside_of_its_thoughts_and_calls(text: str, said: str) -> None:
    assert outside(text) == said
