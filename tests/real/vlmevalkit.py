"""VLMEvalKit itself on our fixtures: `python tests/real/vlmevalkit.py`.

It installs the kit into an environment of its own, puts invented rows into its data folder, has `run.py` ask our
adapter (behind it a scripted server) and score that, then has it score the exports of `armlite eval --benchmark` on the
same rows, and compares. The exports are tables as the kit reads them: `armlite[xlsx]` must be here.
"""

import csv
import json
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kit import HERE, ROOT, Kit, arguments, compare_letters, demand, keep, say, today
from published.pieces import write_tsv
from real.ours import evaluate, items
from real.rows import sets
from real.scripted import JUDGE, Scripted
from real.there import in_vlmevalkit
from real.turns import RealSet

from armlite.evals.benchmarks.letters import vlmevalkit_letter
from armlite.evals.benchmarks.mme_realworld import kits_letter
from armlite.evals.exports import FAILED, vlmevalkit_rows
from armlite.store import read

SOURCE = "https://github.com/open-compass/VLMEvalKit"
REGISTER = """
from armlite.adapters.vlmevalkit import ArmliteModel
supported_VLM["{name}"] = partial(ArmliteModel, model="openai:{model}@{url}", save="{save}")
"""
"""What `armlite docs kits` says to put at the end of the kit's config."""
CHECKSUMS = """
import os as _os
from vlmeval.dataset import SUPPORTED_DATASETS as _names, build_dataset as _build
from vlmeval.dataset.image_base import ImageBaseDataset as _base
_base.prepare_tsv = lambda self, url, file_md5=None: __import__("pandas").read_csv(
    _os.path.join(_os.environ["LMUData"], self.dataset_name + ".tsv"), sep="\\t")
"""
"""The invented tables have not the published ones' checksums."""
MODEL, LISTED = "armlite", "GPT4o"
"""MMLongBench-Doc is scored under names of the kit's own list only."""
MATCHED = ("HRBench4K", "HRBench8K", "VStarBench", "MME-RealWorld-Lite", "WeMath")
"""Sets that the kit scores without a language model."""


def main() -> None:
    options = arguments("vlmevalkit", f"git clone {SOURCE}")
    if find_spec("openpyxl") is None:
        raise SystemExit('the kit reads exports as xlsx: pip install "armlite[xlsx]"')
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    checkout = folder / "VLMEvalKit"
    if not checkout.is_dir():
        subprocess.run(["git", "clone", "--quiet", options.kit or SOURCE, checkout], check=True)
    commit, date = git(checkout, "log", "-1", "--format=%h %cs").split()
    kit = Kit("VLMEvalKit", folder, {"LMUData": str(folder / "data")}, {})
    kit.variables["PYTHONPATH"] = f"{checkout}:{ROOT}"
    kit.about = {"kit": "VLMEvalKit", "commit": commit, "of": date, "run": today()}
    kit.install("-r", str(checkout / "requirements.txt"), "rouge_score", "pymupdf", "pandas<3")
    git(checkout, "checkout", "--quiet", "--", ".")
    letters = compare_letters(kit, "vlmevalkit", {"vlmevalkit": vlmevalkit_letter, "mme_realworld": kits_letter})
    if options.write:
        keep("letters_vlmevalkit.json", letters)
    chosen = [one for one in sets() if one.vlmevalkit and (not options.sets or one.name in options.sets)]
    server = Scripted(chosen)
    try:
        found = {one.name: compare(kit, checkout, one, server) for one in chosen}
        plain = [one for one in chosen if one.name != "mmlongbench-doc" and "prefers" not in one.rows[0]]
        for one in plain[:1]:
            ask_again(kit, checkout, one, server)
    finally:
        server.close()
        git(checkout, "checkout", "--quiet", "--", ".")
    if options.write:
        keep("vlmevalkit.json", {**kit.about, "sets": found})


def compare(kit: Kit, checkout: Path, one: RealSet, server: Scripted) -> dict[str, Any]:
    """Have the kit ask and score, then score our export; both must be what we say of the same turns.

    Raises:
        SystemExit: a figure differs.
    """
    theirs, row = one.vlmevalkit
    write_tsv_to(kit.folder / "data", theirs, [row(r) for r in one.rows])
    figures = evaluate(one, server, kit.folder)
    register(kit, checkout, server)
    model = LISTED if one.name == "mmlongbench-doc" else MODEL
    result: dict[str, Any] = {}
    work = kit.folder / "work" / one.name
    shutil.rmtree(work, ignore_errors=True)
    if model == MODEL:
        result["asked"] = run(kit, checkout, theirs, model, work, "all", server)
    begun = work / "export" / model / "T20260101-000000"
    begun.mkdir(parents=True)
    export = kit.folder / "eval" / one.name / f"exports/vlmevalkit_{one.name}.xlsx"
    shutil.copy(export, begun / f"{model}_{theirs}.xlsx")
    result["export"] = run(kit, checkout, theirs, model, work / "export", "eval", server)
    benchmark, judged = items(one, kit.folder)
    wanted = in_vlmevalkit(one.name, figures, judged)
    for way, found in result.items():
        for name, value in wanted.items():
            demand(f"{one.name}, {way}: {name}", value, found[name])
    exported = [[r["index"], r["prediction"]] for r in vlmevalkit_rows(benchmark, judged)]
    kept = {way: {name: found[name] for name in wanted} for way, found in result.items()}
    return {"name": theirs, **kept, "predictions": exported}


