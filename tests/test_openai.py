"""The endpoint model against a real HTTP server process (`fake_server.py`)."""

import base64
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from armlite.episode import Episode, EpisodeSettings
from armlite.errors import ArmliteError
from armlite.loop import Reply, play
from armlite.memory import Limits, Memory
from armlite.models.completion import read_reply, turn_seed
from armlite.models.openai import OpenAIModel, parse_spec
from armlite.protocol.render import Conversation, Message, render, system_text
from armlite.types import StopReason, Task

CALL = (
    '<tool_call>\n{"name": "image_zoom_in_tool", "arguments": '
    '{"image": "original_image", "bbox_2d": [0, 0, 500, 500]}}\n'
)
ANSWER = "<think>They differ.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"


class Server:
    """The process, and how to script it."""

    def __init__(self) -> None:
        script = Path(__file__).parent / "fake_server.py"
        self.process = subprocess.Popen([sys.executable, script, "--port", "0"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.root = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.url = f"{self.root}/v1"
        self.http = httpx.Client(base_url=self.root)

    def script(self, **settings: Any) -> None:
        self.http.post("/control", json=settings).raise_for_status()

    def record(self) -> list[dict[str, Any]]:
        return self.http.get("/record").json()["requests"]

    def most_in_flight(self) -> int:
        return self.http.get("/record").json()["most_in_flight"]

    def bodies(self) -> list[dict[str, Any]]:
        return [request["body"] for request in self.record()]


@pytest.fixture(scope="module")
def process() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.close()
    server.process.terminate()
    server.process.wait()


@pytest.fixture
def server(process: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    process.script()
    return process


def model(server: Server, name: str = "judge-7b", **options: Any) -> OpenAIModel:
    return OpenAIModel(name, server.url, **({"backoff": 0.001, "timeout": 10.0} | options))


def ask(judge: OpenAIModel, text: str = "Which one?", task_id: str = "t") -> Reply:
    session = judge.session()
    session.submit(Conversation(task_id, 0, (), [Message("user", text)]))
    [(_, reply)] = session.wait()
    return reply


def episodes(n: int, **settings: Any) -> list[Episode]:
    texts = ("Ulm", "Bern")
    tasks = [Task(id=f"t{i}", kind="pairwise", question=f"Number {i}?", responses=texts, gold=1) for i in range(n)]
    photo = Image.linear_gradient("L").convert("RGB").resize((600, 400))
    return [Episode(task, Memory([photo], texts), EpisodeSettings(**settings)) for task in tasks]


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


FAULTS: dict[str, dict[str, Any]] = {
    "timeout of the server": {"status": 408},
    "conflict": {"status": 409},
    "too many requests": {"status": 429, "headers": {"Retry-After": "0.01"}},
    "crash": {"status": 500},
    "bad gateway": {"status": 502},
    "overload": {"status": 503},
    "slow reply": {"sleep": 0.6},
    "half of a reply": {"cut": True},
    "connection that ends within a reply": {"torn": True},
    "connection that ends before a reply": {"close": True},
    "error under status 200": {"body": {"error": {"message": "upstream is away", "code": 502}}},
    "reply without choices": {"body": {"choices": []}},
    "reply of another kind": {"body": {"choices": ["?"]}},
    "page of a proxy": {"status": 503, "body": "<html>away</html>"},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_passing_fault_is_repeated_until_it_has_passed(server: Server, fault: dict[str, Any]) -> None:
    server.script(faults=[fault, fault], turns=[ANSWER])
    assert ask(model(server, timeout=0.25 if "sleep" in fault else 10.0)) == Reply(ANSWER, "stop", 8)
    assert len(server.record()) == 3


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_lasting_fault_is_an_error_that_says_why_and_where(server: Server, fault: dict[str, Any]) -> None:
    server.script(faults=[fault] * 3)
    reply = ask(model(server, retries=2, timeout=0.25 if "sleep" in fault else 10.0))
    assert reply.finish == "error"
    assert reply.text.startswith(server.url)
    assert reply.text.endswith("(tried 3 times)")
    assert len(server.record()) == 3
    assert "\n" not in reply.text


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_is_not_repeated(server: Server, status: int) -> None:
    server.script(faults=[{"status": status, "error": {"message": "image too large"}}])
    reply = ask(model(server))
    assert reply.finish == "error"
    assert f"{status} image too large" in reply.text
    assert len(server.record()) == 1


def test_injected_faults_lose_no_episode(server: Server) -> None:
    server.script(faults=[fault for fault in (*FAULTS.values(), None) if not fault or "sleep" not in fault] * 3)
    batch = episodes(10)
    play(batch, model(server, workers=6, retries=40))
    assert [e.trajectory().stop for e in batch] == [StopReason.ANSWERED] * 10
    assert [len(e.trajectory().calls) for e in batch] == [1] * 10


def test_a_fault_that_lasts_ends_only_its_own_episode(server: Server) -> None:
    server.script(faults=[None, {"status": 400, "error": {"message": "no"}}])
    batch = episodes(5)
    play(batch, model(server, workers=1))
    [lost] = [e for e in batch if e.stop is StopReason.MODEL_ERROR]
    assert [e.stop for e in batch if e is not lost] == [StopReason.ANSWERED] * 4
    assert "400 no" in lost.trajectory().steps[-1].turn.text


@pytest.mark.parametrize("asked", ["0.3", formatdate(time.time() + 3600, usegmt=True)])
def test_the_pause_that_a_server_asks_for_is_kept(server: Server, asked: str) -> None:
    server.script(faults=[{"status": 429, "headers": {"Retry-After": asked}}], turns=[ANSWER])
    reply = ask(model(server, max_wait=5.0))
    if asked == "0.3":
        first, second = (request["time"] for request in server.record())
        assert reply.finish == "stop"
        assert second - first >= 0.3
    else:
        assert (reply.finish, len(server.record())) == ("error", 1), "an hour is longer than max_wait"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "too long", "code": "context_length_exceeded"}),
        (400, {"message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"}),
        (400, {"message": "The decoder prompt (length 10127) is longer than the maximum model length of 8192."}),
        (400, {"message": "The input (9000 tokens) is longer than the model's context length (8192 tokens)."}),
        (400, {"message": "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it"}),
        (500, {"message": "Context size has been exceeded.", "type": "server_error"}),
        (413, {"message": "prompt is too long: 210000 tokens > 200000 maximum"}),
        (422, {"message": "the prompt does not fit", "type": "exceed_context_size_error"}),
    ],
)
def test_a_prompt_that_does_not_fit_is_an_overflow_in_every_dialect(
    server: Server, status: int, error: dict[str, Any]
) -> None:
    server.script(faults=[{"status": status, "error": error}])
    assert ask(model(server)).finish == "overflow"
    assert len(server.record()) == 1


