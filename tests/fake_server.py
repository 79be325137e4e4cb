"""An OpenAI-compatible server without a model, run as a process of its own: `python tests/fake_server.py --port 0`.

It says its port, then answers as it is scripted: by the settings of a JSON file (`--script`) or a POST to `/control`,
which replaces them and clears the record; GET `/record` gives the requests so far. Like a real server it ends a turn at
the stop string and takes that out, counts tokens (words here), and refuses unknown models, bad keys and long prompts.
"""

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

JUDGE = [
    '<think>I cannot read the sign yet.</think>\n<tool_call>\n{"name": "image_zoom_in_tool", "arguments": '
    '{"image": "original_image", "bbox_2d": [100, 100, 400, 400]}}\n</tool_call>',
    "<think>The crop agrees with the first response.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>",
]
SETTINGS: dict[str, Any] = {
    "models": ["judge-7b"],
    "key": "",
    "turns": JUDGE,
    "faults": [],
    "delay": 0.0,
    "context": 10**9,
    "honours_stop": True,
    "refuses": {},
    "template": {},
    "owner": "tests",
    "root": "",
    "pace": 0.0,
    "cut_after": 0,
}
"""turns: what every conversation gets, by its number of assistant turns (the last is repeated). faults: one a request,
in order of arrival, null for none: {"status", "headers", "error"}, {"sleep": s}, {"cut": true} (half of a reply),
{"torn": true} (the connection ends within a reply), {"close": true} (before it), {"body": ..}.
delay: seconds a request takes. context: characters of text that fit. refuses: field of a request -> what is said of it,
under status 400 (also `pictures`). template: part of a prompt (system, thoughts, images) -> false where the model does
not get it. owner, root: of the models. A
request for a stream gets one, a word a chunk, `pace` seconds apart; cut_after: end the first stream after so many. A
probe (`PROBE` in its system message) is answered and recorded apart."""
PROBE = "see_what_is_passed_on"


