"""The look at an endpoint before the first judgment: what it asks, what it tells, when it says nothing."""

import warnings
from typing import Any

import pytest
from endpoint import ANSWER, Server, ask, episodes, fresh, model
from playing import play

from armlite.errors import ArmliteError
from armlite.models.probe import BUDGET, MARK
from armlite.rules import Rules, write_rules
from armlite.types import StopReason


@pytest.fixture
def server(process: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    return fresh(process, monkeypatch)


def said(server: Server, batch: Any = None, **options: Any) -> list[str]:
    """What the user reads while something is judged."""
    judge = model(server, probe=True, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if batch is None:
            ask(judge)
        else:
            play(batch, judge)
    return [str(w.message) for w in caught if w.category is UserWarning]


def test_a_server_that_passes_on_all_of_it_is_asked_once_and_nothing_is_said(server: Server) -> None:
    server.script(turns=[ANSWER])
    assert said(server) == []
    [probe] = server.probes()
    assert probe["max_tokens"] == BUDGET
    assert MARK in probe["messages"][0]["content"]
    assert len(server.record()) == 1


def test_pictures_are_looked_at_where_there_are_some(server: Server) -> None:
    server.script(turns=[ANSWER])
    assert said(server, episodes(5)) == []
    pictures, words = (sum(not isinstance(m["content"], str) for m in p["messages"]) for p in server.probes())
    assert (words, pictures) == (0, 1)


@pytest.mark.parametrize(
    ("template", "owner", "lost", "advice"),
    [
        ({"system": False}, "vllm", "does not pass on the system message", "(vllm serve --chat-template FILE)"),
        ({"system": False}, "tests", "does not pass on the system message", "(its option for a chat template)"),
        (
            {"thoughts": False},
            "llamacpp",
            "does not pass on the thoughts of earlier turns",
            "--chat-template-file FILE",
        ),
        ({"images": False}, "llamacpp", "does not show the model any picture", "--mmproj FILE"),
    ],
)
def test_what_a_template_leaves_out_is_told_with_what_to_do(
    server: Server, template: dict[str, bool], owner: str, lost: str, advice: str
) -> None:
    server.script(turns=[ANSWER], template=template, owner=owner)
    [sentence] = said(server, episodes(3))
    assert sentence.startswith(server.url)
    assert lost in sentence
    assert advice in sentence
    name = {"vllm": "(vLLM)", "llamacpp": "(llama.cpp)"}.get(owner, "")
    assert name in sentence


def test_a_served_folder_with_rules_that_are_not_given_is_told(server: Server, tmp_path: Any) -> None:
    write_rules(tmp_path, Rules())
    server.script(turns=[ANSWER], owner="vllm", root=str(tmp_path))
    [sentence] = said(server, ruled=False)
    assert sentence.endswith(f"(vLLM) serves {tmp_path}, which has rules of its own: judge with --rules {tmp_path}")
    assert said(server, ruled=True) == []


def test_fields_that_a_server_refuses_are_found_by_the_probe(server: Server) -> None:
    server.script(turns=[ANSWER], refuses={"stop": "Unsupported parameter: 'stop'", "seed": "unknown field seed"})
    assert [s.partition(" refuses ")[2].split()[0] for s in said(server)] == ["stop", "seed"]
    assert [("stop" in body, "seed" in body) for body in server.bodies()] == [(False, False)]


def test_a_wrong_model_name_ends_the_work_before_a_judgment(server: Server) -> None:
    with pytest.raises(ArmliteError, match="has no model 'judge-8b'"):
        play(episodes(2), model(server, "judge-8b", probe=True, workers=1))
    assert server.record() == []


def test_after_a_probe_that_worked_a_refusal_is_one_item_s(server: Server) -> None:
    server.script(turns=[ANSWER], faults=[{"status": 403, "error": {"message": "not this one"}}])
    batch = episodes(3)
    assert said(server, batch, workers=1) == []
    assert [e.stop for e in batch] == [StopReason.MODEL_ERROR, StopReason.ANSWERED, StopReason.ANSWERED]


def test_pictures_for_a_server_that_takes_none_end_the_work_at_the_probe(server: Server) -> None:
    server.script(refuses={"pictures": "image input is not supported - hint: provide the mmproj"})
    with pytest.raises(ArmliteError, match="takes no pictures with 'judge-7b': image input is not supported"):
        said(server, episodes(2), workers=1)
    assert server.record() == []


def test_without_a_probe_nothing_more_is_asked(server: Server) -> None:
    server.script(turns=[ANSWER])
    ask(model(server, probe=False))
    assert server.probes() == []
