"""Cards without bfloat16 and Apple's GPU, none of which is here: what they compute in, and that float16 is enough."""

import copy
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_engine import PICTURES, WARM, mixed
from test_prefix import TRAINED
from tiny_qwen import converse, plain, tiny
from tiny_run import RULES, answer, call, lora, make_recipe, trainer_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from armlite.doctor import examine
from armlite.episode import Episode
from armlite.errors import ArmliteError
from armlite.judge import Judge
from armlite.models.bases import BASES
from armlite.models.device import find_device, has_bfloat16, spare_the_tower, usual_dtype
from armlite.models.engine import session
from armlite.models.engine.sampler import sample_tokens
from armlite.models.engine.selfcheck import SelfCheck
from armlite.models.engine.stacked import side_by_side
from armlite.models.engine.vision import VisionCache
from armlite.models.loading import load
from armlite.models.local import LocalModel
from armlite.models.sampling import Sampling
from armlite.plan import make_plan, write_fitted
from armlite.pocket.shipped import FOLDER
from armlite.pocket.world import generate
from armlite.recipe import load_recipe
from armlite.stages import SftSettings
from armlite.train import sft
from armlite.train.checkpoints import CompleteCheckpoints, train_to_end
from armlite.train.finite import BadSteps
from armlite.train.metrics import MetricsFile
from armlite.train.policy import Policy
from armlite.train.precision import adapters_in_float32, mixed_precision, precision_told, training_dtype
from armlite.train.sft import run_sft

pytestmark = pytest.mark.filterwarnings("ignore")
SEVEN = "recipes/qwen2.5-vl-7b-16gb.yaml"


def card(monkeypatch, major, name="Tesla T4"):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (major, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: name)


def half(model):
    made = copy.deepcopy(model).half()
    spare_the_tower(made)
    return made


@pytest.mark.parametrize(("major", "dtype"), [(7, torch.float16), (8, torch.bfloat16)], ids=["t4", "ampere"])
def test_a_card_computes_in_bfloat16_or_where_it_has_none_in_float16(major, dtype, monkeypatch):
    assert usual_dtype("cpu") == torch.float32
    card(monkeypatch, major)
    assert find_device("auto") == "cuda"
    assert usual_dtype("cuda") == usual_dtype("cuda:1") == training_dtype(load_recipe(SEVEN)) == dtype
    assert has_bfloat16("cuda") is (major == 8)
    assert mixed_precision(load_recipe(SEVEN)) == {"bf16": major == 8, "fp16": major == 7}
    told = precision_told(load_recipe(SEVEN))
    assert told is None if major == 8 else "float16 with loss scaling" in told and "Tesla T4 has no bfloat16" in told


def test_float16_can_be_asked_for_and_what_cannot_be_trained_in_is_one_sentence(monkeypatch):
    asked = lambda *changes: load_recipe(SEVEN, changes)  # noqa: E731
    with pytest.raises(ArmliteError, match="float16 is for training on a GPU"):
        training_dtype(asked("model.dtype=float16"))
    assert training_dtype(asked("model.dtype=bfloat16")) == torch.float32, "on a CPU"
    card(monkeypatch, 8)
    assert training_dtype(asked("model.dtype=float16")) == torch.float16
    card(monkeypatch, 7)
    with pytest.raises(ArmliteError, match="Tesla T4 has no bfloat16; leave it at auto"):
        training_dtype(asked("model.dtype=bfloat16"))
    whole = ("stages.sft.adapter=none", "model.quantize=none")
    with pytest.raises(ArmliteError, match=r"stages\.sft\.adapter: all weights cannot be trained in float16"):
        training_dtype(asked(*whole))
    assert training_dtype(asked(*whole, "model.dtype=float32")) == torch.float16


@pytest.mark.parametrize("base", BASES)
def test_a_rollout_in_float16_has_the_numbers_of_float32_but_for_rounding(base):
    model, processor = tiny(base=base)
    small = half(model)
    conversations, plans = mixed()
    played, _ = converse(LocalModel(small, processor, WARM), conversations, plans)
    for conversation in conversations:
        record = played.tokens(conversation)
        mask, said = torch.tensor(record.mask).bool(), torch.tensor(record.logprobs)
        for judge in (small, model):
            away = (plain(judge, processor, record, WARM.temperature).float() - said)[mask].abs()
            assert away.mean() < 0.01 and away.max() < 0.1


