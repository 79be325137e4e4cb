"""How long an endpoint is waited for, how often it is asked again, and when the work is given up."""

import threading
import time
from itertools import pairwise
from typing import Any

import pytest
from endpoint import ANSWER, Server, ask, episodes, fresh, model
from playing import play

from armlite.errors import ArmliteError
from armlite.protocol.render import Conversation, Message
from armlite.types import StopReason


@pytest.fixture
def server(process: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    return fresh(process, monkeypatch)


BUSY = {"status": 429, "headers": {"Retry-After": "0.01"}, "error": {"message": "slow down"}}


def test_a_busy_server_uses_up_no_tries_and_is_said_once(server: Server) -> None:
    server.script(faults=[BUSY] * 40, turns=[ANSWER])
    with pytest.warns(UserWarning, match=r"asks for patience \(429 slow down\): waiting, up to 900 s") as said:
        play(batch := episodes(4), model(server, workers=2, retries=1))
    assert [e.stop for e in batch] == [StopReason.ANSWERED] * 4
    assert [str(w.message) for w in said if w.category is UserWarning] == [
        f"{server.url} asks for patience (429 slow down): waiting, up to 900 s"
    ]
    assert len(server.record()) == 44


def test_a_busy_server_that_names_no_pause_gets_growing_ones(server: Server) -> None:
    server.script(faults=[{"status": 429}] * 5, turns=[ANSWER])
    with pytest.warns(UserWarning, match="asks for patience"):
        assert ask(model(server, backoff=0.02)).text == ANSWER
    times = [request["time"] for request in server.record()]
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps[-1] > 3 * gaps[0]


def test_waiting_ends_with_the_patience(server: Server) -> None:
    server.script(faults=[{**BUSY, "headers": {"Retry-After": "0.2"}}] * 40)
    with pytest.warns(UserWarning, match="asks for patience"):
        reply = ask(model(server, patience=0.5))
    assert reply.finish == "error"
    assert "429 slow down (waited 1 s)" in reply.text
    assert len(server.record()) == 3


@pytest.mark.parametrize("fault", [{"sleep": 0.6}, {"dribble": 3.0}], ids=["silent", "a byte now and then"])
def test_the_timeout_bounds_the_whole_reply_and_what_is_slow_is_repeated_once(
    server: Server, fault: dict[str, Any]
) -> None:
    server.script(faults=[fault] * 9, turns=[ANSWER])
    start = time.monotonic()
    reply = ask(model(server, timeout=0.25, retries=5))
    assert reply.text == f"{server.url}: no reply within 0.25 s (tried 2 times)"
    assert time.monotonic() - start < 2
    assert len(server.record()) == 2
    server.script(faults=[fault], turns=[ANSWER])
    assert ask(model(server, timeout=0.25)).text == ANSWER


def test_one_request_waits_a_few_minutes_at_most() -> None:
    from armlite.models.openai import SLOW_TRIES, OpenAIModel

    assert OpenAIModel("m", "http://h:1/v1").timeout * SLOW_TRIES <= 6 * 60


def test_a_dead_server_ends_the_run_in_a_sentence() -> None:
    own = Server()
    try:
        judge = model(own, retries=1, workers=4)
        own.script(turns=[ANSWER])
        assert ask(judge).text == ANSWER
    finally:
        own.process.kill()
        own.process.wait()
    start = time.monotonic()
    with pytest.raises(ArmliteError, match=r"does not answer any more: the last 4 requests all failed, .*kept$"):
        play(episodes(200), judge)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_proxy_before_a_dead_server_ends_the_run_too(server: Server, status: int) -> None:
    server.script(faults=[{"status": status}] * 10_000)
    with pytest.raises(ArmliteError, match=f"does not answer any more: .*{status}"):
        play(episodes(200), model(server, retries=1, workers=4))
    assert len(server.record()) < 40


def test_a_server_that_refuses_now_and_then_is_not_dead(server: Server) -> None:
    server.script(faults=[{"status": 500}, {"status": 500}, None] * 40, turns=[ANSWER])
    batch = episodes(30)
    play(batch, model(server, retries=1, workers=1))
    assert {e.stop for e in batch} == {StopReason.MODEL_ERROR, StopReason.ANSWERED}


def test_a_conversation_that_is_closed_is_not_asked_for_again(server: Server) -> None:
    server.script(faults=[{"status": 503}] * 1000)
    judge = model(server, retries=1000, backoff=0.02)
    session, talk = judge.session(), Conversation("t", 0, (), [Message("user", "Which one?")])
    session.submit(talk)
    while not server.record():
        time.sleep(0.01)
    session.close(talk)
    end = time.monotonic() + 5
    while [t for t in threading.enumerate() if t.name == "armlite-openai"] and time.monotonic() < end:
        time.sleep(0.01)
    asked = len(server.record())
    time.sleep(0.2)
    assert len(server.record()) == asked
