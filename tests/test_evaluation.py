"""Benchmark runs against a real endpoint process: resuming, failures, faults, orders, files, the command's words."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from endpoint import fresh
from PIL import Image

from armlite.cli import main
from armlite.data.tasks import read_tasks
from armlite.errors import ArmliteError
from armlite.evals.orders import presented
from armlite.evals.run import default_folder, run_benchmark
from armlite.store import open_image, read
from armlite.types import Task

BENCH = "vl-rewardbench"
FAST = {"backoff": 0.01}


@pytest.fixture
def server(process, monkeypatch):
    return fresh(process, monkeypatch)


PLACES = ("povid", "reasoning_tasks", "wildvision-battle")
"""Folders of images, by which the published JSONL form tells its groups."""


def published(folder: Path, n: int) -> Path:
    """Pairs in the published JSONL form, of all three groups in turn, each with an image of its own."""
    for place in PLACES:
        (folder / "images" / place).mkdir(parents=True)
    rows = [
        {
            "id": f"pair-{i}",
            "query": f"What is shown in picture {i}?",
            "response": [f"A thing, number {i}.", f"Nothing at all{'!' * (i % 2)}"],
            "human_ranking": [0, 1] if i % 4 else [1, 0],
            "models": ["one", "two"],
            "image_path": picture(i),
        }
        for i in range(n)
    ]
    for i, row in enumerate(rows):
        Image.new("RGB", (320, 240), (i % 256, i // 256, 90)).save(folder / row["image_path"])
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def picture(i: int) -> str:
    return f"images/{PLACES[i % 3]}/{i}.png"


def figures(summary, name):
    """All figures but the times; and the rest of the summary."""
    return {k: v for k, v in summary[name].items() if k != "seconds_per_item"}


def timeless(summary):
    return {**summary, "figures": figures(summary, "figures")}


def run(*arguments):
    """The command's exit status."""
    with pytest.raises(SystemExit) as status:
        main(["eval", *map(str, arguments)])
    return status.value.code or 0


def test_a_run_leaves_tasks_trajectories_figures_report_and_exports(server, tmp_path):
    data = published(tmp_path / "data", 12)
    summary = run_benchmark(BENCH, server.model, data, tmp_path / "out", workers=3)
    folder = tmp_path / "out" / BENCH
    trajectories = [row.trajectory for row in read(folder / "trajectories.jsonl")]
    # The server's judge zooms once and then finds whatever is shown first better.
    right = sum(presented(t, "hash")[0][0] == t.gold for t in read_tasks(folder / "tasks.jsonl"))
    assert summary["figures"]["acc_all"]["value"] == pytest.approx(right / 12)
    assert (summary["items"], summary["judgments"], summary["failed"], summary["rejected"]) == (12, 12, 0, 0)
    expected = {"tool_calls_per_item": 1.0, "tool_success_rate": 1.0, "format_rate": 1.0, "parse_failures": 0.0}
    assert {name: summary["figures"][name]["value"] for name in expected} == expected
    assert summary["figures"]["tokens_per_item"]["value"] > 10
    assert 0 < summary["figures"]["seconds_per_item"]["value"] < 30
    assert summary["figures"]["acc_all"]["ci95"][0] < right / 12 < summary["figures"]["acc_all"]["ci95"][1]
    assert "swap_consistency" not in summary["figures"]
    assert all(t.tools == ("image_zoom_in_tool",) and len(t.calls) == 1 for t in trajectories)
    assert json.loads((folder / "summary.json").read_text()) == summary
    report = (folder / "report.md").read_text()
    assert "| **acc_parsed** |" in report and "- temperature: 0.0" in report and "nan" not in report.lower()
    assert "MIT" in report and "extract=rule" in report
    assert (folder / "official/vl-rewardbench.jsonl").read_text().count("\n") == 12
    assert len((folder / f"exports/vlmevalkit_{BENCH}.tsv").read_text().splitlines()) == 13
    assert len((folder / f"exports/lmms_eval_samples_{BENCH}.jsonl").read_text().splitlines()) == 12