@pytest.mark.parametrize("base", BASES)
def test_a_vision_tower_whose_numbers_float16_cannot_hold_gives_those_of_float32(base):
    model, processor = tiny(base=base)
    with torch.no_grad():  # weights that float16 holds, of a block whose product it does not; a norm comes behind it
        for weight in model.model.visual.blocks[-1].mlp.parameters():
            weight *= 1e3
    look = lambda tested: (cache := VisionCache(tested, processor)).features(cache.look(PICTURES[0]))  # noqa: E731
    right = look(model)
    assert not look(copy.deepcopy(model).half()).isfinite().all()
    small = half(model)
    with torch.autocast("cpu", torch.bfloat16):
        found = look(small)
    assert found.dtype == torch.float16 and (found.float() - right).abs().max() < 1e-2 * right.abs().max()
    assert small.model.language_model.embed_tokens.weight.dtype == torch.float16


def test_a_judge_in_float16_has_its_tower_in_float32_and_judges_as_in_float32(tmp_path):
    tasks, rules = list(generate("test", 12, 5, tmp_path)), Judge.load(FOLDER, device="cpu").settings
    choices = {}
    for dtype in ("float16", "float32"):
        model, processor = load(FOLDER, dtype=dtype, device="cpu")
        assert {p.dtype for p in model.model.visual.parameters()} == {torch.float32}
        assert {p.dtype for p in model.model.language_model.parameters()} == {getattr(torch, dtype)}
        verdicts = Judge(LocalModel(model, processor), rules).judge_many(tasks, root=tmp_path)
        choices[dtype] = [verdict.choice for verdict in verdicts]
    assert sum(a == b for a, b in zip(*choices.values(), strict=True)) >= 11


def test_logits_that_float16_cannot_hold_end_a_rollout_in_one_sentence_that_names_it():
    model, processor = tiny()
    with torch.no_grad():
        model.model.language_model.layers[0].mlp.down_proj.weight *= 1e8
    conversations, plans = mixed()
    with pytest.raises(ArmliteError, match=r"float16 ends at 65,504; a card from 2020 on has bfloat16"):
        converse(LocalModel(half(model), processor, WARM), conversations, plans)


def test_trl_is_asked_for_loss_scaling(monkeypatch, tmp_path, pocket):
    monkeypatch.setattr(sft, "mixed_precision", lambda recipe: {"bf16": False, "fp16": True})
    zoom = pocket.tasks[0]
    plans = {zoom.id: [[answer(1)], [call(zoom), answer(1)]]}
    seen = []
    monkeypatch.setattr("armlite.train.grpo.JudgeGRPOTrainer", lambda **given: seen.append(given["args"]))
    trainer_of(pocket, tmp_path, plans, [zoom], make_recipe(1, 2))
    assert seen[0].fp16 and not seen[0].bf16


class Scaled:
    """Stands in for accelerate's optimizer with a GradScaler, whose scale halves."""

    def __init__(self, scale):
        self.scaler = SimpleNamespace(get_scale=lambda: scale)


def test_steps_that_are_skipped_while_the_scale_comes_down_do_not_end_a_stage(tmp_path):
    args = SimpleNamespace(output_dir=tmp_path, max_steps=100, learning_rate=1e-5, max_grad_norm=1.0, fp16=True)
    state = SimpleNamespace(global_step=9)
    bad = BadSteps("grpo1", 3)
    control = SimpleNamespace(should_save=True)
    for scale in (2.0**n for n in range(16, 0, -1)):
        bad.on_log(args, state, control, logs := {"grad_norm": math.inf}, None, Scaled(scale))
        assert logs["skipped"] == 1 and control.should_save
    bad.on_log(args, state, control, {"grad_norm": math.inf}, None, Scaled(1.0))
    bad.on_log(args, state, control, {"grad_norm": math.inf}, None, Scaled(0.5))
    with pytest.raises(ArmliteError, match="3 steps in a row, .* or float16, which ends at 65,504"):
        bad.on_log(args, state, control, {"grad_norm": math.inf}, None, Scaled(0.25))


