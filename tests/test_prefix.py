"""The packed forward of the update: the same log-probabilities and gradients as each rollout alone."""

import copy
from types import SimpleNamespace

import pytest
import torch
from tiny_qwen import noise, tiny

from armlite.models.bases import BASES
from armlite.models.engine.tokens import Span, Tokens
from armlite.models.engine.vision import VisionCache
from armlite.train.attention import Branches, packed_attention
from armlite.train.lowrank import lora_linear
from armlite.train.prefix import install_packed_forward, pack_rows, rows_from_records, why_not_packed
from armlite.train.tree import pieces_of

torch.set_num_threads(1)
TEMPERATURE = 0.7
TRAINED = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"


def batch_of(model, processor, rollouts):
    """A batch as the trainer has it. `rollouts`: (prompt, completion), each a list of text lengths and images."""
    random = torch.Generator().manual_seed(3)
    image_id, look = model.config.image_token_id, VisionCache(model, processor).look
    texts, lines, images, counts, records = {}, [], [], [], []

    def ids_of(parts, start):
        ids, spans = [], []
        for part in parts:
            if isinstance(part, list):
                ids += part
            elif isinstance(part, int):
                ids += torch.randint(3, 200, (part,), generator=random).tolist()
            else:
                spans.append(Span(start + len(ids), look(part), 2))
                ids += [image_id] * spans[-1].picture.tokens
                images.append(processor.image_processor(images=[part], return_tensors="pt"))
        return ids, spans

    for prompt, completion in rollouts:
        before, tokens = len(images), Tokens()
        made, spans = ids_of(prompt, 0)
        first = texts.setdefault(
            tuple(p if isinstance(p, int) else p.size for p in prompt), made
        )  # the same shape: the same ids
        tokens.extend(first, spans)
        second, spans = ids_of(completion, len(first))
        tokens.extend(second, spans)
        lines.append((first, second))
        records.append(tokens.record())
        counts.append(len(images) - before)
    pixels = torch.cat([made["pixel_values"] for made in images]) if images else None
    keep = max(len(completion) for _, completion in lines)
    return SimpleNamespace(records=records, keep=keep, lines=lines, images=images, counts=counts, pixels=pixels)


def mixed(model, processor):
    """Two groups, one with an image; completions with none, one and two images, of one token and of many."""
    big, small, crop = noise(84, 112), noise(56, 56, 1), noise(28, 84, 2)
    one, other = [7, big, 12], [23]
    return batch_of(
        model,
        processor,
        [
            (one, [9]),
            (other, [5]),
            (one, [6, small, 8, crop, 3]),
            (other, [1]),
            (one, [4, crop, 9]),
            (other, [4, big, 2]),
        ],
    )


def packed_logps(model, batch, wanted=None):
    rows = rows_from_records(batch.records, wanted)
    made = pack_rows(rows, model, batch.pixels)
    logps, entropies = model(packed=made)
    empty = torch.zeros(len(rows), batch.keep)
    return empty.index_put(made.places, logps), empty.index_put(made.places, entropies), made


def plain_logps(model, batch):
    """Each rollout alone through the model's own forward."""
    found, entropies, used = torch.zeros(len(batch.lines), batch.keep), torch.zeros(len(batch.lines), batch.keep), 0
    rows = []
    for (prompt, completion), count in zip(batch.lines, batch.counts, strict=True):
        row = torch.tensor([prompt + completion])
        own, used = batch.images[used : used + count], used + count
        inputs = {k: torch.cat([made[k] for made in own]) for k in ("pixel_values", "image_grid_thw") if own}
        if own:
            inputs["mm_token_type_ids"] = (row == model.config.image_token_id).int()
        logits = model(input_ids=row, **inputs).logits[0].float() / TEMPERATURE
        logps = logits[:-1].log_softmax(-1)[len(prompt) - 1 :]
        rows.append(logps.gather(-1, row[0, len(prompt) :, None])[:, 0])
        entropies[len(rows) - 1, : len(completion)] = -(logps.exp() * logps).sum(-1).detach()
    return torch.stack([torch.nn.functional.pad(r, (0, batch.keep - len(r))) for r in rows]) + found, entropies


def lora(model, **options):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules=TRAINED, task_type="CAUSAL_LM", init_lora_weights=False, **options)
    return get_peft_model(model, config)


def pair(adapter, checkpointing=False, **shape):
    """Twice the same model: one that runs packed, one as transformers made it."""
    torch.manual_seed(1)
    model, processor = tiny(**shape)
    other = copy.deepcopy(model)
    install_packed_forward(model, TEMPERATURE)
    if adapter:
        torch.manual_seed(2)
        model = lora(model)
        torch.manual_seed(2)
        other = lora(other)
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train(), other, processor


