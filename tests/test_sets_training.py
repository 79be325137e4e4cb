"""What is special to the training sets: templates, ties, scores on other scales, conversations with tool calls."""

import json
from pathlib import Path

import pytest
from make_pdf import write_pdf
from published import arm_thinker_data, arm_thinker_trajectories, deepeyes, llava_critic, mmif_23k
from published.pieces import write_image, write_json, write_parquet

from armlite.cli import main
from armlite.data.convert import convert
from armlite.data.inputs import unreadable_traces
from armlite.data.tasks import read_tasks
from armlite.data.traces import SavedConversations
from armlite.errors import ArmliteError
from armlite.evals.benchmarks import get_set
from armlite.memory import Limits
from armlite.protocol.parse import parse_turn
from armlite.protocol.render import system_text
from armlite.rewards import rule_of
from armlite.types import TIE, Call, Task


def read(builder, folder: Path) -> list[Task]:
    builder.build(folder / "published", builder.FORMS[0])
    return tasks_of(builder.NAMES[0], folder)


def tasks_of(name: str, folder: Path) -> list[Task]:
    convert(get_set(name), folder / "published", folder / "tasks.jsonl")
    return read_tasks(folder / "tasks.jsonl")


def rejected(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "rejects.jsonl").read_text().splitlines()
    return [(line["field"], line["why"]) for line in map(json.loads, lines)]


def test_llava_critic_reads_its_four_templates_and_keeps_ties(tmp_path):
    tasks = read(llava_critic, tmp_path)
    assert [(task.meta["template"], task.kind, task.gold) for task in tasks] == [
        ("brackets", "pairwise", 1),
        ("brackets", "pairwise", 2),
        ("brackets", "pairwise", TIE),
        ("arena", "pairwise", 2),
        ("arena", "pairwise", TIE),
        ("two scores", "pairwise", 1),
        ("two scores", "pairwise", TIE),
        ("caption", "rating", 8.65),  # 1 + 9 * 85 / 100
    ]
    assert tasks[0].question == "What is left of the cup [blue]?"
    assert tasks[0].responses == ("A pen.\nIt is [short].", "A key.")
    assert tasks[3].responses == ("A hen.", "Two hens and a dog.")
    assert (tasks[3].meta["verdict"], tasks[5].meta["scores"]) == ("B>>A", [8.5, 7])
    assert tasks[7].responses == ("A boat lies on the beach.",)
    assert (tasks[7].meta["score"], tasks[7].meta["scale"]) == (85, [0, 100])
    assert tasks[1].meta["rationale"].startswith("A girl waves.")
    assert [task.id for task in tasks[5:7]] == ["bench_3", "bench_3#2"]
    assert rejected(tmp_path) == [("conversations", "matches none of the four templates")]


@pytest.mark.parametrize(
    ("human", "gpt", "why"),
    [
        (llava_critic.BRACKETS, "The better response: [both].", "better response 'both'"),
        (llava_critic.BRACKETS, "Equally good colours.\nBut who knows?\nNobody.", None),
        (llava_critic.ARENA, "A is better.", "'arena' without a verdict"),
        (llava_critic.BENCH, "8\nFine.", "without two numbers"),
        (llava_critic.CAPTION, "Final Score: 120", "without a final score from 0 to 100"),
        (llava_critic.NUMBERED.replace("Nobody.", " "), "The better response: [1]", "empty question or response"),
    ],
)
def test_llava_critic_says_what_is_wrong_with_a_verdict(human, gpt, why, tmp_path):
    good = llava_critic._row("good_1", llava_critic.ARENA, "[[A>B]]")
    write_parquet(tmp_path / "published" / "pairwise" / "0.parquet", [good, llava_critic._row("odd_1", human, gpt)])
    tasks = tasks_of("llava-critic", tmp_path)
    if why is None:  # said in the first line: a tie
        assert [task.gold for task in tasks] == [1, TIE]
        return
    assert len(tasks) == 1
    [(field, said)] = rejected(tmp_path)
    assert field == "conversations"
    assert why in said


def test_deepeyes_asks_the_true_question_without_the_tool_prompt(tmp_path):
    tasks = {task.id: task for task in read(deepeyes, tmp_path)}
    assert set(tasks) == {"vstar-0", "vstar-1", "chart-5", "thinklite_eureka-0"}
    assert (tasks["vstar-0"].question, tasks["vstar-0"].gold) == ("What colour is the glove?", ("red",))
    assert len(tasks["thinklite_eureka-0"].images) == 2
    assert tasks["chart-5"].meta["ability"] == "vl_chart"
    assert {task.meta["data_source"] for task in tasks.values()} == {"vstar", "chart", "thinklite_eureka"}


