"""lmms-eval itself on our fixtures: `python tests/real/lmms_eval.py`.

It installs the kit into an environment of its own, and has its tasks, on invented rows instead of the hub's, ask our
adapter (behind it a scripted server) and score that. Then it has them score the exports of `armlite eval --benchmark`
on the same rows, and compares.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit import HERE, ROOT, Kit, arguments, compare_letters, demand, keep, say, today
from real.ours import evaluate, items
from real.rows import sets, spoken
from real.scripted import JUDGE, Scripted
from real.there import in_lmms_eval
from real.turns import RealSet

from armlite.evals.benchmarks.letters import lmms_hr_bench_letter, lmms_vstar_letter
from armlite.evals.benchmarks.mme_realworld import kits_letter
from armlite.evals.exports import lmms_rows

VERSION = "0.7.3"
FILES = {
    "hrbench4k": "hrbench/hrbench4k.yaml",
    "hrbench8k": "hrbench/hrbench8k.yaml",
    "vstar_bench": "vstar_bench/vstar_bench.yaml",
    "mmerealworld_lite": "mme_realworld/mme_realworld_lite.yaml",
    "vl_rewardbench": "vl_rewardbench/vl_rewardbench.yaml",
    "multimodal_rewardbench": "multimodal_rewardbench/multimodal_rewardbench.yaml",
    "multidocvqa_val": "multidocvqa/multidocvqa_val.yaml",
    "mathvista_testmini_format": "mathvista/mathvista_testmini_format.yaml",
}
"""The kit's task -> its file."""
TASK = """\
include: {include}
task: {task}
dataset_path: parquet
dataset_name: null
dataset_kwargs:
  data_files:
    {split}: {file}
test_split: {split}
"""


def main() -> None:
    options = arguments("lmms_eval", f"pip install lmms-eval=={VERSION}")
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kit = Kit("lmms-eval", folder, {"PYTHONPATH": str(ROOT)}, {"kit": "lmms-eval", "version": VERSION, "run": today()})
    source = f"lmms-eval=={VERSION}" if options.kit is None else str(options.kit.resolve())
    kit.install(source, "filelock<4", "Levenshtein")
    rules = {"lmms_hr_bench": lmms_hr_bench_letter, "lmms_vstar": lmms_vstar_letter, "lmms_mme_realworld": kits_letter}
    letters = compare_letters(kit, "lmms_eval", rules)
    if options.write:
        keep("letters_lmms_eval.json", letters)
    chosen = [spoken(one) for one in sets() if one.lmms and task_of(one) in FILES]
    chosen = [one for one in chosen if not options.sets or one.name in options.sets]
    server = Scripted(chosen)
    try:
        found = compare(kit, chosen, server)
        tries(kit, chosen[0], server)
    finally:
        server.close()
    if options.write:
        keep("lmms_eval.json", {**kit.about, "sets": found})


def task_of(one: RealSet) -> str:
    return one.lmms[0].partition("/")[0]


def compare(kit: Kit, chosen: Sequence[RealSet], server: Scripted) -> dict[str, Any]:
    """Have the kit ask and score, then score our exports; both must be what we say of the same turns.

    Raises:
        SystemExit: a figure differs.
    """
    work = kit.folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    (work / "exports").mkdir(parents=True)
    wanted, exported = {}, {}
    for one in chosen:
        write_task(kit, one, work)
        figures = evaluate(one, server, kit.folder)
        benchmark, judged = items(one, kit.folder)
        wanted[one.name] = in_lmms_eval(one.name, figures, judged)
        exported[one.name] = lmms_rows(benchmark, judged)
        shutil.copy(
            kit.folder / "eval" / one.name / f"exports/lmms_eval_samples_{one.name}.jsonl",
            work / "exports" / f"armlite_{task_of(one)}.jsonl",
        )
    kit.variables |= {"OPENAI_API_URL": f"{server.url}/chat/completions", "OPENAI_API_KEY": "sk-none"}
    kit.variables |= {"PYTHONPATH": f"{ROOT}:{HERE / 'inside'}", "LMMS_EVAL_PLUGINS": "replay", "HF_HUB_OFFLINE": "1"}
    shutil.rmtree(kit.folder / "kept", ignore_errors=True)
    asking = f"model=openai:{JUDGE}@{server.url},save={kit.folder / 'kept'}"
    ways = {"asked": ("armlite", asking), "export": ("replay", f"folder={work / 'exports'}")}
    found = {way: run(kit, chosen, work, way, *how) for way, how in ways.items()}
    result: dict[str, Any] = {}
    for one in chosen:
        kept = {}
        for way, figures in found.items():
            for name, value in wanted[one.name].items():
                demand(f"{one.name}, {way}: {name}", value, figures[f"armlite_{task_of(one)}"][name])
            kept[way] = {name: figures[f"armlite_{task_of(one)}"][name] for name in wanted[one.name]}
        same_keys(one, work, exported[one.name][0])
        predictions = [[row["doc_id"], row["filtered_resps"]] for row in exported[one.name]]
        result[one.name] = {"name": task_of(one), **kept, "predictions": predictions}
    return result


