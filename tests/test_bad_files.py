"""500 tasks of which some files are missing, cut off, empty, or open without a page in them: every command ends, names
the same faults, counts them, and judges the rest.
"""

import json

import pytest
import torch
from make_pdf import write_pdf
from making_tasks import adds_up, lines, pair, photo
from test_run import tiny
from tiny_run import GRPO, TINY

from armlite.cli import main
from armlite.data.making.filter import filter_tasks
from armlite.data.making.traces import make_traces
from armlite.data.tasks import write_tasks
from armlite.episode import EpisodeSettings
from armlite.models import _MAKERS
from armlite.models.scripted import ScriptedModel
from armlite.pocket.world import generate
from armlite.store import read
from armlite.train.metrics import MetricsFile
from armlite.train.run import train

N = 500
ANSWER = "<think>I know.</think>\n<answer>Overall Judgment: Answer %d is better.</answer>"
CALL = '<think>I look.</think>\n<tool_call>\n{"name": "%s", "arguments": %s}\n</tool_call>'
ZOOM = CALL % ("image_zoom_in_tool", '{"image": "original_image", "bbox_2d": [0, 0, 900, 900]}')
PAGE = CALL % ("doc_page_retrieval_by_index", '{"filename": "gap", "image_idx": 35}')


def without_pages(pdf, but=()):
    """Let a PDF's pages, but for some (from 1), name objects that are not there."""
    data = pdf.read_bytes()
    start = data.index(b"/Kids [") + len(b"/Kids [")
    end = data.index(b"]", start)
    kids = data[start:end].split(b" R")[:-1]
    gone = [kid if n in but else b" " * (len(kid) - 3) + b"0 0" for n, kid in enumerate(kids, 1)]
    pdf.write_bytes(data[:start] + b"".join(kid + b" R" for kid in gone) + data[end:])