def test_mmif_rows_become_answers_to_imitate_and_pairs(tmp_path):
    dpo, *sft = read(mmif_23k, tmp_path)
    assert (dpo.kind, dpo.gold, dpo.meta["use"]) == ("pairwise", 1, "dpo")
    assert dpo.responses == ("- sand\n- a boat\n- gulls", "Sand, a boat and gulls.")
    assert [(task.kind, task.meta["use"], len(task.images)) for task in sft] == [
        ("open_qa", "sft", 1),
        ("open_qa", "sft", 2),
        ("open_qa", "sft", 0),
    ]
    assert sft[0].gold == ("A fair. Is it not?",)
    assert sft[1].question == "Compare  and . End with a question."


def test_a_mmif_pair_of_equal_responses_is_none(tmp_path):
    write_image(tmp_path / "published" / "images" / "sea.jpg", "sea")
    good = mmif_23k._dpo()
    equal = [row | {"rejected": row["chosen"]} for row in good]
    write_json(tmp_path / "published" / "dpo.json", good + equal)
    assert len(tasks_of("mmif-23k", tmp_path)) == 1
    assert rejected(tmp_path) == [("rejected", "is the same as the chosen response")]


def test_arm_thinker_data_gives_judgments_and_keeps_their_turns(tmp_path):
    tasks = read(arm_thinker_data, tmp_path)
    by_kind = [(task.kind, task.gold, len(task.responses), task.meta["tool_calls"]) for task in tasks]
    assert by_kind == [
        ("listwise", 4, 4, 1),
        ("pointwise", False, 1, 0),
        ("pointwise", True, 1, 1),
        ("pairwise", 2, 2, 1),
        ("pairwise", 1, 2, 0),
        ("pairwise", 1, 2, 1),
    ]
    assert [[c.text for c in task.constraints] for task in tasks[1:3]] == [[], ["Two sentences."]]
    zoomed = tasks[3]
    assert (zoomed.question, zoomed.responses) == ("What is odd?", ("The dog.", "The cars."))
    # The list holds what the tool returned too: only the first picture belongs to the task.
    assert len(zoomed.images) == 1
    assert [Path(image).name for image in zoomed.meta["conversation_images"]] == ["0.jpeg", "1.jpeg"]
    said = zoomed.meta["conversations"]
    assert [turn["from"] for turn in said] == ["system", "human", "gpt", "observation", "gpt"]
    assert tasks[5].id == "vlfeedback_8858#2"


@pytest.mark.parametrize(
    ("change", "field", "why"),
    [
        (lambda row: row["conversations"].pop(), "conversations", "must end with a gpt turn"),
        (lambda row: row["conversations"][3].update({"from": "narrator"}), "conversations", "is from 'narrator'"),
        (lambda row: row["conversations"][1].update(value="<image> Which?"), "conversations", "no tagged response"),
        (lambda row: row["conversations"][2].update(value=" "), "conversations.2.value", "is empty"),
        (lambda row: row["images"].pop(), "images", "holds 1 for 2 <image> marks"),
        (lambda row: row.update(gt=0), "gt", "is 0, must be 1 to 2"),
    ],
)
def test_arm_thinker_data_refuses_half_a_judgment(change, field, why, tmp_path):
    odd, good = arm_thinker_data._rows()[0], arm_thinker_data._rows()[1]
    change(odd)
    arm_thinker_data._write(tmp_path / "published", [good, odd])
    assert len(tasks_of("arm-thinker-data", tmp_path)) == 1
    [(where, said)] = rejected(tmp_path)
    assert where == field
    assert why in said


