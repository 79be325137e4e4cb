"""`armlite serve` and the clients of others, unmodified, each in an environment of its own.

    python tests/real/serving_clients.py [openai verifiers deepeval fuzz] [--write]

`openai`: OpenAI's SDK (chat, stream, models, a wrong key). `verifiers`: its DecisionJudge. `deepeval`: its JevEval,
which talks through TypeSafe's SDK. `fuzz`: schemathesis, which makes requests up from the OpenAPI document, while the
server's process is watched. With `--write` what came back is kept in `tests/real/committed/serving.json`.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kit import COMMITTED, HERE, ROOT, keep, say, today

KEY = "sk-served"
PACKAGES = {
    "openai": ("openai>=2",),
    "verifiers": ("verifiers>=0.4",),
    "deepeval": ("deepeval>=4.3", "typesafe-sdk"),
    "fuzz": ("schemathesis>=4",),
}
"""Client -> what its environment gets; none of it needs torch."""
CASES = 2000
"""Requests that schemathesis has to send, at least."""


def install(name: str, folder: Path) -> Path:
    """An environment with a client; its Python."""
    python, done = folder / name / "bin/python", folder / name / "installed"
    wanted = "\n".join(PACKAGES[name])
    if not done.is_file() or done.read_text() != wanted:
        say(f"installing {name} into {folder / name}")
        subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--prefer-binary", *PACKAGES[name]], check=True)
        done.write_text(wanted)
    return python


@contextmanager
def served(*words: str | Path) -> Iterator[str]:
    """A server in a process of its own; its address.

    Raises:
        SystemExit: it did not end with status 0.
    """
    command = [sys.executable, HERE / "inside/served.py", *words]
    log = (ROOT / ".real/served.log").open("w")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        yield next(line.split()[-1] for line in process.stdout if line.startswith("listening"))
        process.send_signal(signal.SIGTERM)
        if process.wait(timeout=60):
            raise SystemExit(f"the server ended with status {process.returncode}: see {log.name}")
    finally:
        process.kill()
        process.wait()


def client(name: str, folder: Path) -> dict[str, Any]:
    """Run a client against a server that asks for a key; what it got.

    Raises:
        SystemExit: it failed, or got something else than it should.
    """
    python = install(name, folder)
    with served("--key", KEY) as url:
        command = [python, HERE / f"inside/client_{name}.py", url, KEY]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    say(f"{name} {found['version']}: {len(found) - 1} answers as they should be")
    return found


def fuzz(folder: Path) -> dict[str, Any]:
    """Have schemathesis make requests up.

    Raises:
        SystemExit: one of them made the server fail, open a path or ask another machine; or there were too few.
    """
    python, seen = install("fuzz", folder), folder / "seen.json"
    with served("--watch", seen) as url:
        words = ["run", f"{url}/openapi.json", "--checks", "not_a_server_error", "--max-examples", "250"]
        words += ["--seed", "1", "--no-color", "--workers", "2"]
        command = [python.parent / "schemathesis", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    made = int(re.search(r"(\d+) generated", done.stdout)[1]) if "generated" in done.stdout else 0  # type: ignore[index]
    if done.returncode:
        raise SystemExit(f"schemathesis: {done.stdout[-6000:]}\n{done.stderr[-2000:]}")
    log = [json.loads(line) for line in (ROOT / ".real/served.log").read_text().splitlines() if line.startswith("{")]
    statuses: dict[str, int] = {}
    for line in log:
        statuses[str(line["status"])] = statuses.get(str(line["status"]), 0) + 1
    strange = json.loads(seen.read_text())
    say(f"schemathesis: {len(log)} requests of {made} cases, {statuses}; beside them the server opened {strange}")
    if made < CASES or strange or any(int(status) >= 500 for status in statuses):
        raise SystemExit("too few requests, or a path was opened, or a request failed")
    version = subprocess.run(
        [python, "-c", "import importlib.metadata as m; print(m.version('schemathesis'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    return {"version": version, "cases": made, "requests": len(log), "statuses": statuses, "opened": strange}


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clients", nargs="*", help=f"of {', '.join(PACKAGES)}; all unless given")
    parser.add_argument("--folder", type=Path, default=ROOT / ".real/serving", help="environments go here")
    parser.add_argument("--write", action="store_true", help="keep what came back in tests/real/committed")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    file = COMMITTED / "serving.json"
    kept = json.loads(file.read_text()) if file.is_file() else {}
    if unknown := set(options.clients) - set(PACKAGES):
        parser.error(f"there is no client {unknown.pop()}")
    for name in options.clients or PACKAGES:
        found = fuzz(options.folder) if name == "fuzz" else client(name, options.folder)
        kept[name] = {"date": today(), **found}
    if options.write:
        keep("serving.json", kept)


if __name__ == "__main__":
    main()
