"""`armlite judge FILE`: what columns mean, what is written, going on after a kill; what is refused in a sentence."""

import base64
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from armlite.batch.columns import Columns, parse_map
from armlite.batch.run import judge_file
from armlite.cli import main
from armlite.data.files import read_file
from armlite.data.pictures import Pictures
from armlite.errors import ArmliteError
from armlite.models import _MAKERS
from armlite.models.scripted import ScriptedModel
from armlite.store import open_image, read

ANSWER = "<think>I know.</think>\n<answer>Overall Judgment: Answer %d is better.</answer>"


def tasks(tmp_path, rows, name="rows.jsonl", columns=(), rate=False):
    file = tmp_path / name
    if name.endswith(".jsonl"):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        with file.open("w", newline="", encoding="utf-8") as target:
            writer = csv.DictWriter(target, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    reader = Columns(parse_map(columns), rate)
    return [reader.task(row) for row in read_file("rows", file, Pictures(tmp_path / "out"), tmp_path)], reader


def user(text):
    return {"role": "user", "content": text}


def model(text):
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("row", "kind", "question", "responses", "gold"),
    [
        ({"question": "Q?", "response_1": "a", "response_2": "b", "label": 2}, "pairwise", "Q?", ("a", "b"), 2),
        ({"Prompt": "Q?", "Response_A": "a", "Response_B": "b", "winner": "B"}, "pairwise", "Q?", ("a", "b"), 2),
        ({"query": "Q?", "responses": ["a", "b", "c"], "label": "tie"}, "listwise", "Q?", tuple("abc"), 0),
        ({"query": "Q?", "responses": '["a", "b"]', "label": "resp_1"}, "pairwise", "Q?", ("a", "b"), 1),
        ({"query": "Q?", "response_2": "b", "response_10": "j", "response_1": "a"}, "listwise", "Q?", tuple("abj"),
         None),
        ({"question": "Q?", "response": "a", "label": True}, "pointwise", "Q?", ("a",), True),
        ({"question": "Q?", "answer": "a", "label": "incorrect"}, "pointwise", "Q?", ("a",), False),
        ({"prompt": "Q?", "chosen": "a", "rejected": "b"}, "pairwise", "Q?", ("a", "b"), 1),
        ({"prompt": [user("Q?")], "chosen": [model("a")], "rejected": [model("b")]}, "pairwise", "Q?", ("a", "b"), 1),
        ({"chosen": [user("Q?"), model("a")], "rejected": [user("Q?"), model("b")]}, "pairwise", "Q?", ("a", "b"), 1),
        ({"messages": [user("Q?"), model("a")]}, "pointwise", "Q?", ("a",), None),
        ({"messages": [user("Q?"), model("a"), user("And?"), model("b")]}, "pointwise",
         "user: Q?\n\nassistant: a\n\nuser: And?", ("b",), None),
    ],
)  # fmt: skip
def test_a_row_is_read_by_the_names_of_its_columns(tmp_path, row, kind, question, responses, gold):
    [task], _ = tasks(tmp_path, [row])
    assert (task.kind, task.question, task.responses, task.gold) == (kind, question, responses, gold)
    assert type(task.gold) is type(gold) and task.id == "row-1"


def test_kinds_may_be_mixed_and_ratings_are_asked_for(tmp_path):
    rows = [{"question": "Q?", "response": "a"}, {"question": "Q?", "response_1": "a", "response_2": "b"}]
    found, reader = tasks(tmp_path, rows)
    assert [task.kind for task in found] == ["pointwise", "pairwise"] and len(reader.said) == 2
    [one], _ = tasks(tmp_path, [{"question": "Q?", "response": "a", "label": "7"}], rate=True)
    assert (one.kind, one.gold) == ("rating", 7.0)


