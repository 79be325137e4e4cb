"""Odd files that others sent (`shared/cases`), through every door: what is right is shown, the rest is a sentence, and
a batch goes on.
"""

import base64
import gzip
import json
import re

import pytest
from making_tasks import pair

from armlite.cli import main
from armlite.data.tasks import write_tasks
from armlite.models import _MAKERS
from armlite.models.scripted import ScriptedModel
from armlite.store import read

PICTURES = {"gray16.png": True, "float01.tif": True, "s1x5000.png": False}
"""Whether there is something to judge."""
DOCUMENTS = {
    "page35_missing": ("page 34", {35}),
    "boundingBox_invalid": ("", {3}),
    "hidden_text": ("", set()),
    "esc": ("", set()),
    "annotation-freetext": ("FreeText content", set()),
}
"""A query (empty: none that finds anything is known), and the pages that cannot be shown."""
PAGE = '<think>I look.</think>\n<tool_call>\n{"name": "%s", "arguments": %s}\n</tool_call>'
ANSWER = "<think>I know.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"


@pytest.fixture(scope="module")
def cases(shared):
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip("the shared files hold no cases")
    return folder


def run(capsys, *words):
    """Exit status, standard output and errors of a command, which is never a traceback."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    told = capsys.readouterr()
    assert "Traceback" not in told.err + told.out and "\x1b" not in told.out
    return end.value.code or 0, told.out, told.err


def told(name, err):
    """Whether a picture is one to judge, or is told in one error that names it."""
    return PICTURES[name] or (err.count("error: ") == 1 and name in err)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(cases, name, tmp_path, capsys, process):
    zoom = ("image_zoom_in_tool", "--image", cases / name, "image=original_image", "bbox_2d=[100, 100, 900, 900]")
    code, _, err = run(capsys, "tools", "run", *zoom, "--json")
    assert code == (0 if PICTURES[name] else 2) and told(name, err)
    words = ("--question", "Which?", "--image", cases / name, "--response", "a", "--response", "b")
    code, _, err = run(capsys, "judge", "--model", process.model, *words, "--save", tmp_path / "out", "--no-probe")
    assert code == (0 if PICTURES[name] else 2) and told(name, err)
    if PICTURES[name]:
        assert run(capsys, "view", tmp_path / "out")[0] == 0
        assert run(capsys, "view", tmp_path / "out", "--html", tmp_path / "page.html")[0] == 0


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(cases, name, capsys):
    query, gone = DOCUMENTS[name]
    file = cases / f"{name}.pdf"

    def tool(which, *arguments):
        words = ("tools", "run", which, "--document", file, f"filename={name}", *arguments)
        assert run(capsys, *words)[0] in (0, 1)  # and no escape reaches the terminal
        return run(capsys, *words, "--json")

    code, out, _ = tool("doc_page_retrieval_by_query", f"query={query or 'lighthouse'}")
    assert code == 0 and bool(json.loads(out)["pages"]) == bool(query)
    for page in {1, *gone}:
        code, out, _ = tool("doc_page_retrieval_by_index", f"image_idx={page}")
        said = json.loads(out)
        assert said["ok"] == (code == 0) and (page not in gone or "cannot be" in said["text"] or not said["ok"])


def test_text_that_nobody_can_see_does_not_reach_the_judge_unmarked(cases, capsys):
    words = ("--document", cases / "hidden_text.pdf", "filename=hidden_text", "image_idx=1", "--json")
    _, out, _ = run(capsys, "tools", "run", "doc_page_retrieval_by_index", *words)
    said = json.loads(out)["text"]
    assert "the total is 12 million" in said
    assert not any(word in said for word in ("JUDGE:", "WHITE:", "OFFPAGE:"))


def test_a_batch_of_them_is_judged_but_for_what_cannot_be(cases, tmp_path, capsys, monkeypatch):
    tasks = [pair(name, images=(str(cases / name),)) for name in PICTURES]
    tasks += [pair(name, document=str(cases / f"{name}.pdf")) for name in DOCUMENTS]
    write_tasks(tmp_path / "tasks.jsonl", tasks)

    def says(conversation):
        name = conversation.task_id
        if conversation.turns or name not in DOCUMENTS:
            return ANSWER
        page = max(DOCUMENTS[name][1], default=1)
        return PAGE % ("doc_page_retrieval_by_index", json.dumps({"filename": name, "image_idx": page}))

    monkeypatch.setitem(_MAKERS, "scripted", lambda name, sampling: ScriptedModel(says, "m"))
    words = ("--model", "scripted:m", "--benchmark", tmp_path / "tasks.jsonl", "--out", tmp_path / "out")
    code, _, err = run(capsys, "eval", *words, "--order", "as_published")
    assert code == 0 and f"1 of {len(tasks)} judgments failed" in err
    rows = {row.trajectory.task.id: row.trajectory for row in read(tmp_path / "out" / "tasks")}
    assert {name for name, row in rows.items() if row.decision is None} == {"s1x5000.png"}
    code, out, _ = run(capsys, "view", tmp_path / "out")
    assert code == 0 and "200 times longer than thick" in " ".join(out.split())
    assert run(capsys, "view", tmp_path / "out", "--html", tmp_path / "page.html")[0] == 0
    blocks = re.findall(r'<script[^>]*id="rows-[^>]*>([^<]+)<', (tmp_path / "page.html").read_text("utf-8"))
    assert "200 times longer than thick" in "".join(gzip.decompress(base64.b64decode(b)).decode() for b in blocks)


@pytest.mark.parametrize(("name", "status"), [("tasks_bom", 0), ("tasks_option_letter", 2)])
def test_files_of_tasks(cases, name, status, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(_MAKERS, "scripted", lambda name, sampling: ScriptedModel(lambda _: ANSWER, "m"))
    words = ("--model", "scripted:m", "--benchmark", cases / f"{name}.jsonl", "--out", tmp_path / "out")
    code, _, err = run(capsys, "eval", *words)
    assert code == status, err
