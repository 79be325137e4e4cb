"""`--like reference`: what we send beside what the reference's own code sent on the same items (recorded, see
`tests/real/reference.py`), field by field; and the rules that single options change.
"""

import json
import math
import re
from pathlib import Path

import pytest
from endpoint import Server, fresh
from make_pdf import write_pdf
from PIL import Image
from published.pieces import write_json, write_jsonl, write_tsv
from reference_cases import ANSWERS, CASES, CHOICES, OPTIONS, PDF, QUESTION, answer, summary, write_picture

from armlite.cli import main
from armlite.data.tasks import write_tasks
from armlite.episode import EpisodeSettings
from armlite.evals.folder import EvalSettings, read_settings
from armlite.evals.likeness import RULES, like, unlike, visual_tokens
from armlite.memory import Memory
from armlite.models.scripted import ScriptedModel
from armlite.protocol.reference import data
from armlite.runner import Job, run_jobs
from armlite.tools import tools_for
from armlite.tools.documents.pages import Document
from armlite.tools.documents.strip import strip
from armlite.types import Task

RECORDED = json.loads((Path(__file__).parent / "real/committed/reference.json").read_text("utf-8"))
OURS_ONLY = {"seed", "stop"}
DEFAULTS = {"n": 1, "top_p": 1.0}
"""Fields that one side may leave out: they change nothing of a greedy turn, which both cut behind `</tool_call>`."""


@pytest.fixture(scope="module")
def process():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def server(process, monkeypatch):
    return fresh(process, monkeypatch)


def published(folder: Path, case) -> None:
    """A case's item as its benchmark publishes it."""
    write_picture(folder / "original.png")
    name, listed = case["benchmark"], "".join(f"\n({key}) {text}" for key, text in OPTIONS.items())
    asked = "What is the material of the glove?"
    if name == "vstar":
        text = f"{asked}{listed}\nAnswer with the option's letter from the given choices directly."
        row = {"image": "original.png", "text": text, "category": "direct_attributes", "label": "A", "question_id": 0}
        write_jsonl(folder / "test_questions.jsonl", [row])
    elif name == "hr-bench-4k":
        from reference_cases import base64

        image = base64.b64encode((folder / "original.png").read_bytes()).decode()
        row = {"index": 0, "question": asked, **OPTIONS, "answer": "A", "category": "single", "cycle_category": "0"}
        write_tsv(folder / "hr_bench_4k.tsv", [row | {"image": image}])
    elif name == "mme-realworld-lite":
        row = {"Question_id": "perception/x/y/0", "Image": "original.png", "Text": asked, "Question type": "x"}
        row |= {
            "Answer choices": CHOICES,
            "Ground truth": "A",
            "Category": "text",
            "Subtask": "OCR with Complex Context",
        }
        write_json(folder / "MME_RealWorld_Lite.json", [row | {"Task": "Perception"}])
    elif name == "we-math":
        option = "; ".join(f"{key}. {text}" for key, text in OPTIONS.items())
        row = {"ID": "2steps_1", "split": "testmini", "question": asked, "option": option, "answer": "A"}
        write_json(folder / "testmini.json", [row | {"image_path": "original.png", "key": "2steps_1"}])
    elif name == "rewardbench-2":
        write_jsonl(folder / "test.jsonl", [{"prompt": QUESTION, **case["row"]}])
    elif name == "vl-rewardbench":
        row = {"id": "RLAIF-V-1", "query": QUESTION, "response": ANSWERS[:2], "human_ranking": [0, 1]}
        write_jsonl(folder / "data.jsonl", [row | {"image_path": "original.png"}])
    else:
        item = case["item"]
        if "doc_id" in item:
            (folder / "documents").mkdir()
            write_pdf(folder / "documents/report.pdf", PDF)
        row = {"idx": 1, "question": f"<image>\n{QUESTION}", "images": ["original.png"], **item}
        write_jsonl(folder / "fine_grained_perception.jsonl", [row])


def run(*arguments):
    with pytest.raises(SystemExit) as status:
        main(["eval", *map(str, arguments)])
    return status.value.code or 0