def test_an_overflow_takes_back_the_observation_and_ends_only_its_own_episode(server: Server) -> None:
    batch = episodes(3)
    talk = batch[1].conversation
    talk.messages[0] = Message("user", talk.messages[0].text + " very" * 2000, talk.messages[0].images)
    server.script(context=len(system_text(talk.tools)) + len(talk.messages[0].text) + 10)
    play(batch, model(server))
    assert [e.stop for e in batch] == [StopReason.ANSWERED, StopReason.CONTEXT_BUDGET, StopReason.ANSWERED]
    record = batch[1].trajectory()
    assert [step.observation for step in record.steps] == [None]
    assert len(record.images) == 1


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
        Reply('<think>r</think>\n\n<tool_call>\n{"name": "z", "arguments": {"a": 1}}\n</tool_call>'),
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
    "half a surrogate pair is replaced": (completion(content="a\ud83d"), Reply("a?")),
}


@pytest.mark.parametrize(("value", "reply"), REPLIES.values(), ids=REPLIES.keys())
def test_replies_in_the_dialects_of_servers_are_read(value: Any, reply: Reply) -> None:
    assert read_reply(json.loads(json.dumps(value))) == reply


def refusal(judge: OpenAIModel) -> str:
    with pytest.raises(ArmliteError) as caught:
        play(episodes(3), judge)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_a_server_that_is_not_there_is_named_at_once(server: Server) -> None:
    start = time.monotonic()
    message = refusal(OpenAIModel("judge-7b", "http://127.0.0.1:9/v1", backoff=60.0))
    assert "cannot reach http://127.0.0.1:9/v1" in message
    assert "is the server running" in message
    assert time.monotonic() - start < 5


