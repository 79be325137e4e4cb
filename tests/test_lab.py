"""The lab world: what its tasks give away at each look, which shortcuts fail, and what is kept for the transfer
split.
"""

import json
import re
from collections import Counter

import numpy as np
import pytest

from armlite.data.tasks import family
from armlite.episode import Episode
from armlite.pocket.lab.baselines import baselines
from armlite.pocket.lab.mosaic import box_of, place_of, zoom
from armlite.pocket.lab.reading import way_shown
from armlite.pocket.lab.traces import base_episodes, expert_episodes
from armlite.pocket.lab.world import FAMILIES, NEEDS, SPLITS, generate
from armlite.recipe import load_recipe
from armlite.rewards import PAPER_WEIGHTS

RULES = load_recipe("recipes/lab.yaml").episode


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("lab")
    return list(generate("test", 360, 3, root)), root


@pytest.fixture(scope="module")
def transfer(tmp_path_factory):
    root = tmp_path_factory.mktemp("transfer")
    return list(generate("transfer", 180, 3, root)), root


def opened(task, root):
    return Episode.open(task, RULES, root)


def call(episode, wanted):
    step = episode.advance(f"<think>I call.</think><tool_call>{json.dumps(wanted)}</tool_call>")
    assert step is not None and step.observation is not None and step.observation.returned, step
    return episode.conversation.messages[-1]


def test_the_same_seed_gives_the_same_tasks_and_files(world, tmp_path):
    tasks, root = world
    again = list(generate("test", 18, 3, tmp_path))
    assert again == tasks[:18]
    for task in again:
        for path in (*task.images, *([task.document] if task.document else [])):
            assert (tmp_path / path).read_bytes() == (root / path).read_bytes()


def test_families_and_needed_calls_take_turns_and_gold_is_balanced(world):
    tasks, _ = world
    counts = Counter((family(t), t.meta["needs"]) for t in tasks)
    assert counts == {(k, n): 120 * turns.count(n) / len(turns) for k, turns in NEEDS.items() for n in range(3)}
    for kind in FAMILIES:
        assert abs(sum(t.gold == 1 for t in tasks if family(t) == kind) / 120 - 0.5) < 0.15


def test_shortcuts_stay_at_chance_and_the_needed_calls_do_not(world):
    tasks, root = world
    found = baselines(tasks, RULES, root)
    assert found.pop("right calls") == 1.0
    assert 0.9 < found.pop("first sight") < 1, "frames are nearly always right, by design"
    assert {"never", "any call", "once", "fixed box", "fixed query", "previous calls"} < set(found)
    for name, accuracy in found.items():
        assert accuracy < 0.67, f"{name}: {accuracy} of at least 80 tasks (three standard errors above one half)"


def test_a_question_says_neither_the_family_nor_how_many_calls_it_needs(world):
    tasks, _ = world
    forms = {}
    for task in tasks:
        form = re.sub(r'page \d|page about "[^"]+"|(north|middle|south) \w+', "_", task.question)
        forms.setdefault(form, set()).add(task.meta["needs"])
    assert forms["Which way do the stripes of the tile at the _ run?"] == {0, 1}
    assert forms["Which way do the stripes in the bright corner of the tile at the _ run?"] == {1, 2}
    assert forms["Which response keeps the constraint?"] == {0, 1}
    assert {t for task in tasks for t in opened(task, world[1]).tools} == set(RULES.tools)


def test_stripes_are_seen_after_the_calls_that_a_task_needs_and_not_before(world):
    """What is not to be seen yet is noise: neighbours inside a tile or figure differ by a few levels of 255."""
    tasks, root = world
    for task in [t for t in tasks if "stripes" in t.question and t.meta["needs"]][:60]:
        episode, corner = opened(task, root), "bright corner" in task.question
        expert = task.meta["expert"]
        for number, wanted in enumerate(expert["calls"], 1):
            seen = call(episode, wanted).images[-1]
            if number == task.meta["needs"]:
                assert way_shown(seen, corner) == expert["finding"], task.id
            else:
                assert _contrast(seen, _box(expert["calls"][1])) < 6, task.id


def test_the_prompts_picture_shows_no_fine_stripes_and_the_sheet_none_at_all(tmp_path):
    tasks = [t for t in generate("test", 90, 4, tmp_path, "mosaic") if t.meta["needs"]]
    for task in tasks[:30]:
        shown = opened(task, tmp_path).conversation.messages[0].images[0]
        assert shown.size == (42, 42)
        assert _contrast(shown, _box(task.meta["expert"]["calls"][0]), edge=0.25) < 16, "noise in blocks of +-6"
    papers = [t for t in generate("test", 90, 4, tmp_path, "paper") if t.meta["needs"]]
    for task in papers[:30]:
        sheet = opened(task, tmp_path).memory.images["img_0"]
        assert way_shown(sheet, False) is None


def _box(wanted):
    return [v / 1000 for v in wanted["arguments"]["bbox_2d"]]


def _contrast(image, box, edge=0.3):
    """The largest mean step between neighbours, along either axis, well inside a box (shares of the picture)."""
    wide, high = image.size
    left, top, right, bottom = box
    dx, dy = (right - left) * edge, (bottom - top) * edge
    inside = (left + dx) * wide, (top + dy) * high, (right - dx) * wide, (bottom - dy) * high
    part = image.crop(tuple(map(round, inside)))
    grey = np.asarray(part.convert("L"), dtype=float)
    return max(np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1))


