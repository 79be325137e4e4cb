"""What real servers said, as `tests/real/*.py` wrote it down: the figures are good enough, the replies are read."""

import json
from pathlib import Path
from typing import Any

import pytest

from armlite.models.completion import read_reply
from armlite.models.refusal import complaint_of

COMMITTED = Path(__file__).parent / "real" / "committed"
SERVERS = {name: json.loads((COMMITTED / f"{name}.json").read_text("utf-8")) for name in ("vllm", "transformers_serve")}
ALL = {**SERVERS, "llama_cpp": json.loads((COMMITTED / "llama_cpp.json").read_text("utf-8"))}


@pytest.mark.parametrize("name", SERVERS)
def test_a_served_judge_judges_as_the_local_engine_does(name: str) -> None:
    found = SERVERS[name]["with_rules"]
    assert found["judgments"] == 300
    assert found["equal_verdicts"] >= 298
    assert SERVERS[name]["plain_command"]["told"], "judging without its rules is not silent"
    assert SERVERS[name]["date"] and SERVERS[name]["versions"]


def test_an_adapter_behind_a_key_and_the_server_s_own_parsers_changes_nothing() -> None:
    found = SERVERS["vllm"]["adapter_with_parsers"]["with_rules"]
    assert found["equal_verdicts"] >= 298
    assert found["equal_conversations"] >= 298, "what the parsers took apart is put together as it was"


@pytest.mark.parametrize("name", ALL)
def test_recorded_replies_become_the_turns_that_were_judged(name: str) -> None:
    rows = ALL[name]["replies"] + ALL[name].get("adapter_with_parsers", {}).get("replies", [])
    assert rows
    for row in rows:
        assert read_reply(row["reply"]).text == row["turn"]
        assert read_reply(row["reply"]).prompt_tokens > 0


READ: dict[str, Any] = {
    "a model that is not there": "no_model",
    "a budget beyond the context": "too_many",
    "a prompt beyond the context": "overflow",
    "a picture": "no_images",
    "a stop string": "says_nothing",
}


@pytest.mark.parametrize("name", ALL)
def test_recorded_refusals_are_understood(name: str) -> None:
    for row in ALL[name]["refusals"]:
        if row["status"] == 200:
            continue
        complaint = complaint_of(row["status"], row["said"].encode(), {}, "")
        if row["case"] == "a field that nobody knows":
            assert complaint.refused(["seed", "no_such_field"]) == "no_such_field"
        else:
            assert getattr(complaint, READ[row["case"]]), row


def test_a_small_text_model_ends_within_its_bounds() -> None:
    row = ALL["llama_cpp"]
    assert row["ends"]["context_budget"] == 1
    assert row["longest_turn"] <= row["budget"]
    assert row["a picture"]["status"] == 2
    assert "takes no pictures" in row["a picture"]["said"]


def test_keeping_an_evaluation_costs_at_most_three_tenths() -> None:
    row = json.loads((COMMITTED / "writing.json").read_text("utf-8"))
    for how in ("at a glance", "with a zoom"):
        assert row[how]["judgments"] == 4000
        assert row[how]["ratio"] <= 1.3


def test_the_pocket_judge_s_probabilities_mean_what_they_say() -> None:
    found = json.loads((COMMITTED / "calibration.json").read_text("utf-8"))["pairwise"]
    assert found["n"] >= 1000 and 0.7 < found["before"]["accuracy"] < 0.8
    assert found["after"]["ece"] <= 0.05


def test_what_llama_cpp_s_converter_makes_says_what_transformers_says():
    found = json.loads((COMMITTED / "gguf.json").read_text("utf-8"))
    assert found["equal"] == found["questions"] == 4
    assert found["with_picture"]