def spoil(folder, names):
    """Every third of some pictures missing, cut in half, of 0 bytes."""
    for number, name in enumerate(names):
        file = folder / name
        whole = file.read_bytes()
        file.unlink()
        if number % 3:
            file.write_bytes(whole[: len(whole) // 2] if number % 3 == 1 else b"")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tasks, and which of them cannot be played: 3 % by a picture, two by a document that has no page to show."""
    folder = tmp_path_factory.mktemp("bad")
    for kind, but in (("torn", ()), ("rent", ()), ("gap", {*range(1, 41)} - {35})):
        without_pages(write_pdf(folder / f"{kind}.pdf", [f"Page {n} of it." for n in range(1, 41)]), but)
    tasks = [pair(f"t{i}", images=(f"{i}.png",)) for i in range(N)]
    for i in range(N):
        photo(folder / f"{i}.png", i, (40, 32))
    bad = {f"t{i}": f"{i}.png" for i in range(7, N, N // 15)}
    spoil(folder, list(bad.values()))
    for i, kind in ((20, "torn"), (300, "rent")):
        tasks[i] = pair(f"t{i}", document=f"{kind}.pdf")
        bad[f"t{i}"] = f"{kind}.pdf"
    tasks[41] = pair("t41", document="gap.pdf")  # a page asked for by number is not there, and that is told
    write_tasks(folder / "tasks.jsonl", tasks)
    return folder, bad


def says(conversation):
    """Looks once, as a judge that checks does, and then prefers `a`."""
    text = conversation.messages[0].text
    if conversation.turns:
        return ANSWER % (1 if "<start_of_resp_1>\na\n" in text else 2)
    return PAGE if "`gap`" in text else ZOOM


def check(said, bad):
    """`said`: task -> reason; every bad file is named and nothing else is blamed."""
    assert set(said) == set(bad)
    assert all(file in said[task] for task, file in bad.items())
    assert all("does not exist" in why or "cannot be read" in why for why in said.values())


def test_eval_filter_and_traces_end_and_name_the_same_faults(folder, tmp_path, capsys, monkeypatch):
    folder, bad = folder
    assert len(bad) == 17
    model, rules, file = ScriptedModel(says, "m"), EpisodeSettings(), folder / "tasks.jsonl"

    monkeypatch.setitem(_MAKERS, "scripted", lambda name, sampling: model)
    out = tmp_path / "eval"
    words = ["--model", "scripted:m", "--benchmark", str(file), "--order", "as_published", "--out", str(out), "--json"]
    with pytest.raises(SystemExit) as end:
        main(["eval", *words])
    assert not end.value.code
    told = capsys.readouterr()
    summary = json.loads(told.out)
    rows = list(read(out / "tasks" / "trajectories.jsonl"))
    faults = {row.trajectory.task.id: row.trajectory.fault for row in rows if row.trajectory.fault is not None}
    check({task: fault.reason for task, fault in faults.items()}, bad)
    assert {fault.whose for fault in faults.values()} == {"data"}
    assert (summary["judgments"], summary["failed"]) == (N, len(bad))
    assert f"{len(bad)} of {N} judgments failed" in told.err
    figures = {name: figure["value"] for name, figure in summary["figures"].items()}
    assert figures["accuracy"] == pytest.approx((N - len(bad)) / N) and figures["accuracy_judged"] == 1.0
    assert figures["not_judged/bad_input"] == pytest.approx(len(bad) / N)

    counts = filter_tasks(file, model, rules, tmp_path / "hard.jsonl", "m", k=1)
    rejected = {r["id"]: r["detail"] for r in lines(tmp_path / "hard.rejects.jsonl") if r["why"] == "cannot be read"}
    check(rejected, bad)
    assert adds_up(counts) and counts.rejected == {"always right": N - len(bad), "cannot be read": len(bad)}

    counts = make_traces(file, model, rules, tmp_path / "traces.jsonl", "m")
    rejected = {r["id"]: r["detail"] for r in lines(tmp_path / "traces.rejects.jsonl")}
    check(rejected, bad)
    assert adds_up(counts) and counts.kept == N - len(bad) and counts.rejected == {"cannot be read": len(bad)}


@pytest.fixture
def pocket_tasks(tmp_path):
    """45 tasks of the pocket world: two pictures cannot be read, one document has no page to show."""
    tasks = list(generate("train", 45, 0, tmp_path))
    pictures = [task for task in tasks if task.images]
    spoilt = [pictures[1], pictures[4], pictures[6]]
    spoil(tmp_path, [task.images[0] for task in spoilt])
    torn = next(task for task in tasks if task.document)
    without_pages(tmp_path / torn.document)
    write_tasks(tmp_path / "tasks.jsonl", tasks)
    return tmp_path / "tasks.jsonl", {task.id for task in spoilt}, torn.id


@pytest.mark.slow
def test_training_leaves_out_what_cannot_be_opened_and_counts_what_breaks_later(pocket_tasks, tmp_path, capsys):
    torch.set_num_threads(1)
    file, spoilt, torn = pocket_tasks
    grpo = {**GRPO, "steps": 12, "tasks_per_step": 4, "num_generations": 2}
    data = {**TINY["data"], "tasks": str(file), "n_tasks": 45, "evaluation": str(file), "n_evaluation": 45}
    stages = {**TINY["stages"], "grpo1": {**grpo, "reward": "accuracy_only"}, "grpo2": {**grpo, "filter_rollouts": 1}}
    run = train(tiny(data=data, stages=stages), tmp_path / "run")

    unreadable = json.loads((run / "unreadable.json").read_text())
    assert set(unreadable["tasks"]) == spoilt and unreadable["traces"] == {}
    said = capsys.readouterr().err
    assert all(f"data.tasks: {name} is left out: " in said for name in spoilt)
    rollouts = [row.trajectory for row in read(run / "rollouts")]
    faulty = [t for t in rollouts if t.fault is not None]
    assert {t.task.id for t in faulty} == {torn} and all("page 1 cannot be read" in t.fault.reason for t in faulty)
    assert not {t.task.id for t in rollouts} & spoilt
    assert f"rollouts: task {torn} cannot be played" in said
    metrics = MetricsFile(run / "metrics.jsonl").read()
    counted = sum(row.get("stop/bad_input", 0) * 8 for row in metrics if row["stage"].startswith("grpo"))
    assert round(counted) == len(faulty)
    scores = [row.score for row in read(run / "rollouts") if row.trajectory.fault is not None]
    assert all(score.total == 0 for score in scores)
    filtered = json.loads((run / "filter" / "grpo2.json").read_text())
    assert set(filtered["faults"]) == {torn}
    for name in ("base", "sft", "grpo1", "grpo2"):
        summary = json.loads((run / "eval" / name / "summary.json").read_text())
        assert {s["failed"] for key, s in summary.items() if key != "greedy"} == {4}, "all of them, in each round"
        assert summary["rollout"]["items"] == 45