def test_adapters_of_a_4_bit_model_are_trained_in_float32_though_trl_makes_them_bfloat16(tmp_path, pocket):
    recipe = make_recipe(1, 2)
    trainer = trainer_of(pocket, tmp_path, None, pocket.tasks[:1], recipe, quantize="4bit")
    assert {p.dtype for p in trainer.model.parameters() if p.requires_grad} == {torch.float32}
    attention = trainer.model.get_base_model().model.language_model.layers[0].self_attn
    parts = [getattr(attention, f"{name}_proj").lora_A["default"].weight for name in "qkv"]
    assert side_by_side(parts).data_ptr() == parts[0].data_ptr(), "no copy"


def test_weights_that_are_trained_whole_stay_as_they_are():
    model, _ = tiny()
    adapters_in_float32(model.bfloat16())
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    wrapped = get_peft_model(tiny()[0].bfloat16(), LoraConfig(r=2, target_modules=TRAINED)).bfloat16()
    adapters_in_float32(wrapped)
    assert {p.dtype for p in wrapped.parameters() if p.requires_grad} == {torch.float32}
    assert wrapped.get_base_model().lm_head.weight.dtype == torch.bfloat16


@pytest.fixture
def in_float16():
    """Makes a trainer on the CPU compute in float16 with loss scaling, as accelerate sets it up for a card."""
    states = []

    def made(trainer, scale):
        accelerator = trainer.accelerator
        accelerator.native_amp, accelerator.scaler = True, torch.amp.GradScaler("cpu", init_scale=scale)
        accelerator.state._mixed_precision = "fp16"
        states.append(accelerator.state)

    yield made
    for state in states:
        state._mixed_precision = "no"


def learn(stage, pocket, folder, prepare):
    """Eight steps of a stage with adapters; the rows of its metrics and the trainer."""
    zoom, metrics, trainers = pocket.tasks[0], MetricsFile(folder / "metrics.jsonl"), []

    def begin(trainer, resume=False):
        trainers.append(trainer)
        prepare(trainer)
        return train_to_end(trainer, resume)

    if stage == "grpo":
        plans = {zoom.id: [[answer(1)], [answer(2)], [call(zoom), answer(1)], ["no tags"]]}
        recipe = make_recipe(1, 4, steps=8, save_steps=8)
        watch = [CompleteCheckpoints(), BadSteps("grpo2", 3), metrics.callback("grpo2")]
        trainer = trainer_of(pocket, folder, plans, [zoom], recipe, callbacks=watch)
        with trainer._chat.vision.features_from_ids():
            begin(trainer)
    else:
        episode = Episode.open(zoom, RULES, pocket.root)
        for turn in (call(zoom), answer(1)):
            episode.advance(turn)
        own = SftSettings(steps=8, save_steps=8, learning_rate=1e-3, gradient_checkpointing=False)
        policy = Policy(*load(pocket.folder), lora())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sft, "train_to_end", begin)
            run_sft(make_recipe(), "sft", own, policy, [episode.conversation], folder, metrics)
    return metrics.read(), trainers[0]


@pytest.mark.parametrize(("stage", "scale"), [("grpo", 2.0**22), ("sft", 2.0**21)], ids=["grpo", "sft"])
def test_a_stage_learns_in_float16_what_it_learns_in_float32_and_skips_steps_until_the_scale_fits(
    stage, scale, pocket, tmp_path, in_float16
):
    plain_rows, _ = learn(stage, pocket, tmp_path / "plain", lambda trainer: None)
    rows, trainer = learn(stage, pocket, tmp_path / "half", lambda trainer: in_float16(trainer, scale))
    taken = [row for row in rows if not row.get("skipped")]
    assert 3 < len(rows) - len(taken) < 8, "more in a row than end a stage without a scale"
    assert trainer.accelerator.scaler.get_scale() < scale
    for row, right in zip(taken, plain_rows, strict=False):
        assert row["loss"] == pytest.approx(right["loss"], rel=0.02)
        assert row["grad_norm"] == pytest.approx(right["grad_norm"], rel=0.05), "as if nothing had been scaled"
    assert list((tmp_path / "half").glob("checkpoint-*/scaler.pt")), "a run that goes on has its scale"


