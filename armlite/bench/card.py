"""`armlite bench --card`: the workloads W1 to W9 in order of worth, as many as there is time for, each in a process of
its own under its cap of the card's memory.

What is done stands in the folder, a report a workload; the same command goes on with what is left, and a call that was
killed loses the workload that it was at. This process never touches the card. `card_report` says what came of it.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from armlite.bench.card_report import card_lines, profile_path
from armlite.bench.report import Wanted, check
from armlite.bench.workloads import CARD, TABLE, Part
from armlite.errors import ArmliteError
from armlite.journal import SETTINGS, is_begun
from armlite.lock import held
from armlite.recipe import load_recipe
from armlite.store import file_digest, read_json, write_atomic

DEFAULT = Path("recipes/qwen2.5-vl-7b-24gb.yaml")
"""The recipe that is measured on a card where none is named."""
REPORT = "report.json"
"""In the folder: all that is done, as `armlite bench --out` writes it."""
NO_END = "did not end"
_ASK = (
    "import json, torch; c = torch.cuda; ok = c.is_available(); "
    "print(json.dumps([c.get_device_name(0), c.get_device_properties(0).total_memory / 2**30] if ok else None))"
)


@dataclass(frozen=True)
class Device:
    """What is measured on."""

    name: str
    gib: float | None
    """Memory of the card; None: there is none."""


def device_here() -> Device:
    """This machine's card, asked for in another process: asking takes memory of it."""
    command = [sys.executable, "-c", _ASK]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = json.loads(said.splitlines()[-1])
    return Device(*found) if found else Device("CPU", None)


def measure_card(
    wanted: Wanted, minutes: float, notify: Callable[[str], None] = lambda line: None, parts: tuple[Part, ...] = CARD
) -> dict[str, Any]:
    """Measure what is not measured yet, within the time, and return what the folder then holds.

    Args:
        wanted: its `out` is the folder (None: `card`); its `work` and `repetitions` do not matter.
        minutes: no workload is begun that would not end within them, and one that does not is ended.
        notify: called with a line of text for each workload.

    Returns:
        A report with the rows of all that is done, `left` (work -> why it is not there), and `summary`, lines of text.

    Raises:
        ArmliteError: words that do not go together, a folder of other settings, or one that is in use.
    """
    check(replace(wanted, size=wanted.size or "pocket", random_weights=False))
    device, folder = device_here(), wanted.out or Path("card")
    wanted = _completed(wanted, device)
    if wanted.recipe is None:  # small models have one size
        parts = tuple(part for part in parts if TABLE[part.work].model is None)
    with held(folder):
        settings = _settings(wanted, device)
        if not is_begun(folder / REPORT, settings):
            write_atomic(folder / SETTINGS, json.dumps(settings, indent=1) + "\n")
        _Call(wanted, device, parts, folder, notify).run(time.monotonic() + 60 * minutes)
        report = collected(folder, parts)
        recipe = None if wanted.recipe is None else load_recipe(wanted.recipe, list(wanted.overrides))
        report["summary"] = [*card_lines(report, recipe), *_not_measured(wanted, device)]
        write_atomic(folder / REPORT, json.dumps(report, indent=1) + "\n")
        if recipe is not None and device.gib and wanted.size != "miniature":
            report["summary"].append(_keep_profile(folder / REPORT, profile_path(wanted.recipe), device))
    return report


def _keep_profile(report: Path, profile: Path, device: Device) -> str:
    """Put a report where `armlite plan` reads it, unless one of another card is there; says what was done."""
    there = read_json(profile)
    if there is not None and there.get("device") != device.name:
        return f"{profile} is of {there.get('device')}; to plan with these figures: cp {report} {profile}"
    write_atomic(profile, report.read_text(encoding="utf-8"))
    return f"{profile} has these figures now: `armlite plan` reads them"


def collected(folder: Path, parts: tuple[Part, ...] = CARD) -> dict[str, Any]:
    """What the reports in a folder say, as one; of the others why they are not there."""
    report: dict[str, Any] = {}
    rows, left = [], {}
    for part in parts:
        if (found := read_json(folder / f"{part.work}.json")) is not None:
            report = report or {k: v for k, v in found.items() if k != "rows"}
            rows += [{**row, "cap_gib": found["cap_gib"]} for row in found["rows"]]
        else:
            left[part.work] = read_json(_fault(folder, part), {}).get("why", "not begun")
    command = f"armlite {shlex.join(sys.argv[1:])}"
    return {**report, "command": command, "cap_gib": None, "rows": rows, "left": left}


