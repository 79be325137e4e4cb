"""Make judge data of the pocket world and train on it: pairs, filter and traces, mix, a short SFT and GRPO.

Good answers to fresh pocket questions get flawed ones, by injection and by a chat model behind an endpoint (a scripted
one stands in for it here; --writer names another). The cold start of a finished pocket run filters them by difficulty,
its final judge makes the traces, and the cold start is trained on both. Each step is a command too: `armlite data`.

Run: python examples/judge_data.py --run runs/pocket --out runs/judge-data
"""

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from armlite.data.making.filter import filter_tasks
from armlite.data.making.mix import Mix, mix_tasks
from armlite.data.making.output import Counts
from armlite.data.making.pairs import make_pairs
from armlite.data.making.traces import make_traces
from armlite.data.tasks import write_tasks
from armlite.errors import ArmliteError
from armlite.judge import Judge
from armlite.pocket.words import CODES
from armlite.pocket.world import generate
from armlite.recipe import load_recipe
from armlite.train.run import train

SWAPS = dict(zip(("horizontal", "vertical", *CODES), ("vertical", "horizontal", *CODES[1:], CODES[0]), strict=True))


class Writer(BaseHTTPRequestHandler):
    """A chat-completions endpoint that knows one trick for each family of the pocket world."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else content[-1]["text"]
        good = text.split("<start_of_good_answer>\n")[1].split("\n<end_of_good_answer>")[0]
        words = good.split(" ")
        flawed = SWAPS.get(good) or " ".join(words[: len(words) // 2])
        flaw = "another fact" if good in SWAPS else "half of it is missing"
        reply = f"<flaw>{flaw}</flaw>\n<answer>{flawed}</answer>"
        choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
        data = json.dumps({"choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """The table is enough."""


def make(run: Path, out: Path, n: int, k: int, judge: str, writer: str) -> dict[str, Counts]:
    """All steps up to the mix; step -> counts.

    The first two thirds of the good answers get injected flaws, the last two thirds written ones, so that the mix meets
    pairs that were made twice.
    """
    tasks, held_out, counts = list(generate("validation", n, 1, out)), [run / "data" / "test" / "tasks.jsonl"], {}
    for way, part in {"injected": tasks[: 2 * n // 3], "written": tasks[n // 3 :]}.items():
        write_tasks(out / f"good-{way}.jsonl", part)
        model = None if way == "injected" else Judge.load(writer, temperature=0.7).model
        good, pairs = out / f"good-{way}.jsonl", out / f"pairs-{way}.jsonl"
        counts[f"pairs, {way}"] = make_pairs(good, pairs, model, "writer", held_out, temperature=0.7)
        weak = Judge.load(run / "checkpoints" / "sft", temperature=1.0)
        hard = out / f"hard-{way}.jsonl"
        counts[f"filter, {way}"] = filter_tasks(pairs, weak.model, weak.settings, hard, "sft", k)
    rules, strong = Judge.load(run).settings, Judge.load(judge)
    pairs = out / "pairs-injected.jsonl"
    counts["traces"] = make_traces(pairs, strong.model, rules, out / "traces.jsonl", judge)
    sources = [{"path": out / f"hard-{way}.jsonl"} for way in ("injected", "written")]
    counts["mix"] = mix_tasks(Mix.model_validate({"sources": sources}), out / "tasks.jsonl")
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of recipes/pocket-data.yaml")
    parser.add_argument("--run", type=Path, default=Path("runs/pocket"), help="a finished pocket run")
    parser.add_argument("--out", type=Path, default=Path("runs/judge-data"))
    parser.add_argument("--n", type=int, default=300, help="good answers to begin with")
    parser.add_argument("--k", type=int, default=5, help="rollouts of the difficulty filter")
    parser.add_argument("--judge", help="who makes the traces; else the run's final judge")
    parser.add_argument("--writer", help="who writes flawed answers, as openai:MODEL@URL; else a scripted endpoint")
    args = parser.parse_args()
    if not (args.run / "checkpoints" / "sft").is_dir():
        raise SystemExit(f"error: {args.run} is no finished pocket run; armlite train recipes/pocket.yaml makes one")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Writer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    writer = args.writer or f"openai:scripted@http://127.0.0.1:{server.server_port}/v1"
    try:
        files = {"tasks": args.out / "tasks.jsonl", "traces": args.out / "traces.jsonl"}
        files["evaluation"] = args.run / "data" / "test" / "tasks.jsonl"
        ours = [f"model.path={args.run / 'checkpoints' / 'sft'}", *(f"data.{k}={v}" for k, v in files.items())]
        recipe = load_recipe(Path(__file__).parents[1] / "recipes" / "pocket-data.yaml", [*ours, *args.overrides])
        torch.set_num_threads(recipe.threads or torch.get_num_threads())
        counts = make(args.run, args.out, args.n, args.k, args.judge or str(args.run), writer)
        train(recipe, args.out / "run")
    except ArmliteError as error:
        raise SystemExit(f"error: {error}") from error

    notes = json.loads((args.out / "run" / "stages.json").read_text())
    table = Table("step", "in", "rejected", "kept", "of the rejected")
    for step, c in counts.items():
        why = ", ".join(f"{n} {reason}" for reason, n in c.rejected.most_common())
        table.add_row(step, str(c.taken_in), str(sum(c.rejected.values())), str(c.kept), why)
    learnt, long = notes["sft"]["conversations"], notes["sft"]["too_long"]
    table.add_row("sft", str(learnt + long), str(long), str(learnt), "")
    tasks, kept = notes["grpo2"]["tasks"], notes["grpo2"]["kept"]
    table.add_row("grpo", str(tasks), str(tasks - kept), str(kept), "")
    for name in ("base", "sft", "grpo2"):
        summary = json.loads((args.out / "run" / "eval" / name / "summary.json").read_text())
        print(f"{name}: accuracy {summary['rollout']['figures']['accuracy']['value']:.3f} when sampling")
    Console().print(table)


if __name__ == "__main__":
    main()
