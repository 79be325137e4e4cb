"""Every benchmark with a fixture builder goes the whole way: published rows, answers, figures, files, comparison."""

import importlib.util
import json
import pkgutil
import re
from pathlib import Path

import published
import pytest
from published.answers import answered

from armlite.data.convert import convert
from armlite.data.tasks import read_tasks
from armlite.errors import ArmliteError
from armlite.evals.benchmarks import MODULES, get_benchmark, get_set
from armlite.evals.compare import compare_folders
from armlite.evals.folder import EvalSettings
from armlite.evals.run import finish
from armlite.journal import Journal
from armlite.store import Saved, save
from armlite.types import Task

BUILDERS = {
    name: module
    for found in pkgutil.iter_modules(published.__path__)
    if hasattr(module := importlib.import_module(f"published.{found.name}"), "NAMES")
    for name in module.NAMES
    if name in MODULES
}


def says(task: Task, right: bool) -> str:
    """A last turn with the gold answer, or with another one."""
    gold = task.gold[0] if isinstance(task.gold, tuple) else task.gold
    if task.kind in ("pairwise", "listwise"):
        answer = f"Overall Judgment: Answer {gold if right and gold else gold % len(task.responses) + 1} is better."
    elif task.kind == "pointwise":
        answer = f"Overall Judgment: {bool(gold) == right}"
    elif task.kind == "rating":
        answer = f"Overall Judgment: {9 if right else 2}"
    elif task.kind == "multiple_choice":
        answer = gold if right else next(letter for letter in task.options if letter != gold)
    else:
        answer = str(gold) if right else "something else altogether"
    return f"<think>Seen.</think><answer>{answer}</answer>"


def judged(folder: Path, name: str, source: Path, silent: int) -> dict:
    """A finished run whose every third answer is wrong, and in which item number `silent` got none."""
    folder /= name
    convert(get_set(name), source, folder / "tasks.jsonl")
    settings = EvalSettings(benchmark=name, model="m", order=get_benchmark(name).order)
    Journal(folder / "trajectories.jsonl", settings.model_dump())
    tasks = read_tasks(folder / "tasks.jsonl")
    texts = ["I do not know." if i == silent else says(task, i % 3 < 2) for i, task in enumerate(tasks)]
    rows = [Saved(trajectory=answered(t, text).trajectory) for t, text in zip(tasks, texts, strict=True)]
    save(folder / "trajectories.jsonl", rows)
    return finish(folder)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_a_benchmark_goes_from_published_rows_to_figures_files_and_comparison(name, tmp_path):
    source = tmp_path / "published"
    source.mkdir()
    BUILDERS[name].build(source, BUILDERS[name].FORMS[0], name)
    one, other = judged(tmp_path / "a", name, source, 0), judged(tmp_path / "b", name, source, -1)
    figures = one["figures"]
    assert one["main"] in figures
    assert figures["parse_failures"]["value"] > other["figures"]["parse_failures"]["value"]
    assert all(f["value"] is None or -1 <= f["value"] <= 1.02 for n, f in figures.items() if not n.endswith("per_item"))
    report = (tmp_path / "a" / name / "report.md").read_text()
    assert f"**{one['main']}**" in report and not re.search(r"\bnan\b", report, re.IGNORECASE)
    assert json.loads((tmp_path / "a" / name / "summary.json").read_text()) == one
    [compared] = compare_folders(tmp_path / "a", tmp_path / "b", paper=True)
    assert compared["warnings"] == [] and 0 < compared["test"]["p"] <= 1
    assert compared["test"]["n"] == one["items"]


def test_each_benchmark_scores_nothing_without_a_number():
    for name in MODULES:
        assert all(f.value is None and f.ci95 is None for f in get_benchmark(name).score([]).values()), name


OWN = """
from armlite import benchmark
from armlite.data.dataset import DataSet
from armlite.evals.figures import Figure
from armlite.rewards import is_right
from armlite.types import Task


def read(row):
    yield Task(
        id=row.words("id"), kind="open_qa", question=row.words("asked"), gold=(row.words("said"),), source="{name}/all"
    )


@benchmark(
    name="{name}",
    main="acc",
    dataset=DataSet(title="sums", licence="mine", tasks=read, files=("*.jsonl",)),
    notes=("Only sums.",),
)
def sums(items):
    right = [bool(is_right(i.task, i.answers[0].decision)) for i in items]
    unread = [i.answers[0].decision is None for i in items]
    n = len(items)
    return {{
        "acc": Figure(value=sum(right) / n if n else None, n=n),
        "parse_failures": Figure(value=sum(unread) / n if n else None, n=n),
    }}
"""


def load(folder: Path, name: str) -> None:
    file = folder / "my_sums.py"
    file.write_text(OWN.format(name=name))
    spec = importlib.util.spec_from_file_location("my_sums", file)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_a_benchmark_of_ones_own_is_judged_and_scored_like_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.setattr("armlite.evals.benchmarks._OWN", {})
    load(tmp_path, "my-sums")
    source = tmp_path / "published"
    source.mkdir()
    rows = [{"id": str(n), "asked": f"{n} + 1?", "said": str(n + 1)} for n in range(4)]
    (source / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = judged(tmp_path / "a", "my-sums", source, 0)
    assert (summary["main"], summary["figures"]["acc"]["value"], summary["figures"]["parse_failures"]["n"]) == (
        "acc",
        0.5,
        4,
    )
    assert summary["notes"][0] == "Only sums."
    assert get_set("my-sums").title == "sums"
    with pytest.raises(ArmliteError, match="Did you mean 'my-sums'"):
        get_benchmark("my-sum")


@pytest.mark.parametrize("name", ["vstar", "deepeyes", "retrieval"])
def test_the_name_of_a_shipped_one_cannot_be_taken(name, tmp_path):
    with pytest.raises(ArmliteError, match=f"'{name}' in armlite"):
        load(tmp_path, name)