def _completed(wanted: Wanted, device: Device) -> Wanted:
    """With the recipe and size that nobody has named."""
    if wanted.recipe is None and not wanted.size:
        if device.gib is None:
            wanted = replace(wanted, size="pocket")
        elif not DEFAULT.is_file():
            raise ArmliteError(
                f"on a card {DEFAULT} is measured, which is not here: give --recipe FILE, or --size pocket"
            )
        else:
            wanted = replace(wanted, recipe=DEFAULT)
    if wanted.recipe is not None:
        recipe = load_recipe(wanted.recipe, list(wanted.overrides))
        if device.gib is None and wanted.size != "miniature" and not recipe.model.pocket:
            raise ArmliteError(
                f"this machine (or its build of torch) has no CUDA, and {wanted.recipe} is for a card: say --size "
                "miniature for two layers of its model, or leave the recipe out for the pocket model"
            )
    return wanted


def _settings(wanted: Wanted, device: Device) -> dict[str, Any]:
    recipe = None if wanted.recipe is None else file_digest(wanted.recipe)
    about = {"overrides": list(wanted.overrides), "size": wanted.size, "against": wanted.against}
    return {"recipe": recipe, **about, "device": device.name}


def _not_measured(wanted: Wanted, device: Device) -> Iterator[str]:
    """What this machine and these words leave open."""
    if device.gib is None:
        yield (
            "no CUDA here: GiB of a card, CUDA graphs, caps and kernels are not measured, and seconds are this "
            "processor's; memory of parts is that of tensors"
        )
    if wanted.recipe is None or wanted.size == "miniature":
        yield "a small model: shapes are scaled down, and the goals, which are a 7B's, are not compared with"
    elif wanted.against is None:
        yield "TRL's own loop is not played: --against trl in another --out has the ratios"


def _fault(folder: Path, part: Part) -> Path:
    return folder / f"{part.work}.failed.json"


class _Call:
    """One call of the command: what it does until its time is over."""

    def __init__(
        self, wanted: Wanted, device: Device, parts: tuple[Part, ...], folder: Path, notify: Callable[[str], None]
    ):
        self._wanted, self._device, self._parts = wanted, device, parts
        self._folder, self._notify = folder, notify
        self._pace: list[float] = []
        """Of each workload that ended here, its seconds over those that were expected."""

    def run(self, end: float) -> None:
        """Do what is left, what failed before last."""
        todo = [part for part in self._parts if not self._report(part).is_file()]
        for part in sorted(todo, key=lambda part: _fault(self._folder, part).is_file()):
            room = end - time.monotonic()
            if room <= self._expected(part):
                continue
            self._notify(f"{part.work}: {TABLE[part.work].what}")
            start = time.monotonic()
            why = self._play(part, room)
            took = time.monotonic() - start
            if why is None:
                _fault(self._folder, part).unlink(missing_ok=True)
                self._pace.append(took / part.seconds)
                self._notify(f"{part.work}: done in {took:.0f} s")
            else:
                fault = {"why": why, "seconds": took}
                write_atomic(_fault(self._folder, part), json.dumps(fault) + "\n")
                self._notify(f"{part.work}: {why}")

    def _expected(self, part: Part) -> float:
        """Seconds that a workload will take here; more than it was given where it did not end."""
        before: Mapping[str, Any] = read_json(_fault(self._folder, part), {})
        tried = before["seconds"] if before.get("why", "").startswith(NO_END) else 0.0
        return max(1.2 * tried, part.seconds * (median(self._pace) if self._pace else 0.0))

    def _play(self, part: Part, room: float) -> str | None:
        """Measure one workload in another process; None, or why there is no report of it."""
        log = self._report(part).with_suffix(".log")
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                self._command(part), stdout=file, stderr=file, start_new_session=True, preexec_fn=_die_with_parent
            )
            try:
                process.wait(room)
                ended = f"failed with {process.returncode}"
            except subprocess.TimeoutExpired:
                ended = f"{NO_END} in {room:.0f} s"
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        if self._report(part).is_file():
            return None
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return f"{ended}: {lines[-1] if lines else 'it said nothing'}"

    def _report(self, part: Part) -> Path:
        return self._folder / f"{part.work}.json"

    def _command(self, part: Part) -> list[str]:
        wanted, work = self._wanted, TABLE[part.work]
        words = ["--work", part.work, "--parts", "--out", str(self._report(part))]
        words += ["--repetitions", str(part.repetitions if self._device.gib else 1)]
        words += ["--size", wanted.size] if wanted.size else []
        if self._device.gib:
            words += ["--cap", f"{min(part.cap, 0.99 * self._device.gib):g}"]
        if wanted.recipe is not None:
            words += ["--recipe", str(wanted.recipe), "--random-weights", *wanted.overrides]
        if wanted.against and any(goal.figure.startswith("ratio_") for goal in work.goals):
            words += ["--against", wanted.against]
        return [sys.executable, "-m", "armlite", "bench", *words]


def _die_with_parent() -> None:
    """In the new process: end when the one that began it is killed, for another call would measure beside it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
