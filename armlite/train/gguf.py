"""An exported judge on its way to llama.cpp: language part and vision tower (`mmproj`) as GGUF files, by its converter.

The converter and the server are llama.cpp's own; without them the folder says how (`LLAMA_CPP.md`).
"""

import json
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from armlite.errors import ArmliteError
from armlite.remote import open_client

CONVERTER, SERVER = "convert_hf_to_gguf.py", "llama-server"
HOW = "LLAMA_CPP.md"
READY = 300.0
"""Seconds that the server may take to load the model, and to answer."""
TEXT = """\
# With llama.cpp

```bash
{convert}
{serve}
armlite judge --model openai:judge@http://localhost:8080/v1 --rules {folder} ...
```

The converter is `convert_hf_to_gguf.py` of a checkout of llama.cpp (`pip install -r requirements.txt` there). `--jinja`
lets the server use the chat template inside. `--outtype q8_0`, or `llama-quantize` for fewer bits, changes what the
judge says: see `armlite agree` for how much.
"""


def write_gguf(folder: Path, converter: Path | None = None) -> list[str]:
    """Write down the way to llama.cpp into a folder; go it where the converter is, and ask the result where its server
    is.

    Args:
        folder: an exported judge.
        converter: `convert_hf_to_gguf.py`; None: the one on PATH, if there is one.

    Returns:
        What was done, in lines.

    Raises:
        ArmliteError: there is no such converter, it cannot take the model, or what it made does not answer; the folder
            stays.
    """
    found = converter or (Path(which) if (which := shutil.which(CONVERTER)) else None)
    if found is not None and not found.is_file():
        raise ArmliteError(f"--converter {found}: there is no such file; give llama.cpp's {CONVERTER}")
    files = folder / f"{folder.name}.gguf", folder / f"mmproj-{folder.name}.gguf"
    convert = _conversion(found or Path(CONVERTER), folder, files)
    serve = [SERVER, "-m", str(files[0]), "--mmproj", str(files[1]), "--alias", "judge", "--jinja"]
    text = TEXT.format(convert="\n".join(map(shlex.join, convert)), serve=shlex.join(serve), folder=folder)
    (folder / HOW).write_text(text, "utf-8")
    if found is None:
        return [f"{folder / HOW} says how to make GGUF files: {CONVERTER} is not on PATH (--converter names one)"]
    for command, file in zip(convert, files, strict=True):
        _run(command, file, folder)
    if (server := _server(found)) is None:
        return [f"{files[0]} and {files[1].name}: not asked, as {SERVER} is neither on PATH nor beside the converter"]
    return [f"{files[0]} and {files[1].name}: {SERVER} answers {_answer([server, *serve[1:]])!r}"]


def _conversion(converter: Path, folder: Path, files: tuple[Path, Path]) -> list[list[str]]:
    kind = ["--outtype", "f16"]
    start = ["python" if converter.name == str(converter) else sys.executable, str(converter), str(folder), *kind]
    return [[*start, "--outfile", str(files[0])], [*start, "--mmproj", "--outfile", str(files[1])]]


def _run(command: list[str], file: Path, folder: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    made = file.is_file() and file.open("rb").read(4) == b"GGUF"
    if done.returncode == 0 and made:
        return
    file.unlink(missing_ok=True)
    said = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()[-1][:200]
    raise ArmliteError(f"llama.cpp's converter cannot take {folder}: {said}; the folder itself is whole")


def _server(converter: Path) -> str | None:
    built = converter.parent / "build/bin" / SERVER
    return str(built) if built.is_file() else shutil.which(SERVER)


def _answer(command: list[str]) -> str:
    """What a server says to a question; it is ended again.

    Raises:
        ArmliteError: it ends, or says nothing, or too late.
    """
    import httpx

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*command, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    question = {"messages": [{"role": "user", "content": "Which is better?"}], "max_tokens": 8, "temperature": 0}
    end = time.monotonic() + READY
    try:
        with open_client(timeout=(READY, 5.0), base_url=f"http://127.0.0.1:{port}/v1", trust_env=False) as client:
            while time.monotonic() < end and process.poll() is None:
                try:
                    reply = client.post("/chat/completions", json=question)
                except httpx.ConnectError:
                    reply = None
                if reply is not None and reply.status_code == 200:
                    return str(json.loads(reply.text)["choices"][0]["message"]["content"])
                time.sleep(0.5)
    finally:
        process.terminate()
        process.wait(30)
    raise ArmliteError(f"{SERVER} does not answer with what the converter made: try {shlex.join(command)}")