def ask_again(kit: Kit, checkout: Path, one: RealSet, server: Scripted) -> None:
    """A question that the judge refuses once: the kit keeps all others with their records, and asks it again.

    Raises:
        SystemExit: it is not so.
    """
    import pandas as pd

    theirs, work, refused = one.vlmevalkit[0], kit.folder / "work" / "again", one.rows[1]["mark"]
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(kit.folder / "kept", ignore_errors=True)
    server.refused = {refused}
    call(kit, checkout, theirs, MODEL, work, "infer", server)
    [table] = (work / MODEL).glob(f"T2*/{MODEL}_{theirs}.xlsx")
    rows = pd.read_excel(table)
    failed = list(rows["question"][rows["prediction"] == FAILED])
    records = rows["extra_records"].str.contains("tool_call_count").sum()
    if len(failed) != 1 or refused not in failed[0] or records != len(one.rows):
        raise SystemExit(f"{theirs}: {failed} have failed, {records} of {len(one.rows)} rows have records")
    if len(list(read(kit.folder / "kept"))) != len(one.rows):
        raise SystemExit(f"{theirs}: not all trajectories were kept")
    server.refused = set()
    server.asked.clear()
    call(kit, checkout, theirs, MODEL, work, "infer", server, "--reuse")
    if [mark for mark, *_ in server.asked] != [refused]:
        raise SystemExit(f"{theirs}: asked again were {server.asked}")
    said = kit.run(HERE / "inside/vlmevalkit.py", MODEL, refused, cwd=kit.folder, stdin="")
    say(f"{theirs}: one refused and asked again, all others kept with their records; {said.strip()}")


def register(kit: Kit, checkout: Path, server: Scripted) -> None:
    """Put our model into the kit's config, as the page says."""
    config = checkout / "vlmeval/config.py"
    git(checkout, "checkout", "--quiet", "--", "vlmeval/config.py")
    save = kit.folder / "kept"
    shutil.rmtree(save, ignore_errors=True)
    line = REGISTER.format(name=MODEL, model=JUDGE, url=server.url, save=save)
    config.write_text(config.read_text("utf-8") + line + CHECKSUMS, "utf-8")


def run(kit: Kit, checkout: Path, data: str, model: str, work: Path, mode: str, server: Scripted) -> dict[str, float]:
    """The kit's `run.py`, and the figures that it left.

    Raises:
        SystemExit: it left none.
    """
    printed = call(kit, checkout, data, model, work, mode, server)
    [last] = sorted((work / model).glob("T2*"))[-1:]
    found = figures_in(last)
    if not found:
        raise SystemExit(f"{data}: the kit left no figures in {last}\n{printed[-6000:]}")
    return found


def call(kit: Kit, checkout: Path, data: str, model: str, work: Path, mode: str, server: Scripted, *more: str) -> str:
    """The kit's `run.py`; what it printed."""
    kit.variables |= {"OPENAI_API_BASE": f"{server.url}/chat/completions", "OPENAI_API_KEY": "sk-none"}
    judge = "exact_matching" if data in MATCHED else "gpt-4o-mini"
    words = ["--data", data, "--model", model, "--work-dir", work, "--mode", mode, "--judge", judge, *more]
    return kit.run(checkout / "run.py", *words, "--api-nproc", "8", cwd=kit.folder)


def figures_in(folder: Path) -> dict[str, float]:
    """Figures of the kit's files, as name -> share."""
    found: dict[str, float] = {}
    for file in folder.glob("*_acc.csv"):
        for row in csv.DictReader(file.open(encoding="utf-8")):
            if "cycle" in row:
                found[f"{row['cycle']}/{row['type']}"] = float(row["accuracy"])
            else:
                found |= {name: float(value) for name, value in row.items() if name != "split" and value}
    for file in folder.glob("*_score.csv"):
        for row in csv.DictReader(file.open(encoding="utf-8")):
            if "Task&Skill" in row:
                found[row["Task&Skill"]] = float(row["acc"]) / 100
            elif "category" in row:
                found[row["category"]] = float(row["avg_score"])
            else:
                found |= {name: share for name, value in row.items() if (share := _share(value)) is not None}
    for file in folder.glob("*_rating.json"):
        found["Overall"] = json.loads(file.read_text())["Overall"]
    return found


def _share(text: str) -> float | None:
    """The 6 of `50.00% (6)`, half of `50.00%`, or a number."""
    text = text.partition(" (")[2].rstrip(")") or text
    try:
        return float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None


def write_tsv_to(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    names = dict.fromkeys(column for row in rows for column in row)
    write_tsv(folder / f"{name}.tsv", [{column: row.get(column) for column in names} for row in rows])


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
