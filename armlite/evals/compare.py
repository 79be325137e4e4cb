"""Two benchmark runs side by side: figures, paired differences, a test, and what should not have differed.

Works on the records in two run folders and asks no model. `armlite eval compare` prints what `compare_runs` gives.
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from armlite.errors import ArmliteError
from armlite.evals.conduct import conduct
from armlite.evals.figures import Benchmark, Figure, Figures, Item
from armlite.evals.folder import EvalRun, read_run, read_settings
from armlite.evals.intervals import (
    clustered_interval,
    mcnemar,
    mean_interval,
    paired_bootstrap,
    paired_shares_interval,
)
from armlite.evals.paper import differing, rows_of, same_model
from armlite.evals.report import all_figures, shown
from armlite.evals.run import benchmark_of
from armlite.journal import SETTINGS, differences

ALL_ITEMS = "acc_all"
"""Where a benchmark has this figure, which counts failures as wrong, items are compared by it."""


def compare_folders(one: Path, other: Path, paper: bool = False) -> list[dict[str, Any]]:
    """Compare all benchmarks that two folders have in common: run folders, or folders of them.

    Returns:
        One comparison a benchmark, as from `compare_runs`; with `paper` also `paper`, as from `beside_paper`.

    Raises:
        ArmliteError: a folder holds no run, or they have no benchmark in common.
    """
    a, b = runs_below(one), runs_below(other)
    common = [name for name in a if name in b]
    if not common:
        raise ArmliteError(
            f"{one} ({', '.join(a)}) and {other} ({', '.join(b)}) have no benchmark in common: nothing to compare"
        )
    compared = []
    for name in common:
        first, second = read_run(a[name]), read_run(b[name])
        row = compare_runs(benchmark_of(name), first, second)
        compared.append({**row, "paper": beside_paper(first, second)} if paper else row)
    return compared


def runs_below(folder: Path) -> dict[str, Path]:
    """Benchmark -> run folder, for a run folder or a folder of run folders.

    Raises:
        ArmliteError: there is none.
    """
    if not folder.is_dir():
        raise ArmliteError(f"there is no folder {folder}")
    found = [folder] if (folder / SETTINGS).is_file() else [f.parent for f in sorted(folder.glob(f"*/{SETTINGS}"))]
    if not found:
        raise ArmliteError(f"{folder} holds no evaluation: neither {SETTINGS} nor a folder with one")
    return {read_settings(f).benchmark: f for f in found}


def compare_runs(benchmark: Benchmark, one: EvalRun, other: EvalRun) -> dict[str, Any]:
    """Compare two runs of a benchmark.

    Returns:
        `benchmark`; `a`, `b`: folders; `figures`: name -> `a`, `b` (figures) and `difference` (b - a: `value`, `n`,
        `ci95`; the interval is there where the figure is a mean over items, from the items that both have); `test`: the
        paired test over the common items (`figure`, `n`, `only_a`, `only_b` for shares, `p`, `method`); `warnings`.
    """
    pairs, warnings = _common(one, other)
    a, b = all_figures(benchmark, one), all_figures(benchmark, other)
    mine = _single(benchmark, [p[0] for p in pairs], one)
    theirs = _single(benchmark, [p[1] for p in pairs], other)
    questions = {item.task.id: _question(item) for item, _ in pairs}
    figures = {}
    for name in [*a, *(n for n in b if n not in a)]:
        nothing = Figure(value=None, n=0)
        first, second = a.get(name, nothing), b.get(name, nothing)
        values = _paired(mine, theirs, name)
        same_items = len(pairs) == len(one.items) == len(other.items)
        difference = _difference(first, second, values, questions, same_items)
        three = {"a": first, "b": second, "difference": difference}
        figures[name] = {side: figure.model_dump(mode="json") for side, figure in three.items()}
    return {
        "benchmark": one.settings.benchmark,
        "main": benchmark.main,
        "a": {"folder": str(one.folder), **one.settings.model_dump(mode="json")},
        "b": {"folder": str(other.folder), **other.settings.model_dump(mode="json")},
        "figures": figures,
        "test": _test(benchmark, mine, theirs, questions),
        "warnings": warnings,
    }


def beside_paper(one: EvalRun, other: EvalRun) -> list[dict[str, Any]]:
    """The paper's numbers for the benchmark: `model`, `value` (percent), `tools`, `where`, and for each run, under `a`
    and `b`, `same_model` and `differs`: the settings that differ or are not stated.
    """
    rows = []
    for row in rows_of(one.settings.benchmark):
        against = {
            side: {"same_model": same_model(run.settings, row), "differs": differing(run.settings, row)}
            for side, run in (("a", one), ("b", other))
        }
        rows.append({"model": row.model, "value": row.value, "tools": row.tools, "where": row.where, **against})
    return rows


BESIDE = ("model", "path", "writer.digest")
"""Settings that may differ between runs that are compared."""


def _common(one: EvalRun, other: EvalRun) -> tuple[list[tuple[Item, Item]], list[str]]:
    """The items of both runs, and what makes the runs less comparable."""
    warnings = [
        f"{name} differs: {a!r} in a, {b!r} in b"
        for name, a, b in differences(one.settings.model_dump(), other.settings.model_dump())
        if name not in BESIDE and not (name == "max_calls" and one.settings.tools != other.settings.tools)
    ]
    theirs = {item.task.id: item for item in other.items}
    pairs = [(item, theirs[item.task.id]) for item in one.items if item.task.id in theirs]
    alike = [(a, b) for a, b in pairs if _content(a) == _content(b)]
    if len(alike) < len(pairs):
        warnings.append(f"{len(pairs) - len(alike)} items have an id in common and another content: left out")
    for side, run in (("a", one), ("b", other)):
        if alone := len(run.items) - len(pairs):
            warnings.append(f"{alone} items are in {side} only")
        if run.unjudged:
            warnings.append(f"{run.unjudged} items are not judged yet in {side}")
    return alike, warnings


def _content(item: Item) -> tuple[Any, ...]:
    task = item.task
    return task.kind, task.question, task.responses, task.options, task.gold


def _question(item: Item) -> Hashable:
    """What an item has in common with the other ways in which a benchmark asks the same (HR-Bench's cycles)."""
    return item.task.question, item.task.images, item.task.document, frozenset(item.task.responses)


def _single(benchmark: Benchmark, items: Sequence[Item], run: EvalRun) -> dict[str, Figures]:
    """Item id -> the figures of that item alone."""
    return {
        item.task.id: {**conduct([item], run.settings.votes, run.seconds), **benchmark.score([item])} for item in items
    }


Pairs = dict[str, tuple[float, float]]
"""Item id -> the values of a figure in both runs."""


def _paired(mine: Mapping[str, Figures], theirs: Mapping[str, Figures], name: str) -> Pairs:
    """The items that have a value of the figure in both runs."""
    pairs: Pairs = {}
    for key, figures in mine.items():
        a, b = figures.get(name), theirs[key].get(name)
        if a is not None and b is not None and a.value is not None and b.value is not None:
            pairs[key] = a.value, b.value
    return pairs


def _difference(a: Figure, b: Figure, pairs: Pairs, questions: Mapping[str, Hashable], same_items: bool) -> Figure:
    """What `b` has more; with an interval where single items' values average to the figures, so that pairs can tell.

    Where the runs have different items it is that of the common ones. Repeats of a question hang together.
    """
    if a.value is None or b.value is None:
        return Figure(value=None, n=len(pairs))
    differences = [y - x for x, y in pairs.values()]
    n = len(differences)
    means = n and all(_averages(f, values) for f, values in zip((a, b), zip(*pairs.values(), strict=True), strict=True))
    if same_items and not means:
        return Figure(value=b.value - a.value, n=n)
    span = _interval(differences, pairs, [questions[key] for key in pairs])
    return Figure(value=sum(differences) / n if n else None, n=n, ci95=span)


def _interval(differences: list[float], pairs: Pairs, clusters: list[Hashable]) -> tuple[float, float] | None:
    values = [value for pair in pairs.values() for value in pair]
    if len(set(clusters)) == len(clusters) and _are_hits(values):
        return paired_shares_interval(*_only(pairs), len(pairs))
    repeated = len(set(clusters)) < len(clusters)
    span = clustered_interval(differences, clusters) if repeated else mean_interval(differences)
    if span and span[0] == span[1]:  # questions that do not differ: as many independent ones would not look certain
        return paired_shares_interval(0, 0, len(set(clusters))) if not any(differences) else None
    are_shares = all(0 <= value <= 1 for value in values)
    return (max(-1.0, span[0]), min(1.0, span[1])) if span and are_shares else span


def _are_hits(values: Sequence[float]) -> bool:
    return all(value in (0.0, 1.0) for value in values)


def _only(pairs: Pairs) -> tuple[int, int]:
    """How many items only the first run has right, and how many only the second."""
    return sum(a > b for a, b in pairs.values()), sum(b > a for a, b in pairs.values())


def _averages(figure: Figure, values: Sequence[float]) -> bool:
    return figure.value is not None and abs(sum(values) / len(values) - figure.value) < 1e-9


def _test(
    benchmark: Benchmark,
    mine: Mapping[str, Figures],
    theirs: Mapping[str, Figures],
    questions: Mapping[str, Hashable],
) -> dict[str, Any]:
    """Is the difference of the main figure more than chance? An item without an answer counts as wrong."""
    name = ALL_ITEMS if any(ALL_ITEMS in figures for figures in mine.values()) else benchmark.main
    none = Figure(value=None, n=0)
    pairs = {k: (mine[k].get(name, none).value or 0.0, theirs[k].get(name, none).value or 0.0) for k in mine}
    found: dict[str, Any] = {"figure": name, "n": len(pairs)}
    by_question: dict[Hashable, list[float]] = {}
    for key, (a, b) in pairs.items():
        by_question.setdefault(questions[key], []).append(b - a)
    if len(by_question) == len(pairs) and _are_hits([value for pair in pairs.values() for value in pair]):
        only_a, only_b = _only(pairs)
        p = mcnemar(only_a, only_b) if pairs else None
        return {**found, "only_a": only_a, "only_b": only_b, "p": p, "method": "McNemar, exact"}
    drawn = paired_bootstrap([sum(some) / len(some) for some in by_question.values()])
    return {**found, "p": drawn and drawn[1], "method": f"paired bootstrap of {len(by_question)} questions"}


def table(compared: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(figure, a, b, b - a) as text, for a terminal."""
    rows = []
    for name, row in compared["figures"].items():
        a, b, difference = (Figure.model_validate(row[key]) for key in ("a", "b", "difference"))
        marked = f"{name} *" if name == compared["main"] else name
        rows.append((marked, shown(name, a), shown(name, b), shown(name, difference)))
    return rows


def verdict(compared: Mapping[str, Any]) -> str:
    """The test in a sentence."""
    test = compared["test"]
    if not test["n"]:
        return "no common items: nothing to test"
    if test["p"] is None:
        return f"{test['figure']} over {test['n']} common items that all ask one question: nothing to test"
    only = f": {test['only_a']} only a has right, {test['only_b']} only b" if "only_a" in test else ""
    return f"{test['figure']} over {test['n']} common items{only}; p = {test['p']:.2g} ({test['method']})"
