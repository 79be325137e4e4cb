"""What the filter and the screens of traces keep, and that an interrupted command ends like one that was not."""

from collections import Counter

import pytest
from making_tasks import adds_up, lines, pair, photo

from armlite.data.making.filter import filter_tasks
from armlite.data.making.pairs import make_pairs
from armlite.data.making.traces import make_traces
from armlite.data.tasks import read_tasks, write_tasks
from armlite.data.traces import SavedConversations
from armlite.episode import EpisodeSettings
from armlite.errors import ArmliteError
from armlite.judge import Judge
from armlite.loop import Reply
from armlite.memory import Limits
from armlite.models.scripted import ScriptedModel

RULES = EpisodeSettings()
ZOOM = (
    '<tool_call>\n{"name": "image_zoom_in_tool", "arguments": {"image": "original_image", "bbox_2d": %s}}\n</tool_call>'
)


def says(number, thought="I see."):
    return f"<think>{thought}</think>\n<answer>Overall Judgment: Answer {number} is better.</answer>"


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
        file, model = tmp_path / "in" / "tasks.jsonl", ScriptedModel(judge)
        counts = filter_tasks(file, model, RULES, out, "m", 4, drop, in_flight=8)
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
        trace_tasks(tmp_path / "in"), ScriptedModel(screened_judge), RULES, out, "m", k=2, messages=plain
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

    model = ScriptedModel(judge)
    file = folder / "tasks.jsonl"
    if command == "pairs":
        return make_pairs(file, out, model, name="m", in_flight=2, on_task=on_batch, **changes)
    make = {"filter": filter_tasks, "traces": make_traces}[command]
    return make(file, model, RULES, out, "m", k=2, in_flight=4, on_task=on_batch, **changes)


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
    with pytest.raises(ArmliteError, match=r"was begun with seed 0, not 1"):
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
        file, out, scripted = tmp_path / "tasks.jsonl", tmp_path / "o.jsonl", ScriptedModel(model)
        if command == "pairs":
            return make_pairs(file, out, scripted, name="m", in_flight=2)
        return {"filter": filter_tasks, "traces": make_traces}[command](
            file, scripted, RULES, out, "m", k=1, in_flight=2
        )

    with pytest.raises(ArmliteError, match=r"8 times in a row \(no route to it\).*the same command goes on"):
        make()
    assert not (tmp_path / "o.jsonl").exists()
    asked.clear()
    gone[0] = False
    assert make().taken_in == 12 and len(asked) == 10


def test_settings_may_change_while_nothing_was_done(tmp_path):
    folder = trace_tasks(tmp_path / "in").parent
    out = tmp_path / "o.jsonl"

    no_model = Judge.load("no/where/at/all").model
    with pytest.raises(ArmliteError, match="no model"):
        filter_tasks(folder / "tasks.jsonl", no_model, RULES, out, "mm", k=2)
    assert run_command("filter", folder, out).taken_in == 8