def test_the_plan_knows_which_cards_compute_in_float16_and_what_the_tower_then_takes():
    recipe = load_recipe(SEVEN)
    old, new = make_plan(recipe, "t4"), make_plan(recipe, "rtx4060ti")
    told = "computes in float16 with loss scaling, the vision tower in float32: T4 has no bfloat16"
    assert told in old["notes"] and not any("float16" in note for note in new["notes"])
    towers = [made["stages"]["sft"]["parts"]["vision tower"] for made in (old, new)]
    assert towers[0] == pytest.approx(2 * towers[1], rel=1e-3)
    assert old["stages"]["sft"]["parts"]["language model"] == new["stages"]["sft"]["parts"]["language model"]
    asked = make_plan(load_recipe(SEVEN, ["model.dtype=float16"]), "rtx4060ti")
    assert "computes in float16 with loss scaling, the vision tower in float32" in asked["notes"]


def test_a_recipe_that_is_fitted_to_such_a_card_leaves_the_type_to_the_card(tmp_path):
    write_fitted(load_recipe("recipes/qwen2.5-vl-7b-24gb.yaml"), "t4", tmp_path / "fitted.yaml", Path("x.yaml"))
    fitted = load_recipe(tmp_path / "fitted.yaml")
    assert fitted.model.dtype == "auto" and make_plan(fitted, "t4")["fits"]


class WideFloats(TorchDispatchMode):
    """Counts tensors of 64-bit floats that are made while it is not `paused`: Apple's GPU has none."""

    def __init__(self):
        super().__init__()
        self.paused, self.found, self.seen = False, [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.seen += 1
        if not self.paused and any(isinstance(t, torch.Tensor) and t.dtype == torch.float64 for t in tree_leaves(made)):
            self.found.append(str(func))
        return made

    def around(self, work):
        def apart(*args, **kwargs):
            self.paused = True
            try:
                return work(*args, **kwargs)
            finally:
                self.paused = False

        return apart


class OnApple(torch.Tensor):
    """A tensor that says it is on Apple's GPU, and comes to the CPU when asked."""

    device = property(lambda self: torch.device("mps"))

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_apples_gpu_judges_where_it_is_named_in_float16_and_not_in_4_bits(monkeypatch):
    for asked in (lambda: load(FOLDER, device="mps"), lambda: Judge.load(FOLDER, device="mps").model.load()):
        with pytest.raises(ArmliteError, match="device is 'mps', but this machine .* has no Apple GPU"):
            asked()
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert (find_device("mps"), find_device("auto"), usual_dtype("mps")) == ("mps", "cpu", torch.float16)
    assert any(f.name == "GPU" and "--device mps" in f.text for f in examine()), "doctor says so"
    with pytest.raises(ArmliteError, match="4-bit weights are not for device 'mps'"):
        load(FOLDER, device="mps", quantize="4bit")
    with pytest.raises(ArmliteError, match="not one of auto, cpu, cuda, cuda:N, mps"):
        find_device("mps:1")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_no_number_of_a_rollout_is_wider_than_apples_gpu_takes(temperature, monkeypatch):
    model, processor = tiny()
    conversations, plans = mixed()
    mode = WideFloats()
    # Both come to the CPU first: the one by `.cpu()`, the other as the next test sees.
    monkeypatch.setattr(SelfCheck, "agree", mode.around(SelfCheck.agree))
    monkeypatch.setattr(session, "sample_tokens", mode.around(session.sample_tokens))
    with mode:
        converse(LocalModel(half(model), processor, WARM.model_copy(update={"temperature": temperature})),
                 conversations, plans)  # fmt: skip
    assert mode.seen > 1000 and not mode.found


def test_tokens_are_drawn_on_the_cpu_where_logits_are_on_apples_gpu():
    logits, forbidden = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)), torch.tensor([4, 7])
    how = Sampling(temperature=0.7, top_p=0.9), forbidden, [0.1, 0.5, 0.9]
    assert sample_tokens(logits.as_subclass(OnApple), *how) == sample_tokens(logits, *how)
