"""Pairs of a good and a flawed answer: what is injected, too similar or contaminated, and what a model may write."""

import random
from collections import Counter

import pytest
from make_pdf import write_pdf
from making_tasks import adds_up, lines, pair, photo

from armlite.data.making.contamination import Benchmarks
from armlite.data.making.inject import inject, satisfied
from armlite.data.making.negatives import parse
from armlite.data.making.pairs import good_answer, make_pairs
from armlite.data.making.similarity import normalised, too_similar
from armlite.data.tasks import read_tasks, write_tasks
from armlite.loop import Reply
from armlite.models.scripted import ScriptedModel
from armlite.pocket.world import generate
from armlite.types import Task

# -- injection ---------------------------------------------------------------------------------------------------------

OFFERS = [
    ("There are 14 boats.", {"number"}),
    ("It cost 1,234.50 dollars.", {"number"}),
    ("Three dogs sleep.", {"count"}),
    ("The van is green.", {"colour"}),
    ("Red", {"colour"}),
    ("The cup is left of the plate.", {"relation"}),
    ("It stands on the right.", {"relation"}),
    ("A lamp hangs above the table.", {"relation"}),
    ("More people came in May.", {"relation", "name"}),
    ("The tower is in front of the church.", {"relation"}),
    ("The winner was Ann Lee of Oslo.", {"name"}),
    ("Kyoto", {"name"}),
    ("Two red buses stop at 9 before the bridge.", {"count", "colour", "number", "relation"}),
]


@pytest.mark.parametrize(("good", "kinds"), OFFERS, ids=[good for good, _ in OFFERS])
def test_an_injected_flaw_is_one_known_change_that_says_something_else(good, kinds):
    seen = set()
    for seed in range(40):
        found = inject(good, random.Random(seed), ["Lima", "Bo Berg"])
        assert not isinstance(found, str)
        flawed, change = found
        record = change.record()
        assert flawed == good[: record["at"]] + record["to"] + good[record["at"] + len(record["from"]) :]
        assert good[record["at"] :].startswith(record["from"])
        assert normalised(flawed) != normalised(good)
        seen.add(record["kind"])
    assert seen == kinds


@pytest.mark.parametrize(
    "good",
    [
        "Yes.",
        "You are right.",
        "It is the right time.",
        "1. Cats\n2. Dogs",
        "One of them is wet.",
        "A white cup beside a white plate.",
        "It is the only one left.",
    ],
)
def test_an_answer_without_a_fact_that_stands_there_once_offers_nothing(good):
    assert all(inject(good, random.Random(seed)) == "offers nothing to change" for seed in range(10))


def test_a_change_never_makes_another_accepted_answer():
    assert {inject("five", random.Random(seed))[0] for seed in range(20)} == {"four", "six"}
    found = [inject("five", random.Random(seed), accepted=("4",)) for seed in range(20)]
    assert {result if isinstance(result, str) else result[0] for result in found} == {"six"}


def test_where_there_are_constraints_a_verifier_says_that_the_change_breaks_one(tmp_path):
    tasks = list(generate("train", 60, 0, tmp_path, family="instruction"))
    kinds = Counter()
    for task in tasks:
        good = good_answer(task)
        found = inject(good, random.Random(task.id), constraints=task.constraints)
        assert not isinstance(found, str), (task.constraints, good)
        assert satisfied(good, task.constraints) is True and satisfied(found[0], task.constraints) is False
        assert found[1].applied(good) == found[0]
        kinds[found[1].kind] += 1
    assert {"count", "name"} <= set(kinds)
    assert "breaks its own" in inject("Too short.", random.Random(0), constraints=tasks[0].constraints)
    free = Task(id="a", kind="pointwise", question="q", responses=("r",), constraints=("Be polite.",)).constraints
    assert "without a verifier" in inject("Good day, 5 times.", random.Random(0), constraints=free)


# -- similarity and contamination --------------------------------------------------------------------------------------

LONG = (
    "The picture shows a small harbour in the evening with many quiet boats and a long pier that leads to a lighthouse"
)


