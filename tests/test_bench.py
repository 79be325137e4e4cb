"""`armlite bench`: both loops play the same tokens, counts are the script's, and a report is kept up to date."""

import gc
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_qwen import tiny
from transformers import AutoConfig
from typer.testing import CliRunner

from armlite.bench.folders import cut, write_folder
from armlite.bench.models import Measured, random_model, small
from armlite.bench.report import Wanted, measure
from armlite.bench.run import _Bench, run
from armlite.bench.sharing import figures_of
from armlite.bench.stock_trl import same_arguments
from armlite.bench.workloads import TABLE, Goal, Workload, chosen
from armlite.cli import app
from armlite.errors import ArmliteError
from armlite.models.engine.kv_cache import KVCache
from armlite.models.engine.tokens import TokenRecord
from armlite.models.processor import load_processor
from armlite.plan.shapes import SHAPES, from_config
from armlite.recipe import load_recipe
from armlite.rewards import get_reward

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = Workload(
    "tiny",
    "two groups of two, one crop",
    (Goal("images_dropped", most=0), Goal("ratio_rollout", least=0.0), Goal("reserved_gib", most=1.0)),
    prompts=2,
    group=2,
    image_tokens=16,
    prompt_tokens=340,
    crops=(9, 16),
    turn_tokens=40,
)


@pytest.fixture(scope="module")
def pocket():
    return small("pocket")


@pytest.fixture(scope="module")
def row(pocket):
    (made,) = run(pocket, [SMALL], against_trl=True, repetitions=2)
    return made


def median(row, figure, who="ours"):
    return row[who][figure]["median"]


def test_each_image_is_encoded_once_in_a_step_and_each_token_prefilled_once(row):
    crops = 2 * 2 * 2
    assert median(row, "images_encoded") == 2 + crops
    # Of four prompts two are copied, but for their last tokens; and the last token of a rollout needs no forward.
    entered = median(row, "tokens_prefilled") + median(row, "tokens_copied") + median(row, "tokens_decoded")
    assert entered == median(row, "tokens") - 4
    assert median(row, "tokens_copied") >= 2 * (median(row, "prompt_tokens") - 1)
    assert median(row, "images_dropped") == 0
    # The stock loop: a prompt's image at each of 3 turns for all 4, crops in later turns, and all again in the update.
    assert median(row, "images_encoded", "stock") == 4 * (1 + 2 + 3) + 4 * 3
    assert median(row, "tokens_prefilled", "stock") > 2 * median(row, "tokens_prefilled")


def test_rollouts_that_fork_late_take_a_third_of_the_tokens_of_rows_of_their_own(pocket):
    """W3's shape, scaled, with a group of 8: both in the rollout and in the update."""
    late = TABLE["W3-late"]
    work = replace(late.scaled(), group=late.group)
    (row,) = run(pocket, [work], repetitions=1)
    rows = median(row, "tokens")
    assert work.turns == 4 and work.alike == 3
    assert median(row, "tokens_prefilled") + median(row, "tokens_decoded") <= rows / 3
    assert median(row, "tokens_updated") <= rows / 3


def test_a_row_tells_what_fast_ways_differ_from_plain_ones_by(row):
    ways = ("packed_layers", "shared_beginnings_of_rollouts", "packed_updates")
    assert all(0 <= median(row, f"difference_of_{way}") < 1e-4 for way in ways)


def test_both_loops_hold_the_same_tokens(row):
    assert median(row, "tokens") == median(row, "tokens", "stock")
    calls = 4 * 2
    assert median(row, "generated_tokens") + calls == median(row, "generated_tokens", "stock")


def test_a_row_has_times_ratios_goals_and_settings(row):
    times = [median(row, f"{phase}_seconds") for phase in ("vision", "prefill", "decode", "tools")]
    assert min(times) > 0
    assert sum(times) == pytest.approx(median(row, "rollout_seconds"), rel=0.2)
    for name in ("rollout", "step"):
        assert len(row["ratios"][name]) == 2
        assert row["ratio"][name] == pytest.approx(sum(row["ratios"][name]) / 2)
    assert row["goals"] == {"images_dropped <= 0": True, "ratio_rollout >= 0": True, "reserved_gib <= 1": None}
    assert row["settings"]["micro_batch"] * row["settings"]["accumulation"] == 4


