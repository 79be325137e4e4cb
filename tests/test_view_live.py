"""`armlite view RUN --serve`: a page that grows as a run is written, for this machine only, and read-only."""

import http.client
import io
import json
import shutil
import threading
from urllib.parse import quote

import pytest
from PIL import Image
from view_rows import hostile_row, small_run

from armlite import store
from armlite.errors import ArmliteError
from armlite.view.demo import demo
from armlite.view.entries import entries
from armlite.view.live import Followed, open_server


@pytest.fixture
def served(tmp_path):
    """A small run, and how to ask its server: (status, headers, body)."""
    run = small_run(tmp_path / "run")
    server = open_server(run, 0)
    server.followed.look(0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def ask(path, method="GET", host=None):
        connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host if host is not None else f"localhost:{server.server_address[1]}")
        connection.endheaders()
        answer = connection.getresponse()
        found = answer.status, answer.headers, answer.read()
        connection.close()
        return found

    yield run, ask, server
    server.shutdown()
    thread.join()
    server.server_close()


def test_new_rows_appear_as_they_are_written_and_old_ones_keep_their_numbers(tmp_path):
    run = small_run(tmp_path / "run")
    followed = Followed(run)
    before = list(followed.look(0))
    assert len(before) == 7
    row, images = demo()
    store.append(run / "eval" / "sft" / "greedy.jsonl", [row], images)
    with (run / "eval" / "sft" / "greedy.jsonl").open("a") as file:
        file.write(row.to_json()[:50])  # a line that is not whole yet
    store.save(run / "rollouts" / "grpo1" / "step_000003.jsonl", [row, row], images)
    after = list(followed.look(0))
    assert after[:7] == before
    assert sorted((str(e.first("round")), e.first("step", 0)) for e in after[7:]) == [("greedy", 0), *[("grpo", 3)] * 2]
    with (run / "eval" / "sft" / "greedy.jsonl").open("a") as file:
        file.write(row.to_json()[50:] + "\n")
    assert len(followed.look(0)) == 11
    assert followed.generation == 0


def test_a_file_that_is_replaced_or_gone_has_all_read_anew(tmp_path):
    run = small_run(tmp_path / "run")
    followed = Followed(run)
    followed.look(0)
    shutil.rmtree(run / "rollouts")
    assert len(followed.look(0)) == 3
    assert followed.generation == 1
    row, images = demo()
    (run / "eval" / "sft" / "greedy.jsonl").rename(run / "kept")  # so that the new file cannot have the old one's inode
    store.save(run / "eval" / "sft" / "greedy.jsonl", [row, row], images)
    assert len(followed.look(0)) == 4
    assert followed.generation == 2


def test_the_page_its_rows_pictures_and_search_are_answered(served):
    _, ask, _ = served
    status, headers, body = ask("/")
    assert status == 200
    assert b'data-kind="live"' in body
    assert headers["X-Content-Type-Options"] == "nosniff"
    index = json.loads(ask("/index.json")[2])
    assert index["count"] == 7
    assert ask(f"/index.json?after=7&generation={index['generation']}")[0] == 204
    assert b"<article" in ask("/article/6")[2]
    assert ask("/article/7")[0] == 404
    assert json.loads(ask("/search?text=PEARS")[2]) == list(range(7))
    file = demo()[0].trajectory.images[1].file
    assert Image.open(io.BytesIO(ask(f"/image/0/{file}")[2])).size == (138, 88)
    assert ask("/", "HEAD")[2] == b""


def test_hostile_rows_are_text_here_too(served):
    _, ask, server = served
    server.followed.entries = entries([hostile_row()])
    body = ask("/article/0")[2].decode()
    assert "&lt;script&gt;" in body
    assert "<script" not in body
    assert "<img" not in body
    json.loads(ask("/index.json")[2])


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost:1", "", "[::1]"]
)
def test_whoever_names_another_host_is_refused(served, host):
    assert served[1]("/index.json", host=host)[0] == 403


@pytest.mark.parametrize(
    "path",
    ["/../recipe.yaml", "/image/0/../../metrics.jsonl", "/image/0/..%2f..%2f..%2fmetrics.jsonl", "/image/0/%2e%2e",
     "/image/0//etc/passwd", "/image/0/" + quote("/etc/passwd", safe=""), "/article/-1", "/eval/sft/greedy.jsonl"],
)  # fmt: skip
def test_no_path_leads_to_a_file_that_is_no_picture_of_a_row(served, path):
    status, _, body = served[1](path)
    assert status == 404
    assert b"root:" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(served, method):
    assert served[1]("/", method)[0] == 405


def test_what_cannot_be_served_is_told_in_a_sentence(served, tmp_path):
    _, _, server = served
    with pytest.raises(ArmliteError, match=r"cannot listen on port \d+: .*; try another --port"):
        open_server(tmp_path, server.server_address[1])
    with pytest.raises(ArmliteError, match="cannot read .*nowhere"):
        open_server(tmp_path / "nowhere", 0)