class Server(ThreadingHTTPServer):
    """Holds the settings and the record of requests."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, settings: dict[str, Any]):
        super().__init__(("127.0.0.1", port), Handler)
        self.lock = threading.Lock()
        self.reset(settings)

    def reset(self, settings: dict[str, Any]) -> None:
        with self.lock:
            self.settings = SETTINGS | settings
            self.faults = list(self.settings["faults"])
            self.record: list[dict[str, Any]] = []
            self.probes: list[dict[str, Any]] = []
            self.flying, self.most = 0, 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        server = self.server
        if self.path == "/record":
            self.send(200, {"requests": server.record, "probes": server.probes, "most_in_flight": server.most})
        elif self.path.partition("?")[0] == "/v1/models":
            about = {"owned_by": server.settings["owner"], "root": server.settings["root"]}
            self.send(200, {"object": "list", "data": [{"id": name, **about} for name in server.settings["models"]]})
        else:
            self.refuse(404, "Not Found", "")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        if self.path == "/control":
            server.reset(body)
            self.send(200, {})
        elif self.path.partition("?")[0] == "/v1/chat/completions":
            self.chat(body)
        else:
            self.refuse(404, "Not Found", "")

    def chat(self, body: dict[str, Any]) -> None:
        server = self.server
        if PROBE in json.dumps(body["messages"]):
            server.probes.append(body)
            self.complete(body)
            return
        with server.lock:
            about = {"key": self.headers.get("Authorization"), "headers": dict(self.headers), "path": self.path}
            server.record.append({"time": time.monotonic(), **about, "body": body})
            server.flying += 1
            server.most = max(server.most, server.flying)
            fault = server.faults.pop(0) if server.faults else None
        try:
            time.sleep(server.settings["delay"])
            self.fail(fault) if fault else self.complete(body)
        finally:
            with server.lock:
                server.flying -= 1

    def fail(self, fault: dict[str, Any]) -> None:
        if "sleep" in fault:
            time.sleep(fault["sleep"])
        if "dribble" in fault:
            self.send_bytes(200, b" ", {"Content-Length": "1000"})
            for _ in range(100):
                time.sleep(fault["dribble"] / 100)
                self.wfile.write(b" ")
                self.wfile.flush()
        if "body" in fault:
            self.send(fault.get("status", 200), fault["body"])
        elif "status" in fault:
            error = fault.get("error", {"message": "scripted fault", "code": None})
            self.send(fault["status"], {"error": error}, fault.get("headers"))
        elif "cut" in fault:
            whole = json.dumps({"choices": [{"message": {"content": "never whole"}}]}).encode()
            self.send_bytes(200, whole[: len(whole) // 2])
        else:
            if "torn" in fault:
                self.send_bytes(200, b'{"choices": [', {"Content-Length": "1000"})
            self.close_connection = True
            self.connection.close()

    def complete(self, body: dict[str, Any]) -> None:
        settings, key = self.server.settings, self.headers.get("Authorization")
        size = sum(len(text) for message in body["messages"] for text in texts(message))
        if settings["key"] and key != f"Bearer {settings['key']}":
            self.refuse(401, f"Incorrect API key provided: {key}", "invalid_api_key")
        elif body["model"] not in settings["models"]:
            self.refuse(404, f"The model `{body['model']}` does not exist.", "model_not_found")
        elif size > settings["context"]:
            why = f"This model's maximum context length is {settings['context']} tokens, but you sent {size}."
            self.refuse(400, why, "context_length_exceeded")
        elif refused := [field for field in settings["refuses"] if field in {**body, **with_pictures(body)}]:
            self.refuse(400, settings["refuses"][refused[0]], "invalid_request_error")
        else:
            past = sum(message["role"] == "assistant" for message in body["messages"])
            turn = settings["turns"][min(past, len(settings["turns"]) - 1)]
            text, finish = said(turn, body, settings["honours_stop"])
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
            usage = {"prompt_tokens": prompt_tokens(body, settings["template"]), "completion_tokens": len(text.split())}
            if body.get("stream"):
                self.stream(text, finish, usage)
            else:
                self.send(200, {"object": "chat.completion", "choices": [choice], "usage": usage})

    def stream(self, text: str, finish: str, usage: dict[str, int]) -> None:
        settings = self.server.settings
        cut, settings["cut_after"] = settings["cut_after"], 0
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        pieces = [piece + " " for piece in text.split(" ")]
        pieces[-1] = pieces[-1][:-1]
        for number, piece in enumerate(pieces, 1):
            if number == 1 and self.server.record:
                self.server.record[-1]["first_word"] = time.monotonic()
            self.event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
            if number == cut:
                return
            time.sleep(settings["pace"])
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        self.event({"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, value: Any) -> None:
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()

    def refuse(self, status: int, message: str, code: str) -> None:
        self.send(status, {"error": {"message": message, "type": "invalid_request_error", "code": code}})

    def send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self.send_bytes(status, json.dumps(value).encode(), headers)

    def send_bytes(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Tests read stdout."""


def with_pictures(body: dict[str, Any]) -> dict[str, Any]:
    """`pictures`, where there are any: refused like a field."""
    blocks = [
        block for message in body["messages"] if isinstance(message["content"], list) for block in message["content"]
    ]
    return {"pictures": True} if any(block["type"] == "image_url" for block in blocks) else {}


def prompt_tokens(body: dict[str, Any], template: dict[str, bool]) -> int:
    """Words of a prompt as a chat template passes them on, and 64 tokens a picture."""
    count = 0
    for message in body["messages"]:
        said = " ".join(texts(message))
        if not template.get("thoughts", True):
            said = said.rpartition("</think>")[2]
        if message["role"] != "system" or template.get("system", True):
            count += len(said.split())
        if template.get("images", True) and not isinstance(message["content"], str):
            count += 64 * sum(block["type"] == "image_url" for block in message["content"])
    return count


def texts(message: dict[str, Any]) -> list[str]:
    """All text of a message."""
    content = message["content"]
    return [content] if isinstance(content, str) else [block["text"] for block in content if block["type"] == "text"]


def said(turn: str, body: dict[str, Any], honours_stop: bool) -> tuple[str, str]:
    """(text, finish reason) of a turn after the request's stop strings and its budget of words."""
    words = turn.split(" ")
    budget = body.get("max_tokens") or len(words)
    text, finish = " ".join(words[:budget]), "length" if len(words) > budget else "stop"
    ends = [text.index(s) for s in body.get("stop", []) if honours_stop and s in text]
    return (text[: min(ends)], "stop") if ends else (text, finish)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path)
    options = parser.parse_args()
    server = Server(options.port, json.loads(options.script.read_text()) if options.script else {})
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
