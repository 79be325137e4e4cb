"""A real server with the pocket judge, and what the commands for all servers share: install, serve, judge, compare.

A server runs in an environment of its own; armlite judges from this one, by its command line. Between the two stands a
tap that writes down what is asked and answered: some of that is committed, for the default tests.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))  # for armlite of this checkout
COMMITTED = HERE / "committed"
TORCHES = ("torchvision", "torchaudio", "torchcodec")
"""Packages that drag in a torch of their own."""
REQUIRED = "import json, sys, importlib.metadata as m; print(json.dumps(m.requires(sys.argv[1])))"
READY = 600
"""Seconds that a server may take to start."""
REPLIES = 6
"""Turns of each run that are committed as they came."""


@dataclass
class Tap:
    """Hands requests on to a server and keeps both sides; judging asks here."""

    port: int
    exchanges: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def open(self) -> None:
        tap = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.hand_on(None)

            def do_POST(self) -> None:
                self.hand_on(self.rfile.read(int(self.headers["Content-Length"])))

            def hand_on(self, body: bytes | None) -> None:
                request = urllib.request.Request(f"http://localhost:{tap.port}{self.path}", body)
                request.add_header("Content-Type", "application/json")
                if key := self.headers.get("Authorization"):
                    request.add_header("Authorization", key)
                try:
                    with urllib.request.urlopen(request, timeout=300) as answer:
                        status, data = answer.status, answer.read()
                except urllib.error.HTTPError as error:
                    status, data = error.code, error.read()
                if body is not None:
                    tap.exchanges.append({"asked": json.loads(body), "status": status, "answer": data.decode()})
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """stderr is for progress."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://localhost:{server.server_address[1]}/v1"


def arguments(server: str) -> argparse.Namespace:
    """Of all commands."""
    parser = argparse.ArgumentParser(description=f"Judge with a real {server}; see armlite docs servers.")
    parser.add_argument("--run", type=Path, default=ROOT / "runs/pocket", help="a trained pocket run")
    parser.add_argument("--folder", type=Path, default=ROOT / ".real" / server, help="environment and evaluations")
    parser.add_argument("--environment", type=Path, help="one that has the server already; else it is made")
    parser.add_argument("--server", type=Path, help="a llama-server that has been built already")
    parser.add_argument("--tasks", type=int, default=150, help="tasks, each judged in both orders")
    parser.add_argument("--port", type=int, default=18300)
    parser.add_argument("--write", action="store_true", help="keep the figures in tests/real/committed")
    return parser.parse_args()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def make_environment(
    given: Path | None, folder: Path, steps: Sequence[Sequence[str]], rest_of: str | None = None
) -> Path:
    """The Python of an environment.

    Args:
        given: one that is there already.
        steps: what `pip install` is called with, one after the other.
        rest_of: a package, of whose requirements all but `TORCHES` are installed last.
    """
    if given is not None:
        return given / "bin/python"
    python, done = folder / "env/bin/python", folder / "env/installed"
    if not done.is_file() or done.read_text() != json.dumps(steps):
        say(f"installing into {folder / 'env'}")
        subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
        for step in steps:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *step], check=True)
        if rest_of is not None:
            said = subprocess.run([python, "-c", REQUIRED, rest_of], capture_output=True, text=True, check=True).stdout
            wanted = [r for r in json.loads(said) if "extra ==" not in r and not r.startswith(TORCHES)]
            subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
        done.write_text(json.dumps(steps))
    return python


@contextmanager
def serving(command: Sequence[str | Path], port: int, log: Path, **environment: str) -> Iterator[Tap]:
    """A server in the background, and the tap before it.

    Raises:
        SystemExit: it does not start; says where its words are.
    """
    say(" ".join(map(str, command)))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as words:
        process = subprocess.Popen(command, stdout=words, stderr=subprocess.STDOUT, env=os.environ | environment)
    try:
        end = time.monotonic() + READY
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the server did not start; see {log}")
            time.sleep(1)
        tap = Tap(port)
        tap.open()
        yield tap
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://localhost:{port}/v1/models", timeout=2).read()
    except urllib.error.HTTPError:  # a key is wanted
        return True
    except OSError:
        return False
    return True


