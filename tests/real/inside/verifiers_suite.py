"""verifiers' part of `suites.py`, run by its own Python: cases from stdin, scores as the last line of stdout.

Its own command plays a rollout of each case: a policy on a scripted endpoint says the recorded response, and the judge,
plugged into the tasks by its id, rewards it. As modules of this folder the plugins are found by verifiers' workers too.
"""

import json
import os
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

JUDGE = """
from armlite import Judge
from armlite.adapters.verifiers import judge_class

PocketJudge = judge_class(lambda: Judge.load({model!r}), "compare", against="against")
__all__ = ["PocketJudge"]
"""
TASKSET = '''
import base64
import json
from pathlib import Path

import verifiers.v1 as vf


class Data(vf.TaskData):
    against: str
    document: str | None = None
    constraints: list[dict] = []


class Asked(vf.Task[Data, vf.State, vf.TaskConfig]):
    """A task without a reward of its own."""


class PocketTaskset(vf.Taskset[Asked, vf.TasksetConfig]):
    def load(self):
        for case in json.loads(Path("cases.json").read_text()):
            data = [base64.b64encode(Path(image).read_bytes()).decode() for image in case["images"]]
            urls = [{"url": f"data:image/png;base64,{picture}"} for picture in data]
            parts = [{"type": "image_url", "image_url": url} for url in urls]
            parts.append({"type": "text", "text": case["question"]})
            known = {name: case[name] for name in ("against", "document", "constraints")}
            prompt = [vf.UserMessage.model_validate({"content": parts})]
            row = Data(prompt=prompt, name=case["id"], system_prompt=case["id"], **known)
            yield Asked(row, vf.TaskConfig(judges=[{"id": "pocket_judge"}]))


__all__ = ["PocketTaskset"]
'''


def policy(cases):
    """An endpoint that answers with the response of the case that the system prompt names; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = cases[asked["messages"][0]["content"]]
            chunk = {"id": "r", "object": "chat.completion.chunk", "created": 0, "model": "policy"}
            delta = {"role": "assistant", "content": said}
            choices = [[{"index": 0, "delta": delta}], [{"index": 0, "delta": {}, "finish_reason": "stop"}]]
            lines = [f"data: {json.dumps({**chunk, 'choices': part})}\n\n" for part in choices]
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write("".join([*lines, "data: [DONE]\n\n"]).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v1"


def main():
    """Play all rollouts and tell what their traces say."""
    given = json.load(sys.stdin)
    Path("pocket_judge.py").write_text(JUDGE.format(model=given["model"]))
    Path("pocket_taskset.py").write_text(TASKSET)
    Path("cases.json").write_text(json.dumps(given["cases"]))
    address = policy({case["id"]: case["response"] for case in given["cases"]})
    shutil.rmtree("outputs", ignore_errors=True)
    folder = Path(sys.executable).parent
    words = [folder / "vf-eval", "pocket_taskset", "-m", "policy", "-o", "outputs", "--push", "false"]
    words += ["--env.agent.harness.id", "null", "--env.agent.runtime.type", "subprocess"]
    words += ["--client.base-url", address, "--client.api-key-var", "POLICY_KEY"]
    own = {"POLICY_KEY": "none", "PYTHONPATH": str(Path.cwd()), "PATH": f"{folder}:{os.environ['PATH']}"}
    subprocess.run(words, env=os.environ | own, check=True, stdout=sys.stderr)
    [file] = Path("outputs").glob("*/traces.jsonl")
    rows = [trace for line in file.read_text().splitlines() for trace in json.loads(line)["traces"]]
    by_id = {row["task"]["data"]["name"]: row for row in rows}
    traces = [by_id[case["id"]] for case in given["cases"]]
    rewards = [trace["rewards"].get("pocket_judge") for trace in traces]
    scores = [None if reward is None else reward["score"] for reward in rewards]
    lost = traces[-1]["errors"][-1]
    told = {
        "scores": scores,
        "totals": {
            "rewarded": sum(score is not None for score in scores),
            "errors": sum(bool(trace["errors"]) for trace in traces),
        },
        "reason": traces[0]["info"]["armlite"][0]["reason"],
        "lost": [lost["type"], lost["message"].rpartition("/")[2]],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