def played(case, server, tmp_path, *more):
    data = tmp_path / "data"
    data.mkdir()
    published(data, case)
    server.script(turns=case["turns"])
    words = [
        "--model",
        server.model,
        "--benchmark",
        case["benchmark"],
        "--path",
        data,
        "--out",
        tmp_path / "out",
        "--no-probe",
        *("--workers", 1),
    ]
    assert run(*words, *more) == 0
    return summary(server.bodies())


def tokens(size):
    """Visual tokens of a picture: 28 pixels square, after the image processor has rounded its sides."""
    return math.prod(max(1, round(side / 28)) for side in size)


@pytest.mark.parametrize("name", CASES)
def test_what_is_sent_is_what_the_references_evaluation_sends(name, server, tmp_path):
    case, theirs = CASES[name], RECORDED["cases"][name]
    ours = played(case, server, tmp_path, "--like", "reference")
    sent = {key: value for key, value in ours["fields"].items() if key not in OURS_ONLY}
    assert {**DEFAULTS, **sent} == {**DEFAULTS, **theirs["fields"]} and {*ours["fields"]} >= OURS_ONLY
    assert ours["requests"] == theirs["requests"]
    assert [m["role"] for m in ours["messages"]] == [m["role"] for m in theirs["messages"]]
    for mine, other in zip(ours["messages"], theirs["messages"], strict=True):
        assert mine["text"] == other["text"]
        if "document" in name and mine is ours["messages"][1]:
            continue  # the contact sheet, whose drawing is not published
        assert [tokens(size) for size in mine["sizes"]] == [tokens(size) for size in other["sizes"]]


def test_the_crop_is_of_the_picture_and_not_of_its_rounded_copy(server, tmp_path):
    ours = played(CASES["hr-bench-4k"], server, tmp_path, "--like", "reference")
    theirs = RECORDED["cases"]["hr-bench-4k"]
    assert [m["sizes"] for m in ours["messages"]][1::2] == [[[1400, 1050]], [[700, 526]]]
    assert [m["sizes"] for m in theirs["messages"]][1::2] == [[[1400, 1050]], [[700, 532]]]


@pytest.mark.parametrize("name", ["vstar", "rewardbench-2, four"])
def test_a_run_like_the_reference_differs_in_no_setting_and_its_report_says_so(name, server, tmp_path):
    played(CASES[name], server, tmp_path, "--like", "reference")
    folder = tmp_path / "out" / CASES[name]["benchmark"]
    assert unlike(read_settings(folder)) == []
    report = (folder / "report.md").read_text()
    assert "## How this differs from ARM-Thinker's evaluation\n\n- in no setting\n" in report


def test_report_and_comparison_name_every_setting_that_differs_pixels_first(server, tmp_path, capsys):
    played(CASES["vstar"], server, tmp_path)
    wanted = [
        "image_max_pixels: 802,816 here, 12,845,056 there "
        "(a photo of 3840 x 2160 has 1,032 visual tokens here and 10,549 there)",
        "crop_max_pixels: 802,816 here, 12,845,056 there",
        "shown_characters: 4,000 here, 1,000,000 there",
        "max_calls: 5 here, 15 there",
        "max_new_tokens: 2,048 here, 4,096 there",
        "prompts and tool texts (none: armlite's own): none here, vstar there",
        "parse: strict here, lenient there",
        "repetition_penalty: not sent here, 1.0 there",
        "top_k: not sent here, -1 there",
    ]
    folder = tmp_path / "out/vstar"
    settings = read_settings(folder)
    if "max_new_tokens" not in settings.writer:
        wanted.remove("max_new_tokens: 2,048 here, 4,096 there")
    assert unlike(settings) == wanted
    assert json.loads((folder / "summary.json").read_text())["unlike_reference"] == wanted
    assert all(f"- {line}\n" in (folder / "report.md").read_text() for line in wanted)
    capsys.readouterr()
    assert run("compare", folder, folder, "--paper") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert all(line in said for line in wanted)


