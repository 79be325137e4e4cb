"""The hours of a whole run: worked out by hand from counts and rates, and where the rates are from."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from armlite.cli import app
from armlite.data.tasks import write_tasks
from armlite.plan.cards import CARDS, card_named
from armlite.plan.hours import hours
from armlite.plan.seconds import Profile, estimated_rates, rates_for, read_profile
from armlite.plan.shapes import SHAPES
from armlite.pocket.world import generate
from armlite.recipe import load_recipe

SEVEN = "recipes/qwen2.5-vl-7b-24gb.yaml"
SHAPE = SHAPES["Qwen/Qwen2.5-VL-7B-Instruct"]
PLAIN = ["data.build=null", "evaluation.benchmarks=[]", "stages.sft.steps=400"]
PLAIN += [f"stages.grpo{n}.{setting}" for n in (1, 2) for setting in ("num_generations=8", "tasks_per_step=1")]
PLAIN += [f"stages.grpo{n}.gradient_accumulation_steps=8" for n in (1, 2)]
"""Changes: one group of 8 a step, and no data or benchmarks of others."""
RATES = {"prefill_tokens_per_second": 2100.0, "decode_step_seconds": 0.032, "update_tokens_per_second": 1175.0}
"""A judgment of 1,200 + 900 tokens read and 250 written: 1 s and 8 s of a batch."""


def told(recipe, rates=RATES):
    found = hours(recipe, rates)
    return {row["part"]: row["hours"] for row in found["parts"]}, found


def test_each_part_of_a_run_is_counted_and_they_add_up():
    changes = [*PLAIN, "data.n_tasks=90", "data.n_evaluation=9", "engine.max_slots=4", "evaluation.batch=8"]
    parts, found = told(load_recipe(SEVEN, changes))
    judgment = 1 + 250 * 0.032 / 4  # four at once
    assert parts["evaluations"] * 3600 == pytest.approx((4 * 3 * 9 + 3 * 9) * judgment), "both orders, but of the base"
    assert parts["filter of grpo1"] * 3600 == parts["filter of grpo2"] * 3600 == pytest.approx(90 * 5 * judgment)
    assert parts["sft"] * 3600 == pytest.approx(400 * 16 * 2350 / 1175)
    step = (1200 + 8 * 900) / 2100 + 2 * 250 * 0.032 + (1200 + 8 * 1150) / 1175  # two waves of four rollouts
    assert parts["grpo2"] * 3600 == pytest.approx(200 * step)
    assert "benchmarks" not in parts and "data, made by the base" not in parts
    assert found["whole"] and found["total"] == pytest.approx(sum(parts.values()))


def test_what_was_measured_beside_the_text_counts_for_each_rollout():
    changes = [*PLAIN, "data.n_tasks=90"]
    less, more = (told(load_recipe(SEVEN, changes), RATES | other)[0] for other in ({}, {"other_seconds": 2.0}))
    assert more["filter of grpo1"] - less["filter of grpo1"] == pytest.approx(90 * 5 * 2 / 3600)
    assert more["grpo1"] - less["grpo1"] == pytest.approx(50 * 8 * 2 / 3600)
    assert more["sft"] == less["sft"]


def test_data_that_is_built_counts_with_its_judgments_its_training_tasks_and_those_held_out():
    parts, found = told(load_recipe(SEVEN, ["data.n_tasks=null", "data.n_evaluation=null"]))
    rows = {row["part"]: row["work"] for row in found["parts"]}
    assert rows["data, made by the base"] == "8,000 judgments"
    assert rows["filter of grpo1"] == f"{5 * 7680:,} judgments" and rows["evaluations"] == f"{320 * 15:,} judgments"
    assert parts["benchmarks"] > 0


def test_what_is_not_known_is_said_and_left_out_of_the_total(tmp_path):
    recipe = load_recipe(SEVEN, [*PLAIN, "data.n_tasks=null", "data.tasks=nowhere.jsonl"])
    parts, found = told(recipe)
    assert parts["filter of grpo1"] is None and parts["filter of grpo2"] is None and not found["whole"]
    assert found["total"] == pytest.approx(sum(h for h in parts.values() if h is not None))
    write_tasks(tmp_path / "tasks.jsonl", generate("train", 6, 0, tmp_path))
    parts, found = told(
        load_recipe(
            SEVEN, [*PLAIN, "data.n_tasks=null", "engine.max_slots=8", f"data.tasks={tmp_path / 'tasks.jsonl'}"]
        )
    )
    assert parts["filter of grpo1"] * 3600 == pytest.approx(6 * 5 * (1 + 1))


def test_rates_of_another_card_are_brought_to_this_one_in_proportion_and_the_plan_says_so():
    recipe, measured = load_recipe(SEVEN), Profile("NVIDIA H200", {**RATES, "other_seconds": 0.5})
    same, said = rates_for(recipe, SHAPE, CARDS["h200"], measured)
    assert same == measured.rates and said == "from rates measured on NVIDIA H200"
    found, said = rates_for(recipe, SHAPE, CARDS["rtx4090"], measured)
    assert said == "estimated from rates measured on NVIDIA H200 and the data sheets of both cards"
    estimated = [estimated_rates(recipe, SHAPE, CARDS[name]) for name in ("rtx4090", "h200")]
    for name in RATES:
        assert found[name] / RATES[name] == pytest.approx(estimated[0][name] / estimated[1][name])
    assert found["other_seconds"] == 0.5
    foreign = Profile("some CPU", RATES)
    assert rates_for(recipe, SHAPE, CARDS["t4"], foreign) == (RATES, "from rates measured on some CPU, not on T4")
    assert rates_for(recipe, SHAPE, None, None) is None
    assert "data sheet of T4" in rates_for(recipe, SHAPE, CARDS["t4"], None)[1]


@pytest.mark.parametrize(
    ("driver", "card"),
    [("NVIDIA GeForce RTX 4090", "rtx4090"), ("Tesla T4", "t4"), ("NVIDIA H200", "h200"), ("x86_64 CPU", None)],
    ids=["4090", "t4", "h200", "cpu"],
)
def test_a_card_is_known_by_the_name_that_its_driver_has(driver, card):
    assert card_named(driver) == (CARDS[card] if card else None)


def test_the_profile_that_comes_along_has_what_a_rollout_takes_beside_the_text():
    rates = read_profile(Path("recipes/qwen2.5-vl-7b-24gb.bench.json")).rates
    assert 0 < rates["other_seconds"] < 1


def test_the_command_prints_the_hours_and_what_they_rest_on():
    said = CliRunner().invoke(app, ["plan", SEVEN, "--gpu", "24gb"]).stdout
    assert "hours of a whole run" in said and "filter of grpo1" in said and "measured on NVIDIA H200" in said
    made = json.loads(CliRunner().invoke(app, ["plan", SEVEN, "--gpu", "24gb", "--json"]).stdout)
    assert made["hours"]["whole"] and made["hours"]["total"] > 1
