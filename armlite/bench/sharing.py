"""What share of their tokens the rollouts of a trained judge have in common: how much the tree saves on real groups.

Groups are sampled as in the run's last GRPO stage, on its training tasks. Nothing is learnt. Called by
`armlite bench --sharing`.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from armlite.data.tasks import read_tasks
from armlite.episode import presented_order
from armlite.errors import ArmliteError
from armlite.models.engine.tokens import TokenRecord, common_prefix
from armlite.models.loading import load
from armlite.recipe import saved_recipe
from armlite.runner import Job, run_jobs
from armlite.stages import GrpoSettings
from armlite.train.grpo import chat_model
from armlite.train.policy import Policy
from armlite.train.tree import pieces_of


def measure_sharing(folder: Path, steps: int) -> dict[str, float]:
    """Figures of `steps` steps' rollouts of a finished run's judge.

    Args:
        folder: of the run, or of one of its checkpoints.

    Raises:
        ArmliteError: it is no run directory, has no GRPO stage, or its tasks are not there.
    """
    run = next((f for f in (folder, folder.parent.parent) if (f / "recipe.yaml").is_file()), None)
    if run is None:
        raise ArmliteError(f"{folder} is no run directory: it has no recipe.yaml; give the --output of armlite train")
    recipe = saved_recipe(run / "recipe.yaml")
    stages = [stage for stage in recipe.stages.named().values() if isinstance(stage, GrpoSettings)]
    if not stages:
        raise ArmliteError(f"the recipe of {run} has no GRPO stage, so it has no groups")
    stage, own = stages[-1], recipe.data.tasks
    file = run / "data" / "train" / "tasks.jsonl" if own == "pocket" else Path(own)
    tasks = read_tasks(file)[: steps * stage.tasks_per_step]
    chat = chat_model(
        recipe, stage, Policy(*load(folder, quantize="4bit" if recipe.model.quantize == "4bit" else None))
    )
    found: list[dict[str, float]] = []
    for at in range(0, len(tasks), stage.tasks_per_step):
        some = tasks[at : at + stage.tasks_per_step]
        jobs = [
            Job(task, recipe.episode, file.parent, presented_order(task, recipe.seed), rollout)
            for task in some
            for rollout in range(stage.num_generations)
        ]
        session = chat.session()
        ended = {id(o.job): o for o in run_jobs(jobs, chat, in_flight=len(jobs), session=session)}
        episodes = [ended[id(job)].episode for job in jobs]
        records = [session.tokens(episode.conversation) for episode in episodes if episode is not None]
        found.append({**figures_of(records), **_rollout(session.stats)})
    total = {name: sum(f[name] for f in found) for name in found[0]}
    return {"steps": len(found), **total}


def figures_of(records: Sequence[TokenRecord]) -> dict[str, float]:
    """Tokens of a step's rollouts: in rows of their own, with prompts shared, with all that is alike shared; and how
    many groups, and groups in which two rollouts said the same first turn and fork later.
    """
    groups: dict[bytes, list[TokenRecord]] = {}
    for record in records:
        groups.setdefault(record.prompt_key, []).append(record)
    prompts = sum(len(group[0].prompt_ids) for group in groups.values())
    return {
        "tokens": sum(len(r.path) for r in records),
        "tokens_with_prompts_shared": prompts + sum(len(r.completion_ids) for r in records),
        "tokens_with_all_shared": sum(piece.length for piece in pieces_of([r.path for r in records])),
        "groups": len(groups),
        "groups_that_fork_after_equal_turns": sum(map(_forks_later, groups.values())),
    }


def _forks_later(group: Sequence[TokenRecord]) -> bool:
    """Whether two rollouts of a group have a first turn in common, with what a tool answered, and differ then."""
    for one, other in combinations(group, 2):
        alike = common_prefix(one.path, other.path, len(one.prompt_ids)) - len(one.prompt_ids)
        ends = [i for i, sampled in enumerate(one.mask[:alike]) if not sampled]  # rendered: the turn has ended
        if ends and ends[0] + 16 < alike < max(len(one.completion_ids), len(other.completion_ids)):
            return True
    return False


def _rollout(stats: Any) -> dict[str, float]:
    return {name: getattr(stats, name) for name in ("tokens_prefilled", "tokens_copied", "tokens_decoded")}


def sharing_lines(figures: dict[str, float]) -> list[str]:
    """The figures as a table in Markdown."""
    rows = figures["tokens"]
    through = figures["tokens_prefilled"] + figures["tokens_decoded"]
    forks = figures["groups_that_fork_after_equal_turns"]
    table = {
        "a row for each rollout": rows,
        "update, prompts shared": figures["tokens_with_prompts_shared"],
        "update, all shared that is alike": figures["tokens_with_all_shared"],
        "rollout, all shared that is alike": through,
    }
    lines = ["| tokens through the model | a step | of rows |", "|---|---|---|"]
    lines += [f"| {k} | {v / figures['steps']:,.0f} | {100 * v / rows:.0f} % |" for k, v in table.items()]
    share = f"{100 * forks / figures['groups']:.0f} %"
    return [*lines, "", f"Of {figures['groups']:.0f} groups {share} fork after an equal first turn."]
