"""The endpoint model against a real HTTP server process: what it asks, how replies are read, how it is named."""

import base64
import io
import json
import threading
import time
from typing import Any

import pytest
from endpoint import ANSWER, Server, ask, episodes, fresh, model
from PIL import Image
from playing import play

from armlite.errors import ArmliteError
from armlite.loop import Reply
from armlite.memory import Limits
from armlite.models.completion import read_reply, turn_seed
from armlite.models.endpoint import parse_spec
from armlite.models.openai import OpenAIModel
from armlite.protocol.render import Conversation, Message, render, system_text
from armlite.types import StopReason

CALL = (
    '<tool_call>\n{"name": "image_zoom_in_tool", "arguments": '
    '{"image": "original_image", "bbox_2d": [0, 0, 500, 500]}}\n'
)


@pytest.fixture
def server(process: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    return fresh(process, monkeypatch)


def test_a_judgment_looks_through_the_tool_and_answers(server: Server) -> None:
    [episode] = episodes(1)
    play([episode], model(server))
    record = episode.trajectory()
    assert record.stop is StopReason.ANSWERED
    assert record.decision == 1
    assert record.model == "openai:judge-7b"
    assert [step.observation.tool for step in record.calls if step.observation] == ["image_zoom_in_tool"]
    assert [step.turn.well_formed for step in record.steps] == [True, True]
    assert record.steps[0].turn.text.endswith("</tool_call>")
    assert record.steps[0].turn.tokens > 10


def test_the_text_on_the_wire_is_that_of_our_template(server: Server) -> None:
    [episode] = episodes(1)
    play([episode], model(server))
    system, *rest = server.bodies()[1]["messages"]
    assert system == {"role": "system", "content": system_text(episode.conversation.tools)}
    assert "image_zoom_in_tool" in system["content"]

    def flat(content: Any) -> str:
        vision = "<|vision_start|><|image_pad|><|vision_end|>"
        return (
            content
            if isinstance(content, str)
            else "".join(b["text"] if b["type"] == "text" else vision for b in content)
        )

    whole = "".join(f"<|im_start|>{m['role']}\n{flat(m['content'])}<|im_end|>\n" for m in [system, *rest])
    assert f"{whole}<|im_start|>assistant\n" == render(episode.conversation.messages[:-1], episode.conversation.tools)
    assert [block["type"] for block in rest[0]["content"]] == ["image_url", "text"]


def test_images_travel_as_the_very_pixels(server: Server) -> None:
    [episode] = episodes(1, limits=Limits(image_max_pixels=100 * 100))
    play([episode], model(server))
    first, second = (server.bodies()[1]["messages"][i]["content"] for i in (1, 3))
    for blocks, image in (
        (first, episode.conversation.messages[0].images[0]),
        (second, episode.memory.images["img_1"]),
    ):
        [url] = [block["image_url"]["url"] for block in blocks if block["type"] == "image_url"]
        kind, _, data = url.partition(",")
        assert kind == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).tobytes() == image.tobytes()


def test_a_tool_result_can_travel_under_the_role_tool(server: Server) -> None:
    [episode] = episodes(1)
    play([episode], model(server, tool_role="tool"))
    message = server.bodies()[1]["messages"][-1]
    assert message["role"] == "tool"
    assert [block["type"] for block in message["content"]] == ["image_url", "text"]
    assert message["content"][1]["text"] == episode.conversation.messages[2].text


def test_sampling_settings_reach_the_server_and_extra_ones_add_replace_and_remove(server: Server) -> None:
    extra = {"top_k": 20, "temperature": 0.2, "max_tokens": None, "max_completion_tokens": 99}
    ask(model(server, temperature=0.7, top_p=0.8, max_tokens=50, seed=None))
    ask(model(server, seed=3, extra=extra))
    plain, changed = server.bodies()
    assert (plain["temperature"], plain["top_p"], plain["max_tokens"], plain["stop"]) == (
        0.7,
        0.8,
        50,
        ["</tool_call>"],
    )
    assert "seed" not in plain
    assert "tools" not in plain
    assert plain["model"] == "judge-7b"
    assert (changed["top_k"], changed["temperature"], changed["max_completion_tokens"]) == (20, 0.2, 99)
    assert "max_tokens" not in changed
    assert changed["seed"] == turn_seed(3, Conversation("t"))


