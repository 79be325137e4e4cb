"""What the cold start learns from: conversations of the pocket world's expert, of a file, or of the second round."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from armlite.curation.rounds import TRACES_2
from armlite.data.tasks import read_tasks, write_tasks
from armlite.data.traces import SavedConversations
from armlite.pocket.worlds import get_world
from armlite.protocol.render import Conversation
from armlite.recipe import Recipe


def make_pocket(recipe: Recipe, folder: Path) -> None:
    """Make the pocket world's tasks of a run: for traces, for training and held out."""
    data, world = recipe.data, get_world(recipe.data.world)
    splits = {"traces": data.n_traces or 300, "train": data.n_tasks or 300, "test": data.n_evaluation or 300}
    for split, n in {**splits, **({"transfer": data.n_transfer} if data.n_transfer else {})}.items():
        tasks = world.generate(split, n, recipe.seed, folder / split)
        write_tasks(folder / split / "tasks.jsonl", tasks)


def pocket_texts(recipe: Recipe, run: Path) -> list[str]:
    """What the pocket tokenizer is trained on."""
    root, world = run / "data" / "traces", get_world(recipe.data.world)
    tasks = read_tasks(root / "tasks.jsonl")[:1500]
    return world.sample_texts(tasks, recipe.episode, root, recipe.seed)


def conversations(recipe: Recipe, run: Path, name: str, left_out: Mapping[str, str]) -> Sequence[Conversation]:
    """What an SFT stage learns from; images are read when asked for.

    Args:
        run: the run directory.
        name: of the stage; `sft2` learns from the second round of traces, in a pocket world beside those of `sft`.
        left_out: names of traces whose files cannot be read.

    Raises:
        ArmliteError: there is nothing at the path, or fewer than asked for; DataError: a line breaks its schema.
    """
    data, limits = recipe.data, recipe.episode.limits
    if name == "sft2" and data.build is not None:
        return SavedConversations(run / "data" / TRACES_2, limits)
    if data.traces != "pocket":
        return SavedConversations(data.traces, limits, data.n_traces, left_out)
    root, world = run / "data" / "traces", get_world(data.world)
    tasks = read_tasks(root / "tasks.jsonl")[: data.n_traces]
    shares = data.expert_share, data.without_tools
    idle = {"idle": data.idle_share} if data.idle_share else {}
    episodes = world.expert_episodes(tasks, recipe.episode, root, *shares, recipe.seed, **idle)
    second = SavedConversations(run / "data" / TRACES_2, limits) if name == "sft2" else ()
    return [*(e.conversation for e in episodes), *second]