def test_an_empty_response_of_a_pair_is_never_a_check(tmp_path):
    full = {"question": "Q?", "response_1": "a", "response_2": "b", "label": "1"}
    for name in ("response_1", "response_2"):
        with pytest.raises(ArmliteError, match=f"row 2, field {name}: is empty, while another response"):
            tasks(tmp_path, [full, {**full, name: ""}], "rows.csv")
    three = {"question": "Q?", "response_1": "a", "response_2": "b", "response_3": ""}
    [task], _ = tasks(tmp_path, [three], "rows.csv")
    assert task.responses == ("a", "b"), "a row may have fewer than others"
    with pytest.raises(ArmliteError, match="field response_2: is empty"):
        tasks(tmp_path, [{**three, "response_2": "", "response_3": "c"}], "rows.csv")


def test_a_task_record_may_come_without_an_id(tmp_path):
    [task], _ = tasks(tmp_path, [{"kind": "open_qa", "question": "Q?", "gold": "a"}])
    assert (task.id, task.kind) == ("row-1", "open_qa")


def test_paths_in_a_pipe_are_those_of_whoever_pipes_and_a_refusal_leaves_nothing(tmp_path, monkeypatch, scripted):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    row = {"question": "Q?", "response_1": "aa", "response_2": "b", "image": "a.png"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(row).encode())))
    assert judge_file("-", "scripted:m", tmp_path / "out")["judged"] == 1
    for text, said in (
        ("question,response\nQ?,a\n", "a pipe takes JSONL"),
        (json.dumps({**row, "image": "b.png"}), "b.png"),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        with pytest.raises(ArmliteError, match=said):
            judge_file("-", "scripted:m", tmp_path / "other")
        assert not (tmp_path / "other" / "input.jsonl").exists()


def test_a_map_says_what_no_rule_can_know(tmp_path):
    row = {"text": "Q?", "gpt": "a", "ours": "b", "best": "1", "question": "not this"}
    words = ["question=text,response_1=gpt", "response_2=ours,label=best"]
    [task], reader = tasks(tmp_path, [row], "rows.csv", words)
    assert (task.question, task.responses, task.gold) == ("Q?", ("a", "b"), 1)
    assert "not read: question" in next(iter(reader.said.values()))


def test_pictures_come_as_paths_bytes_and_data_urls(tmp_path):
    data = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(data, "PNG")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (tmp_path / "out").mkdir()
    (folder / "photo.png").write_bytes(data.getvalue())
    url = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
    for image in (
        "elsewhere/photo.png",
        str(folder / "photo.png"),
        url,
        [url],
        base64.b64encode(data.getvalue()).decode(),
    ):
        [task], _ = tasks(tmp_path, [{"question": "Q?", "response": "a", "image": image}])
        assert Image.open(tmp_path / "out" / task.images[0]).size == (40, 30)
    rows = [{"question": "Q?", "response": "a", "images": [{"bytes": data.getvalue(), "path": None}]}]
    [task], _ = tasks(tmp_path, rows, "rows.parquet")
    assert Image.open(tmp_path / "out" / task.images[0]).size == (40, 30)


def test_pictures_inside_of_messages_are_taken_in_their_order(tmp_path):
    urls = []
    for width in (31, 32, 33):
        data = io.BytesIO()
        Image.new("RGB", (width, 30), "red").save(data, "PNG")
        urls.append(f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}")
    parts = [
        {"type": "image_url", "image_url": {"url": urls[0]}},
        {"type": "text", "text": "Which"},
        {"type": "image", "image": urls[1]},
        {"type": "text", "text": " one?"},
    ]
    turns = [{"role": "user", "content": parts}, model("a")]
    said = [{"role": "user", "content": [*parts, {"type": "input_image", "image_url": urls[2]}]}]
    marked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which one?"}]}]
    for row, widths in (
        ({"messages": turns}, [31, 32]),
        ({"prompt": said, "completion": [model("a")]}, [31, 32, 33]),
        ({"chosen": turns, "rejected": [turns[0], model("b")]}, [31, 32]),
        ({"prompt": marked, "chosen": "a", "rejected": "b", "images": [urls[2]]}, [33]),
    ):
        [task], _ = tasks(tmp_path, [row])
        assert task.question == "Which one?" and task.responses[0] == "a"
        assert [Image.open(tmp_path / "out" / image).width for image in task.images] == widths


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLITE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def scripted(monkeypatch):
    """A judge that prefers the longer response, a tie and a shrug now and then; counts what it is asked."""
    asked = []

    def says(conversation):
        text = conversation.messages[0].text
        asked.append(conversation.task_id)
        if "zebra" in text:
            return ANSWER.replace("Answer %d is better.", "Tie, both are equally good.")
        if "quagga" in text:
            return "I would rather not."
        one, two = (text.split(f"<start_of_resp_{n}>\n")[1].split("\n<end_of_resp")[0] for n in (1, 2))
        return ANSWER % (1 if len(one) >= len(two) else 2)

    monkeypatch.setitem(_MAKERS, "scripted", lambda name, sampling: ScriptedModel(says, "m"))
    return asked


def pairs(n):
    return [
        {"id": f"p{i}", "question": "zebra?" if i % 10 == 3 else "quagga?" if i % 10 == 4 else "Which?",
         "response_1": "x" * (1 + i % 3), "response_2": "yy", "label": 1 + (i % 3 < 1)}
        for i in range(n)
    ]  # fmt: skip


def write_csv(file, rows):
    with file.open("w", newline="", encoding="utf-8") as target:
        writer = csv.DictWriter(target, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_verdicts_preferences_and_a_summary_are_written_and_nothing_is_done_twice(tmp_path, scripted):
    write_csv(tmp_path / "p.csv", pairs(30))
    said = []
    summary = judge_file(tmp_path / "p.csv", "scripted:m", tmp_path / "out", say=said.append, swap=True)
    assert said == ["row 1: id as id, question as question, label as label, response_1 + response_2 as the responses"]
    # Equal lengths are a judge's first place, so both orders disagree.
    assert (summary["rows"], summary["judged"], summary["not_judged"]) == (30, 19, {"split": 8, "no_answer": 3})
    assert summary["wins"] == {"response_1": 8, "response_2": 8, "tie": 3}
    assert summary["consistency"]["n"] == 27 and summary["consistency"]["value"] == pytest.approx(19 / 27)
    rows = list(csv.DictReader((tmp_path / "out" / "verdicts.csv").open(encoding="utf-8")))
    lines = [json.loads(line) for line in (tmp_path / "out" / "verdicts.jsonl").open(encoding="utf-8")]
    assert (
        sorted(row["id"] for row in rows) == sorted(line["id"] for line in lines) == sorted(f"p{i}" for i in range(30))
    )
    preferences = [json.loads(line) for line in (tmp_path / "out" / "preferences.jsonl").open(encoding="utf-8")]
    assert len(preferences) == summary["preferences"] == sum(bool(line["choice"]) for line in lines)
    assert all(len(p["chosen"]) >= len(p["rejected"]) for p in preferences)
    assert len(list(read(tmp_path / "out"))) == 60
    before = len(scripted)
    assert judge_file(tmp_path / "p.csv", "scripted:m", tmp_path / "out", swap=True) == summary
    assert len(scripted) == before, "what is done is not asked again"
    with pytest.raises(ArmliteError, match="begun with swap True, not False"):
        judge_file(tmp_path / "p.csv", "scripted:m", tmp_path / "out")


def test_a_set_on_the_hub_is_judged_by_its_split(tmp_path, scripted):
    folder = tmp_path / "set"
    folder.mkdir()
    for split in ("train", "test"):
        rows = [{"question": f"{split}?", "response_1": "aa", "response_2": "b"}] * 2
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    summary = judge_file(f"hf:{folder}:test", "scripted:m", tmp_path / "out")
    assert summary["rows"] == 2 and summary["wins"] == {"response_1": 2}
    assert all(row.trajectory.task.question == "test?" for row in read(tmp_path / "out" / "trajectories.jsonl"))
    with pytest.raises(ArmliteError, match="cannot get"):
        judge_file(f"hf:{folder}:nothing", "scripted:m", tmp_path / "other")
    assert not (tmp_path / "other" / "tasks.jsonl").exists()


def test_a_killed_batch_goes_on_to_the_same_verdicts(tmp_path, process):
    write_csv(tmp_path / "p.csv", pairs(60))
    process.script(delay=0.02)
    words = [
        sys.executable,
        "-m",
        "armlite",
        "judge",
        "p.csv",
        "--model",
        process.model,
        "--no-probe",
        "--cache",
        "off",
        "--out",
    ]

    def verdicts(folder):
        lines = (tmp_path / folder / "verdicts.jsonl").read_text("utf-8").splitlines()
        rows = sorted(map(json.loads, lines), key=lambda row: row["id"])
        return [{**row, "seconds": 0} for row in rows]

    subprocess.run([*words, "whole"], cwd=tmp_path, check=True, capture_output=True)
    for wanted in (10, 25):
        run = subprocess.Popen([*words, "cut"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        file = tmp_path / "cut" / "verdicts.jsonl"
        until = time.monotonic() + 60
        while time.monotonic() < until and (not file.exists() or file.read_bytes().count(b"\n") < wanted):
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    subprocess.run([*words, "cut"], cwd=tmp_path, check=True, capture_output=True)
    assert verdicts("cut") == verdicts("whole") and len(verdicts("cut")) == 60


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        ("question,reply\nQ?,a\n", [], "field response: there is no such column"),
        ("question,response\nQ?,\n", [], "field response: is missing"),
        ("foo,bar\n1,2\n", [], "nor one to take for it; the columns are foo, bar"),
        ("question,response,image\nQ?,a,gone.png\n", [], "row 1, field image: gone.png does not exist"),
        ("question,response\nQé?,a\n".encode("latin-1"), [], "line 2 is not UTF-8"),
        (b"", [], "has no row to judge"),
        ("question,response\n", [], "has no row to judge"),
        ("question,response\nQ?,a\n", ["--map", "question=prompt"], "field prompt: there is no such column"),
        ("question,response\nQ?,a\n", ["--map", "questoin=question"], "Did you mean 'question'?"),
        ("question,response\nQ?,a\n", ["--map", "nothing"], "is not of the form ROLE=COLUMN"),
        ("question,response,label\nQ?,a,maybe\n", [], "field label: 'maybe' is neither of"),
        ("question,response_1,response_2\nQ?,a,b\n", ["--rate"], "--rate rates one response; there are 2"),
        ("question,response\nQ?,a\n", ["--question", "Q?"], "--question is for a single judgment"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("scripted")
def test_what_cannot_be_judged_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, capsys, content, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SystemExit) as end:
        main(["judge", "a.csv", "--model", "scripted:m", "--out", "out", *words])
    err = capsys.readouterr().err
    assert end.value.code == 2 and said in err and err.count("error: ") == 1
    assert not list((tmp_path / "out").glob("*.jsonl"))


@pytest.mark.usefixtures("scripted")
def test_a_pipe_and_texts_from_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = "".join(json.dumps(row) + "\n" for row in pairs(3))
    run = subprocess.run(
        [sys.executable, "-m", "armlite", "judge", "-", "--model", "openai:m@http://127.0.0.1:9/v1", "--out", "x"],
        input=rows, capture_output=True, encoding="utf-8", cwd=tmp_path, check=False,
    )  # fmt: skip
    assert run.returncode == 2 and "127.0.0.1:9" in run.stderr and (tmp_path / "x" / "input.jsonl").read_text() == rows
    (tmp_path / "q.txt").write_text("Which?\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("a long response\n"))
    words = ["judge", "--model", "scripted:m", "--question", "@q.txt", "--response", "-", "--response", "b", "--json"]
    with pytest.raises(SystemExit) as end:
        main(words)
    verdict = json.loads(capsys.readouterr().out)
    assert not end.value.code and verdict["trajectories"][0]["task"]["responses"] == ["a long response", "b"]
    assert verdict["trajectories"][0]["task"]["question"] == "Which?"
    with pytest.raises(SystemExit) as end:
        main([*words, "--response", "-"])
    assert end.value.code == 2 and "read once only" in capsys.readouterr().err


def test_what_was_judged_before_comes_from_the_cache_without_loading_the_model(tmp_path, process):
    photo = Image.radial_gradient("L").convert("RGB").resize((300, 200))
    photo.save(tmp_path / "photo.png")
    given = [{**row, "image": "photo.png", "question": f"Which of {row['id']}?"} for row in pairs(12)]
    write_csv(tmp_path / "p.csv", given)
    process.script()
    first = judge_file(tmp_path / "p.csv", process.model, tmp_path / "one", options={"probe": False})
    asked = len(process.record())
    again = judge_file(tmp_path / "p.csv", process.model, tmp_path / "two", options={"probe": False})
    assert again == first and first["calls"] == 12 and len(process.record()) == asked
    for folder in ("one", "two"):
        rows = list(read(tmp_path / folder))
        assert len(rows) == 12
        for row in rows:
            crop = row.trajectory.images[-1]
            assert open_image(row.path, crop).size == (crop.width, crop.height) and crop.parent is not None
    write_csv(tmp_path / "q.csv", [{**row, "id": f"{row['id']}-new"} for row in given])
    judge_file(tmp_path / "q.csv", process.model, tmp_path / "three", options={"probe": False}, swap=True)
    assert len(process.record()) == 2 * asked, "each in the order that it was not shown in before"
    photo.resize((200, 200)).save(tmp_path / "photo.png")
    judge_file(tmp_path / "p.csv", process.model, tmp_path / "four", options={"probe": False})
    assert len(process.record()) == 3 * asked, "another picture is another task"
    judge_file(tmp_path / "p.csv", process.model, tmp_path / "five", options={"probe": False}, cache="off")
    assert len(process.record()) == 4 * asked


def test_nothing_is_cached_of_a_model_that_may_have_changed_unseen(tmp_path, scripted):
    write_csv(tmp_path / "p.csv", pairs(3))
    for folder in ("one", "two"):
        judge_file(tmp_path / "p.csv", "scripted:m", tmp_path / folder)
    assert len(scripted) == 6 and not (tmp_path / "cache" / "judgments").exists()


def test_the_command_hands_on_every_option(tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr("armlite.batch.run.judge_file", lambda *words, **how: given.update(how, words=words) or {})
    monkeypatch.setattr("armlite.cli.batch.draw_summary", lambda summary, out: None)
    words = "--model openai:m@http://127.0.0.1:9/v1 --out o --swap --rate --rank --votes 3 --no-tools --max-calls 2"
    words += " --seed 5"
    words += (
        " --temperature 0.5 --workers 7 --map question=q --n 9 --cache off --retry-failed --max-tokens 11 --no-probe"
    )
    with pytest.raises(SystemExit) as end:
        main(["judge", "rows.csv", "--no-probe", *words.split()])
    assert not end.value.code and [str(word) for word in given["words"]] == ["rows.csv", words.split()[1], "o"]
    plain = {
        "swap": True,
        "rate": True,
        "rank": True,
        "votes": 3,
        "tools": False,
        "max_calls": 2,
        "seed": 5,
        "temperature": 0.5,
    }
    plain |= {"workers": 7, "columns": ["question=q"], "n": 9, "retry_failed": True}
    assert {name: given[name] for name in plain} == plain and str(given["cache"]) == "off"
    assert given["options"]["max_new_tokens"] == 11 and given["options"]["probe"] is False