def armlite(*words: str | Path) -> str:
    """A command of armlite; returns what it says on stderr.

    Raises:
        SystemExit: it failed.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "armlite", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    return done.stderr


def export(run: Path, folder: Path) -> Path:
    """The judge as `judge`, an exported folder, and `merged`, the same without its rules: what others make of it."""
    if not (folder / "merged").is_dir():
        shutil.rmtree(folder / "judge", ignore_errors=True)
        armlite("export", "weights", run, "--out", folder / "judge")
        shutil.copytree(folder / "judge", folder / "merged", ignore=shutil.ignore_patterns("armlite_rules.yaml"))
    return (folder / "merged").resolve()


def evaluate(out: Path, tasks: int, *words: str | Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Judge pocket tasks anew; trajectories by task and rollout."""
    for file in (out / "pocket").glob("*.json*"):
        file.unlink()
    said = armlite("eval", "--benchmark", "pocket", "--n", str(tasks), "--out", out, *words)
    (out / "said.txt").write_text(said)
    return read(out)


def read(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """What `evaluate` left in a folder."""
    rows = (json.loads(line)["trajectory"] for line in (out / "pocket/trajectories.jsonl").open())
    return {(row["task"]["id"], row["rollout"]): row for row in rows}


def compare(local: Any, served: Any) -> dict[str, Any]:
    """How many verdicts, and whole conversations, are equal."""
    texts = {key: [step["turn"]["text"] for step in row["steps"]] for key, row in local.items()}
    return {
        "judgments": len(local),
        "equal_verdicts": sum(served[key]["decision"] == row["decision"] for key, row in local.items()),
        "equal_conversations": sum([s["turn"]["text"] for s in served[k]["steps"]] == texts[k] for k in local),
        "right": sum(row["decision"] == row["task"]["gold"] for row in served.values()),
        "right_locally": sum(row["decision"] == row["task"]["gold"] for row in local.values()),
        "no_verdict": sum(row["decision"] is None for row in served.values()),
        "differences": [differing(key, row, served[key]) for key, row in local.items() if _differ(row, served[key])],
    }


def _differ(local: Any, served: Any) -> bool:
    return local["decision"] != served["decision"]


def differing(key: tuple[str, int], local: Any, served: Any) -> dict[str, Any]:
    """A verdict that is not the local engine's: both, and how likely each side says its own is."""
    last = [row["steps"][-1]["turn"] for row in (local, served)]
    return {
        "task": key,
        "verdicts": [local["decision"], served["decision"]],
        "turns": [turn["text"] for turn in last],
        "probabilities": [turn.get("probabilities") for turn in last],
    }


def recorded(tap: Tap, trajectories: Any) -> list[dict[str, Any]]:
    """Replies as they came, of every kind there was, each with the turn that armlite made of it."""
    turns = {step["turn"]["text"] for row in trajectories.values() for step in row["steps"]}
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for exchange in tap.exchanges:
        if exchange["status"] != 200:
            continue
        value = json.loads(exchange["answer"])
        message, finish = value["choices"][0]["message"], value["choices"][0]["finish_reason"]
        shape = (finish, *(name for name in ("reasoning_content", "reasoning", "tool_calls") if message.get(name)))
        kept.setdefault((*shape, len(exchange["asked"]["messages"])), value)
    from armlite.models.completion import read_reply

    made = [(value, read_reply(value).text) for value in kept.values()]
    return [{"reply": value, "turn": turn} for value, turn in made if turn in turns][:REPLIES]


def refusals(tap: Tap, model: str, without: str = "") -> list[dict[str, Any]]:
    """What the server says to requests that it cannot take.

    Args:
        without: a case that takes too long.
    """
    from armlite.models.pictures import data_url

    plain = {"model": model, "messages": [{"role": "user", "content": "Which one?"}], "max_tokens": 4}
    picture = {"type": "image_url", "image_url": {"url": data_url(Image.new("RGB", (28, 28), "white"))}}
    cases = {
        "a model that is not there": {**plain, "model": "no-such-judge"},
        "a field that nobody knows": {**plain, "no_such_field": 1},
        "a stop string": {**plain, "stop": ["</tool_call>"]},
        "a budget beyond the context": {**plain, "max_tokens": 10**6},
        "a prompt beyond the context": {**plain, "messages": [{"role": "user", "content": "look " * 9000}]},
        "a picture": {**plain, "messages": [{"role": "user", "content": [picture]}]},
    }
    rows = []
    for case, body in cases.items():
        if case == without:
            continue
        tap.exchanges.clear()
        request = urllib.request.Request(f"{tap.url}/chat/completions", json.dumps(body).encode())
        try:
            urllib.request.urlopen(request, timeout=120).read()
        except urllib.error.HTTPError as error:
            error.read()
        [exchange] = tap.exchanges
        said = exchange["answer"] if exchange["status"] != 200 else ""
        rows.append({"case": case, "status": exchange["status"], "said": said})
    return rows


def judge_all(server: str, tap: Tap, model: str, options: argparse.Namespace) -> dict[str, Any]:
    """With the run's rules, without, and the server's refusals; what is to be committed.

    Raises:
        SystemExit: fewer than 298 of 300 verdicts are the local engine's, or the plain command says nothing.
    """
    judge = options.folder / "judge"
    local = evaluate(options.folder / "local", options.tasks, "--model", options.run)
    tap.exchanges.clear()
    address = f"openai:{model}@{tap.url}"
    served = evaluate(options.folder / "served", options.tasks, "--model", address, "--rules", judge)
    found = compare(local, served)
    say(f"{server}: {found}")
    replies = recorded(tap, served)
    few = min(options.tasks, 30)
    plain = evaluate(options.folder / "plain", few, "--model", address)
    said = (options.folder / "plain/said.txt").read_text()
    told = [line for line in said.splitlines() if "--rules" in line]
    row = {
        "server": server,
        "date": datetime.now(UTC).date().isoformat(),
        "with_rules": found,
        "plain_command": {
            "judgments": len(plain),
            "right": sum(r["decision"] == r["task"]["gold"] for r in plain.values()),
            "told": told,
        },
        "refusals": refusals(tap, model),
        "replies": replies,
    }
    if found["equal_verdicts"] * 300 < 298 * found["judgments"]:
        raise SystemExit(f"{server}: {found['equal_verdicts']} of {found['judgments']} verdicts are the local engine's")
    if not told:
        raise SystemExit(f"{server}: the plain command says nothing of rules")
    return row


def judge_again(server: str, tap: Tap, model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Served another way, after `judge_all`.

    Raises:
        SystemExit: as `judge_all`.
    """
    served = evaluate(
        options.folder / "again", options.tasks, "--model", f"openai:{model}@{tap.url}", "--rules", options.run
    )
    local = read(options.folder / "local")
    found = compare(local, served)
    say(f"{server}: {found}")
    if found["equal_verdicts"] * 300 < 298 * found["judgments"]:
        raise SystemExit(f"{server}: {found['equal_verdicts']} of {found['judgments']} verdicts are the local engine's")
    return {"with_rules": found, "replies": recorded(tap, served)}


def keep(name: str, value: Any, folder: Path) -> None:
    """Write a JSON file of the committed ones, in which `folder` is FOLDER."""
    COMMITTED.mkdir(exist_ok=True)
    text = json.dumps(value, ensure_ascii=False, indent=1).replace(str(folder.resolve()), "FOLDER")
    (COMMITTED / name).write_text(text + "\n", "utf-8")
    say(f"wrote {COMMITTED / name}")
