"""The scripted endpoint (`fake_server.py`) as a process, a model that asks it, and episodes to play with it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from armlite.episode import Episode, EpisodeSettings
from armlite.loop import Reply
from armlite.memory import Memory
from armlite.models.openai import OpenAIModel
from armlite.protocol.render import Conversation, Message
from armlite.types import Task

ANSWER = "<think>They differ.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"


class Server:
    """The process, and how to script it."""

    def __init__(self) -> None:
        script = Path(__file__).parent / "fake_server.py"
        self.process = subprocess.Popen([sys.executable, script, "--port", "0"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.root = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.url = f"{self.root}/v1"
        self.model = f"openai:judge-7b@{self.url}"
        self.http = httpx.Client(base_url=self.root)

    def script(self, **settings: Any) -> None:
        self.http.post("/control", json=settings).raise_for_status()

    def record(self) -> list[dict[str, Any]]:
        return self.http.get("/record").json()["requests"]

    def probes(self) -> list[dict[str, Any]]:
        return self.http.get("/record").json()["probes"]

    def most_in_flight(self) -> int:
        return self.http.get("/record").json()["most_in_flight"]

    def bodies(self) -> list[dict[str, Any]]:
        return [request["body"] for request in self.record()]

    def close(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait()


def fresh(process: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The process without a script, asked from an environment without a key or an address."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    process.script()
    return process


def model(server: Server, name: str = "judge-7b", **options: Any) -> OpenAIModel:
    return OpenAIModel(name, server.url, **({"backoff": 0.001, "timeout": 10.0, "probe": False} | options))


def ask(judge: OpenAIModel, text: str = "Which one?", task_id: str = "t") -> Reply:
    session = judge.session()
    session.submit(Conversation(task_id, 0, (), [Message("user", text)]))
    [(_, reply)] = session.wait()
    return reply


def episodes(n: int, **settings: Any) -> list[Episode]:
    texts = ("Ulm", "Bern")
    tasks = [Task(id=f"t{i}", kind="pairwise", question=f"Number {i}?", responses=texts, gold=1) for i in range(n)]
    photo = Image.linear_gradient("L").convert("RGB").resize((600, 400))
    return [Episode(task, Memory([photo], texts), EpisodeSettings(**settings)) for task in tasks]