def test_a_query_that_misses_by_a_word_brings_another_page_and_one_that_misses_by_two_none(world):
    tasks, root = world
    for task in [t for t in tasks if "about" in t.question][:20]:
        document, right = opened(task, root).memory.document, task.meta["expert"]["calls"][0]["arguments"]["query"]
        page = document.search(right)[0][0]
        topics = [re.search('topic "(.+)"', text)[1] for text in document.texts()]
        near = [t for t in topics if len({*t.split()} & {*right.split()}) == 1]
        assert len(near) == 2 and all(document.search(t)[0][0] != page for t in near)
        assert document.search("xylophone wombat") == []


def test_the_transfer_split_asks_for_what_no_other_split_asks_for(world, transfer):
    known, new = Counter(), Counter()
    for tasks, parts in ((world[0], known), (transfer[0], new)):
        for task in tasks:
            parts.update(_parts(task))
    assert not known.keys() & new.keys()
    words = {w for part in new for w in re.findall(r"\w+", str(part))}
    assert {"north", "east", "south", "west"} <= words


def _parts(task):
    """What a task asks for, as the split is made: place; topic; kind of constraint and word, or two kinds; chain."""
    expert = task.meta["expert"]
    if family(task) == "mosaic":
        yield "place", re.search(r"at the (\w+ \w+) run", task.question)[1]
    elif family(task) == "prose":
        checks = [c.check for c in task.constraints]
        if len(checks) == 1 and "word_count" in checks[0]:
            return
        word = re.search(r'"(\w+)"', task.constraints[0].text)
        if len(checks) == 2:
            yield "pair", tuple(sorted(checks)) if all("substring" in c for c in checks) else ("other", task.id)
        else:
            yield "constraint", checks[0], word[1]
    elif "about" in task.question:
        yield "topic", re.search(r'"(.+)"', task.question)[1]
    elif task.meta["needs"] == 2:
        yield "chain", expert["calls"][0]["name"]
    elif task.meta["needs"] == 0:
        yield "colours", tuple(sorted(task.responses))


def test_expert_traces_call_what_is_needed_and_are_right(world):
    tasks, root = world
    records = [e.trajectory() for e in expert_episodes(tasks[:90], RULES, root, 1.0, 0.0, 0)]
    assert all(r.decision == r.task.gold and len(r.calls) == r.task.meta["needs"] for r in records)
    guessed = [e.trajectory() for e in expert_episodes(tasks[:90], RULES, root, 0.0, 0.0, 0)]
    assert all(not r.calls and (r.decision == r.task.gold or r.task.meta["needs"]) for r in guessed)
    idle = [e.trajectory() for e in expert_episodes(tasks[:90], RULES, root, 0.0, 0.0, 0, idle=1.0)]
    assert all(r.calls for r in idle)
    assert sum(r.decision == r.task.gold for r in idle) < 60, "what they call is of no use"


def test_who_calls_where_nothing_has_to_be_looked_at_guesses_so_only_a_bonus_for_any_call_pays_for_it(world):
    tasks, root = world
    idle = [t for t in tasks if t.meta["needs"] == 0]
    cells = {place_of(cell): cell for cell in range(9)}
    misled = Counter()
    for task in [t for t in idle if family(t) == "mosaic"]:
        place = re.search(r"at the (\w+ \w+) run", task.question)[1]
        shown = call(opened(task, root), zoom("original_image", box_of(cells[place])))
        misled["mosaic"] += way_shown(shown.images[-1], False) != task.responses[task.gold - 1]
    others = [t for t in idle if family(t) != "mosaic"]
    for record in (e.trajectory() for e in expert_episodes(others, RULES, root, 0.0, 0.0, 0, idle=1.0)):
        misled[family(record.task)] += record.decision != record.task.gold
    asked = Counter(map(family, idle))
    assert all(abs(misled[kind] / asked[kind] - 0.5) < 0.25 for kind in FAMILIES), misled
    right, pays = 1 - misled.total() / asked.total(), PAPER_WEIGHTS
    assert right * (pays["answer"] + pays["success"]) + (1 - right) * pays["attempt"] < pays["answer"], "hierarchical"
    assert right * pays["answer"] + pays["success"] > pays["answer"], "fixed_bonus"
    assert all(family(t) != "mosaic" or t.meta["expert"]["sight"] for t in tasks)
    frames = {t.meta["expert"]["sight"].split(" ", 4)[4] for t in tasks if t.meta["expert"]["glimpse"]}
    assert frames == {"blue corners.", "yellow corners."}


def test_base_traces_are_right_where_they_see_and_hurt_by_the_tools_that_they_call(world):
    tasks, root = world
    with_tools = [e.trajectory() for e in base_episodes(tasks, RULES, root, 0.0, 0)]
    without = [e.trajectory() for e in base_episodes(tasks, RULES, root, 1.0, 0)]
    accuracy = [sum(r.decision == r.task.gold for r in some) / len(tasks) for some in (with_tools, without)]
    assert accuracy[0] < 0.58 and accuracy[1] > 0.62
    assert all(r.calls for r in with_tools)
    seen = [r for r in without if r.task.meta["needs"] == 0]
    assert all(r.decision == r.task.gold for r in seen)


def test_splits_share_no_task(tmp_path):
    seen = {}
    for split in SPLITS:
        for task in generate(split, 45, 0, tmp_path / split, "prose"):
            if task.meta.get("needs"):
                assert seen.setdefault(task.responses, split) == split