def test_published_conversations_are_traces_to_learn_from(tmp_path):
    tasks = read(arm_thinker_data, tmp_path)
    traces = SavedConversations(tmp_path / "tasks.jsonl", Limits(image_max_pixels=28 * 28))
    assert len(traces) == len(tasks) == 6
    talk = traces[0]
    assert [message.role for message in talk.messages] == ["user", "assistant", "tool", "assistant"]
    assert talk.messages[0].text.startswith("Judge.\n\n<start_of_instruction>")
    assert [tool["function"]["name"] for tool in talk.tools] == ["image_zoom_in_tool"]
    assert [len(message.images) for message in talk.messages] == [1, 0, 1, 0]
    asked, cut = (message.images[0] for message in (talk.messages[0], talk.messages[2]))
    assert asked.width * asked.height <= 28 * 28 < cut.width * cut.height
    assert talk.messages[2].text == "This is the zoom-in image."
    [number] = [i for i, task in enumerate(tasks) if task.id == "vlfeedback_8858#2"]
    called = parse_turn(traces[number].messages[1].text)
    assert called.call == Call(name="image_zoom_in_tool", arguments={"image": "x"}) and called.well_formed
    assert unreadable_traces(tmp_path / "tasks.jsonl") == {}
    image = next((tmp_path / "published").rglob("*.jpeg"))
    image.write_bytes(b"torn")
    assert "cannot be read" in " ".join(unreadable_traces(tmp_path / "tasks.jsonl").values())


def test_rl_rows_are_tasks_with_the_truth_of_each_reward(tmp_path):
    arm_thinker_data.build(tmp_path / "published", "rl")
    crop, document, general, rule = tasks_of("arm-thinker-data", tmp_path)
    assert [task.gold for task in (crop, document, general, rule)] == [2, False, 1, True]
    assert [task.kind for task in (crop, document, general, rule)] == ["pairwise", "pointwise", "pairwise", "pointwise"]
    assert [rule_of(task) for task in (crop, document, general, rule)] == ["tools", "tools", "general", "instruction"]
    assert crop.id == "deepeyes_crop-train-7" and crop.question == "What is odd?" and len(crop.images) == 1
    assert rule.constraints[0].text == "Two sentences."
    with pytest.raises(ArmliteError, match="no trajectory that ends in an answer"):
        SavedConversations(tmp_path / "tasks.jsonl", Limits())


def test_a_document_row_keeps_its_document_or_says_that_it_lost_it(tmp_path, capsys):
    arm_thinker_data.build(tmp_path / "published", "rl")
    lost = tasks_of("arm-thinker-data", tmp_path)[1]
    assert (lost.document, len(lost.images), lost.meta["lost_document"]) == (None, 1, "report")
    (tmp_path / "published/documents").mkdir()
    write_pdf(tmp_path / "published/documents/report.pdf", ["One", "Two"])
    kept = tasks_of("arm-thinker-data", tmp_path)[1]
    assert (kept.document, kept.images) == ("published/documents/report.pdf", ())
    assert "lost_document" not in kept.meta
    (tmp_path / "published/documents/report.pdf").unlink()
    with pytest.raises(SystemExit):
        main(
            [
                "data",
                "convert",
                "arm-thinker-data",
                "--path",
                str(tmp_path / "published"),
                "--out",
                str(tmp_path / "o.jsonl"),
            ]
        )
    assert "1 tasks have lost their document" in capsys.readouterr().out


def test_saved_trajectories_of_the_reference_are_tasks_and_traces(tmp_path):
    arm_thinker_trajectories.build(tmp_path / "published", "rows")
    judged, inside, ungolded = tasks_of("arm-thinker-trajectories", tmp_path)
    assert [(t.id, t.kind, t.gold, t.question) for t in (judged, inside, ungolded)] == [
        ("7", "pairwise", 2, "What is odd?"),
        ("8", "pairwise", 1, "What is odd?"),
        ("9", "pairwise", None, "What?"),
    ]
    assert (judged.meta["score"], judged.meta["tool_calls"]) == (1, 2)
    talk = SavedConversations(tmp_path / "tasks.jsonl", Limits())[0]
    assert [m.role for m in talk.messages] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert [len(m.images) for m in talk.messages] == [1, 0, 1, 0, 0, 0]
    assert system_text(talk.tools, talk.system).startswith("Your role.\n\n# Tools\n\nYou may call") and talk.tools


def test_a_saved_list_of_messages_is_one_trajectory_with_a_question_of_its_own(tmp_path):
    arm_thinker_trajectories.build(tmp_path / "published", "messages")
    (task,) = tasks_of("arm-thinker-trajectories", tmp_path)
    assert (task.id, task.kind, task.gold, task.question) == ("result-1", "open_qa", None, "Where was it taken?")
    assert len(SavedConversations(tmp_path / "tasks.jsonl", Limits())[0].messages) == 6
