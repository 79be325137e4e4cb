"""A whole build of several sets through the hub's own clients: faults of the hub, a gated set, and no network."""

import os
import random
import resource
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml
from hub import environment, serve_hub
from PIL import Image
from published import deepeyes, llava_critic, mmif_23k, mp_docvqa

from armlite.data.tasks import read_tasks

SOURCES = [
    {"set": "llava-critic", "hub": "me/llava", "config": "pairwise", "split": "train"},
    {"set": "deepeyes", "hub": "me/deepeyes", "make": "pairs"},
    {"set": "mmif-23k", "hub": "me/mmif"},
    {"set": "mp-docvqa", "hub": "me/pages", "split": "val", "make": "checks"},
    {"set": "pocket", "rows": 9},
]
LIMITS = {"image_max_pixels": 12544, "crop_max_pixels": 12544, "sheet_max_pixels": 12544, "page_max_pixels": 12544}


@pytest.fixture
def hub(tmp_path):
    """A hub with four sets as they are published."""
    with serve_hub() as hub:
        for name, kind in {"llava": llava_critic, "deepeyes": deepeyes, "mmif": mmif_23k, "pages": mp_docvqa}.items():
            kind.build(tmp_path / "published" / name, kind.FORMS[0])
            hub.add(f"datasets/me/{name}", tmp_path / "published" / name)
        yield hub


@pytest.fixture
def build(hub, process, tmp_path):
    """Runs `armlite data build` in a process of its own; gives exit status and what it said."""
    process.script()
    traces = {"model": process.model, "k": 2, "family_ratio": 9}
    data = {"sources": SOURCES, "held_out": {"share": 0.3}, "traces": traces}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(data))

    def run(out, home, limit=None, **more):
        """`limit`: bytes of the largest file that the disk takes."""
        told = os.environ | environment(hub, tmp_path / home) | more
        words = [sys.executable, "-m", "armlite", "data", "build", "data.yaml", "--workers", "2", "--out", out]
        small = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit)) if limit else None
        done = subprocess.run(
            words, capture_output=True, text=True, env=told, cwd=tmp_path, check=False, preexec_fn=small
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stderr

    return run


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.slow
def test_a_build_from_a_hub_that_fails_or_is_gone_is_the_same_byte_for_byte(hub, build, tmp_path):
    assert build("whole", "home")[0] == 0
    for seed in (1, 7):
        shutil.rmtree(tmp_path / "home")
        hub.fail(0.1, seed=seed)
        code, said = build(f"failing-{seed}", "home")
        assert code == 0 and hub.failed, said
        assert contents(tmp_path / f"failing-{seed}") == contents(tmp_path / "whole"), hub.failed
    hub.fail(0.0)
    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    code, said = build("offline", "home", **offline)  # what is streamed is not kept
    assert code == 2 and "not in the hub's cache; where there is a network: hf download me/pages" in said
    fetch = "import huggingface_hub as h; h.snapshot_download('me/pages', repo_type='dataset')"
    subprocess.run([sys.executable, "-c", fetch], env=os.environ | environment(hub, tmp_path / "home"), check=True)
    asked = len(hub.asked)
    code, said = build("offline", "home", **offline)
    assert code == 0 and len(hub.asked) == asked, said
    for name in ("tasks.jsonl", "held_out.jsonl", "traces.jsonl", "rejects.jsonl"):
        assert Path(tmp_path, "offline", name).read_bytes() == Path(tmp_path, "whole", name).read_bytes()
    shutil.rmtree(tmp_path / "home")
    seen = [
        path for task in read_tasks(tmp_path / "whole/tasks.jsonl") for path in (*task.images, task.document) if path
    ]
    assert all((tmp_path / "whole" / path).exists() for path in seen), "a cleared cache takes no picture along"


def test_a_gated_set_in_a_build_is_one_sentence_with_the_page_to_visit_and_what_was_read_stays(hub, build, tmp_path):
    hub.add("datasets/me/mmif", tmp_path / "published/mmif", gated=True)
    code, said = build("out", "home")
    error = said.splitlines()[-1]
    assert code == 2 and f"it is gated: ask for access at {hub.url}/datasets/me/mmif, then hf auth login" in error
    code, said = build("out", "home", HF_TOKEN="hf_local")
    assert code == 0 and "deepeyes.rows: is there" in said


def test_a_disk_that_is_full_in_a_download_is_one_sentence_and_the_same_command_goes_on(hub, build, tmp_path):
    noise = Image.frombytes("RGB", (90, 90), random.Random(0).randbytes(90 * 90 * 3))
    noise.save(tmp_path / "published/mmif/images/sea.jpg", "PNG")
    hub.add("datasets/me/mmif", tmp_path / "published/mmif")
    code, said = build("out", "home", limit=20_000)
    error = said.splitlines()[-1]
    assert code == 2 and "cannot keep mmif-23k in the hub's cache" in error and "make room" in error
    code, said = build("out", "home")
    assert code == 0 and "llava-critic.rows: is there" in said and "mmif-23k.rows: being made" in said


def test_a_server_that_dies_while_it_makes_traces_is_one_sentence_and_what_it_made_is_kept(build, process, tmp_path):
    process.script(faults=[*[None] * 12, *[{"status": 400, "error": "out of service"}] * 400])
    code, said = build("out", "home")
    assert code == 2 and "out of service" in said.splitlines()[-1] and "what is done is kept" in said.splitlines()[-1]
    rows = (tmp_path / "out/traces.screened.jsonl.work/rows.jsonl").read_text().splitlines()
    assert rows
    process.script()
    code, said = build("out", "home")
    asked = len(process.record())
    assert code == 0 and "traces: being made" in said
    process.script()
    assert build("whole", "home")[0] == 0
    assert asked < len(process.record())
    assert (tmp_path / "out/traces.jsonl").read_bytes() == (tmp_path / "whole/traces.jsonl").read_bytes()
