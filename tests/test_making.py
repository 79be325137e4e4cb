"""Making judge data: what is injected, what is too similar, what is contaminated, what the filter and the screens keep,
what the mix holds; and that a command which was interrupted ends like one that was not.
"""

import json
import random
from collections import Counter

import pytest
from make_pdf import write_pdf
from PIL import Image, ImageDraw

from armlite.data.making.contamination import Benchmarks
from armlite.data.making.filter import filter_tasks
from armlite.data.making.inject import inject, satisfied
from armlite.data.making.mix import Mix, load_mix, mix_tasks
from armlite.data.making.negatives import parse
from armlite.data.making.pairs import good_answer, make_pairs
from armlite.data.making.similarity import normalised, too_similar
from armlite.data.making.traces import make_traces
from armlite.data.tasks import read_tasks, write_tasks
from armlite.data.traces import SavedConversations
from armlite.episode import EpisodeSettings
from armlite.errors import ArmliteError
from armlite.loop import Reply
from armlite.memory import Limits
from armlite.models.scripted import ScriptedModel
from armlite.pocket.world import generate
from armlite.types import Task

RULES = EpisodeSettings()
ZOOM = (
    '<tool_call>\n{"name": "image_zoom_in_tool", "arguments": {"image": "original_image", "bbox_2d": %s}}\n</tool_call>'
)


def says(number, thought="I see."):
    return f"<think>{thought}</think>\n<answer>Overall Judgment: Answer {number} is better.</answer>"


def photo(path, seed=0, size=(96, 72)):
    """A picture with a structure of its own."""
    rng = random.Random(seed)
    image = Image.new("RGB", size, "gray")
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.randrange(size[0]), rng.randrange(size[1])
        draw.rectangle((x, y, x + 24, y + 18), fill=tuple(rng.choices(range(256), k=3)))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return image


def pair(name, gold=1, **fields):
    return Task(
        **{"id": name, "kind": "pairwise", "question": f"Which, {name}?", "responses": ("a", "b"), "gold": gold}
        | fields
    )


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def adds_up(counts):
    found = counts.as_json()
    return found["in"] == found["kept"] + sum(found["rejected"].values())


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
            "b": fine if "could not be read" in text else "As you like!",
            "c": "I would rather not.",
            "d": Reply("no route", "error"),
            "e": f"<flaw>f</flaw><answer>{LONG}  E!</answer>",
            "f": f"<flaw>f</flaw><answer>{LONG} and f.</answer>",
            "g": Reply(fine, "length"),
        }[name]

    counts = make_pairs(tmp_path / "good.jsonl", tmp_path / "pairs.jsonl", lambda: ScriptedModel(write), name="m")
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


# -- filter and traces -------------------------------------------------------------------------------------------------


def test_the_filter_drops_what_is_always_right_and_by_choice_what_is_always_wrong(tmp_path):
    photo(tmp_path / "in" / "a.png")
    tasks = [pair(str(right), images=("a.png",)) for right in range(5)]
    tasks += [pair("blind", gold=None), pair("broken", images=("no.png",)), pair("lost")]
    write_tasks(tmp_path / "in" / "tasks.jsonl", tasks)

    def judge(conversation):
        if conversation.task_id == "lost":
            return Reply("no route", "error")
        shown_first = "<start_of_resp_1>\na\n" in conversation.messages[0].text
        right = conversation.rollout < int(conversation.task_id)
        return says(1 if shown_first == right else 2)

    for drop, kept in ((False, ["0", "1", "2", "3"]), (True, ["1", "2", "3"])):
        out = tmp_path / f"out{drop}" / "hard.jsonl"
        counts = filter_tasks(
            tmp_path / "in" / "tasks.jsonl", lambda: ScriptedModel(judge), RULES, out, "m", 4, drop, batch=8
        )
        found = read_tasks(out)
        assert [task.id for task in found] == kept
        assert [task.meta["pass_rate"] for task in found] == [int(name) / 4 for name in kept]
        assert all(task.meta["pass_k"] == 4 and (out.parent / task.images[0]).is_file() for task in found)
        assert adds_up(counts) and counts.rejected["always right"] == 1
        whys = {row["id"]: row["why"] for row in lines(out.with_name("hard.rejects.jsonl"))}
        expected = {"4": "always right", "blind": "has no gold answer", "broken": "cannot be read"}
        expected |= {"lost": "the model could not be asked"} | ({"0": "always wrong"} if drop else {})
        assert whys == expected


COMBINATIONS = [(f, v, t) for f in (True, False) for v in (True, False) for t in (True, False)]


def name_of(combination):
    return "".join("fvt"[i] if passes else "-" for i, passes in enumerate(combination))


def trace_tasks(folder):
    """One task for each combination of the three screens; their names say what is to pass."""
    photo(folder / "a.png")
    tasks = [pair(name_of(c), images=("a.png",)) for c in COMBINATIONS]
    write_tasks(folder / "tasks.jsonl", tasks)
    return folder / "tasks.jsonl"


def screened_judge(conversation):
    name = conversation.task_id
    if conversation.turns == 0:
        box = "[100, 100, 600, 600]" if "t" in name else "[9, 9, 1, 1]"
        return f"<think>I look.</think>\n{ZOOM % box}"
    shown_first = "<start_of_resp_1>\na\n" in conversation.messages[0].text
    answer = says(1 if shown_first == ("v" in name) else 2)
    return answer if "f" in name else f"Well. {answer}"


