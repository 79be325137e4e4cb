"""Prompts that do not fit are found before training, by the count that the engine makes of them."""

import json

import pytest
from making_tasks import pair, photo
from tiny_qwen import tiny

from armlite.data.tasks import write_tasks
from armlite.episode import Episode, EpisodeSettings
from armlite.errors import ArmliteError
from armlite.models.local import LocalModel, Sampling
from armlite.recipe import check_recipe
from armlite.train.lengths import long_prompts
from armlite.train.unreadable import find_unreadable


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lengths")
    model, processor = tiny()
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    photo(folder / "small.png", 1, (56, 56))
    photo(folder / "large.png", 2, (560, 420))
    tasks = [pair("plain"), pair("small", images=("small.png",)), pair("large", images=("large.png", "small.png"))]
    tasks.append(pair("wordy").model_copy(update={"question": "Which? " * 200}))
    write_tasks(folder / "tasks.jsonl", tasks)
    return folder, tasks, LocalModel(model, processor, Sampling(max_context=10_000, max_new_tokens=1))


def recipe(folder, context):
    stage = {"reward": "hierarchical", "steps": 1, "max_context": context, "max_new_tokens": 8, "num_generations": 2}
    stage["per_device_train_batch_size"] = 2
    raw = {"model": {"path": str(folder / "model")}, "data": {"tasks": str(folder / "tasks.jsonl")}}
    return check_recipe({"name": "x", **raw, "stages": {"grpo1": stage}}, "x")


def engine_tokens(task, root, model):
    """What the engine holds once it has read the prompt and sampled one token."""
    session = model.session()
    episode = Episode.open(task, EpisodeSettings(), root, (1, 2))
    session.submit(episode.conversation)
    session.wait()
    return len(session.tokens(episode.conversation).prompt_ids)


def test_the_count_is_the_engine_s_own(place):
    folder, tasks, model = place
    counts = {task.id: engine_tokens(task, folder, model) for task in tasks}
    assert counts["large"] > counts["small"] > counts["plain"]
    for task in tasks:
        n = counts[task.id]
        assert task.id in long_prompts(recipe(folder, n), [task], folder)
        assert task.id not in long_prompts(recipe(folder, n + 1), [task], folder)


def test_they_are_left_out_and_told_before_the_first_stage(place, capsys):
    folder, tasks, model = place
    longest = max(engine_tokens(task, folder, model) for task in tasks)
    found = find_unreadable(recipe(folder, longest), tasks, folder, False)
    [(name, why)] = found["tasks"].items()
    assert f"data.tasks: {name} is left out: {why}" in capsys.readouterr().err
    assert f"prompt of {longest} tokens does not fit max_context {longest}" in why and json.dumps(found)
    with pytest.raises(ArmliteError, match="4 of 4 cannot be used: its prompt of"):
        find_unreadable(recipe(folder, 100), tasks, folder, False)
