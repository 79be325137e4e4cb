"""Pictures by `data:` URL, anywhere, and by http(s) URL, in `judge` and `chat`."""

import base64
import io
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tiny_qwen import noise

from armlite import remote
from armlite.chat import Chat
from armlite.data.inputs import unreadable_tasks
from armlite.data.tasks import moved
from armlite.episode import Episode, EpisodeSettings
from armlite.errors import ArmliteError, InputError
from armlite.images import image_key, is_as_stored, open_image
from armlite.judge import Judge
from armlite.models.scripted import ScriptedModel
from armlite.types import Task

ANSWER = "<think>I see.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"


def png() -> bytes:
    data = io.BytesIO()
    noise(30, 40).save(data, "PNG")
    return data.getvalue()


DATA_URL = "data:image/png;base64," + base64.b64encode(png()).decode()


class Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        kind = self.path.rpartition("/")[2]
        moved_to = {"private": f"http://127.0.0.1:{self.server.server_port}/a.png", "file": "file:///etc/passwd"}
        self.send_response(302 if kind in moved_to else 404 if kind == "gone" else 200)
        if kind in moved_to:
            self.send_header("Location", moved_to[kind])
        self.end_headers()
        if kind not in moved_to:
            self.wfile.write(b"<html>a page</html>" if kind in ("page", "gone") else png())

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def web():
    server = HTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_picture_is_fetched_and_judged_and_the_record_names_the_file_that_save_writes(web):
    judge = Judge(ScriptedModel([ANSWER], "m"))
    verdict = judge.compare("Which?", ["a", "b"], [f"{web}/a.png", DATA_URL])
    assert verdict.choice == 1
    task = verdict.trajectories[0].task
    assert task.images == (f"images/{image_key(noise(30, 40))}.png",) * 2


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone", "the server says 404"),
        ("page", "web page"),
        ("private", "no public address"),
        ("file", "no public address"),
    ],
)
def test_what_cannot_be_fetched_is_one_line_that_names_it(web, name, why):
    with pytest.raises(InputError, match=f"{name}.*{why}") as told:
        remote.fetch_image(f"{web}/{name}")
    assert "\n" not in str(told.value)


def test_size_and_time_are_limited_and_no_server_is_no_traceback(web, monkeypatch):
    with pytest.raises(InputError, match="cannot be fetched"):
        remote.fetch_image("http://127.0.0.1:9/a.png")
    monkeypatch.setattr(remote, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="too large"):
        remote.fetch_image(f"{web}/a.png")
    monkeypatch.setattr(remote, "MAX_BYTES", 10**6)
    monkeypatch.setattr(remote, "MAX_SECONDS", 1e-9)
    with pytest.raises(InputError):
        remote.fetch_image(f"{web}/a.png")


def test_a_session_fetches_once_and_not_at_all_when_offline(web):
    chat = Chat(Judge(ScriptedModel([ANSWER], "m")))
    for line in ("Which?", f"/image {web}/a.png", f"/image {DATA_URL}", "a", "b"):
        chat.hear(line)
    assert chat.hear("/judge").verdict.choice == 1
    with pytest.raises(ArmliteError, match="--offline"):
        Chat(chat.judge, offline=True).hear(f"/image {web}/a.png")


def test_a_task_may_hold_its_picture_as_a_data_url(tmp_path):
    task = Task(id="t", kind="pairwise", question="Which?", responses=("a", "b"), images=(DATA_URL,))
    assert moved(task, tmp_path, tmp_path / "x").images == task.images
    assert unreadable_tasks([task], tmp_path) == {}
    episode = Episode.open(task, EpisodeSettings(), tmp_path)
    assert image_key(episode.memory.images["img_0"]) == image_key(noise(30, 40)) == image_key(open_image(DATA_URL))
    assert not is_as_stored(DATA_URL)
    broken = task.model_copy(update={"images": (DATA_URL[:-41],)})
    assert "cannot be read" in unreadable_tasks([broken], tmp_path)["t"]
    with pytest.raises(InputError, match=r"data:image/png.*cannot be read"):
        open_image("data:image/png;base64,@@@")