def test_both_loops_are_given_the_same_cut_of_a_step(pocket, tmp_path):
    recipe = tmp_path / "own.yaml"
    recipe.write_text(
        "model: {path: pocket}\nlora: {r: 4}\nstages:\n  grpo2:\n    per_device_train_batch_size: 2\n"
        "    gradient_accumulation_steps: 4\n    gradient_checkpointing: true\n    beta: 0.04\n"
    )
    bench = _Bench(pocket, SMALL, load_recipe(recipe), tmp_path / "work")
    ours, _ = bench._ours()
    given = same_arguments(ours.trainer.args, bench._stage)
    assert (given.per_device_train_batch_size, given.gradient_accumulation_steps) == (2, 2)
    assert given.steps_per_generation == 2
    assert (given.gradient_checkpointing, given.beta) == (True, 0.04)
    assert ours.trainer._budget.rows == 2
    assert bench.recipe.lora.r == 4


@pytest.mark.parametrize("work", ["W3", "W4-8", "W6-1", "W7", "W8", "W9"])
def test_every_kind_of_work_can_be_tried_on_the_pocket_model(pocket, work):
    from dataclasses import replace

    scaled = TABLE[work].scaled()
    scaled = replace(scaled, group=min(scaled.group, 2), turn_tokens=30, image_tokens=min(scaled.image_tokens, 25))
    (row,) = run(pocket, [replace(scaled, crops=tuple(16 for _ in scaled.crops), page_tokens=16)], repetitions=1)
    assert row["ours"]
    if work == "W9":
        assert median(row, "logprob_largest_difference") <= 5e-5
    if work == "W3":
        assert median(row, "images_dropped") == 0


@pytest.mark.parametrize(("quantize", "base"), [(False, "qwen2_5_vl"), (True, "qwen2_5_vl"), (True, "qwen3_vl")])
def test_random_weights_have_the_true_shape_and_can_be_measured(quantize, base):
    model, processor = tiny(base=base)
    made = random_model(model.config, quantize, torch.float32, torch.device("cpu"))
    assert {n for n, _ in made.named_parameters()} == {n for n, _ in model.named_parameters()}
    for (_, one), (_, other) in zip(model.named_buffers(), made.named_buffers(), strict=True):
        assert torch.equal(one, other)
    if quantize:
        assert made.model.language_model.layers[0].mlp.up_proj.weight.dtype == torch.uint8
        assert made.lm_head.weight.dtype == torch.float32
    work = Workload("one", "one group", group=2, image_tokens=4, prompt_tokens=9, crops=(4,), turn_tokens=9)
    (row,) = run(Measured(made, processor, "tiny"), [work], repetitions=1)
    assert median(row, "images_encoded") == 3


@pytest.mark.parametrize("play", ["step", "rollout", "sft"])
def test_memory_is_told_part_by_part_beside_what_the_plan_says(pocket, play):
    (row,) = run(pocket, [replace(SMALL, play=play, prompts=1, turn_tokens=30)], repetitions=0, parts=True)
    stands, moves = {"weights", "adapters", "optimizer"}, {"cache", "rollout"}
    wanted = {"step": stands | moves | {"activations"}, "rollout": moves, "sft": stands | {"sft activations"}}
    assert set(row["memory"]) == wanted[play]
    for part, found in row["memory"].items():
        exact = part in stands or part == "cache"
        assert found["measured_gib"] > 0
        assert abs(found["error"]) <= (0.01 if exact else 5), (part, found)


@pytest.mark.parametrize("reward", ["encourage_tools", "hierarchical"])
@pytest.mark.parametrize("size", [2, 4, 8])
def test_rollouts_of_a_group_never_all_earn_the_same(pocket, size, reward, tmp_path):
    bench = _Bench(pocket, replace(SMALL, id=f"{size}", group=size, prompts=1, reward=reward), None, tmp_path)
    earned = [get_reward(reward)(episode.trajectory()).total for _, episode in bench._episodes()]
    assert len(set(earned)) > 1 and len(earned) == size


@pytest.mark.parametrize("name", [name for name in SHAPES if name.startswith("Qwen/")], ids=lambda name: name[5:])
def test_a_folder_without_weights_has_a_known_models_sizes_and_a_tokenizer_at_hand(name, tmp_path, pocket):
    pocket.processor.save_pretrained(tmp_path / "words")
    folder = write_folder(name, tmp_path / "words", tmp_path / "made")
    config = AutoConfig.from_pretrained(folder)
    assert from_config(config.to_dict(), name) == SHAPES[name]
    assert load_processor(folder).tokenizer.get_vocab() == pocket.processor.tokenizer.get_vocab()
    small_one = cut(config).to_dict()
    assert small_one["text_config"]["num_hidden_layers"] == small_one["vision_config"]["depth"] == 2
    # Not behind the last layer of text, where the packed update has nothing to add them to.
    assert from_config(small_one, name).levels == min(1, SHAPES[name].levels)