def test_pictures_are_not_copied_but_can_be_seen_in_the_record(server, tmp_path):
    data = published(tmp_path / "data", 2)
    turned = Image.new("RGB", (320, 240), "red")
    turned.paste("blue", (0, 0, 160, 240))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    turned.save(data / picture(1), exif=exif)
    run_benchmark(BENCH, server.model, data, tmp_path / "out")
    file = tmp_path / "out" / BENCH / "trajectories.jsonl"
    rows = {row.trajectory.task.id: row.trajectory for row in read(file)}
    originals = [rows[f"pair-{i}"].images[0] for i in range(2)]
    links = [(file.parent / "images" / info.file).is_symlink() for info in originals]
    assert links == [True, False], "the turned one is another picture than its file"
    plain, shown = (open_image(file, info) for info in originals)
    assert plain.tobytes() == Image.open(data / picture(0)).tobytes()
    assert shown.size == (240, 320)


def test_both_orders_and_votes_are_rollouts_of_their_own_and_do_not_depend_on_workers(server, tmp_path):
    data = published(tmp_path / "data", 6)
    options = {"votes": 3, "order": "both", "n": 5, "tools": False}
    server.script(turns=["<think>First.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"])
    summary = run_benchmark(BENCH, server.model, data, tmp_path / "a", workers=1, **options)
    one = server.record()
    assert summary["judgments"] == 5 * 2 * 3
    assert summary["settings"]["temperature"] == 0.7, "votes of a greedy model would all be one vote"
    assert len({request["body"]["seed"] for request in one}) == 30
    assert summary["figures"]["swap_consistency"] == {
        "value": 0.0,
        "n": 5,
        "ci95": [0.0, pytest.approx(0.4345, abs=1e-4)],
    }
    rows = list(read(tmp_path / "a" / BENCH / "trajectories.jsonl"))
    assert Counter((r.trajectory.rollout, r.trajectory.order) for r in rows) == {
        (rollout, (1, 2) if rollout < 3 else (2, 1)): 5 for rollout in range(6)
    }
    server.script(turns=["<think>First.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"])
    other = run_benchmark(BENCH, server.model, data, tmp_path / "b", workers=5, **options)
    assert timeless(other) == timeless(summary)
    assert {r["body"]["seed"] for r in server.record()} == {r["body"]["seed"] for r in one}


def test_what_is_judged_is_not_asked_again_and_a_torn_line_is_cut(server, tmp_path):
    data = published(tmp_path / "data", 8)
    summary = run_benchmark(BENCH, server.model, data, tmp_path, tools=False)
    file = tmp_path / BENCH / "trajectories.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:5]) + lines[5][:100])
    server.script()
    again = run_benchmark(BENCH, server.model, data, tmp_path, tools=False)
    judged = {request["body"]["seed"] for request in server.record()}
    assert len(judged) == 3 * 2, "three pairs; each is told once that there are no tools"
    assert timeless(again) == timeless(summary)
    server.script()
    assert timeless(run_benchmark(BENCH, server.model, data, tmp_path, tools=False)) == timeless(summary)
    assert server.record() == []


def test_an_item_that_cannot_be_read_is_recorded_with_its_reason_and_made_again(server, tmp_path):
    data = published(tmp_path / "data", 9)
    broken = data / picture(3)
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) - 30])
    summary = run_benchmark(BENCH, server.model, data, tmp_path / "out")
    assert (summary["failed"], summary["judgments"]) == (1, 9)
    assert all("3.png" in why for why in summary["failures"])
    assert summary["figures"]["acc_all"]["n"] == 9, "failures stay in the figure"
    assert summary["figures"]["parse_failures"]["value"] == pytest.approx(1 / 9)
    broken.write_bytes(whole)
    server.script()
    assert run_benchmark(BENCH, server.model, data, tmp_path / "out")["failed"] == 0
    assert len(server.record()) == 2, "a zoom and an answer for the one that had failed"


FAULTS = [
    {"status": 429, "headers": {"Retry-After": "0"}},
    {"status": 500},
    {"cut": True},
    {"sleep": 0.8},
    {"torn": True},
]