def test_traces_are_screened_three_ways_and_the_table_adds_up(tmp_path):
    out, plain = tmp_path / "out" / "traces.jsonl", tmp_path / "sft" / "messages.jsonl"
    counts = make_traces(
        trace_tasks(tmp_path / "in"), lambda: ScriptedModel(screened_judge), RULES, out, "m", k=2, messages=plain
    )
    assert adds_up(counts) and counts.taken_in == 16 and counts.kept == 1
    assert counts.rejected["repeats an earlier rollout"] == 1
    assert counts.rejected["fails format and verdict and tool"] == 2 and counts.rejected["fails tool"] == 2
    assert counts.more["screens"] == {"format": 8, "verdict": 8, "tool": 8} and counts.more["judged"] == 16
    assert [(row["format"], row["verdict"], row["tool"]) for row in counts.more["table"]] == COMBINATIONS
    assert [row["n"] for row in counts.more["table"]] == [2] * 8
    assert len(lines(out.with_name("traces.rejects.jsonl"))) == 15

    (conversation,) = SavedConversations(out, Limits())
    (row,) = lines(plain)
    assert row["id"] == "fvt"
    assert [m["role"] for m in row["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    texts = [m["content"][-1]["text"] for m in row["messages"]]
    assert texts[1:] == [m.text for m in conversation.messages] and "image_zoom_in_tool" in texts[0]
    images = [block["image"] for m in row["messages"] for block in m["content"] if block["type"] == "image"]
    assert len(images) == 2 and all((plain.parent / image).is_file() for image in images)
    assert len(list((out.parent / "images").iterdir())) == 2, "pictures of rejected traces stay away"


# -- going on ----------------------------------------------------------------------------------------------------------


def run_command(command, folder, out, on_batch=None, asked=None, **changes):
    """One of the three commands on eight tasks, two at a time."""

    def judge(conversation):
        if asked is not None:
            asked[conversation.task_id] += 1
        if command == "pairs":
            return f"<flaw>f</flaw><answer>None, {conversation.task_id}.</answer>"
        return screened_judge(conversation)

    def load():
        return ScriptedModel(judge)

    file = folder / "tasks.jsonl"
    if command == "pairs":
        return make_pairs(file, out, load, name="m", batch=2, on_batch=on_batch, **changes)
    make = {"filter": filter_tasks, "traces": make_traces}[command]
    return make(file, load, RULES, out, "m", k=2, batch=4, on_batch=on_batch, **changes)


@pytest.mark.parametrize("command", ["pairs", "filter", "traces"])
def test_a_command_that_was_interrupted_ends_like_one_that_was_not(command, tmp_path):
    trace_tasks(tmp_path / "in")
    whole, again = tmp_path / "whole" / "o.jsonl", tmp_path / "again" / "o.jsonl"
    expected = run_command(command, tmp_path / "in", whole)
    first, second = Counter(), Counter()

    def interrupt(done, total):
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_command(command, tmp_path / "in", again, interrupt, first)
    assert not again.exists() and not again.with_name("o.rejects.jsonl").exists()
    with (again.parent / "o.jsonl.work" / "rows.jsonl").open("ab") as rows:
        rows.write(b'{"trajectory": {"id": "to')  # what a kill leaves
    with pytest.raises(ArmliteError, match=r"was begun with seed 0, now it is 1"):
        run_command(command, tmp_path / "in", again, seed=1)
    counts = run_command(command, tmp_path / "in", again, asked=second)
    assert counts == expected
    assert len(first) == len(second) == 4 and not set(first) & set(second), "nothing is asked twice"
    for name in ("o.jsonl", "o.rejects.jsonl"):
        assert (again.parent / name).read_bytes() == (whole.parent / name).read_bytes()
    assert not (again.parent / "o.jsonl.work").exists()
    with pytest.raises(ArmliteError, match="exists"):
        run_command(command, tmp_path / "in", again)


@pytest.mark.parametrize("command", ["pairs", "filter", "traces"])
def test_a_server_that_has_gone_stops_a_command_and_what_was_done_is_kept(command, tmp_path):
    photo(tmp_path / "a.png")
    write_tasks(tmp_path / "tasks.jsonl", [pair(f"fvt{i}", images=("a.png",)) for i in range(12)])
    asked, gone = Counter(), [True]

    def model(conversation):
        asked[conversation.task_id] += 1
        if gone[0] and len(asked) > 2:
            return Reply("no route to it", "error")
        if command == "pairs":
            return f"<flaw>f</flaw><answer>None, {conversation.task_id}.</answer>"
        return screened_judge(conversation)

    def make():
        file, out, load = tmp_path / "tasks.jsonl", tmp_path / "o.jsonl", lambda: ScriptedModel(model)
        if command == "pairs":
            return make_pairs(file, out, load, name="m", batch=2)
        return {"filter": filter_tasks, "traces": make_traces}[command](file, load, RULES, out, "m", k=1, batch=2)

    with pytest.raises(ArmliteError, match=r"8 times in a row \(no route to it\).*the same command goes on"):
        make()
    assert not (tmp_path / "o.jsonl").exists()
    asked.clear()
    gone[0] = False
    assert make().taken_in == 12 and len(asked) == 10


def test_settings_may_change_while_nothing_was_done(tmp_path):
    folder = trace_tasks(tmp_path / "in").parent
    out = tmp_path / "o.jsonl"

    def no_model():
        raise ArmliteError("no such model")

    with pytest.raises(ArmliteError, match="no such model"):
        filter_tasks(folder / "tasks.jsonl", no_model, RULES, out, "mm", k=2)
    assert run_command("filter", folder, out).taken_in == 8


# -- mix ---------------------------------------------------------------------------------------------------------------


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
