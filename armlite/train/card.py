"""The card of a judge (`README.md` of its folder): what it was made of and how, its figures, its use and its limits.

Made from the run directory; of a model that armlite has not trained it says how to use it, and no more.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from armlite.curation.build import BUILD
from armlite.curation.recipe import Origin, SourceSettings
from armlite.curation.rounds import TRACES
from armlite.data.making.pairs import RULES
from armlite.evals.benchmarks import get_set, set_names
from armlite.evals.report import markdown_table
from armlite.recipe import Recipe, saved_recipe
from armlite.rules import run_of
from armlite.stages import STAGES
from armlite.store import read_json
from armlite.train.needed import ROUNDS
from armlite.train.report import percent, summaries, value_of
from armlite.train.standing import paper_lines, standing

USE = """\
```bash
vllm serve {name} --served-model-name judge
armlite judge --model openai:judge@http://localhost:8000/v1 --rules {name} \\
  --image photo.jpg --question "Who is first?" --response "Ann" --response "Bo"
```

```python
from armlite import Judge

judge = Judge.load("{name}")
verdict = judge.compare("Who is first?", ["Ann", "Bo"], images=["photo.jpg"])
print(verdict)
```

The folder carries its rules (`armlite_rules.yaml`): the pixels, characters, tools and budgets that it was trained with.
Under others it judges badly. `--rules` takes the folder; the chat template inside renders tools, calls and their
results as in training."""
LIMITS = """\
- A verdict is a model's opinion with evidence, not a fact: see what its tools showed (`armlite view`).
- The figures above are on held-out tasks of the kinds named there; on others nothing is known.
- Responses, pictures and documents can contain text that asks for a verdict: `armlite audit` measures what it does.
- Where its tools do not run (a plain chat with the model) it judges by eye, as in the rows without tools."""
POCKET = "made by `armlite` itself; Apache-2.0"


def write_card(folder: Path, model: str, base: str, name: str) -> None:
    """Write `README.md` into a model's folder.

    Args:
        model: the user's word for what is exported; a run, or a checkpoint of one, tells all that is in the card.
        base: folder or hub id of the whole model under all adapters.
        name: what the judge is called: its hub id, or its folder.
    """
    kind = read_json(folder / "config.json", {}).get("model_type", "")
    (folder / "README.md").write_text(card(Path(model).expanduser(), base, name, kind), "utf-8")


def card(model: Path, base: str, name: str, kind: str) -> str:
    """The text of a card: YAML between two lines of dashes, then Markdown.

    Args:
        kind: its architecture, as config.json has it.
    """
    run = run_of(model)
    recipe = saved_recipe(run / "recipe.yaml") if run is not None else None
    data = sources(recipe, run) if recipe is not None and run is not None else {}
    found = summaries(run) if run is not None else {}
    stage = model.name if model.parent.name == "checkpoints" else next(reversed(found), "")
    origin = recipe.model.path if recipe is not None and not Path(recipe.model.path).exists() else base
    shown = {key: value for key, value in found.items() if key in ("base", stage)}
    stands = standing(recipe, run, stage) if recipe is not None and run is not None else []
    title = name.rpartition("/")[2]
    about = _metadata(title, origin, kind, data, [*_results(shown.get(stage)), *_benchmark_results(stands)])
    parts = [f"---\n{about}---\n", f"# {title}\n"]
    parts += ["A multimodal judge that looks, searches and checks with tools before it prefers a response.\n"]
    if recipe is not None and run is not None:
        parts += ["## Figures\n", *_figures(shown), ""]
        parts += paper_lines(stands, recipe) if any(stage in row["stages"] for row in stands) else []
        parts += ["## Data and licences\n", *_data(data), *_built(run), ""]
        parts += ["## Recipe\n", *_recipe(recipe, origin), ""]
    parts += ["## Use\n", USE.format(name=name), "", "## Limits\n", LIMITS, ""]
    return "\n".join(parts)


def sources(recipe: Recipe, run: Path) -> dict[str, dict[str, Any]]:
    """Source of the training tasks -> how many there are, its licence, and its hub id where it has one.

    Of data that was built for the run as its `build.json` says it, else by what the tasks and traces name.
    """
    if recipe.data.build is not None and (built := read_json(run / "data" / BUILD)):
        return _sources_built(built)
    named = [(recipe.data.tasks, "train"), (recipe.data.traces, "traces")]
    counts: Counter[str] = Counter()
    for place, own in named:
        counts.update(_sources_in(run / "data" / own / "tasks.jsonl" if place == "pocket" else Path(place)))
    return {source: {"tasks": n, **_about(source)} for source, n in sorted(counts.items())}


def _sources_built(built: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The sources of a build: tasks that are trained on or held out, of so many rows that were read."""
    steps = {row["step"]: row for row in built["table"]}
    taken = {row["source"]: row["taken"] for row in steps["mixed"]["sources"]}
    found = {}
    for own in built["recipe"]["sources"]:
        source = SourceSettings.model_validate(own)
        place = source.hub or _about(source.set).get("hub")
        rows = steps[f"{source.called}.rows"]["in"]
        found[source.called] = {"tasks": taken[source.called], "rows": rows, "licence": source.licence, "hub": place}
    published = (built["recipe"]["traces"] or {}).get("published")
    if published is not None:
        origin = Origin.model_validate(published)
        rows, place = steps["traces"]["in"], origin.hub or _about(origin.set).get("hub")
        found["traces"] = {"tasks": steps["traces"]["kept"], "rows": rows, "licence": origin.licence, "hub": place}
    return found


