"""The endpoint model where a server fails or refuses: what is asked again, what ends an episode, what ends the work."""

import time
from email.utils import formatdate
from typing import Any

import pytest
from endpoint import ANSWER, Server, ask, episodes, fresh, model
from playing import play

from armlite.errors import ArmliteError
from armlite.loop import Reply
from armlite.models.openai import OpenAIModel
from armlite.protocol.render import Message, system_text
from armlite.types import StopReason


@pytest.fixture
def server(process: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    return fresh(process, monkeypatch)


FAULTS: dict[str, dict[str, Any]] = {
    "timeout of the server": {"status": 408},
    "conflict": {"status": 409},
    "crash": {"status": 500},
    "bad gateway": {"status": 502},
    "overload": {"status": 503},
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
    assert ask(model(server)) == Reply(ANSWER, "stop", 8, 7)
    assert len(server.record()) == 3


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_lasting_fault_is_an_error_that_says_why_and_where(server: Server, fault: dict[str, Any]) -> None:
    server.script(faults=[fault] * 3)
    reply = ask(model(server, retries=2))
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
    server.script(faults=[*FAULTS.values(), None] * 3)
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


@pytest.mark.parametrize("asked", ["0.3", formatdate(time.time() + 3600, usegmt=True)], ids=["seconds", "date"])
def test_the_pause_that_a_server_asks_for_is_kept(server: Server, asked: str) -> None:
    server.script(faults=[{"status": 429, "headers": {"Retry-After": asked}}], turns=[ANSWER])
    reply = ask(model(server, patience=5.0))
    if asked == "0.3":
        first, second = (request["time"] for request in server.record())
        assert reply.finish == "stop"
        assert second - first >= 0.3
    else:
        assert (reply.finish, len(server.record())) == ("error", 1), "an hour is longer than its patience"


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
    message = refusal(model(server, "Qwen2.5-VL-7B-Instrukt", workers=1))
    assert "no model 'Qwen2.5-VL-7B-Instrukt'. Did you mean 'Qwen2.5-VL-7B-Instruct'?" in message
    assert "Qwen3-8B" in message


def test_a_wrong_model_name_is_known_in_a_400_too(server: Server) -> None:
    server.script(faults=[{"status": 400, "error": {"message": "bad", "code": "model_not_found"}}] * 3)
    assert "has no model 'judge-8b'. Did you mean 'judge-7b'?" in refusal(model(server, "judge-8b", workers=1))


def test_a_wrong_address_is_told_from_a_wrong_model(server: Server) -> None:
    assert "does it end in /v1?" in refusal(OpenAIModel("judge-7b", server.root))


@pytest.mark.parametrize(
    ("given", "fix"), [("", "set OPENAI_API_KEY"), ("sk-secret-1", "check OPENAI_API_KEY")], ids=["none", "wrong"]
)
def test_a_refused_key_is_named_without_being_shown(server: Server, given: str, fix: str) -> None:
    server.script(key="sk-right")
    message = refusal(model(server, api_key=given, workers=1))
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


def test_a_password_in_the_address_is_not_repeated_in_messages() -> None:
    message = refusal(OpenAIModel("m", "http://me:word@127.0.0.1:9/v1", api_key=""))
    assert "word" not in message
    assert "127.0.0.1:9" in message
