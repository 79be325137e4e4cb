"""What `tests/real/miniatures.py` wrote down is without a fault; the table in the docs is made of it."""

import json
from pathlib import Path

import pytest
from real.miniatures import EXACT, MODELS, WAYS, WITHIN, faults_of

KEPT = json.loads((Path(__file__).parent / "real/committed/miniatures.json").read_text(encoding="utf-8"))
STAGES = {"sft", "grpo1", "grpo2"}


@pytest.mark.parametrize("name", KEPT["played"])
def test_a_miniature_went_through_whole_steps_without_a_warning_and_within_the_plan(name):
    one = KEPT["played"][name]
    assert faults_of(one) == []
    if "stages" in one:
        assert set(one["stages"]) == STAGES
        assert {part for row in one["stages"].values() for part in row["memory"]} >= set(EXACT)
        assert one["stages"]["grpo2"]["tokens_updated"] < one["stages"]["grpo2"]["tokens"]  # prompts once


def test_each_base_was_played_in_each_way_and_what_was_not_is_named():
    wanted = {f"{model.rpartition('/')[2].removesuffix('-Instruct')} {way}" for model in MODELS for way in WAYS}
    assert wanted == set(KEPT["played"]) | set(KEPT["not_played"])
    assert KEPT["within"] == WITHIN and KEPT["minutes"] <= 40


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda one: one["said"].append("UserWarning: x"), "said 'UserWarning: x'"),
        (lambda one: one["stages"]["sft"].update(gradient_norm=0.0), "sft has no gradient"),
        (lambda one: one["stages"]["grpo2"]["memory"]["cache"].update(error=-0.2), "grpo2: cache off by -20%"),
    ],
    ids=["warning", "gradient", "memory"],
)
def test_a_fault_is_found(change, fault):
    one = json.loads(json.dumps(next(one for one in KEPT["played"].values() if "stages" in one)))
    change(one)
    assert faults_of(one) == [fault]


def test_logits_that_are_not_finite_are_a_fault():
    assert faults_of({"said": [], "finite": False}) == ["logits are not finite"]
