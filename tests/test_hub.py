"""Models and data sets through the hub's own clients, from a hub on this machine that fails as the real one does."""

import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub import environment, serve_hub
from tiny_qwen import tiny

from armlite.train.weights import save_weights

ROWS = 300
STREAM = """
import json, sys
from pathlib import Path
from armlite.data.dataset import DataSet
from armlite.data.hub import stream
from armlite.data.pictures import Pictures
from armlite.errors import ArmliteError
hub, split, config = [*sys.argv[1:], None][:3]
try:
    dataset = DataSet(name="rows", title="", licence="", tasks=list, files=(), hub=hub, split=split, config=config)
    print(json.dumps([row.values["id"] for row in stream(dataset, Pictures(Path("p")))]))
except ArmliteError as error:
    print(json.dumps(str(error)))
"""
DOWNLOAD = """
import json, sys
from armlite.data.dataset import DataSet
from armlite.data.hub import download
folder = download(DataSet(name="rows", title="", licence="", tasks=list, files=(), hub=sys.argv[1]))
print(json.dumps({str(f.relative_to(folder)): f.stat().st_size for f in folder.rglob("*") if f.is_file()}))
"""
JUDGE = """
import json, sys
from armlite import Judge
from armlite.errors import ArmliteError
try:
    judge = Judge.load(sys.argv[1], device="cpu", max_new_tokens=8)
    print(json.dumps(judge.compare("Which?", ["a", "b"]).trajectory.steps[0].turn.text))
except ArmliteError as error:
    print(json.dumps(str(error)))
"""
COMMAND = """
import sys
from armlite.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(f"\\n{end.code or 0}")
"""
CARD = """---
configs:
- config_name: default
  data_files: [{split: test, path: data/*.parquet}]
- config_name: few
  data_files: [{split: dev, path: dev.parquet}]
---
The folder also holds a file that is in no split.
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A published set with a card that says which of its files are a split, and a model."""
    root = tmp_path_factory.mktemp("published")
    (root / "set/data").mkdir(parents=True)
    ids = [f"r{n:03}" for n in range(ROWS)]
    for part in range(3):
        own = ids[part * 100 : part * 100 + 100]
        columns = {"id": own, "question": [f"{i}?" for i in own], "response_1": ["a"] * 100, "response_2": ["b"] * 100}
        pq.write_table(pa.table(columns), root / f"set/data/test-{part}.parquet", row_group_size=20)
    pq.write_table(pa.table({"id": [f"d{n}" for n in range(5)]}), root / "set/dev.parquet")
    pq.write_table(pa.table({"id": ids}), root / "set/test.parquet")
    (root / "set/README.md").write_text(CARD)
    save_weights(*tiny(), root / "model")
    return root


@pytest.fixture
def hub(folders):
    with serve_hub() as hub:
        hub.add("datasets/me/rows", folders / "set")
        hub.add("datasets/me/closed", folders / "set", gated=True)
        hub.add("models/me/judge", folders / "model")
        yield hub


@pytest.fixture
def run(hub, tmp_path):
    """Runs Python, or armlite, as a user of the hub; gives what it printed as JSON."""

    def python(code, *words, **more):
        told = os.environ | environment(hub, tmp_path / "home") | more
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, capture_output=True, text=True, env=told, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return python


IDS = [f"r{n:03}" for n in range(ROWS)]


def test_rows_are_those_that_the_card_names(run):
    assert run(STREAM, "me/rows", "test") == IDS
    assert run(STREAM, "me/rows", "dev", "few") == [f"d{n}" for n in range(5)]


def test_faults_of_the_hub_lose_and_double_no_row(hub, run):
    for seed in (5, 8):
        hub.fail(0.1, seed=seed)
        assert run(STREAM, "me/rows", "test") == IDS
        assert hub.failed


def test_a_card_that_does_not_come_is_no_missing_card(hub, run):
    commit = hub.repositories["datasets/me/rows"].head
    hub.once = {f"HEAD /datasets/me/rows/resolve/{name}/README.md": "500" for name in ("main", commit)}
    assert run(STREAM, "me/rows", "test") == IDS
    assert hub.failed


def test_faults_of_the_hub_leave_no_file_of_a_set_out(hub, run):
    hub.fail(0.1, seed=1)
    assert run(DOWNLOAD, "me/rows") == {path: len(data) for path, data in hub.files("datasets/me/rows").items()}
    assert hub.failed


def test_a_gated_set_is_one_sentence_with_the_page_to_visit(hub, run):
    said = run(STREAM, "me/closed", "test")
    assert f"it is gated: ask for access at {hub.url}/datasets/me/closed, then hf auth login" in said
    assert "\n" not in said
    assert run(STREAM, "me/closed", "test", HF_TOKEN="hf_local") == IDS


def test_a_judge_is_loaded_from_the_hub_and_without_a_network_from_its_cache(hub, run):
    hub.fail(0.1)
    first = run(JUDGE, "me/judge")
    assert hub.failed
    hub.fail(0.0)
    asked = len(hub.asked)
    assert run(JUDGE, "me/judge", HF_HUB_OFFLINE="1") == first
    assert len(hub.asked) == asked


def test_a_set_that_was_downloaded_is_read_offline(hub, run):
    run(DOWNLOAD, "me/rows")
    asked = len(hub.asked)
    assert run(STREAM, "me/rows", "test", HF_HUB_OFFLINE="1") == IDS
    assert len(hub.asked) == asked
    assert "cannot get rows" in run(STREAM, "me/other", "test", HF_HUB_OFFLINE="1")


def test_rows_of_a_set_on_the_hub_are_judged(hub, run, process, tmp_path):
    process.script()
    hub.fail(0.1, seed=8)
    words = ["judge", "hf:me/rows:test", "--model", process.model, "--out", str(tmp_path / "out")]
    assert run(COMMAND, *words) == 0
    rows = [json.loads(line) for line in (tmp_path / "out/verdicts.jsonl").open()]
    assert sorted(row["id"] for row in rows) == IDS