@pytest.mark.parametrize(
    ("good", "flawed", "limit", "why"),
    [
        ("It is 1,000 m.", "it is 1000 M", 0.95, "says the same"),
        ("Two cats!", "2 cats", 0.95, "says the same"),
        ("?!", "?!", 0.95, "says the same"),
        (f"{LONG}.", f"{LONG}, indeed.", 0.95, "too similar"),
        (f"{LONG}.", f"{LONG}, indeed.", None, None),
        (f"{LONG}.", f"{LONG}, indeed.", 0.99, None),
        (f"{LONG} with 3 lamps.", f"{LONG} with 4 lamps.", 0.95, None),
        (f"{LONG} in Oslo.", f"{LONG} in Lima.", 0.95, None),
        (f"{LONG} that is red.", f"{LONG} that is blue.", 0.95, None),
        ("A dog sleeps.", "A cat sleeps.", 0.95, None),
        ("A dog sleeps.", "A cat sleeps.", 0.5, "too similar"),
    ],
)
def test_pairs_are_too_similar_if_they_say_the_same_or_differ_in_words_alone(good, flawed, limit, why):
    assert too_similar(good, flawed, limit) == why


@pytest.fixture
def benchmark_file(tmp_path):
    """A benchmark with a picture, a document, and a question alone."""
    folder = tmp_path / "bench"
    photo(folder / "a.png")
    write_pdf(folder / "d.pdf", ["# One\nA pier."])
    tasks = [
        pair("b1", question="What is it?", images=("a.png",)),
        pair("b2", question="Which page?", document="d.pdf"),
        pair("b3", question="Who wrote it?", responses=("Ann did.", "Bo did.")),
    ]
    write_tasks(folder / "tasks.jsonl", tasks)
    return folder / "tasks.jsonl"


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"question": "what is it", "images": ("same.png",)}, "exact"),
        ({"question": "What is it?", "images": ("other.png", "same.png")}, "exact"),
        ({"question": "What is it?", "images": ("small.jpg",)}, "near"),
        ({"question": "What is it?", "images": ("other.png",)}, None),
        ({"question": "What is that?", "images": ("same.png",)}, None),
        ({"question": "Which page?", "document": "copy.pdf"}, "document"),
        ({"question": "Which page?", "document": "other.pdf"}, None),
        ({"question": "Who wrote it?", "responses": ("ann did", "Cy did.")}, "question"),
        ({"question": "Who wrote it?", "responses": ("Di did.", "Cy did.")}, None),
        ({"question": "Who wrote it?", "responses": ("Ann did.", "Cy"), "images": ("same.png",)}, None),
        ({"question": "Who wrote it?", "responses": ("Ann did.", "Cy"), "constraints": ("In verse.",)}, None),
    ],
)
def test_a_task_is_contaminated_by_question_and_by_what_it_shows(fields, rule, benchmark_file, tmp_path):
    original = photo(tmp_path / "same.png")
    original.resize((64, 48)).save(tmp_path / "small.jpg", quality=70)
    photo(tmp_path / "other.png", seed=1)
    write_pdf(tmp_path / "copy.pdf", ["# One\nA pier."])
    write_pdf(tmp_path / "other.pdf", ["# One\nA bridge."])
    assert Benchmarks([benchmark_file]).rule(pair("t", **fields), tmp_path) == rule


# -- pairs -------------------------------------------------------------------------------------------------------------

POSITIVES = [
    Task(id="qa", kind="open_qa", question="How many?", gold=("7", "seven"), source="s/qa"),
    Task(id="mc", kind="multiple_choice", question="Where?", options={"A": "above it", "B": "below it"}, gold="B"),
    Task(id="pair", kind="pairwise", question="Which colour?", responses=("It is red.", "It is wet."), gold=1),
    Task(id="check", kind="pointwise", question="How wide?", responses=("It is 40 m wide.",), gold=True),
    Task(id="own", kind="open_qa", question="What?", meta={"positive": "Six green kites.", "note": 1}),
    Task(id="plain", kind="open_qa", question="Is it?", gold="Yes"),
    Task(id="tie", kind="pairwise", question="Which?", responses=("5", "6"), gold=0),
    Task(id="wrong", kind="pointwise", question="How wide?", responses=("It is 50 m wide.",), gold=False),
    Task(id="none", kind="open_qa", question="What now?"),
    Task(id="held", kind="open_qa", question="Held?", gold="9"),
]


@pytest.fixture
def positives(tmp_path):
    write_tasks(tmp_path / "bench.jsonl", [Task(id="x", kind="open_qa", question="held", gold="9")])
    write_tasks(tmp_path / "good.jsonl", POSITIVES)
    return tmp_path / "good.jsonl"


