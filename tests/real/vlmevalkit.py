"""VLMEvalKit itself on our fixtures, adapter and exports: `python tests/real/vlmevalkit.py`."""

import subprocess
from pathlib import Path

from kit import ROOT, Kit, arguments, compare_letters, keep, today

from armlite.evals.benchmarks.letters import vlmevalkit_letter
from armlite.evals.benchmarks.mme_realworld import kits_letter

SOURCE = "https://github.com/open-compass/VLMEvalKit"


def main() -> None:
    options = arguments("vlmevalkit", f"git clone {SOURCE}")
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    checkout = folder / "VLMEvalKit"
    if not checkout.is_dir():
        subprocess.run(["git", "clone", "--quiet", options.kit or SOURCE, checkout], check=True)
    commit, date = git(checkout, "log", "-1", "--format=%h %cs").split()
    kit = Kit("VLMEvalKit", folder, {"PYTHONPATH": f"{checkout}:{ROOT}", "LMUData": str(folder / "data")}, {})
    kit.about = {"kit": "VLMEvalKit", "commit": commit, "of": date, "run": today()}
    kit.install("-r", str(checkout / "requirements.txt"), "rouge_score", "pymupdf")
    letters = compare_letters(kit, "vlmevalkit", {"vlmevalkit": vlmevalkit_letter, "mme_realworld": kits_letter})
    if options.write:
        keep("letters_vlmevalkit.json", letters, ["rows"])


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
