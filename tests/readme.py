"""The parts of README.md and of the package's pages that commands make: `python tests/readme.py` rewrites them, with
`--check` it only compares.

`capture` is what `armlite view` prints of the trained pocket judge's trajectory in `recipes/pocket.example/`, or, while
there is none, of the scripted demo. `results` is the table of `recipes/pocket.results.json`, `other_base` that of the
pocket judge on Qwen3-VL, `bench` that of `recipes/*.bench.json`, `goals` what these have of the workloads for a card,
`for_cards` what is planned of the recipes for one, `miniatures` what was played of models on a CPU, `operators` what
a decode step asks of one, `claims` and `more_claims` what became of those in the laboratory, `sets` that of the
published sets, `rounds` those of `recipes/self-taught.results.json`.
The annotated tree is written by hand and checked against the folders.
`tests/test_readme.py` runs the check.
"""

import argparse
import io
import json
import math
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from armlite.bench.workloads import TABLE
from armlite.claims.report import check_lines, origin, variant_lines, verdict_lines
from armlite.evals.benchmarks import get_set, set_names
from armlite.plan import make_plan
from armlite.plan.hours import hours
from armlite.plan.seconds import read_profile
from armlite.recipe import load_recipe
from armlite.train.report import value_of

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = ROOT / "armlite" / "docs"
EXAMPLE = "recipes/pocket.example"
"""A run's folder with `trajectories.jsonl` and `images/`; its first trajectory is shown."""
RESULTS = "recipes/pocket.results.json"
CLAIMS = "recipes/claims"
SELF_TAUGHT = "recipes/self-taught.results.json"
OTHER = "recipes/pocket-qwen3-vl.results.json"
COMMAND = "armlite train recipes/pocket.yaml --seeds"
WIDTH = 100
"""Columns of the capture."""


def capture() -> str:
    """One judgment as the terminal shows it, and who judged."""
    if (ROOT / EXAMPLE / "trajectories.jsonl").is_file():
        words = ["view", EXAMPLE, "--index", "1"]
        who = "The pocket judge, trained by the first command below, on a task that it has not seen before:"
    else:
        words = ["view", "--demo"]
        who = "A scripted judgment, which needs no model: the words are fixed, the episode and the tool are real."
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    plain = {"ARMLITE_IMAGES": "none", "NO_COLOR": "1", "COLUMNS": str(WIDTH), "PYTHONUTF8": "1"}
    command = [sys.executable, "-m", "armlite", *words]
    done = subprocess.run(command, cwd=ROOT, env=keep | plain, capture_output=True, encoding="utf-8", check=True)
    lines = [line.rstrip() for line in done.stdout.strip("\n").split("\n")]
    return "\n".join([who, "", "```text", f"$ armlite {' '.join(words)}", *lines, "```"])


