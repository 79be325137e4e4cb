"""What is installed, what will be used, and how to mend what is wrong: the findings behind `armlite doctor`.

Looks and reports; it installs nothing, loads no weights and takes no more than a few MiB of the card.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import yaml
from packaging.requirements import Requirement

EXTRAS = {
    "ocr": "reads the text of scanned pages",
    "heic": "opens pictures of iPhones",
    "unsloth": "loads and trains with unsloth's kernels",
    "sentences": "splits sentences as the published verifiers do",
    "xlsx": "writes spreadsheets beside the other exports of a benchmark run",
}
"""What each optional part is for."""
TORCHVISION = "torchvision<0.29"
"""Goes with the range of torch. armlite does not need it, but what is installed beside it does."""
SMALL_CARD = 12.0
"""GiB below which no shipped 7B recipe can fit: its 4-bit weights, vision tower and embeddings alone take 6.4."""
DISK = 20.0
"""GiB of free disk that the weights of a 7B take."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    state: Literal["ok", "note", "problem"]
    """`note`: works, but less than it could; `problem`: something does not work until it is mended."""
    text: str
    fix: str = ""
    """The command or the step that mends it."""


def examine() -> list[Finding]:
    """Look at this machine and this installation, in the order in which things depend on each other."""
    torch = find_spec("torch") is not None  # else its package is a problem already
    with_torch = [*_torch(), *_four_bit()] if torch else []
    return [*_python(), *_packages(), *_tried(), *_extras(), *with_torch, *_disk(), *(_use() if torch else ())]


def _python() -> Iterator[Finding]:
    allowed = Requirement(f"python{metadata('armlite')['Requires-Python']}").specifier
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    fine = allowed.contains(platform.python_version())
    yield Finding("python", "ok" if fine else "problem", text, "" if fine else f"use Python {allowed}")


def _packages() -> Iterator[Finding]:
    """Each required package against the range that armlite is tested with."""
    for requirement in map(Requirement, requires("armlite") or ()):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        yield _package(requirement)


def _tried() -> Iterator[Finding]:
    """The versions that the tests were run with at both ends of the ranges, and the failures that were left."""
    kept = yaml.safe_load(files("armlite").joinpath("tried.yaml").read_text(encoding="utf-8"))
    words = []
    for run in kept.values():
        at = run["versions"]
        said = f"Python {at['python']} with transformers {at['transformers']} and trl {at['trl']} ({run['date']}"
        words.append(f"{said}, {run['passed']} tests" + (f", {len(run['failed'])} failed)" if run["failed"] else ")"))
    yield Finding("tried with", "ok", "; ".join(words))


def _package(requirement: Requirement) -> Finding:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        text = "not installed"
    else:
        if requirement.specifier.contains(found, prereleases=True):
            return Finding(requirement.name, "ok", found)
        text = f"{found}, but armlite needs {requirement.specifier}"
    fix = f"pip install '{requirement}'"
    if requirement.name == "torch" and text != "not installed":  # something installed later asked for a newer one
        fix += f" '{TORCHVISION}'; evaluation kits bring another unless told not to: armlite docs kits"
    return Finding(requirement.name, "problem", text, fix)


def _extras() -> Iterator[Finding]:
    for extra, purpose in EXTRAS.items():
        wanted = [
            r
            for r in map(Requirement, requires("armlite") or ())
            if r.marker and not r.marker.evaluate({"extra": ""}) and r.marker.evaluate({"extra": extra})
        ]
        found = [_package(r) for r in wanted]
        missing = [f.name for f in found if f.text == "not installed"]
        clash = [f"{f.name} {f.text}" for f in found if f.state == "problem" and f.name not in missing]
        name, fix = f"extra {extra}", f"pip install -e '.[{extra}]' in the clone"
        if missing and clash:
            text = f"not installed ({purpose}); would need other versions: {'; '.join(clash)}"
            yield Finding(name, "note", text, f"in an environment of its own: {fix}")
        elif missing:
            yield Finding(name, "note", f"not installed ({purpose})", fix)
        elif clash:
            yield Finding(name, "problem", "; ".join(clash), fix)
        else:
            yield Finding(name, "ok", purpose)