def test_an_unknown_models_folder_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ArmliteError, match=r"Did you mean 'Qwen/Qwen3-VL-4B-Instruct'\?"):
        write_folder("Qwen/Qwen3-VL-4B", tmp_path, tmp_path / "made")


def test_workloads_are_chosen_by_id_and_typos_are_named():
    assert [w.id for w in chosen("W1, w4")] == ["W1", "W4-1", "W4-8", "W4-16", "W4-32", "W4-64"]
    assert [w.id for w in chosen("W3,w3-late")] == ["W3", "W3-late"]
    with pytest.raises(ArmliteError, match=r"no workload 'defualt'. Did you mean 'default'\?"):
        chosen("defualt")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--size", "huge"], "--size is 'huge'"),
        (["--against", "verl"], "--against is 'verl'"),
        (["--random-weights"], "give --recipe"),
        (["--recipe", "missing.yaml"], "missing.yaml does not exist"),
        (["--operators", "lora.r=4"], "give --recipe"),
        (["--sharing", "recipes"], "recipes is no run directory"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(words, why):
    result = CliRunner().invoke(app, ["bench", *words])
    assert result.exit_code == 2
    assert why in result.output
    assert "Traceback" not in result.output


def test_operators_are_counted_without_a_card_and_told_as_a_table_and_as_json():
    words = ["bench", "--operators", "--recipe", "recipes/pocket-qlora.yaml", "model.path=pocket"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0 and "| **a layer: all** |" in said.output
    (row,) = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert row["what"].startswith("pocket, NF4, LoRA r16, 1 row")
    assert sum(row["ours"]["layer"].values()) < sum(row["modules"]["layer"].values())


def test_what_rollouts_have_in_common_is_counted_with_the_groups_that_fork_late():
    def record(group, completion, mask):
        return TokenRecord([group] * 50, completion, mask, [0.0] * len(mask), (), (), bytes([group]), True)

    turn, seen = [7] * 20, [8] * 30
    late = [record(1, turn + seen + [n] * 10, [1] * 20 + [0] * 30 + [1] * 10) for n in (3, 4)]
    early = [record(2, [n] * 20, [1] * 20) for n in (3, 4)]
    assert figures_of(late + early) == {
        "tokens": 2 * 110 + 2 * 70,
        "tokens_with_prompts_shared": 100 + 2 * 60 + 2 * 20,
        "tokens_with_all_shared": (100 + 2 * 10) + (50 + 2 * 20),
        "groups": 2,
        "groups_that_fork_after_equal_turns": 1,
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_a_cap_needs_a_card():
    with pytest.raises(ArmliteError, match="has none"):
        measure(Wanted(None, [], False, 16.0, None, "pocket", "W1", 1, None))


def test_the_file_holds_each_row_as_soon_as_it_is_done(tmp_path):
    out, seen = tmp_path / "bench.json", []

    def look(row):
        seen.append([r["work"] for r in json.loads(out.read_text())["rows"]])

    report = measure(Wanted(None, [], False, None, None, "pocket", "W1,W2", 1, out), on_row=look)
    assert seen == [["W1"], ["W1", "W2"]]
    assert json.loads(out.read_text()) == report
    assert {"model", "device", "versions", "date", "command"} <= set(report)


def test_the_size_of_a_batch_that_is_measured_is_not_cut_by_the_recipes_slots(pocket, tmp_path):
    recipe = load_recipe(Path("recipes/pocket.yaml"), ["engine.max_slots=2", "engine.cuda_graphs=true"])
    for name, slots in [("rollout", 4), ("judge", 4), ("step", 2)]:
        work = replace(SMALL, play=name, prompts=2, group=2)
        engine = _Bench(pocket, work, recipe, tmp_path / name).recipe.engine
        assert (engine.max_slots, engine.cuda_graphs) == (slots, True)


def test_a_goal_finds_its_figure_in_a_row_or_says_that_it_was_not_measured():
    row = {"ours": {"step_seconds": {"median": 7.0}}, "ratio": {"rollout": 3.5}}
    found = {g.figure: g.value(row) for g in (Goal("step_seconds"), Goal("ratio_rollout"), Goal("ratio_step"))}
    assert found == {"step_seconds": 7.0, "ratio_rollout": 3.5, "ratio_step": None}
    assert Goal("reserved_gib").value(row) is None


def test_a_repetition_leaves_no_cache_behind(pocket, tmp_path):
    bench = _Bench(pocket, replace(SMALL, steps=3), None, tmp_path)
    ours, _ = bench._ours()
    ours.repeat()
    gc.collect()
    assert not [kept for kept in gc.get_objects() if type(kept) is KVCache]
