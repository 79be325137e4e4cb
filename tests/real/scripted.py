"""A server in this process that stands for two models: the judge, which says the turns of `rows`, and the language
model that the kits ask to read an answer, which reads it by our rules.
"""

import json
import re
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from real.turns import CUT, RealSet

from armlite.evals.benchmarks import logicvista, mathvista, mmlongbench_doc

JUDGE = "judge-7b"
MARK = re.compile(r"\[[a-z0-9-]+ \d+\]")


class Scripted:
    """The server, from its making to `close`."""

    def __init__(self, sets: Sequence[RealSet]):
        self.rows = {row["mark"]: row for one in sets for row in one.rows}
        self.asked: list[tuple[str, Any, Any]] = []
        """Mark, temperature and seed of each request to the judge."""
        self.refused: set[str] = set()
        """Marks of the questions that are against its policy."""
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send({"object": "list", "data": [{"id": JUDGE}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                text, finish = scripted.reply(body)
                if finish == "refused":
                    return self.send({"error": {"message": text, "code": "content_filter"}}, 400)
                choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
                usage = {"prompt_tokens": 1, "completion_tokens": len(text.split()), "total_tokens": 1}
                return self.send(
                    {"object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}
                )

            def send(self, value: Any, status: int = 200) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """The command prints its own."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.request_queue_size = 64
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self._server.shutdown()

    def reply(self, body: Mapping[str, Any]) -> tuple[str, str]:
        prompt = "\n".join(texts(message) for message in body["messages"] if message["role"] == "user")
        if body["model"] != JUDGE:
            return self.read(prompt), "stop"
        mark = MARK.search(prompt)
        if mark is None:
            raise SystemExit(f"the judge was asked about no row of ours: {prompt[:500]}")
        self.asked.append((mark[0], body.get("temperature"), body.get("seed")))
        if mark[0] in self.refused:
            return "this is against the policy", "refused"
        row = self.rows[mark[0]]
        turn = row["turn"]
        if "{n}" in turn:  # the number that the preferred one of two has in this prompt
            better, other = (row["responses"][n - 1] for n in (row["prefers"], 3 - row["prefers"]))
            turn = turn.replace("{n}", "1" if prompt.rindex(better) < prompt.rindex(other) else "2")
        return turn, "length" if turn == CUT else "stop"

    def read(self, prompt: str) -> str:
        """What the kits' reader is asked for; nothing that can be read where our rules read nothing."""
        if "Judgement: " in prompt:
            found = re.search(r"Answer ([12]) is better", prompt.rpartition("Judgement: ")[2])
            return f"Answer {found[1]}" if found else "None of them"
        if "Model respone: " in prompt:  # as it is spelt there
            answer = prompt.rpartition("Model respone: ")[2].removesuffix("Extracted answer:")
            return self._extracted(prompt, answer)
        if prompt.endswith("\n\nExtracted answer: "):
            return self._extracted(prompt, MARK.split(prompt.removesuffix("\n\nExtracted answer: "))[-1].strip())
        if "\nAnswer: <start>\n" in prompt:
            answer = prompt.rpartition("Answer: <start>\n")[2].partition("\n<end>")[0]
            return "".join(logicvista.letters(answer) or ["z"]).upper()
        if "\nAnalysis: " in prompt:
            answer = prompt.rpartition("\nAnalysis: ")[2]
            kind = self.rows[MARK.findall(prompt)[-1]]["answer_format"]
            found = mmlongbench_doc.FAILED if answer == "-" else mmlongbench_doc.extract(answer, kind)
            return f"Extracted answer: {found}\nAnswer format: {kind}"
        return "Z" if "hello" not in prompt.lower() else "Hello!"

    def _extracted(self, prompt: str, answer: str) -> str:
        row = self.rows[MARK.findall(prompt)[-1]]
        kind = "text" if row["question_type"] == "multi_choice" else row["answer_type"]
        return mathvista.extract(answer, kind)


def texts(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "\n".join(p["text"] for p in content if p["type"] == "text")
