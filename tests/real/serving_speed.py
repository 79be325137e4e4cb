"""What serving costs: the pocket judge in this process and behind `armlite serve`, side by side.

    python tests/real/serving_speed.py --model runs/pocket [--n 192] [--write]

Three repetitions of both in one run: a batch, 32 judgments at once, against 32 clients (one client process); and one
client after the other against the judge in this process, turn for turn. Each served verdict must be that of the batch.
Ratios count: the two sides take turns on the same cores.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kit import ROOT, keep, say, today

CLIENTS, REPETITIONS, ALONE = 32, 3, 10
"""Clients at once; how often all is measured; tasks that are asked one after the other."""


@contextmanager
def served(model: Path, files: Path) -> Iterator[str]:
    """`armlite serve` in a process of its own; its address."""
    words = ["serve", "--model", model, "--files", files, "--port", "0"]
    log = (ROOT / ".real/speed.log").open("w+")
    process = subprocess.Popen([sys.executable, "-m", "armlite", *words], stderr=log, cwd=ROOT)
    try:
        while "listening on " not in (text := Path(log.name).read_text()):
            if process.poll() is not None:
                raise SystemExit(f"the server did not start: {text}")
            time.sleep(0.1)
        yield next(line.split()[-1] for line in text.splitlines() if line.startswith("listening on "))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


async def at_once(url: str, bodies: Sequence[dict[str, Any]]) -> tuple[float, list[Any]]:
    """Seconds that `CLIENTS` clients take for all bodies, and their verdicts in order.

    They write to sockets themselves: a client library would use up more of the cores than the server does.
    """
    host, _, port = url.removeprefix("http://").partition(":")
    left, found = list(enumerate(bodies))[::-1], [b""] * len(bodies)

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while left:
            number, body = left.pop()
            content = json.dumps(body).encode()
            head = "POST /v1/judge HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            writer.write((head % len(content)).encode() + content)
            status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            length = next(int(line.partition(":")[2]) for line in fields if line.startswith("content-length"))
            found[number] = await reader.readexactly(length)
            if " 200 " not in status:
                raise SystemExit(f"{status}: {found[number]!r:.500}")
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return time.perf_counter() - start, found


def alone(url: str, judge: Any, tasks: Sequence[Any], root: Path) -> list[float]:
    """Milliseconds a turn that each served judgment took beyond the same one in this process."""
    import httpx

    from armlite.types import Verdict

    over = []
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        for task in tasks:
            body, seconds = json.loads(task.to_json()), []
            for _ in range(3):  # the best of three of each, in turn, so that a neighbour's work does not count
                start = time.perf_counter()
                judge.judge(task, root=root)
                between = time.perf_counter()
                answer = http.post("/v1/judge", json=body)
                seconds.append((between - start, time.perf_counter() - between))
            turns = len(Verdict.from_json(answer.content).trajectory.steps)  # type: ignore[union-attr]
            here, there = (min(side) for side in zip(*seconds, strict=True))
            over.append(1000 * (there - here) / turns)
    return over


def differences(verdicts: Sequence[Any], answers: Sequence[bytes]) -> int:
    """How many served verdicts are others than those of the batch, in what they say or in what was done for it."""
    from armlite.types import Verdict

    count = 0
    for own, answer in zip(verdicts, answers, strict=True):
        got = Verdict.from_json(answer)
        said = [(v.status, v.choice, v.correct, v.rationale, v.evidence, v.trajectory.decision) for v in (own, got)]
        count += said[0] != said[1]
    return count


def main() -> None:
    """Measure, print, and see that it is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a trained run of recipes/pocket.yaml")
    parser.add_argument("--n", type=int, default=192, help="tasks")
    parser.add_argument("--write", action="store_true", help="keep the figures in tests/real/committed")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as commands ask a pocket judge
    from armlite.data.tasks import read_tasks
    from armlite.judge import Judge

    root = options.model / "data/test"
    tasks = [task.model_copy(update={"gold": None}) for task in read_tasks(root / "tasks.jsonl")[: options.n]]
    bodies = [json.loads(task.to_json()) for task in tasks]
    judge = Judge.load(options.model).prepare()
    local = judge.model.load()  # type: ignore[attr-defined]
    local.settings = local.settings.model_copy(update={"max_slots": CLIENTS})
    gc.collect()
    gc.freeze()  # as the server does: else a batch has collections to wait for that the server has not
    rows: list[dict[str, float]] = []
    (ROOT / ".real").mkdir(exist_ok=True)
    with served(options.model, root) as url:
        judge.judge_many(tasks[:8], root=root)
        asyncio.run(at_once(url, bodies[:8]))
        for number in range(REPETITIONS):
            start = time.perf_counter()
            verdicts = judge.judge_many(tasks, root=root)
            batch = time.perf_counter() - start
            seconds, answers = asyncio.run(at_once(url, bodies))
            over = alone(url, judge, tasks[:ALONE], root)
            row = {"batch": len(tasks) / batch, "served": len(tasks) / seconds, "share": batch / seconds}
            row |= {"different": differences(verdicts, answers), "overhead_ms": statistics.median(over)}
            rows.append({name: round(value, 3) for name, value in row.items()})
            say(f"{number + 1}: {rows[-1]}")
    middle = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    shown = f"{middle['share']:.3f} of a batch, {middle['overhead_ms']:.2f} ms a turn"
    say(f"median: {shown}, load {os.getloadavg()[0]:.1f}")
    if options.write:
        machine = {"cores": os.cpu_count(), "machine": platform.machine(), "load": round(os.getloadavg()[0], 1)}
        about = {"date": today(), **machine, "tasks": len(tasks), "clients": CLIENTS}
        keep("serving_speed.json", {**about, "median": middle, "repetitions": rows})
    if middle["share"] < 0.9 or middle["overhead_ms"] > 5 or any(row["different"] for row in rows):
        raise SystemExit("not as it should be: at least 0.9 of a batch, at most 5 ms a turn, no verdict different")


if __name__ == "__main__":
    main()