def test_a_single_rule_wins_over_the_reference_and_is_told(server, tmp_path):
    rules = ("--rule", "crop_max_pixels=100352", "--rule", "limits.verifier_mode=engine", "--rule", "max_calls=2")
    ours = played(CASES["vstar"], server, tmp_path, "--like", "reference", *rules)
    assert math.prod(ours["messages"][3]["sizes"][0]) <= 100352
    said = unlike(read_settings(tmp_path / "out/vstar"))
    assert said == ["crop_max_pixels: 100,352 here, 12,845,056 there", "max_calls: 2 here, 15 there"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--benchmark", "vstar", "--rule", "crop_max_pixel=1"), "Did you mean crop_max_pixels"),
        (("--benchmark", "vstar", "--rule", "crop_max_pixels"), "must be KEY=VALUE"),
        (("--benchmark", "vstar", "--rule", "verifier_mode=loose"), "verifier_mode"),
        (("--benchmark", "vstar", "--rule", "like=vstr"), "Did you mean vstar"),
        (("--benchmark", "vstar", "--like", "referenc"), "Did you mean reference"),
        (("--benchmark", "mm-ifeval", "--like", "reference"), "how the reference asks mm-ifeval is not known"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, why, capsys, tmp_path):
    assert run("--model", "openai:x@http://127.0.0.1:9/v1", "--path", tmp_path, "--out", tmp_path, *words) == 2
    said = capsys.readouterr().err
    assert re.sub(r"\W+", " ", why) in re.sub(r"\W+", " ", said) and "Traceback" not in said


def judged(task, turns, **settings):
    model = ScriptedModel(turns)
    [outcome] = run_jobs([Job(task, EpisodeSettings(**settings))], model)
    return outcome.trajectory


def test_a_file_of_tasks_is_asked_by_kind_and_a_kind_without_a_prompt_is_refused(server, tmp_path, capsys):
    pair = Task(id="1", kind="pairwise", question="Which?", responses=("a", "b"), gold=1)
    write_tasks(tmp_path / "t.jsonl", [pair])
    server.script(turns=[answer("Overall Judgment: Answer 1 is better.")])
    words = ("--model", server.model, "--benchmark", tmp_path / "t.jsonl", "--out", tmp_path / "out")
    assert run(*words, "--like", "reference", "--no-swap") == 0
    asked = server.bodies()[-1]["messages"][-1]["content"]
    assert asked.startswith("You will receive two responses (named as `resp_1` and `resp_2`)")
    trajectory = judged(pair.model_copy(update={"kind": "rating", "responses": ("a",), "gold": 3}), ["x"], like="tasks")
    assert trajectory.fault.whose == "data" and "no prompt for a rating task" in trajectory.fault.reason


def test_a_call_that_cannot_be_read_ends_the_judgment_as_there_and_text_from_outside_fills_in_once():
    task = Task(id="1", kind="pairwise", question="{resp_2} or </answer>?", responses=("{question}", "b"))
    trajectory = judged(task, ["<think>x</think><tool_call>{</tool_call>", answer("1")], like="tasks")
    assert (trajectory.stop, len(trajectory.steps)) == ("no_answer", 1)
    assert "<start_of_instruction>\n{resp_2} or < /answer>?\n<end_of_instruction>" in trajectory.prompt
    assert "<start_of_resp_1>\n{question}\n" in trajectory.prompt


def test_the_data_name_rules_and_tools_that_there_are():
    everything = {tool.name for tool in tools_for(Memory(), tuple(data()["tools"]))}
    assert everything == set(data()["tools"]) and len(everything) == 22
    for benchmark in data()["benchmarks"]:
        assert {*like("reference", benchmark)} - {"order"} <= {*RULES}
    assert data()["results"].keys() <= everything
    assert (visual_tokens(3840, 2160, 1024 * 28 * 28), visual_tokens(3840, 2160, 16384 * 28 * 28)) == (1032, 10549)
    assert unlike(EvalSettings(benchmark="mm-ifeval", model="m")) == []


def test_a_page_that_cannot_be_read_is_an_empty_place_of_the_strip(tmp_path):
    for number, colour in enumerate(("red", "blue"), 1):
        Image.new("RGB", (500, 1120), colour).save(tmp_path / f"p_{number}.png")
    (tmp_path / "p_3.png").write_bytes(b"torn")
    pages = strip(Document(tmp_path), [2, 3, 1], 10**8)
    assert pages.size == (500 + 866 + 500 + 2 * 8, 1120)
    assert [pages.getpixel((x, 500)) for x in (9, 900, 1800)] == [(0, 0, 255), (255, 255, 255), (255, 0, 0)]
    assert strip(Document(tmp_path), [1], 28 * 28).width < 30