def write_task(kit: Kit, one: RealSet, work: Path) -> None:
    """The set's rows as the kit's data, and a task that is the kit's own but for where they are."""
    from datasets import Dataset, Image, disable_progress_bars

    disable_progress_bars()

    (task, split), (_, row, pictures) = one.lmms[0].split("/"), one.lmms
    data = Dataset.from_list([row(r) for r in one.rows])
    for column in pictures:
        data = data.cast_column(column, Image())
    (work / "data").mkdir(exist_ok=True)
    (work / "tasks").mkdir(exist_ok=True)
    file = work / "data" / f"{task}.parquet"
    data.to_parquet(str(file))
    [installed] = (kit.folder / "env").glob("lib/python*/site-packages/lmms_eval/tasks")
    text = TASK.format(include=installed / FILES[task], task=f"armlite_{task}", split=split, file=file)
    (work / "tasks" / f"armlite_{task}.yaml").write_text(text)


def tries(kit: Kit, one: RealSet, server: Scripted) -> None:
    """Three tries at each item at temperature 1, one item refused: other seeds each, and one item counted.

    Raises:
        SystemExit: it is not so.
    """
    work, refused = kit.folder / "work", one.rows[0]["mark"]
    server.asked.clear()
    server.refused = {refused}
    more = ("--repeats", "3", "--gen_kwargs", "temperature=1,until=;", "--batch_size", "auto")
    printed = call(kit, [one], work, "tries", "armlite", f"model=openai:{JUDGE}@{server.url},retries=0", *more)
    server.refused = set()
    seeds = {mark: {seed for m, _, seed in server.asked if m == mark} for mark, *_ in server.asked}
    if {len(found) for found in seeds.values()} != {3} or len(seeds) != len(one.rows):
        raise SystemExit(f"{one.name}: tries have the seeds {seeds}")
    if {temperature for _, temperature, _ in server.asked} != {1.0}:
        raise SystemExit(f"{one.name}: the temperature of --gen_kwargs was not followed")
    if f"3 of {3 * len(one.rows)} items could not be judged" not in printed:
        raise SystemExit(f"{one.name}: the refused item was not told:\n{printed[-3000:]}")
    say(f"{one.name}: three tries have three seeds, and what was refused is told")


def call(kit: Kit, chosen: Sequence[RealSet], work: Path, way: str, model: str, settings: str, *more: str) -> str:
    """The kit's command line on all tasks; what it printed."""
    tasks = ",".join(f"armlite_{task_of(one)}" for one in chosen)
    words = ["--model", model, "--model_args", settings, "--tasks", tasks, "--include_path", work / "tasks", *more]
    return kit.run("-m", "lmms_eval", *words, "--log_samples", "--output_path", work / way, cwd=work)


def run(
    kit: Kit, chosen: Sequence[RealSet], work: Path, way: str, model: str, settings: str
) -> dict[str, dict[str, float]]:
    """The figures of the kit's command line on all tasks: task -> figure -> share."""
    printed = call(kit, chosen, work, way, model, settings)
    files = sorted((work / way).rglob("*_results.json"))
    if not files:
        raise SystemExit(f"the kit left no results:\n{printed[-6000:]}")
    found: dict[str, dict[str, float]] = {}
    for task, figures in json.loads(files[-1].read_text())["results"].items():
        numbers = {name.partition(",")[0]: value for name, value in figures.items() if isinstance(value, int | float)}
        found[task] = {name: value / 100 if value > 1 else value for name, value in numbers.items()}
    return found


def same_keys(one: RealSet, work: Path, ours: dict[str, Any]) -> None:
    """See that a sample of our export has the keys of the kit's own log, beside its metrics and media.

    Raises:
        SystemExit: it has not.
    """
    [file] = (work / "asked").rglob(f"*_samples_armlite_{task_of(one)}.jsonl")
    theirs = json.loads(file.read_text("utf-8").splitlines()[0])
    common = {"doc_id", "target", "filtered_resps", "token_counts", "doc_hash", "input"}
    for name, keys in (("the kit's log", set(theirs)), ("our export", set(ours))):
        if not common <= keys or not keys - common <= {"resps", "score", "input_media"} | set(theirs):
            raise SystemExit(f"{one.name}: {name} has the keys {sorted(keys)}")
    say(f"{one.name}: keys as in the kit's log")


if __name__ == "__main__":
    main()