def test_a_server_that_goes_away_later_ends_episodes_but_not_the_batch() -> None:
    own = Server()
    try:
        judge = model(own, retries=1)
        own.script(turns=[ANSWER])
        assert ask(judge).finish == "stop"
    finally:
        own.process.kill()
        own.process.wait()
    batch = episodes(2)
    play(batch, judge)
    assert [e.stop for e in batch] == [StopReason.MODEL_ERROR] * 2


def test_a_wrong_model_name_is_answered_with_the_nearest(server: Server) -> None:
    server.script(models=["Qwen2.5-VL-7B-Instruct", "Qwen3-8B"])
    message = refusal(model(server, "Qwen2.5-VL-7B-Instrukt"))
    assert "no model 'Qwen2.5-VL-7B-Instrukt'. Did you mean 'Qwen2.5-VL-7B-Instruct'?" in message
    assert "Qwen3-8B" in message


def test_a_wrong_model_name_is_known_in_a_400_too(server: Server) -> None:
    server.script(faults=[{"status": 400, "error": {"message": "bad", "code": "model_not_found"}}] * 3)
    assert "has no model 'judge-8b'. Did you mean 'judge-7b'?" in refusal(model(server, "judge-8b"))


def test_a_wrong_address_is_told_from_a_wrong_model(server: Server) -> None:
    assert "does it end in /v1?" in refusal(OpenAIModel("judge-7b", server.root))


@pytest.mark.parametrize(
    ("given", "fix"), [("", "set OPENAI_API_KEY"), ("sk-secret-1", "check OPENAI_API_KEY")], ids=["none", "wrong"]
)
def test_a_refused_key_is_named_without_being_shown(server: Server, given: str, fix: str) -> None:
    server.script(key="sk-right")
    message = refusal(model(server, api_key=given))
    assert fix in message
    assert "sk-" not in message


@pytest.mark.parametrize("status", [402, 403])
def test_a_key_without_the_right_or_the_money_is_named(server: Server, status: int) -> None:
    server.script(faults=[{"status": status, "error": {"message": "top up"}}] * 5)
    assert "does not let this API key use 'judge-7b': top up" in refusal(model(server, workers=1))


def test_a_spent_quota_is_not_repeated(server: Server) -> None:
    server.script(
        faults=[{"status": 429, "error": {"message": "You have no credit", "code": "insufficient_quota"}}] * 3
    )
    assert "You have no credit" in refusal(model(server, workers=1))
    assert len(server.record()) == 1


def test_after_a_first_success_a_refusal_ends_only_its_own_episode(server: Server) -> None:
    faults = [None, {"status": 401}, None, {"status": 404}, {"status": 403}]
    server.script(turns=[ANSWER], faults=faults)
    batch = episodes(6)
    play(batch, model(server, workers=1))
    lost = [StopReason.MODEL_ERROR if fault else StopReason.ANSWERED for fault in [*faults, None]]
    assert [e.stop for e in batch] == lost


def test_the_key_comes_from_the_argument_or_the_environment_and_stays_hidden(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment\n")
    server.script(faults=[None, None, {"status": 400, "error": {"message": "the key sk-argument is fine"}}])
    judges = [model(server), model(server, api_key="sk-argument"), model(server, api_key="")]
    replies = [ask(judge) for judge in judges[:2]] + [ask(judges[1])]
    ask(judges[2])
    keys = [request["key"] for request in server.record()]
    assert keys == ["Bearer sk-environment", "Bearer sk-argument", "Bearer sk-argument", None]
    assert "sk-" not in caplog.text + repr(judges) + replies[2].text
    assert "the key *** is fine" in replies[2].text


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
    judge = OpenAIModel.from_spec(spec, api_key="", workers=3)
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


def test_a_password_in_the_address_is_not_repeated_in_messages() -> None:
    message = refusal(OpenAIModel("m", "http://me:word@127.0.0.1:9/v1", api_key=""))
    assert "word" not in message
    assert "127.0.0.1:9" in message