def _torch() -> Iterator[Finding]:
    import torch

    try:
        import torchvision

        yield Finding("torchvision", "ok", f"{torchvision.__version__}; not needed")
    except ImportError:
        yield Finding("torchvision", "ok", "absent; not needed")
    except RuntimeError as error:  # operators of another torch
        text = f"does not go with torch {torch.__version__} ({str(error).splitlines()[0]})"
        yield Finding("torchvision", "problem", text, "pip uninstall torchvision, or install the one of this torch")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            yield from _card(torch, index)
    elif smi := _nvidia_smi():
        build = torch.version.cuda or "no CUDA"
        yield Finding(
            "GPU",
            "problem",
            f"{smi}, but torch {torch.__version__} ({build}) cannot use it",
            "install a CUDA build of torch that the driver supports (see pytorch.org), or update the driver",
        )
    elif torch.backends.mps.is_available():
        text = "Apple's; judging uses it where it is named (--device mps), training runs on the CPU"
        yield Finding("GPU", "note", text, "a 7B wants an NVIDIA card of 16 GB or more to be trained")
    else:
        text = f"none; torch uses {torch.get_num_threads()} CPU threads: enough for the pocket recipe"
        yield Finding("GPU", "note", text, "a 7B wants an NVIDIA card of 16 GB or more, a 3B one of 8")


def _card(torch: Any, index: int) -> Iterator[Finding]:
    properties = torch.cuda.get_device_properties(index)
    free, total = (n / 2**30 for n in torch.cuda.mem_get_info(index))
    major, minor = torch.cuda.get_device_capability(index)
    text = f"{properties.name}, {total:.1f} GiB ({free:.1f} free), compute capability {major}.{minor}"
    name = f"GPU {index}"
    if major < 8:
        why = "no bfloat16: computes in float16 with loss scaling, the vision tower in float32"
        yield Finding(name, "note", f"{text}; {why}", "a card from 2020 on (Ampere) is faster and safer")
    elif total < SMALL_CARD:
        fix = "recipes/qwen2.5-vl-3b-8gb.yaml; armlite plan RECIPE --fit says what another would take"
        yield Finding(name, "note", f"{text}: too small for a 7B", fix)
    else:
        yield Finding(name, "ok", text)
    if (used := total - free) > 1.5:
        yield Finding(
            name,
            "note",
            f"another program holds {used:.1f} GiB of it",
            "nvidia-smi shows which; end it, or plan with what is left: "
            f"armlite plan RECIPE --gpu {max(1, int(free))}gib",
        )


def _nvidia_smi() -> str | None:
    """Name of a card that the driver knows, whatever torch thinks."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


def _four_bit() -> Iterator[Finding]:
    """Quantise a small layer and run it, the way a recipe with `quantize: 4bit` will."""
    if find_spec("bitsandbytes") is None:
        return
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        import bitsandbytes as bnb

        layer = bnb.nn.Linear4bit(64, 64, bias=False, quant_type="nf4", compute_dtype=torch.float32).to(device)
        with torch.no_grad():
            fine = bool(layer(torch.ones(1, 64, device=device)).isfinite().all())
        if not fine:
            raise RuntimeError("a 4-bit layer gave numbers that are not finite")
    except Exception as error:  # whatever a missing or foreign binary raises is the finding
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        fix = "pip install -U bitsandbytes (its binaries must know this torch's CUDA), or model.quantize=none"
        yield Finding("4-bit weights", "problem", f"do not work on {device}: {why}", fix)
        return
    text = f"work on {device}" + ("" if device == "cuda" else "; slow there, for trying out only")
    yield Finding("4-bit weights", "ok", text)


def _disk() -> Iterator[Finding]:
    cache = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    place = next(p for p in (cache, *cache.parents) if p.exists())
    for name, folder in (("weights", place), ("runs", Path.cwd())):
        free = shutil.disk_usage(folder).free / 2**30
        if free < DISK and name == "weights":
            text = f"{free:.1f} GiB free for the weights in {cache}; a 7B takes about {DISK:.0f}"
            yield Finding("disk", "note", text, "set HF_HOME to a larger disk")
        elif free < 1:
            yield Finding("disk", "problem", f"{free:.2f} GiB free for runs in {folder}", "make room")
        else:
            yield Finding("disk", "ok", f"{free:.0f} GiB free for {name} in {folder}")


def _use() -> Iterator[Finding]:
    """What armlite will do here."""
    from armlite.models.device import find_device, usual_dtype

    device = find_device("auto")
    parts = [
        f"device {device}",
        f"dtype {str(usual_dtype(device)).removeprefix('torch.')}",
        "attention sdpa",
        "engine: armlite's own (vision cache, prefix cache, continuous slots)",
    ]
    yield Finding("armlite uses", "ok", ", ".join(parts) + f"; Python at {sys.prefix}")