def terminal_picture() -> str:
    """The same judgment as a terminal with colours shows it, as an SVG."""
    from rich.console import Console

    from armlite import store
    from armlite.view.terminal import draw_trajectory

    rows = list(store.read(ROOT / EXAMPLE))
    console = Console(
        record=True, width=90, height=11, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    row = rows[0]
    pixels = partial(store.open_image, ROOT / EXAMPLE / "trajectories.jsonl")
    draw_trajectory(console, row.trajectory, row.score, pixels, "blocks")
    return console.export_svg(title=f"armlite view {EXAMPLE}", unique_id="armlite")


def results() -> str:
    """The measured table with what it was measured on, or how to make it."""
    path = ROOT / RESULTS
    if not path.is_file():
        return f"Not measured yet: `{COMMAND} 0,1,2` makes the table."
    found = json.loads(path.read_text(encoding="utf-8"))
    runs, versions = found["runs"], found["environment"]["versions"]
    seeds = ", ".join(str(run["seed"]) for run in runs)
    numbers = seeds.replace(" ", "")
    tasks = min(run["eval"]["grpo2"]["greedy"]["items"] for run in runs)
    minutes = max(sum(seconds for name, seconds in run["seconds"].items() if name != "control") for run in runs) / 60
    about = (
        f"Accuracy in percent on {tasks} held-out tasks: mean of seeds {seeds}, with the lowest and the highest. The "
        f"stages of a run took at most {math.ceil(minutes)} minutes on {found['environment']['threads']} CPU threads "
        f"({found['date']}, torch {versions['torch']}, TRL {versions['trl']}). Made by `{COMMAND} {numbers}`."
    )
    return "\n".join([about, "", *_results_table(runs)])


def other_base() -> str:
    """The same table of the pocket judge on Qwen3-VL's architecture, from one run."""
    found = json.loads((ROOT / OTHER).read_text(encoding="utf-8"))
    versions, command = found["environment"]["versions"], COMMAND.removesuffix(" --seeds")
    about = (
        f"`{command} model.path=pocket-qwen3-vl` (seed 0, {found['date']}, transformers "
        f"{versions['transformers']}, TRL {versions['trl']}; `{OTHER}`):"
    )
    return "\n".join([about, "", *_results_table(found["runs"])])


def _results_table(runs: list[dict[str, Any]]) -> list[str]:
    """Means over the seeds, and the smallest and largest."""
    lines = [
        "| after | with tools, rollout temperature | with tools, greedy | zoom | document | instruction "
        "| without tools | calls per task |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in [n for n in ("base", "sft", "control", "grpo1", "grpo2") if n in runs[0]["eval"]]:
        found = [r["eval"][name] for r in runs]
        cells = [
            _spread(found, "rollout", "accuracy"),
            _spread(found, "greedy", "accuracy"),
            *(_spread(found, "greedy", f"accuracy/{family}") for family in ("zoom", "document", "instruction")),
            _spread(found, "no_tools", "accuracy"),
            f"{statistics.mean(value_of(f['rollout'], 'tool_calls_per_task') for f in found):.2f}",
        ]
        lines.append(f"| {LABELS[name]} | {' | '.join(cells)} |")
    return lines


LABELS = {
    "base": "nothing (untrained)",
    "sft": "SFT cold start",
    "control": "the same time on more SFT instead",
    "grpo1": "GRPO stage 1",
    "grpo2": "GRPO stage 2",
}


def _spread(found: list[dict[str, Any]], label: str, name: str) -> str:
    values = [value_of(f[label], name) for f in found]
    mean, low, high = statistics.mean(values), min(values), max(values)
    if len(found) == 1:
        return f"{100 * mean:.1f}"
    return f"{100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def sets() -> str:
    """The table of published sets."""
    lines = ["| set | rows | licence | reader tried on |", "|---|---|---|---|"]
    for name in set_names():
        found = get_set(name)
        rows = f"{found.counts['all']:,}" if "all" in found.counts else "?"
        lines.append(f"| `{name}` | {rows} | {found.licence} | {found.seen} |")
    return "\n".join(lines)


def _reports() -> list[dict[str, Any]]:
    """What `armlite bench` has written beside the recipes."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("recipes/*.bench.json"))]


def bench() -> str:
    """What a step takes, ours and TRL's, from the reports beside the recipes."""
    reports = _reports()
    if not reports:
        return "Not measured yet: `armlite bench --against trl` makes the table."
    lines = [
        "| model | measured on | rollout, s | TRL's | | whole step, s | TRL's | | images encoded | tokens prefilled |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for report in reports:
        for row in report["rows"]:
            if "step" not in row.get("ratio", {}):
                continue
            ours, stock = ({k: v["median"] for k, v in row[who].items()} for who in ("ours", "stock"))
            cells = [report["model"], f"{report['device']}, {report['date']}"]
            for part in ("rollout", "step"):
                seconds = f"{part}_seconds"
                cells += [f"{ours[seconds]:.2f}", f"{stock[seconds]:.2f}", f"**{row['ratio'][part]:.2f}x**"]
            for count in ("images_encoded", "tokens_prefilled"):
                cells.append(f"{ours[count]:,.0f} (TRL's {stock[count]:,.0f})")
            lines.append(f"| {' | '.join(cells)} |")
    compared = [report for report in reports if any("step" in row.get("ratio", {}) for row in report["rows"])]
    commands = dict.fromkeys(f"`{re.sub(' --out .*', '', report['command'])}`" for report in compared)
    return "\n".join([*lines, "", f"Made by {' and '.join(commands)}."])


def miniatures() -> str:
    """What `tests/real/miniatures.py` wrote down: what was played, and how far memory is from the plan."""
    told = json.loads((ROOT / "tests/real/committed/miniatures.json").read_text(encoding="utf-8"))
    lines = [
        "| miniature | weights in | played | weights, adapters, optimizer, cache | GRPO's activations | cold start's |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in told["played"].items():
        model, way = name.split()
        stages = one.get("stages", {})
        errors = [(part, found["error"]) for row in stages.values() for part, found in row["memory"].items()]
        cells = [model, {"nf4": "NF4"}.get(way, way), f"steps of {', '.join(stages)}" if stages else "a forward"]
        for parts in (("weights", "adapters", "optimizer", "cache"), ("activations",), ("sft activations",)):
            known = [error for part, error in errors if part in parts]
            cells.append(f"{max(known, key=abs):+.1%}" if known else "")
        lines.append(f"| {' | '.join(cells)} |")
    names = ("torch", "transformers", "trl", "bitsandbytes")
    where = ", ".join([told["date"], *(f"{name} {told['versions'][name]}" for name in names)])
    left = f" Not played: {', '.join(told['not_played'])}." if told["not_played"] else ""
    end = f"Plan over measured, where they differ most ({where}; {told['minutes']:.0f} minutes of one core).{left}"
    return "\n".join([*lines, "", end])


def goals() -> str:
    """The workloads for a card with their goals, and what was measured or that it is open."""
    measured = {row["work"]: (report, row) for report in _reports() for row in report["rows"]}
    lines = ["| | work | goals | measured |", "|---|---|---|---|"]
    for work in TABLE.values():
        if work.id == "default":
            continue
        found = "open"
        if work.id in measured:
            report, row = measured[work.id]
            values = {goal.figure: goal.value(row) for goal in work.goals}
            figures = [f"{name} {'open' if value is None else f'{value:.3g}'}" for name, value in values.items()]
            when = row.get("date", report["date"]) + (", an earlier engine" if row.get("earlier") else "")
            found = f"{', '.join(figures)} ({report['device']}, {when})"
        lines.append(f"| {work.id} | {work.what} | {', '.join(map(str, work.goals))} | {found} |")
    return "\n".join(lines)


def for_cards() -> str:
    """The recipes for a card, and what is planned of each."""
    lines = [
        "| recipe | planned for | weights | conversations up to | rollouts a step | GiB planned | hours, at most |",
        "|---|---|---|---|---|---|---|",
    ]
    for path in sorted(ROOT.glob("recipes/qwen*gb.yaml"), key=lambda path: (int(path.stem.split("-")[-1][:-2]), path)):
        recipe, size = load_recipe(path), path.stem.rpartition("-")[2]
        made = make_plan(recipe, size, read_profile(path.with_suffix(".bench.json")))
        stage, peak = recipe.stages.grpo2, max(stage["gib"] for stage in made["stages"].values())
        weights = "NF4" if recipe.model.quantize == "4bit" else "as they are"
        cells = [f"`recipes/{path.name}`", made["card"], weights, f"{stage.max_context:,} tokens"]
        cells += [f"{stage.tasks_per_step} x {stage.num_generations}", f"{peak:.1f} of {made['usable_gib']:.1f}"]
        lines.append(f"| {' | '.join(cells)} | {hours(recipe, made['rates']['by'])['total']:.0f} |")
    return "\n".join([*lines, "", "Made by `armlite plan RECIPE --gpu SIZE`: computed, not measured."])


def operators() -> str:
    """What a decode step asks of a card, counted anew."""
    from armlite.bench.operators import operator_lines, operator_rows, wanted_of

    tables = []
    for row in operator_rows(wanted_of(None)):
        title, *table = operator_lines(row)
        tables += [f"{title}:", *table, ""]
    return "\n".join([*tables, "Made by `armlite bench --operators`."])


def claims(name: str = "pocket") -> str:
    """What became of claims in the laboratory: those of a file in `recipes/claims`."""
    path = ROOT / CLAIMS / f"{name}.results.json"
    if not path.is_file():
        return f"Not measured yet: `armlite train {CLAIMS}/{name}.yaml` makes the tables."
    judged = json.loads(path.read_text(encoding="utf-8"))
    lines = [origin(judged), "", *verdict_lines(judged), "", *check_lines(judged), "", *variant_lines(judged)]
    return "\n".join([*lines, "", f"Made by `armlite train {CLAIMS}/{name}.yaml --workers 2`."])


def rounds() -> str:
    """What two rounds of self-made traces kept, and what was learnt from them."""
    path = ROOT / SELF_TAUGHT
    if not path.is_file():
        return "Not measured yet: `armlite train recipes/self-taught.yaml` makes the figures."
    found = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        "| round | judged by | rollouts | format | verdict | a tool helped | pass all | learnt from |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, judge in zip(found["rounds"], ("the base", "the judge after GRPO stage 1"), strict=True):
        shares = [f"{100 * row[screen]:.1f} %" for screen in ("format", "verdict", "tool")]
        families = ", ".join(f"{n} {family}" for family, n in row["families"].items())
        cells = [row["round"], judge, f"{row['judged']:,}", *shares, f"{row['passed']:,}"]
        lines.append(f"| {' | '.join(map(str, cells))} | {row['kept']:,} ({families}) |")
    lines += [
        "",
        "| after | seconds | accuracy, greedy (95 %) | zoom | document | instruction | calls per task | that succeed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, figures in found["greedy"].items():
        low, high = (100 * end for end in figures["accuracy"]["ci95"])
        cells = [_percent(figures, f"accuracy/{family}") for family in ("zoom", "document", "instruction")]
        calls = figures["tool_calls_per_task"]["value"]
        lines.append(
            f"| {ROUNDS[name]} | {found['stages'].get(name, {}).get('seconds', '')} | "
            f"{_percent(figures, 'accuracy')} ({low:.1f} to {high:.1f}) | {' | '.join(cells)} | {calls:.2f} | "
            f"{_percent(figures, 'tool_success_rate')} |"
        )
    around = found["environment"]
    about = (
        f"`recipes/self-taught.yaml` on {around['threads']} CPU thread of a busy machine ({found['date']}, torch "
        f"{around['versions']['torch']}), {found['items']} held-out tasks; `tests/real/self_taught.py` wrote it down."
    )
    return "\n".join([*lines, "", about])


ROUNDS = {
    "base": "the base: 200 steps of SFT, a fifth of its traces call a tool",
    "sft": "SFT on round 1",
    "grpo1": "GRPO stage 1",
    "sft2": "SFT from the base on rounds 1 and 2",
    "grpo2": "GRPO stage 2",
}


def _percent(figures: dict[str, Any], name: str) -> str:
    value = figures.get(name, {}).get("value")
    return "–" if value is None else f"{100 * value:.1f}"


BLOCKS: dict[Path, dict[str, Callable[[], str]]] = {
    README: {"capture": capture, "results": results},
    PAGES / "bases.md": {"other_base": other_base},
    PAGES / "cards.md": {
        "for_cards": for_cards,
        "bench": bench,
        "goals": goals,
        "miniatures": miniatures,
        "operators": operators,
    },
    PAGES / "claims.md": {"claims": claims, "more_claims": lambda: claims("pocket-more")},
    PAGES / "data.md": {"sets": sets, "rounds": rounds},
}
"""File -> its marked blocks, and what makes them."""
PICTURE = PAGES / "pictures" / "terminal.svg"
TREE = PAGES / "package.md"
"""Where the annotated tree is."""


def block(text: str, name: str) -> re.Match[str]:
    """The marked block `name` of a page; group 1 is its content.

    Raises:
        ValueError: there is not exactly one.
    """
    found = list(re.finditer(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", text, re.DOTALL))
    if len(found) != 1:
        raise ValueError(f"the page has {len(found)} blocks {name}; it needs one")
    return found[0]


def rewritten(page: Path) -> str:
    """A page with its marked blocks made anew."""
    text = page.read_text(encoding="utf-8")
    for name, make in BLOCKS[page].items():
        place = block(text, name)
        text = f"{text[: place.start(1)]}{make()}\n{text[place.end(1) :]}"
    return text


def tree(text: str) -> dict[str, str]:
    """Path -> what the annotated tree says of it. Two blanks of indentation are a level."""
    lines = block(text, "tree")[1].splitlines()
    found: dict[str, str] = {}
    above: list[str] = []
    for line in lines:
        if entry := re.fullmatch(r"((?:  )*)([\w.][^\s]*)(?:\s\s+(\S.*))?", line):
            above[len(entry[1]) // 2 :] = [entry[2]]
            found["".join(above)] = entry[3] or ""
    return found


def tree_faults(text: str) -> list[str]:
    """What the tree names that is not there, and what it leaves out of the package, the examples and the recipes."""
    named = set(tree(text))
    there = {path for path in named if (ROOT / path).is_dir() == path.endswith("/") and (ROOT / path).exists()}
    parts = {f"armlite/{path.name}" for path in (ROOT / "armlite").glob("*.py")}
    parts |= {f"armlite/{path.name}/" for path in (ROOT / "armlite").glob("[!_]*") if path.is_dir()}
    for folder in ("examples", "recipes"):
        parts |= {
            f"{folder}/{path.name}" for path in (ROOT / folder).iterdir() if path.suffix in (".py", ".yaml", ".ipynb")
        }
    return [f"the tree names {path}, which is not there" for path in sorted(named - there)] + [
        f"the tree does not name {path}" for path in sorted(parts - named)
    ]


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is not up to date")
    check = parser.parse_args().check
    faults = [f"{TREE.name}: {fault}" for fault in tree_faults(TREE.read_text(encoding="utf-8"))]
    for page in BLOCKS:
        fresh = rewritten(page)
        if not check:
            page.write_text(fresh, encoding="utf-8")
        elif fresh != page.read_text(encoding="utf-8"):
            faults.append(f"{page.name}: a marked block is out of date: run python tests/readme.py")
    if not check:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(terminal_picture(), encoding="utf-8")
    elif not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != terminal_picture():
        faults.append(f"{PICTURE.name} is out of date: run python tests/readme.py")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
