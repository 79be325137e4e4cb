"""A judge served in this process, and clients of it."""

import io
import json
import queue
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import uvicorn

from armlite.judge import Judge
from armlite.loop import Reply
from armlite.serve.app import make_app
from armlite.serve.run import listening
from armlite.serve.settings import ServeSettings

ANSWER = "<think>They differ.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"
PAIR = {"question": "Which?", "responses": ["Ulm", "Bern"]}


def says(conversation):
    """Looks once where there is a picture, then prefers the first response; chooses the first option; says yes."""
    text = conversation.messages[0].text
    if conversation.tools and not conversation.turns and "original_image" in text:
        call = {"name": "image_zoom_in_tool", "arguments": {"image": "original_image", "bbox_2d": [0, 0, 500, 500]}}
        return f"<think>I look.</think>\n<tool_call>\n{json.dumps(call)}\n</tool_call>"
    if "shrug" in text:
        return "I would rather not."
    if "Overall Judgment: True" in text:
        return "<think>So it is.</think>\n<answer>Overall Judgment: True</answer>"
    if "whole number from 1 to 10" in text:
        return "<think>Fair.</think>\n<answer>Overall Judgment: 7</answer>"
    if listed := re.search(r"where X is one of (?:the letters )?([^,\n]+)", text):
        return f"<think>The first.</think>\n<answer>{listed[1]}</answer>"
    return ANSWER


class Served:
    """A server in a thread, from its making to `close`; a context manager."""

    def __init__(self, judge: Judge, **settings: Any):
        self.log = io.StringIO()
        self._place = listening("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._place.getsockname()[1]}"
        app = make_app(judge, ServeSettings(**settings), self.log)
        self.app = app
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._place]}, daemon=True)
        self._thread.start()
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        while not self._server.started:
            time.sleep(0.005)

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join(timeout=20)
        self._place.close()

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return self.http.post(path, json=body, **options)

    def health(self) -> dict[str, Any]:
        return self.http.get("/health").json()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def settled(self) -> bool:
        """Whether nothing is in flight any more, in the end."""
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if self.health() == {"status": "ok", "in_flight": 0, "waiting": 0}:
                return True
            time.sleep(0.01)
        return False


def at_once(work: Any, items: list[Any]) -> list[Any]:
    """The results of work on all items, each in a thread of its own."""
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(work, items))


class Slow:
    """A model that takes some time for each turn, any number of them at once; a session of itself."""

    name, threads = "slow", 0

    def __init__(self, seconds: float, in_flight: int = 4):
        self.seconds, self.in_flight = seconds, in_flight
        self.open: list[Any] = []
        self.most = 0
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def session(self) -> "Slow":
        return self

    def submit(self, conversation: Any) -> None:
        self.open.append(conversation)
        self.most = max(self.most, len(self.open))
        slow = 100 if "for ever" in conversation.messages[0].text else 1
        timer = threading.Timer(self.seconds * slow, self._ended.put, (conversation,))
        timer.daemon = True
        timer.start()

    def wait(self) -> list[tuple[Any, Reply]]:
        conversation = self._ended.get()
        return [] if conversation is None else [(conversation, Reply(ANSWER, tokens=9))]

    def wake(self) -> None:
        self._ended.put(None)

    def close(self, conversation: Any) -> None:
        self.open = [one for one in self.open if one is not conversation]


class Held(Slow):
    """A model that says nothing until it is let go."""

    def __init__(self, in_flight: int):
        super().__init__(0.0, in_flight)
        self.go = threading.Event()

    def submit(self, conversation: Any) -> None:
        self.open.append(conversation)
        threading.Thread(target=lambda: (self.go.wait(20), self._ended.put(conversation)), daemon=True).start()