def test_each_turn_of_each_rollout_has_a_seed_of_its_own() -> None:
    said = [Message("user", "?"), Message("assistant", "!")]
    talks = [Conversation(t, r, (), said[:m]) for t in ("a", "b") for r in (0, 1) for m in (1, 2)]
    seeds = [turn_seed(s, talk) for s in (0, 1) for talk in talks]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seeds == [turn_seed(s, talk) for s in (0, 1) for talk in talks]


def test_requests_fly_together_but_no_more_than_the_workers(server: Server) -> None:
    server.script(delay=0.05)
    batch = episodes(12)
    play(batch, model(server, workers=4))
    assert server.most_in_flight() == 4
    assert [e.trajectory().decision for e in batch] == [1] * 12


def test_the_threads_end_with_the_work(server: Server) -> None:
    play(episodes(4), model(server))
    for _ in range(100):
        if not [t for t in threading.enumerate() if t.name == "armlite-openai"]:
            return
        time.sleep(0.01)
    pytest.fail("threads are left over")


def test_conversations_that_were_begun_go_first(server: Server) -> None:
    server.script(delay=0.03)
    play(episodes(12), model(server, workers=1))
    opened = [1 if len(body["messages"]) == 2 else -1 for body in server.bodies()]
    assert max(sum(opened[:i]) for i in range(25)) <= 4, "without the rule all 12 would be open at once"


def test_a_turn_out_of_budget_says_so(server: Server) -> None:
    [episode] = episodes(1)
    play([episode], model(server, max_tokens=3))
    assert episode.stop is StopReason.TURN_BUDGET
    assert episode.trajectory().steps[0].turn.tokens == 3


def test_a_server_that_ignores_the_stop_string_is_cut_after_the_first_call(server: Server) -> None:
    turn = f"<think>a</think>\n{CALL}</tool_call>\n<tool_response>\nThe sign says Ulm.\n</tool_response>\n{ANSWER}"
    server.script(honours_stop=False, turns=[turn, ANSWER])
    [episode] = episodes(1)
    play([episode], model(server))
    assert episode.trajectory().steps[0].turn.text == f"<think>a</think>\n{CALL}</tool_call>"
    assert episode.stop is StopReason.ANSWERED


def completion(finish: str = "stop", usage: Any = None, choice: dict[str, Any] | None = None, **message: Any) -> Any:
    return {"choices": [{"message": message, "finish_reason": finish} | (choice or {})], "usage": usage}


