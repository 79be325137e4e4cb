"""A judge's rules go with it: in a run, in an exported folder, in a file that `--rules` names."""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
import yaml
from command_line import is_one_line, runner
from endpoint import ANSWER, fresh

from armlite import Judge
from armlite.cli import COMMANDS
from armlite.episode import EpisodeSettings
from armlite.errors import ArmliteError
from armlite.memory import Limits
from armlite.recipe import saved_recipe
from armlite.rules import FILE, Rules, carries_rules, read_rules, rules_of, write_rules

RULES = Rules(
    episode=EpisodeSettings(max_calls=2, limits=Limits(image_max_pixels=1764, shown_characters=24)),
    max_new_tokens=64,
    max_context=512,
)


@pytest.fixture
def server(process, monkeypatch):
    return fresh(process, monkeypatch)


@pytest.fixture
def run(capsys):
    return runner(capsys)


@pytest.fixture
def folder(tmp_path):
    write_rules(tmp_path / "judge", RULES)
    return tmp_path / "judge"


def test_rules_are_read_from_a_folder_a_file_a_run_and_a_checkpoint_of_it(folder, tmp_path):
    recipe = saved_recipe("recipes/pocket.yaml")
    place = tmp_path / "run"
    (place / "checkpoints" / "grpo2").mkdir(parents=True)
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    trained = rules_of(recipe)
    assert (trained.episode.max_calls, trained.max_new_tokens, trained.max_context) == (2, 64, 512)
    for source in (place, place / "recipe.yaml", place / "checkpoints" / "grpo2"):
        assert read_rules(source) == trained
    assert read_rules(folder) == read_rules(folder / FILE) == RULES
    assert [carries_rules(p) for p in (folder, place, place / "checkpoints" / "grpo2", tmp_path)] == [True] * 3 + [
        False
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "has no rules: neither recipe.yaml of a run nor armlite_rules.yaml is in it"),
        ("max_new_token: 3", "unknown key max_new_token. Did you mean 'max_new_tokens'?"),
        ("max_new_tokens: many", "max_new_tokens: Input should be a valid integer"),
        ("- a", "must hold `key: value` lines"),
    ],
)
def test_rules_that_cannot_be_read_are_one_line(text, said, tmp_path):
    place = tmp_path / FILE
    if text is not None:
        place.write_text(text)
    with pytest.raises(ArmliteError) as caught:
        read_rules(place if text else tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize("how", ["rules", "name"])
def test_a_served_judge_judges_by_its_rules(server, folder, how):
    server.script(models=[str(folder)], turns=[ANSWER])
    judge = Judge.load(f"openai:{folder}@{server.url}", rules=folder if how == "rules" else None)
    assert judge.settings == RULES.episode
    judge.compare("Which?", ["a" * 100, "b" * 100])
    [body] = server.bodies()
    assert body["max_tokens"] == 64
    shown = body["messages"][1]["content"]
    assert "a" * 24 in shown
    assert "a" * 25 not in shown


def test_what_is_said_beside_rules_wins(server, folder):
    judge = Judge.load(server.model, rules=folder, max_calls=5, max_new_tokens=99)
    assert (judge.settings.max_calls, judge.settings.limits.shown_characters) == (5, 24)
    assert judge.model.sampling.max_new_tokens == 99


JUDGING = ("judge", "chat", "eval", "audit", "serve", "data pairs", "data filter", "data traces")


@pytest.mark.parametrize("command", JUDGING)
def test_every_command_that_takes_a_model_takes_what_belongs_to_one(run, command):
    text = run(*command.split(), "--help")[1]
    for option in ("--rules", "--endpoint", "--max-tokens", "--no-probe", "--workers", "--batch"):
        assert option in text, option


def test_there_is_no_other_command_with_a_model_by_name(run):
    names = [*COMMANDS.keys() - {"data", "tools"}, "data pairs", "data filter", "data traces", "data mix", "tools run"]
    assert {name for name in names if "openai:MODEL@URL" in run(*name.split(), "--help")[1]} == set(JUDGING)


def test_eval_and_judge_pass_the_options_on(run, server, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-mine")
    server.script(turns=[ANSWER])
    words = ["--rules", folder, "--endpoint", "top_k=3", "--endpoint", "header.x-team=env:MY_KEY", "--no-probe"]
    asked = ["judge", "--model", server.model, "--question", "?", "--response", "a", "--response", "b"]
    code, out, _ = run(*asked, *words, "--endpoint", "api_key=env:MY_KEY", "--max-tokens", 77, "--json")
    assert (code, json.loads(out)["status"]) == (0, "judged")
    code, _, _ = run("eval", "--model", server.model, "--n", 2, *words, "--out", tmp_path / "out", "--batch", 3)
    assert code == 0
    first, *rest = server.record()
    assert first["body"]["max_tokens"] == 77
    assert first["key"] == "Bearer sk-mine"
    for request in (first, *rest):
        assert request["body"]["top_k"] == 3
        assert request["headers"]["x-team"] == "sk-mine"
    assert all(request["body"]["max_tokens"] == 64 for request in rest)
    assert server.probes() == []
    settings = (tmp_path / "out" / "pocket" / "settings.json").read_text()
    assert json.loads(settings)["writer"]["extra"] == {"top_k": 3}
    assert "sk-mine" not in settings


def test_a_change_of_port_goes_on(run, server, tmp_path, monkeypatch):
    server.script(turns=[ANSWER])
    asked = ["eval", "--n", 2, "--out", tmp_path / "out", "--json"]
    assert run(*asked, "--model", server.model)[0] == 0
    done = len(server.record())
    other = server.model.replace("127.0.0.1", "localhost")
    code, out, err = run(*asked, "--model", other)
    assert code == 0, err
    assert json.loads(out)["judgments"] == 4, "in both orders"
    assert len(server.record()) == done, "nothing is judged again"


def test_a_served_judge_that_gives_no_verdict_is_told_of_early(run, server, tmp_path):
    server.script(turns=["<think>Hm.</think>"])
    code, _, err = run("eval", "--model", server.model, "--n", 12, "--no-tools", "--out", tmp_path / "out")
    assert code == 0
    assert (
        "16 of the first 16 judgments have no verdict (no_answer 16): if armlite trained this judge, give the rules "
        "that go with it: --rules RUN|FILE" in err
    )
    assert "24 of 24 judgments have no verdict" in err


def test_a_server_that_fails_is_not_told_of_rules(run, server, tmp_path):
    server.script(faults=[{"status": 400, "error": {"message": "no"}}] * 100)
    _, _, err = run("eval", "--model", server.model, "--n", 12, "--no-tools", "--out", tmp_path / "out")
    assert "24 of 24 judgments failed" in err
    assert "--rules" not in err


def test_an_endpoint_option_for_a_local_model_is_refused(run, folder):
    code, _, err = run("judge", "--model", folder, "--question", "?", "--response", "a", "--endpoint", "top_k=3")
    assert code == 2
    assert is_one_line(err, "--endpoint is for a server (openai:MODEL@URL), which")


def test_a_hub_that_does_not_answer_is_not_waited_for(tmp_path):
    """Its client's download asks six times, with 23 seconds between: too long where there is no network."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def refuse():
            with suppress(OSError):  # closed: the test is over
                while True:
                    connection, _ = silent.accept()
                    asked.append(connection)
                    connection.close()

        threading.Thread(target=refuse, daemon=True).start()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        place = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        code = "from armlite.rules import hub_rules; print(hub_rules('some/model'))"
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **place}, capture_output=True, text=True, timeout=60
        )
    assert (done.stdout, done.stderr) == ("None\n", "")
    assert 1 <= len(asked) <= 2  # its client may ask again at once