def test_injected_pairs_hold_the_good_answer_and_every_task_is_accounted_for(positives):
    out = positives.parent / "made" / "pairs.jsonl"
    counts = make_pairs(positives, out, benchmarks=[positives.parent / "bench.jsonl"])
    made = {task.id.removesuffix("-pair"): task for task in read_tasks(out)}
    assert adds_up(counts) and counts.kept == len(made) == 5
    for name, good in {
        "qa": "7",
        "mc": "below it",
        "pair": "It is red.",
        "check": "It is 40 m wide.",
        "own": "Six green kites.",
    }.items():
        task = made[name]
        change, flawed = task.meta["injected"], task.responses[2 - task.gold]
        assert task.kind == "pairwise" and task.responses[task.gold - 1] == good and task.meta["pair_of"] == name
        assert flawed == good[: change["at"]] + change["to"] + good[change["at"] + len(change["from"]) :]
    assert made["own"].meta["note"] == 1 and "positive" not in made["own"].meta
    assert {row["id"]: row["why"] for row in lines(out.with_name("pairs.rejects.jsonl"))} == {
        "plain": "offers nothing to change",
        "tie": "its gold names no good answer",
        "wrong": "its gold names no good answer",
        "none": "has no gold answer",
        "held": "in a benchmark: same question, same answer, nothing to look at",
    }
    assert [path.name for path in sorted(out.parent.iterdir())] == ["pairs.jsonl", "pairs.rejects.jsonl"]


@pytest.mark.parametrize("n", [20, 21])
def test_the_good_answer_stands_first_in_half_of_the_pairs(n, tmp_path):
    write_tasks(tmp_path / "good.jsonl", [pair(f"t{i}", responses=(f"It is {i + 10}.", "wet")) for i in range(n)])
    outs = [tmp_path / f"{i}.jsonl" for i in range(3)]
    for out, seed in zip(outs, (0, 0, 1), strict=True):
        counts = make_pairs(tmp_path / "good.jsonl", out, seed=seed)
        assert counts.kept == n
        assert sum(task.gold == 1 for task in read_tasks(out)) in (n // 2, n - n // 2)
    assert outs[0].read_bytes() == outs[1].read_bytes() != outs[2].read_bytes()


REPLIES = {
    "<flaw>a number</flaw>\n<answer>8</answer>": ("8", "a number"),
    " <think>so\nso</think> <flaw>f</flaw><answer>It is\nwet.</answer>\n": ("It is\nwet.", "f"),
    "<answer>8</answer>": None,
    "Sure! <flaw>f</flaw><answer>8</answer>": None,
    "<flaw>f</flaw><answer>8</answer> Done.": None,
    "<flaw>f</flaw><answer>8</answer><answer>9</answer>": None,
    "<flaw></flaw><answer>8</answer>": None,
    "<flaw>f</flaw><answer> </answer>": None,
}


@pytest.mark.parametrize(("text", "found"), REPLIES.items())
def test_a_writers_reply_is_read_strictly(text, found):
    assert parse(text) == found


def test_a_model_writes_flawed_answers_and_is_asked_again_once(tmp_path):
    photo(tmp_path / "a.png")
    goods = [pair(name, images=("a.png",), responses=(f"{LONG} {name}.", "x")) for name in "abcdefg"]
    write_tasks(tmp_path / "good.jsonl", [*goods, pair("i", images=("no.png",), responses=("one", "x"))])
    asked = Counter()

    def write(conversation):
        name, text = conversation.task_id, conversation.messages[0].text
        asked[name] += 1
        assert f"{LONG} {name}." in text and len(conversation.messages[0].images) == 1
        fine = f"<flaw>f</flaw><answer>There is no {name}.</answer>"
        return {
            "a": fine,
            "b": fine if "could not be read" in conversation.messages[-1].text else "As you like!",
            "c": "I would rather not.",
            "d": Reply("no route", "error"),
            "e": f"<flaw>f</flaw><answer>{LONG}  E!</answer>",
            "f": f"<flaw>f</flaw><answer>{LONG} and f.</answer>",
            "g": Reply(fine, "length"),
        }[name]

    counts = make_pairs(tmp_path / "good.jsonl", tmp_path / "pairs.jsonl", ScriptedModel(write), name="m")
    assert {task.id: task.meta["negative_by"] for task in read_tasks(tmp_path / "pairs.jsonl")} == {
        "a-pair": "m",
        "b-pair": "m",
    }
    assert asked == {"a": 1, "b": 2, "c": 2, "d": 1, "e": 1, "f": 1, "g": 2}
    assert adds_up(counts) and counts.rejected == {
        "the model's reply cannot be read": 2,
        "the model could not be asked": 1,
        "says the same": 1,
        "too similar": 1,
        "cannot be read": 1,
    }