def gradients(model):
    return {n: p.grad for n, p in model.named_parameters() if p.requires_grad and p.grad is not None}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("adapter", [False, True], ids=["all weights", "lora"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
def test_logprobs_and_gradients_are_those_of_each_rollout_alone(adapter, checkpointing, base):
    model, other, processor = pair(adapter, checkpointing, base=base)
    batch = mixed(model, processor)
    weights = torch.randn(len(batch.lines), batch.keep, generator=torch.Generator().manual_seed(5))
    found, entropies, _ = packed_logps(model, batch)
    right, right_entropies = plain_logps(other, batch)
    assert (found - right).abs().max() <= 5e-5
    assert (entropies - right_entropies).abs().max() <= 5e-5
    (found * weights).sum().backward()
    (right * weights).sum().backward()
    mine, theirs = gradients(model), gradients(other)
    assert mine.keys() == theirs.keys()
    assert any("vision" in n or "visual" in n for n in mine) is not adapter
    for name, gradient in theirs.items():
        assert (mine[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_a_prompt_goes_through_the_model_once_and_no_token_for_nothing():
    model, _, processor = pair(adapter=False)
    batch = mixed(model, processor)
    wanted = torch.ones(len(batch.lines), batch.keep)
    wanted[0, 5:], wanted[1] = 0, 0
    found, _, made = packed_logps(model, batch, wanted)
    lengths = [len(completion) for _, completion in batch.lines]
    used = [4, *(n - 1 for n in lengths[2:])]  # nothing goes on from the last token wanted
    assert len(made.ids) == len(batch.lines[0][0]) + len(batch.lines[1][0]) + sum(used)
    assert made.image_grid_thw.shape[0] == 1 + 2 + 1 + 1  # the group's image once, then those of the completions
    every, _, whole = packed_logps(model, batch)
    assert (found - every * wanted).abs().max() <= 1e-5
    assert found[1].abs().max() == 0
    assert len(whole.targets) == sum(lengths)


def test_rollouts_that_show_other_images_in_the_same_prompt_share_nothing():
    model, other, processor = pair(adapter=False)
    batch = batch_of(model, processor, [([6, noise(56, 56, 1)], [5]), ([6, noise(56, 56, 2)], [5])])
    assert batch.lines[0][0] == batch.lines[1][0]
    found, _, made = packed_logps(model, batch)
    assert [end == stop for _, end, stop in made.branches.pieces] == [True, True]
    assert (found - plain_logps(other, batch)[0]).abs().max() <= 5e-5


def late_forks(model, processor):
    """A group that forks late, twice over: equal turns, an equal crop, then other words; a copy, and one cut short."""
    big, crop, other = noise(84, 112), noise(56, 84, 1), noise(56, 84, 2)
    words, more, end = [[i] * 20 for i in (11, 12, 13)]
    prompt = [40, big, 12]
    said = [words, crop, more]
    return batch_of(
        model,
        processor,
        [
            (prompt, [*said, end, [1, 2]]),
            (prompt, [*said, end, [3]]),
            (prompt, [*said, [5] * 7, crop, [2]]),
            (prompt, [*said, end, [1, 2]]),
            (prompt, [*said, end]),
            (prompt, [words, other, more]),
            (prompt, [words, crop]),  # all wanted: it ends amid an image
            ([40, other, 12], [words]),
        ],
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["in parts", "in one"])
@pytest.mark.parametrize("base", BASES)
def test_rollouts_that_fork_late_share_all_that_came_before_and_keep_their_numbers(dtype, base):
    model, other, processor = pair(adapter=True, base=base)
    model, other = model.to(dtype), other.to(dtype)
    batch = late_forks(model, processor)
    batch.images = [{k: v.to(dtype) if v.is_floating_point() else v for k, v in made.items()} for made in batch.images]
    weights = torch.randn(len(batch.lines), batch.keep, generator=torch.Generator().manual_seed(5))
    found, entropies, made = packed_logps(model, batch)
    right, right_entropies = plain_logps(other, batch)
    assert (found - right).abs().max() <= 1e-5
    assert (entropies - right_entropies).abs().max() <= 5e-5
    (found * weights).sum().backward()
    (right * weights).sum().backward()
    mine, theirs = gradients(model), gradients(other)
    assert mine.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert (mine[name] - gradient).norm() <= 1e-4 * gradient.norm(), name
    every = sum(map(len, (p + c for p, c in batch.lines)))
    paths = [row.path for row in rows_from_records(batch.records)]
    assert len(made.ids) == sum(piece.length for piece in pieces_of(paths)) < every / 3
    assert len(made.targets) < len(made.which) == sum(len(completion) for _, completion in batch.lines)


def test_short_beginnings_are_not_shared_and_longer_ones_behind_them_are():
    def found(paths, least):
        return [(p.rows, p.start, p.end, p.below) for p in pieces_of(paths, least)]

    one, two, three = [1] * 5 + [2] * 9 + [3], [1] * 5 + [2] * 9 + [4] * 2, [1] * 5 + [5]
    assert found([one, two, three], 4) == [
        ((0, 1, 2), 0, 5, 13),
        ((0, 1), 5, 14, 3),
        ((0,), 14, 15, 0),
        ((1,), 14, 16, 0),
        ((2,), 5, 6, 0),
    ]
    assert found([one, two, three], 6) == [((0, 1), 0, 14, 3), ((0,), 14, 15, 0), ((1,), 14, 16, 0), ((2,), 0, 6, 0)]
    assert found([one, one, [1] * 5], 6) == [((0, 1), 0, 15, 0), ((2,), 0, 5, 0)]
    assert found([one, one, [1] * 5], 5) == [((0, 1, 2), 0, 5, 10), ((0, 1), 5, 15, 0)]
    assert found([], 1) == []


def test_many_logits_are_made_a_few_at_a_time(monkeypatch):
    model, other, processor = pair(adapter=True)
    batch = mixed(model, processor)
    monkeypatch.setattr("armlite.train.prefix.LOGITS", 3000)
    found, _, _ = packed_logps(model, batch)
    right, _ = plain_logps(other, batch)
    assert (found - right).abs().max() <= 5e-5
    found.sum().backward()
    right.sum().backward()
    mine, theirs = gradients(model), gradients(other)
    assert all((mine[n] - g).norm() <= 1e-4 * g.norm() for n, g in theirs.items())


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (6, 1)])
def test_both_ways_to_attend_are_the_same(heads, kv_heads):
    torch.manual_seed(0)
    branches = Branches(
        (
            (0, 40, 62),
            (40, 55, 61),
            (55, 58, 58),
            (58, 61, 61),
            (61, 62, 62),
            (62, 65, 65),
            (65, 70, 100),
            (70, 100, 100),
        )
    )
    made = [torch.randn(100, n, 16, dtype=torch.float64) for n in (heads, kv_heads, kv_heads)]
    weights = torch.randn(100, heads, 16)
    results = []
    for dtype in (torch.float64, torch.float32):  # only the second goes in two parts
        q, k, v = (t.to(dtype).detach().requires_grad_() for t in made)
        mixed_values = packed_attention(q, k, v, branches)
        (mixed_values * weights.to(dtype)).sum().backward()
        results.append([t.double() for t in (mixed_values.detach(), q.grad, k.grad, v.grad)])
    for one, other in zip(*results, strict=True):
        assert (one - other).abs().max() <= 1e-5


@pytest.mark.parametrize("case", ["plain", "dropout", "disabled", "merged", "hook"])
def test_a_module_with_an_adapter_is_one_product_with_the_same_result(case):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    settings = LoraConfig(r=4, target_modules=["0"], init_lora_weights=False, lora_dropout=0.5 * (case == "dropout"))
    model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(8, 12)), settings).train()
    module, seen = model.base_model.model[0], []
    if case == "hook":
        module.register_forward_hook(lambda *_: seen.append(None))
    if case == "merged":
        module.merge()
    if case == "disabled":
        module.enable_adapters(False)
    gradients_of = []
    for run in (module, lambda x: lora_linear(module, x)):
        x = torch.randn(20, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        torch.manual_seed(2)  # of the dropout
        y = run(x)
        (y * torch.arange(12.0)).sum().backward()
        gradients_of.append([y.detach(), x.grad, *(p.grad for p in module.parameters() if p.grad is not None)])
        module.zero_grad()
    assert len(gradients_of[0]) == (2 if case in ("merged", "disabled") else 4)
    for one, other in zip(*gradients_of, strict=True):
        assert (one - other).abs().max() <= 1e-4 * one.abs().max()
    assert len(seen) == 2 * (case == "hook")


def test_a_model_that_cannot_run_packed_is_told(monkeypatch):
    model, _ = tiny()
    assert why_not_packed(model) is None
    model.config.text_config.use_sliding_window = True
    assert why_not_packed(model) == "sliding-window attention"
    model, _ = tiny(base="qwen3_vl", layers=1)
    assert why_not_packed(model) == "visual features that enter behind the last layer"