def _sources_in(file: Path) -> list[str]:
    if not file.is_file():
        return []
    with file.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    tasks = [row.get("task") or row.get("trajectory", {}).get("task") or row for row in rows]
    return [str(task.get("source") or "unnamed").partition("/")[0] for task in tasks]


def _about(source: str) -> dict[str, Any]:
    if source == "pocket":
        return {"licence": POCKET}
    if source not in set_names():
        return {"licence": "not known to armlite"}
    dataset = get_set(source)
    return {"licence": dataset.licence, "hub": dataset.hub}


def _metadata(
    title: str, origin: str, kind: str, data: dict[str, dict[str, Any]], results: list[dict[str, Any]]
) -> str:
    about: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "image-text-to-text"}
    about["tags"] = ["armlite", "reward-model", "llm-as-a-judge", "tool-use", kind]
    about |= _licence(data)
    if not Path(origin).exists() and "/" in origin:
        about["base_model"] = origin
    if hubs := [known["hub"] for known in data.values() if known.get("hub")]:
        about["datasets"] = hubs
    if results:
        about["model-index"] = [{"name": title, "results": results}]
    return yaml.safe_dump(about, sort_keys=False, allow_unicode=True)


def _results(summary: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The accuracy on held-out tasks, as the hub's metadata have it."""
    if summary is None or (accuracy := value_of(summary["greedy"], "accuracy")) is None:
        return []
    return [_result("held-out", "held-out tasks of the run", "accuracy (greedy, with tools)", accuracy)]


def _benchmark_results(stands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trained model's figures on benchmarks: with tools where it is shown some."""
    found = []
    for row in stands:
        known = [(w, row["cells"].get(k)) for k, w in (("trained_tools", "with tools"), ("trained", "without tools"))]
        way, cell = next(
            ((w, c) for w, c in known if c and c["figure"] and c["figure"]["value"] is not None), ("", None)
        )
        if cell is not None:
            kind = _about(row["benchmark"]).get("hub") or row["benchmark"]
            label = f"{row['figure']} (greedy, {way}, {cell['n']} tasks)"
            found.append(_result(kind, row["benchmark"], label, cell["figure"]["value"]))
    return found


def _result(kind: str, name: str, metric: str, value: float) -> dict[str, Any]:
    return {
        "task": {"type": "image-text-to-text", "name": "judging"},
        "dataset": {"type": kind, "name": name},
        "metrics": [{"type": "accuracy", "name": metric, "value": round(value, 4)}],
    }


def _licence(data: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What the hub is told: the narrowest that is known, and `other` where one is not."""
    licences = [str(known["licence"]) for known in data.values()]
    if any("-NC" in licence for licence in licences):
        return {"license": "cc-by-nc-4.0"}
    if licences and all(licence in (POCKET, "Apache-2.0", "MIT") for licence in licences):
        return {"license": "apache-2.0"}
    return {"license": "other", "license_name": "see-data-and-base-model"}


def _figures(found: dict[str, dict[str, Any]]) -> list[str]:
    if not found:
        return ["The run has not been evaluated."]
    rows = []
    for name, summary in found.items():
        for key, label in ROUNDS.items():
            if (of := summary.get(key)) is not None:
                calls = value_of(of, "tool_calls_per_task")
                rates = percent(of, "accuracy", interval=True), "–" if calls is None else f"{calls:.2f}"
                rows.append((name, label, of["items"], *rates, percent(of, "swap_consistency")))
    header = ("checkpoint", "decoding", "tasks", "accuracy (95 %)", "calls a task", "same in both orders")
    return ["On held-out tasks of the run:", "", *markdown_table(header, rows)]


def _data(data: dict[str, dict[str, Any]]) -> list[str]:
    if not data:
        return ["The files that the recipe names are not here any more."]
    counts = {name: f"{known['tasks']:,}" + _of_rows(known) for name, known in data.items()}
    rows = [(name, counts[name], known["licence"], known.get("hub") or "–") for name, known in data.items()]
    text = "The licence of the judge follows from these and from its base model's; of mixed ones the narrowest holds."
    return [*markdown_table(("source", "tasks and traces", "licence", "on the hub"), rows), "", text]


def _of_rows(known: dict[str, Any]) -> str:
    return f" of {known['rows']:,} rows" if "rows" in known else ""


def _screened(built: dict[str, Any]) -> int:
    """Tasks that are not trained on since a benchmark holds them."""
    reasons = (reason for row in built["table"] for reason in row["rejected"].items())
    return sum(n for why, n in reasons if why in set(RULES.values()))


def _built(run: Path) -> list[str]:
    """What became of the rows of a build, in a sentence each."""
    if not (built := read_json(run / "data" / BUILD)):
        return []
    totals = {name: f"{n:,}" for name, n in built["totals"].items()}
    lines = [
        "",
        f"{totals['rows']} rows were read; {totals['training_tasks']} tasks were trained on and {totals['held_out']} "
        f"held out. {totals['rejected_rows']} rows and {totals['rejected_tasks']} tasks were left out, "
        f"{_screened(built):,} of these because a benchmark holds them.",
    ]
    if (traces := run / "data" / TRACES).is_file() and not built["recipe"]["traces"]["published"]:
        with traces.open("rb") as file:
            n = sum(1 for _ in file)
        by = built["recipe"]["traces"]["model"]
        who = "the base model itself" if by == "base" else f"`{Path(by).name if Path(by).exists() else by}`"
        lines[-1] += f" The cold start learnt from {n:,} judgments by {who} that were right and helped by a tool."
    return lines


def _recipe(recipe: Recipe, origin: str) -> list[str]:
    base = recipe.model.path if recipe.model.pocket else origin
    rows = []
    for name in STAGES:
        if (stage := getattr(recipe.stages, name, None)) is not None:
            rows.append((name, stage.adapter, stage.steps, f"{stage.learning_rate:g}"))
    table = markdown_table(("stage", "adapter", "steps", "learning rate"), rows)
    text = yaml.safe_dump(_without_folders(recipe.model_dump(mode="json", exclude_defaults=True)), sort_keys=False)
    return [f"From `{base}`, seed {recipe.seed}:", "", *table, "", "```yaml", text.rstrip(), "```"]


def _without_folders(value: Any) -> Any:
    """Of paths on this machine only the last part: a card is for others."""
    if isinstance(value, dict):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    if isinstance(value, str) and (value.startswith(("/", "~", "..")) or Path(value).exists()):
        return Path(value).name
    return value
