"""Mixing judge data: no task twice, how much of each source, and mistakes in the recipe."""

from collections import Counter

import pytest
from making_tasks import adds_up, lines, pair, photo

from armlite.data.making.mix import Mix, load_mix, mix_tasks
from armlite.data.tasks import read_tasks, write_tasks
from armlite.errors import ArmliteError
from armlite.types import Task


@pytest.fixture
def sources(tmp_path):
    """Two files in folders of their own that share two tasks, one of them with its responses the other way round."""
    for folder, numbers in (("one", range(8)), ("two", range(6, 16))):
        tasks = []
        for i in numbers:
            photo(tmp_path / folder / "images" / f"{i}.png", seed=i, size=(32, 24))
            fields = {"images": (f"images/{i}.png",), "source": f"s/{'even' if i % 2 == 0 else 'odd'}"}
            turned = folder == "two" and i == 7
            tasks.append(
                pair(f"t{i}", gold=2 if turned else 1, responses=("b", "a") if turned else ("a", "b"), **fields)
            )
        write_tasks(tmp_path / folder / "tasks.jsonl", tasks)
    extra = Task(id="t0", kind="open_qa", question="Else?", gold="x")
    write_tasks(tmp_path / "three.jsonl", [extra, pair("t1", question="New?")])
    return tmp_path


def mixed(sources, out="out/mix.jsonl", **recipe):
    found = [{"path": sources / path, **values} for path, values in recipe.pop("of").items()]
    counts = mix_tasks(Mix.model_validate({"sources": found, **recipe}), sources / out)
    return counts, read_tasks(sources / out)


BOTH = {"one/tasks.jsonl": {"name": "one"}, "two/tasks.jsonl": {"name": "two"}}


def test_a_mix_holds_no_task_twice_and_finds_its_pictures(sources):
    counts, tasks = mixed(sources, of=BOTH | {"three.jsonl": {"kinds": ["pairwise"]}})
    assert adds_up(counts) and counts.taken_in == 20
    assert counts.rejected == {"a duplicate": 2, "of another kind": 1} and len(tasks) == 17
    assert all((sources / "out" / path).is_file() for task in tasks for path in task.images)
    assert sorted(t.id for t in tasks if "@" in t.id) == ["t1@three"], "an id that is taken gets its source's name"
    for row in counts.more["sources"]:
        gone = row["other kind"] + row["duplicates"] + row["over the cap"] + row["not needed"]
        assert row["read"] == gone + row["taken"]


def test_weights_caps_and_numbers_decide_how_much_of_each_is_taken(sources):
    of = {"one/tasks.jsonl": {"name": "one", "weight": 2}, "two/tasks.jsonl": {"name": "two", "weight": 1}}
    counts, _ = mixed(sources, of=of, total=10)
    assert [(row["asked"], row["taken"]) for row in counts.more["sources"]] == [(7, 7), (3, 3)]
    of = {"one/tasks.jsonl": {"name": "one", "n": 3, "cap": 1}, "two/tasks.jsonl": {"name": "two", "weight": 5}}
    counts, tasks = mixed(sources, "b.jsonl", of=of, total=13)
    assert [(row["asked"], row["available"], row["taken"]) for row in counts.more["sources"]] == [(3, 2, 2), (10, 8, 8)]
    assert adds_up(counts) and Counter(task.source for task in tasks if int(task.id[1:]) < 8) == {
        "s/even": 1,
        "s/odd": 1,
    }


def test_a_mix_is_the_same_for_the_same_seed(sources):
    def make(name, seed):
        mixed(sources, name, of=BOTH, seed=seed)
        return (sources / name).read_bytes()

    assert make("a.jsonl", 0) == make("b.jsonl", 0) != make("c.jsonl", 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sources: [{path: a.jsonl, wieght: 2}]", "unknown key sources.0.wieght. Did you mean 'weight'?"),
        ("sorces: []", "unknown key sorces. Did you mean 'sources'?"),
        ("sources: []", "sources: Tuple should have at least 1 item"),
        ("sources: [{path: a.jsonl, n: 1, weight: 1}]", "a source has either n or weight"),
        ("sources: [{path: a.jsonl, weight: 1}]", "weights need a total"),
        ("total: 5\nsources: [{path: a.jsonl, n: 7}]", "the sources' n add up to 7, total is 5"),
        ("sources: [{path: x/a.jsonl}, {path: y/a.jsonl}]", "two sources are called a: give each a name"),
        ("sources: [{path: a.jsonl, kinds: [pairs]}]", "sources.0.kinds.0: Input should be 'pairwise'"),
        ("- a.jsonl", "must hold `key: value` lines"),
    ],
)
def test_a_mistake_in_the_recipe_of_a_mix_is_named(text, says, tmp_path):
    (tmp_path / "mix.yaml").write_text(text)
    with pytest.raises(ArmliteError) as error:
        load_mix(tmp_path / "mix.yaml")
    assert says in str(error.value)


def test_a_picture_that_cannot_be_read_costs_its_task_and_is_told(sources):
    (sources / "one" / "images" / "0.png").write_bytes(b"no picture")
    counts, tasks = mixed(sources, of=BOTH)
    assert adds_up(counts) and counts.rejected["cannot be read"] == 1
    assert "t0" not in [task.id for task in tasks]
    assert counts.more["sources"][0]["unreadable"] == 1
    [reject] = [row for row in lines(sources / "out" / "mix.rejects.jsonl") if row["why"] == "cannot be read"]
    assert "0.png" in reject["detail"]