def test_a_fifth_of_all_requests_failing_loses_no_item(server, tmp_path):
    data = published(tmp_path / "data", 30)
    clean = run_benchmark(BENCH, server.model, data, tmp_path / "clean", options=FAST)
    faults = [None if i % 5 else FAULTS[i // 5 % len(FAULTS)] for i in range(90)]
    server.script(faults=faults)
    summary = run_benchmark(BENCH, server.model, data, tmp_path / "faulty", options={**FAST, "timeout": 0.5})
    assert len(server.record()) >= 60 + 12, "faults did happen"
    assert summary["failed"] == 0
    assert timeless(summary) == timeless(clean)


def test_an_endpoint_that_goes_down_ends_the_run_and_the_same_command_goes_on(server, tmp_path):
    data = published(tmp_path / "data", 6)
    server.script(faults=[None, None, *[{"status": 503}] * 40])
    options = {"backoff": 0.001, "retries": 1}
    with pytest.raises(ArmliteError, match="does not answer any more: the last 3 requests all failed, .*503"):
        run_benchmark(BENCH, server.model, data, tmp_path, workers=1, options=options)
    server.script()
    summary = run_benchmark(BENCH, server.model, data, tmp_path, workers=1)
    assert (summary["failed"], summary["judgments"]) == (0, 6)
    assert len({body["messages"][1]["content"][-1]["text"] for body in server.bodies()}) == 5, "one was done before"


def test_an_endpoint_that_was_never_there_is_told_at_once_and_fails_no_item(server, tmp_path, capsys):
    data = published(tmp_path / "data", 6)
    model = "openai:judge-7b@http://127.0.0.1:9/v1"
    assert run("--model", model, "--benchmark", BENCH, "--path", data, "--out", tmp_path / "out") == 2
    assert "is the server running there?" in capsys.readouterr().err
    assert not (tmp_path / "out" / BENCH / "trajectories.jsonl").exists()
    assert not (tmp_path / "out" / BENCH / "summary.json").exists(), "nothing is taken for whole"


def test_the_folder_of_another_run_is_refused_with_what_differs(server, tmp_path):
    data = published(tmp_path / "data", 2)
    run_benchmark(BENCH, server.model, data, tmp_path)
    with pytest.raises(ArmliteError, match="votes 1, not 2"):
        run_benchmark(BENCH, server.model, data, tmp_path, votes=2)
    with pytest.raises(ArmliteError, match="tools True, not False"):
        run_benchmark(BENCH, server.model, data, tmp_path, tools=False)
    with pytest.raises(ArmliteError, match="model 'openai:judge-7b', not 'openai:other'"):
        run_benchmark(BENCH, server.model.replace("judge-7b", "other"), data, tmp_path)
    with pytest.raises(ArmliteError, match="path"):
        run_benchmark(BENCH, server.model, published(tmp_path / "other", 2), tmp_path)


def test_missing_images_are_all_listed_and_nothing_is_judged(server, tmp_path, capsys):
    data = published(tmp_path / "data", 24)
    for i in range(0, 21, 3):
        (data / picture(i)).unlink()
    arguments = ["--model", server.model, "--benchmark", BENCH, "--path", data, "--out", tmp_path / "out"]
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert "7 files that 7 rows name are not there" in said and said.count(".png") == 5
    listed = (tmp_path / "out" / BENCH / "missing.txt").read_text().splitlines()
    assert [Path(name).name for name in listed] == [f"{i}.png" for i in range(0, 21, 3)]
    assert not (tmp_path / "out" / BENCH / "tasks.jsonl").exists()
    assert server.record() == []
    assert run(*arguments[:-1], tmp_path / "some", "--skip-missing", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["items"], summary["rejected"]) == (17, 7)


WRONG = {
    "a bench that is not there": (["--benchmark", "vl-rewardbanch", "--path", "."], "Did you mean 'vl-rewardbench'?"),
    "no model": (["--benchmark", BENCH], "--model"),
    "an old name": (["--bench", BENCH, "--model", "m"], "--bench is called --benchmark now"),
    "another old name": (["--tasks", "pocket", "--model", "m"], "write --benchmark pocket"),
    "no votes": (["--benchmark", BENCH, "--votes", "0", "--model", "m"], "--votes"),
    "no workers": (["--benchmark", BENCH, "--workers", "0", "--model", "m"], "--workers"),
    "an order": (["--benchmark", BENCH, "--order", "booth", "--model", "m"], "Did you mean 'both'?"),
    "no folder": (["--benchmark", BENCH, "--path", "nowhere", "--model", "openai:m@http://x/v1"], "nowhere"),
    "an order without a reverse": (
        ["--benchmark", BENCH, "--swap", "--path", ".", "--model", "openai:m@http://x/v1"],
        "--swap does not go with --order hash",
    ),
    "retrieval without a path": (["--benchmark", "retrieval"], "--path"),
    "an address that is none": (
        ["--benchmark", BENCH, "--path", ".", "--model", "openai:m@http:/x"],
        "http://host:port/v1",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG)
def test_wrong_options_are_told_in_a_sentence(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_folder_without_the_published_files_is_refused(server, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("nothing")
    assert run("--model", server.model, "--benchmark", BENCH, "--path", tmp_path, "--out", tmp_path / "out") == 2
    assert "notes.txt" in capsys.readouterr().err


def test_several_benchmarks_have_folders_of_their_own_and_one_json(server, tmp_path, capsys):
    data = published(tmp_path / "data" / BENCH, 3).parent
    assert (
        run(*["--model", server.model, "--benchmark", f"{BENCH},retrieval", "--path", data, "--out", tmp_path / "o"])
        == 2
    )
    assert "samples.json" in capsys.readouterr().err
    assert (
        run("--model", server.model, "--benchmark", BENCH, "--path", data / BENCH, "--out", tmp_path / "o", "--json")
        == 0
    )
    assert json.loads(capsys.readouterr().out)["items"] == 3, "what was judged before is there"


def test_the_default_folder_is_named_after_the_model():
    assert default_folder("openai:org/judge-7b@http://localhost:8000/v1", True) == Path("runs/eval/org-judge-7b")
    assert default_folder("runs/pocket", False) == Path("runs/eval/runs-pocket-no-tools")


def test_orders_are_permutations_that_depend_on_the_task_only():
    pair = Task(id="t1", kind="pairwise", question="q", responses=("abc", "de"))
    even = pair.model_copy(update={"responses": ("abc", "d")})
    four = Task(id="t2", kind="listwise", question="q", responses=("a", "b", "c", "d"))
    assert presented(pair, "as_published") == ((1, 2),)
    assert presented(pair, "both") == ((1, 2), (2, 1))
    assert presented(pair, "lenparity") == ((2, 1),), "3 + 2 characters are odd"
    assert presented(even, "lenparity") == ((1, 2),), "3 + 1 characters are even"
    assert presented(four, "both") == ((1, 2, 3, 4), (4, 3, 2, 1))
    assert sorted(presented(four, "hash")[0]) == [1, 2, 3, 4]
    single = Task(id="t3", kind="open_qa", question="q")
    assert presented(single, "both") == ((),)
    shown = Counter(presented(pair.model_copy(update={"id": str(i)}), "hash")[0] for i in range(400))
    assert set(shown) == {(1, 2), (2, 1)} and min(shown.values()) > 150
    firsts = Counter(presented(four.model_copy(update={"id": str(i)}), "hash")[0][0] for i in range(400))
    assert min(firsts.values()) > 60, "the published first is shown first in about a quarter"


def killed_three_times(server, tmp_path, n, workers):
    """Summaries of an undisturbed run, and of one killed with SIGKILL three times on its way."""
    data = published(tmp_path / "data", n)
    whole = run_benchmark(BENCH, server.model, data, tmp_path / "whole", workers=8)
    out = tmp_path / "killed"
    command = [
        sys.executable,
        "-m",
        "armlite",
        "eval",
        "--model",
        server.model,
        "--benchmark",
        BENCH,
        "--path",
        str(data),
    ]
    command += ["--out", str(out), "--workers", str(workers), "--json"]
    file = out / BENCH / "trajectories.jsonl"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server.script(delay=0.02)
    for part in (0.2, 0.5, 0.8):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        end = time.monotonic() + 120
        while not file.exists() or file.read_bytes().count(b"\n") < part * n:
            assert child.poll() is None and time.monotonic() < end, "the run ended before it could be killed"
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    left = n - file.read_bytes().count(b"\n")
    assert 0 < left < n
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return whole, json.loads(done.stdout)


def test_a_run_killed_three_times_ends_with_the_same_summary(server, tmp_path):
    whole, resumed = killed_three_times(server, tmp_path, 60, 4)
    assert timeless(resumed) == timeless(whole)


@pytest.mark.slow
def test_500_items_killed_three_times_end_with_the_same_summary(server, tmp_path):
    whole, resumed = killed_three_times(server, tmp_path, 500, 8)
    assert resumed["items"] == 500
    assert timeless(resumed) == timeless(whole)