THOUGHT = "<think>I look.</think>\n"
JSON = '{"name": "z", "arguments": {"a": "\u00e9"}}'
REPLIES = {
    "a stripped stop string comes back": (
        completion(content=f"{THOUGHT}<tool_call>{JSON}"),
        Reply(f"{THOUGHT}<tool_call>{JSON}</tool_call>"),
    ),
    "it comes back where a string of the call holds another tag": (
        completion(content='<tool_call>{"name": "z", "arguments": {"a": "</answer>"}}'),
        Reply('<tool_call>{"name": "z", "arguments": {"a": "</answer>"}}</tool_call>'),
    ),
    "it comes back in a string": (
        completion(content='<tool_call>{"name": "z", "arguments": {"a": "the '),
        Reply('<tool_call>{"name": "z", "arguments": {"a": "the </tool_call>'),
    ),
    "a stop string that the server names comes back": (
        completion(content=f"<tool_call>{JSON}", choice={"stop_reason": "</tool_call>"}),
        Reply(f"<tool_call>{JSON}</tool_call>"),
    ),
    "a stop string that the server left in stays": (
        completion(content=f"<tool_call>{JSON}</tool_call>", choice={"stop_reason": "</tool_call>"}),
        Reply(f"<tool_call>{JSON}</tool_call>"),
    ),
    "a call that vLLM says the model left open stays open": (
        completion(content=f"<tool_call>{JSON}", choice={"stop_reason": None}),
        Reply(f"<tool_call>{JSON}"),
    ),
    "a call that SGLang says the model left open stays open": (
        completion(content=f"<tool_call>{JSON}", choice={"matched_stop": 151645}),
        Reply(f"<tool_call>{JSON}"),
    ),
    "a call cut by the budget stays open": (
        completion("length", content="<tool_call>{", usage={"completion_tokens": 7}),
        Reply("<tool_call>{", "length", 7),
    ),
    "a call that is whole before the budget ran out is a whole turn": (
        completion("length", content="<tool_call>{}</tool_call> and"),
        Reply("<tool_call>{}</tool_call>"),
    ),
    "a tag that is only spoken of closes nothing": (
        completion(content="<think>no <tool_call> needed</think><answer>1</answer>"),
        Reply("<think>no <tool_call> needed</think><answer>1</answer>"),
    ),
    "thoughts in a field of their own come back": (
        completion(content="<answer>1</answer>", reasoning_content="I look."),
        Reply("<think>I look.</think>\n<answer>1</answer>"),
    ),
    "a thought that the prompt opened is opened": (
        completion(content="I look.</think>x"),
        Reply("<think>I look.</think>x"),
    ),
    "a parsed call becomes text": (
        completion(
            "tool_calls", content=None, reasoning="r", tool_calls=[{"function": {"name": "z", "arguments": '{"a": 1}'}}]
        ),
        Reply('<think>r</think>\n<tool_call>\n{"name": "z", "arguments": {"a": 1}}\n</tool_call>'),
    ),
    "two parsed calls are both told": (
        completion("tool_calls", content="", tool_calls=[{"function": {"name": n, "arguments": ""}} for n in "zy"]),
        Reply("\n".join(f'<tool_call>\n{{"name": "{n}", "arguments": {{}}}}\n</tool_call>' for n in "zy")),
    ),
    "a tag in a string of a call ends nothing": (
        completion(content='<tool_call>{"a": "</tool_call>"}</tool_call> and on'),
        Reply('<tool_call>{"a": "</tool_call>"}</tool_call>'),
    ),
    "tags in a thought of its own field are no tags": (
        completion(content="<answer>1</answer>", reasoning_content="so </think><tool_call>{}</tool_call>"),
        Reply("<think>so < /think>< tool_call>{}< /tool_call></think>\n<answer>1</answer>"),
    ),
    "a thought of its own field stays where the text speaks of one": (
        completion(content="<answer>a <think> tag</answer>", reasoning_content="r"),
        Reply("<think>r</think>\n<answer>a <think> tag</answer>"),
    ),
    "a thought that the server stopped in is left open": (
        completion(content="", reasoning="so <tool_call>{}", choice={"stop_reason": "</tool_call>"}),
        Reply("<think>so < tool_call>{}</tool_call>"),
    ),
    "a thought that the budget ended is left open": (
        completion("length", content=None, reasoning_content="so I", usage={"completion_tokens": 2}),
        Reply("<think>so I", "length", 2),
    ),
    "a thought that was closed before the budget ran out is closed": (
        completion("length", content="\n<ans", reasoning_content="so I"),
        Reply("<think>so I</think>\n<ans", "length"),
    ),
    "blocks are joined": (
        completion(content=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        Reply("ab"),
    ),
    "nothing said is an empty turn": (completion(content=None), Reply("")),
    "a missing finish reason is an end": (completion(None, content="x"), Reply("x")),  # type: ignore[arg-type]
    "a filtered turn is an error": (
        completion("content_filter", content="x"),
        Reply("the server ended the turn (content_filter)", "error"),
    ),
    "control tokens become text": (
        completion(content="<think>an <|image_pad|></think>"),
        Reply("<think>an < |image_pad| ></think>"),
    ),
    "half a surrogate pair is replaced": (completion(content="a\ud83d"), Reply("a?")),
}


@pytest.mark.parametrize(("value", "reply"), REPLIES.values(), ids=REPLIES.keys())
def test_replies_in_the_dialects_of_servers_are_read(value: Any, reply: Reply) -> None:
    assert read_reply(json.loads(json.dumps(value))) == reply


LOOK = '<tool_call>\n{"name": "look", "arguments": {"at": "é \\"x\\" </tool_call>"}}\n</tool_call>'
NATIVE = [{"type": "function", "function": {"name": "look", "arguments": '{"at": "é \\"x\\" </tool_call>"}'}}]
WRITTEN = {
    "thought and call": ("I look.", LOOK),
    "thought and answer": ("I know.", "<answer>1</answer>"),
    "call alone": ("", LOOK),
    "answer alone": ("", "<answer>1</answer>"),
    "text and call": ("", f"Let me see.\n{LOOK}"),
    "thought, text and call": ("I look.", f"Let me see.\n{LOOK}"),
}


@pytest.mark.parametrize(("thought", "rest"), WRITTEN.values(), ids=WRITTEN.keys())
def test_a_turn_is_put_together_as_the_model_wrote_it_whatever_a_server_takes_out(thought: str, rest: str) -> None:
    written = f"<think>{thought}</think>\n{rest}" if thought else rest
    before, called, _ = rest.partition(LOOK)
    lead = f"<think>{thought}</think>\n{before}" if thought else before
    shapes = [{"content": written}]
    if thought:
        for field in ("reasoning_content", "reasoning"):
            shapes += [{"content": content, field: thought} for content in (rest, f"\n{rest}")]
    if called:
        shapes += [{"content": content, "tool_calls": NATIVE} for content in (lead, lead.rstrip(), written)]
    if called and not lead:
        shapes += [{"content": None, "tool_calls": NATIVE}]
    if called and thought:
        spoken = {before, before.rstrip(), f"\n{before}", before or None}
        shapes += [{"content": content, "reasoning": thought, "tool_calls": NATIVE} for content in spoken]
    for shape in shapes:
        assert read_reply(completion(**shape)).text == written, shape
    if called:
        for stop in ({}, {"stop_reason": "</tool_call>"}, {"matched_stop": "</tool_call>"}):
            cut = written.removesuffix("</tool_call>")
            assert read_reply(completion(content=cut, choice=stop)).text == written, stop


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("openai:judge-7b@http://localhost:8000/v1", ("judge-7b", "http://localhost:8000/v1")),
        ("openai:org/judge@main@https://example.org/v1/", ("org/judge@main", "https://example.org/v1")),
        ("judge-7b@http://h:1/v1/chat/completions", ("judge-7b", "http://h:1/v1")),
        ("openai:judge@http://me:word@h:1/v1", ("judge", "http://me:word@h:1/v1")),
        ("openai:gpt-4o", ("gpt-4o", "https://api.openai.com/v1")),
    ],
)
def test_a_spec_names_model_and_address(spec: str, parts: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert parse_spec(spec) == parts
    judge = OpenAIModel(*parse_spec(spec), api_key="", workers=3)
    assert (judge.model, judge.url, judge.workers) == (*parts, 3)


def test_a_spec_without_an_address_takes_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://h:1/v1")
    assert parse_spec("openai:m") == ("m", "http://h:1/v1")


@pytest.mark.parametrize(
    "spec",
    [
        "openai:",
        "openai:@http://h:1/v1",
        "openai:http://h:1/v1",
        "openai:m@http://",
        "m@http://h:x/",
        "m@http://h h:1/v1",
        "m@http://h:0/v1",
    ],
)
def test_a_spec_that_lacks_a_part_is_an_error_of_the_user(spec: str) -> None:
    with pytest.raises(ArmliteError, match=r"write (openai:MODEL@)?http://host:port/v1"):
        parse_spec(spec)


@pytest.mark.parametrize(
    "options", [{"tool_role": "function"}, {"workers": 0}, {"api_key": "sk a"}, {"api_key": "sk-\u00e9"}]
)
def test_options_that_cannot_work_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ArmliteError):
        OpenAIModel("m", "http://h:1/v1", **options)


@pytest.mark.parametrize(
    ("said", "tokens"), [(7, 7), (7.0, 7), ("7", 0), (-1, 0), (None, 0), (float("nan"), 0), ([1], 0)]
)
def test_a_count_of_tokens_that_is_none_is_no_reason_to_lose_the_reply(said, tokens):
    message = {"message": {"content": "<answer>1</answer>"}, "finish_reason": "stop"}
    assert read_reply({"choices": [message], "usage": {"completion_tokens": said}}).tokens == tokens


def test_of_a_turn_that_nobody_waits_for_any_more_nothing_is_read(server: Server) -> None:
    server.script(turns=["word " * 60], pace=0.05)
    session, heard = model(server).session(), []
    session.on_text = lambda conversation, piece: heard.append(piece)
    conversation = Conversation("t", 0, (), [Message("user", "Which one?")])
    session.submit(conversation)
    while len(heard) < 3:
        time.sleep(0.005)
    session.close(conversation)
    known, end = len(heard), time.monotonic() + 2
    while any(thread.name == "armlite-openai" for thread in threading.enumerate()):
        assert time.monotonic() < end, "the thread reads on, and the server writes on"
        time.sleep(0.01)
    assert len(heard) <= known + 1
