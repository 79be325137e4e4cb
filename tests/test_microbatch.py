"""How a step is cut into parts: what each holds, and that no cut changes loss, gradient or figures."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny_run import answer, call, make_recipe, trainer_of

from armlite.models.engine.selfcheck import SelfCheck
from armlite.models.engine.tokens import TokenRecord
from armlite.train import update as update_module
from armlite.train.microbatch import Budget, merge_metrics, split_rows
from armlite.train.prefix import Row, pack_rows

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")


def rows(*groups):
    """Rows by group: (prompt length, completion lengths)."""
    made = []
    for group, (prompt, lengths) in enumerate(groups):
        for n in lengths:
            record = TokenRecord(
                [group] * prompt, [100 + len(made)] * n, [1] * n, [0.0] * n, (), (), bytes([group]), True
            )
            made.append(Row(len(made), record, tuple(range(n))))
    return made


def numbers(parts):
    return [[row.number for row in part] for part in parts]


TWO = ((20, [5, 9, 1, 7]), (40, [2, 3]))


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (Budget(None, 1000), [[0, 1, 2, 3, 4, 5]]),
        (Budget(6), [[0, 1, 2, 3, 4, 5]]),
        (Budget(4), [[4, 5], [0, 1, 2, 3]]),
        (Budget(1), [[5], [4], [1], [3], [0], [2]]),
        (Budget(None, 43), [[4, 5], [0, 1, 2, 3]]),
        (Budget(None, 34), [[5], [4], [1, 3], [0, 2]]),
        (Budget(None, 1), [[5], [4], [1], [3], [0], [2]]),
        (Budget(None, 87, packed=False), [[0, 1, 3], [4, 5], [2]]),
    ],
)
def test_groups_stay_together_as_far_as_they_fit(budget, expected):
    found = split_rows(rows(*TWO), budget)
    assert sorted(row.number for part in found for row in part) == list(range(6))
    assert numbers(found) == expected
    assert all(budget.fits(part) for part in found)


def test_a_rollout_of_which_nothing_is_wanted_takes_no_room():
    given = rows((20, [5, 5, 5]))
    given[1] = Row(1, given[1].record, ())
    assert Budget(None, 28).cost(given) == 20 + 4 + 4
    assert numbers(split_rows(given, Budget(None, 28))) == [[0, 1, 2]]


def test_processes_that_need_fewer_parts_make_as_many_as_the_others():
    found = split_rows(rows(*TWO), Budget(6), at_least=4)
    assert len(found) == 4
    assert sorted(row.number for part in found for row in part) == list(range(6))
    assert len(split_rows(rows(*TWO), Budget(6), at_least=99)) == 6


@pytest.mark.parametrize("budget", [Budget(6), Budget(None, 1000), Budget(4), Budget(None, 1000, packed=False)])
def test_each_smaller_budget_makes_smaller_parts_until_each_rollout_is_alone(budget):
    given, sizes = rows(*TWO), []
    while budget is not None:
        parts = split_rows(given, budget)
        sizes.append(max(map(len, parts)))
        budget = budget.smaller(parts)
    assert sizes == sorted(set(sizes), reverse=True) or sizes[-1] == 1
    assert sizes[-1] == 1
    assert len(sizes) >= 3


def test_figures_of_parts_become_figures_of_the_step():
    metrics = {
        "kl": [9.0, 1.0, 4.0],
        "clip_ratio/low_min": [9.0, 0.5, float("nan")],
        "clip_ratio/high_max": [9.0, 0.5, 0.7],
        "entropy": [9.0, 2.0, 0.0],
        "reward": [9.0],
    }
    merge_metrics(metrics, dict.fromkeys(metrics, 1), [30, 10], scored=30)
    assert metrics == {
        "kl": [9.0, 1.75],
        "clip_ratio/low_min": [9.0, 0.5],
        "clip_ratio/high_max": [9.0, 0.7],
        "entropy": [9.0, 2.0],
        "reward": [9.0],
    }


@pytest.fixture(scope="module")
def scored(pocket, tmp_path_factory):
    """A trainer and a batch of two groups with rewards to learn from and completions of many lengths."""
    zoom, _, instruction = pocket.tasks[:3]
    plans = {
        zoom.id: [[answer(1)], [call(zoom), answer(2, "so " * 9)], [call(zoom), call(zoom), answer(1)], ["no tags"]],
        instruction.id: [[answer(1)], [call(instruction), answer(1)], ["nothing"], [answer(2, "why " * 12)]],
    }
    recipe = make_recipe(2, 4, beta=0.04, num_iterations=2)
    trainer = trainer_of(pocket, tmp_path_factory.mktemp("work"), plans, [zoom, instruction], recipe)
    trainer.current_gradient_accumulation_steps = 1
    with trainer._chat.vision.features_from_ids():
        batch = next(iter(trainer.get_train_dataloader()))
        trainer.model.train()
        batch = trainer._generate_and_score_completions(batch)
        torch.manual_seed(1)
        for name in ("old_per_token_logps", "ref_per_token_logps"):  # away from the policy, so that clipping bites
            batch[name] = batch[name] + 0.3 * torch.randn_like(batch[name]) * (batch[name] != 0)
        yield trainer, batch


def update(scored, budget, loss_type, beta=0.04):
    """Loss, gradients and figures of one update in parts of a budget."""
    trainer, batch = scored
    trainer._budget, trainer.loss_type, trainer.beta = budget, loss_type, beta
    trainer.model.zero_grad()
    trainer._metrics["train"].clear()
    loss = trainer.compute_loss(trainer.model, batch)
    gradients = {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
    return loss.item(), gradients, copy.deepcopy(dict(trainer._metrics["train"]))


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "bnpo", "dr_grpo"])
@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_no_cut_changes_loss_gradient_or_figures(scored, loss_type, beta):
    one, other = Budget(8), [Budget(3), Budget(1), Budget(None, 500), Budget(None, 900, packed=False)]
    loss, gradients, figures = update(scored, one, loss_type, beta)
    plain = update(scored, Budget(8, packed=False), loss_type, beta)
    assert plain[0] != 0
    assert figures["clip_ratio/region_mean"][0] > 0.05
    for found in [plain] + [update(scored, budget, loss_type, beta) for budget in other]:
        assert found[0] == pytest.approx(loss, rel=1e-5, abs=1e-8)
        for name, gradient in gradients.items():
            assert (found[1][name] - gradient).norm() <= 1e-4 * gradient.norm(), name
        assert found[2].keys() == figures.keys()
        for name, values in figures.items():
            assert len(values) == len(found[2][name]) == 1
            # Without a reference, rollouts that teach nothing are left out where prompts are shared.
            if name != "entropy" or beta:
                assert found[2][name] == pytest.approx(values, rel=1e-4, abs=1e-7, nan_ok=True), name


def test_the_loss_is_the_one_that_trl_computes_of_the_whole_batch(scored):
    trainer, batch = scored
    for loss_type in ("dapo", "grpo", "bnpo", "dr_grpo"):
        trainer.loss_type, trainer.beta, trainer._budget = loss_type, 0.04, Budget(8, packed=False)
        whole = trainer._compute_loss(trainer.model, batch)
        whole = whole.item()
        assert update(scored, Budget(None, 500), loss_type)[0] == pytest.approx(whole, rel=1e-5)


def test_a_packed_forward_is_compared_at_first_and_given_up_where_it_gives_other_numbers(scored, monkeypatch):
    trainer, said = scored[0], []
    right, gradients, _ = update(scored, Budget(8, packed=False), "dapo")
    trainer.check = SelfCheck(said.append)
    assert update(scored, Budget(8), "dapo")[0] == pytest.approx(right, rel=1e-5)
    assert trainer._budget.packed and not said
    monkeypatch.setattr(
        update_module, "pack_rows", lambda *a: replace(pack := pack_rows(*a), positions=pack.positions.flip(-1))
    )
    trainer.check = SelfCheck(said.append)
    loss, again, _ = update(scored, Budget(8), "dapo")
    assert loss == pytest.approx(right, rel=1e-5)
    assert all((again[n] - g).norm() <= 1e-4 * g.norm() for n, g in gradients.items())
    assert not trainer._budget.packed
    assert len(said) == 1 and said[0].startswith("packed updates are off: they differ from the plain way by ")


def test_a_batch_that_nobody_generated_is_refused(scored):
    trainer, batch = scored
    with pytest.raises(ValueError, match="no token records"):
        trainer.compute_loss(trainer.model, {k: v for k, v in batch.items() if k != "records"})


def test_rollouts_without_an_advantage_do_not_go_through_the_model(scored):
    trainer, batch = scored
    trainer.beta, trainer._budget = 0.0, Budget(8)
    flat = {**batch, "advantages": batch["advantages"].clone()}
    flat["advantages"][:4] = 0
    wanted = trainer._wanted_tokens(flat)
    assert wanted[:4].sum() == 0
    taught = flat["advantages"] != 0
    assert taught.any()
    assert torch.equal(wanted[taught], (flat["completion_mask"] * flat["tool_mask"])[taught])
    parts, score = [], trainer._score
    trainer._score = lambda *a: parts.append([row.number for row in a[1] if row.wanted]) or score(*a)
    trainer.model.zero_grad()
    trainer.compute_loss(trainer.model, flat)
    del trainer._score
    assert parts == [taught.nonzero()[:, 0].tolist()]
    sparing = {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
    trainer._budget = Budget(8, packed=False)  # TRL's own forward, of all rollouts
    trainer.model.zero_grad()
    trainer.compute_loss(trainer.model, flat)
    for name, p in trainer.model.named_parameters():
        if p.requires_grad:
            assert (sparing[name] - p.grad).norm() <= 1e-4 * p.grad.norm(), name
    trainer._budget = Budget(8)
    flat["advantages"][:] = 0
    assert trainer._wanted_tokens(flat).sum() == 1  # for a gradient of zeros
    trainer.beta = 0.04
    assert torch.equal(trainer._wanted_tokens(flat), flat["completion_mask"] * flat["tool_mask"])
