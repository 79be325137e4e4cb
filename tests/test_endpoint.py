"""What a user says of an endpoint: addresses, `--endpoint`, secrets that are never printed, an odd environment."""

import io
import re
import sys
from typing import Any

import pytest
from command_line import is_one_line, runner
from endpoint import ANSWER, Server, ask, fresh, model

from armlite.errors import ArmliteError
from armlite.models.endpoint import endpoint_options, parse_spec, place_free, shown
from armlite.models.openai import OpenAIModel


@pytest.fixture
def server(process: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    return fresh(process, monkeypatch)


@pytest.fixture
def run(capsys: Any) -> Any:
    return runner(capsys)


def test_a_query_string_in_an_address_is_kept(server: Server) -> None:
    server.script(turns=[ANSWER])
    spec = f"openai:judge-7b@{server.url}/chat/completions?api-version=2024-10-21&x=1"
    assert parse_spec(spec) == ("judge-7b", f"{server.url}?api-version=2024-10-21&x=1")
    assert ask(OpenAIModel(*parse_spec(spec), probe=False)).text == ANSWER
    assert server.record()[0]["path"] == "/v1/chat/completions?api-version=2024-10-21&x=1"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("https://me:word@h:1/v1?key=sk-1", "https://h:1/v1"),
        ("openai:m@https://me:word@h/v1", "openai:m@https://h/v1"),
        ("http://word@h/v1", "http://h/v1"),
        ("org/judge@main", "org/judge@main"),
        ("runs/a?b", "runs/a?b"),
    ],
)
def test_what_is_shown_of_a_model_holds_no_secret(text: str, plain: str) -> None:
    assert shown(text) == plain


@pytest.mark.parametrize(
    "spec",
    [
        "openai:judge@http://me:word@127.0.0.1:9/v1?key=word",
        "openai:@http://me:word@h/v1",
        "openai:judge@http://me:word@h:x/v1",
    ],
)
@pytest.mark.parametrize("command", ["judge", "eval", "chat"])
def test_a_password_is_printed_by_no_command(
    run: Any, spec: str, command: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"judge": ["--question", "?", "--response", "a"], "eval": ["--n", 1, "--out", tmp_path], "chat": []}
    monkeypatch.setattr(sys, "stdin", io.StringIO("q\na\nb\n/judge\n"))
    code, out, err = run(command, "--model", spec, *more[command])
    assert code in (0, 2)
    assert "error: " in err
    assert "word" not in out + err


HOSTS = "localhost localhost:8000/v1 10.0.0.1 10.0.0.1:80/v1 example.com gpu-box:8000 box/v1 [::1]:80/v1".split()


@pytest.mark.parametrize("host", HOSTS)
def test_an_address_without_a_scheme_is_never_asked_of_somebody_else(host: str) -> None:
    with pytest.raises(ArmliteError, match=re.escape(f"write openai:judge@http://{host} (or https://)")):
        parse_spec(f"openai:judge@{host}")


@pytest.mark.parametrize("name", ["claude@20250514", "org/model@001", "org/x@default", "m@v1.5", "a@b@2"])
def test_a_version_behind_a_model_s_name_is_part_of_it(name: str) -> None:
    assert parse_spec(f"openai:{name}")[0] == name
    assert parse_spec(f"openai:{name}@http://h/v1") == (name, "http://h/v1")


def test_the_place_of_a_server_is_no_part_of_its_name() -> None:
    assert place_free("openai:judge-7b@http://localhost:8000/v1") == "openai:judge-7b"
    assert place_free("openai:org/judge@main@https://h/v1") == "openai:org/judge@main"
    assert place_free("runs/pocket") == "runs/pocket"


def test_endpoint_options_are_fields_headers_and_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE", "secret\n")
    words = ["stop=null", "top_k=20", "user=me", "header.api-key=env:AZURE", "api_key=", "timeout=60", "retries=2"]
    assert endpoint_options([*words, 'chat_template_kwargs={"a": true}', "patience=1.5", "tool_role=tool"]) == {
        "extra": {"stop": None, "top_k": 20, "user": "me", "chat_template_kwargs": {"a": True}},
        "headers": {"api-key": "secret"},
        "api_key": "",
        "timeout": 60.0,
        "retries": 2,
        "patience": 1.5,
        "tool_role": "tool",
    }
    assert endpoint_options([]) == {}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("top_k", "is not of the form KEY=VALUE"),
        ("=3", "is not of the form KEY=VALUE"),
        ("timeout=soon", "--endpoint timeout='soon' must be a number"),
        ("header.api-key=env:NOT_SET_HERE", "the environment variable NOT_SET_HERE is not set"),
    ],
)
def test_an_endpoint_option_that_cannot_be_read_is_one_line(word: str, said: str) -> None:
    with pytest.raises(ArmliteError, match=said):
        endpoint_options([word])


def test_headers_are_sent_and_kept_secret(server: Server) -> None:
    server.script(faults=[{"status": 400, "error": {"message": "the key s3cret is bad"}}])
    reply = ask(model(server, headers={"api-key": "s3cret"}, api_key=""))
    assert "the key *** is bad" in reply.text
    [request] = server.record()
    assert request["headers"]["api-key"] == "s3cret"
    assert request["key"] is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ALL_PROXY", "socks5://me:word@127.0.0.1:1", "a socks proxy needs `pip install socksio`"),
        ("HTTP_PROXY", "ftp://me:word@127.0.0.1:1", "Unknown scheme for proxy URL"),
        ("https_proxy", "htp://me:word@h:1", "Unknown scheme for proxy URL"),
        ("SSL_CERT_FILE", "/there/is/no/such.pem", "the file of certificates is not there"),
    ],
)
def test_an_environment_that_cannot_be_used_is_one_sentence(
    run: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    code, _, err = run("judge", "--model", "openai:m@https://127.0.0.1:9/v1", "--question", "?", "--response", "a")
    assert code == 2
    assert is_one_line(err.splitlines()[-1] + "\n", "cannot ask other machines: ", said, name.upper())
    assert "word@" not in err


def test_a_proxy_that_is_not_there_is_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    code, _, err = run("judge", "--model", "openai:m@http://localhost:8/v1", "--question", "?", "--response", "a")
    assert code == 2
    assert "is the server running there? (set in the environment: HTTP_PROXY)" in err
