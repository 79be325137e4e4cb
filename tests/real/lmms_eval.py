"""lmms-eval itself on our fixtures, adapter and exports: `python tests/real/lmms_eval.py`."""

from kit import ROOT, Kit, arguments, compare_letters, keep, today

from armlite.evals.benchmarks.letters import lmms_hr_bench_letter, lmms_vstar_letter
from armlite.evals.benchmarks.mme_realworld import kits_letter

VERSION = "0.7.3"


def main() -> None:
    options = arguments("lmms_eval", f"pip install lmms-eval=={VERSION}")
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kit = Kit("lmms-eval", folder, {"PYTHONPATH": str(ROOT)}, {"kit": "lmms-eval", "version": VERSION, "run": today()})
    kit.install(f"lmms-eval=={VERSION}" if options.kit is None else str(options.kit.resolve()))
    rules = {"lmms_hr_bench": lmms_hr_bench_letter, "lmms_vstar": lmms_vstar_letter, "lmms_mme_realworld": kits_letter}
    letters = compare_letters(kit, "lmms_eval", rules)
    if options.write:
        keep("letters_lmms_eval.json", letters, ["rows"])


if __name__ == "__main__":
    main()
