"""MM-IFEval without its GPT judge: what rules can tell (`c_level_rule`, `p_level_rule`), and files for its own scripts.

Rules run as in MM-IFEngine's `function_and_compare.py` (our verifiers in `engine` mode). Constraints that need GPT-4o
are left to the official scripts, so no figure here is the official score, which is the mean over all 400 items.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from armlite.data.constraints import rules
from armlite.evals.benchmarks.shares import first, mean, share
from armlite.evals.exports import tsv
from armlite.evals.figures import Benchmark, Figures, Item
from armlite.tools.checks.verifiers import Check, check


def score(items: Sequence[Item]) -> Figures:
    """Figures of the main rows; of several answers the first counts, and one that cannot be read scores 0.

    `c_level_rule`: mean over the C-Level items of the share of their rule-based constraints that hold; items without
    one are left out, `no_rule` is their share. `p_level_rule`: share of the P-Level items whose answer names all that
    it must. `sentences_by/NAME`: share of the items in `c_level_rule` whose sentences were counted, by what split them:
    numbers of different splitters are not comparable. `parse_failures`.
    """
    main = [item for item in items if item.task.meta["infer_type"] == "main"]
    c_level = [item for item in main if item.task.meta["tag"] == "C-Level"]
    p_level = [item for item in main if item.task.meta["tag"] == "P-Level"]
    checked = [(item, found) for item in c_level if (found := _checks(item))]
    figures = {
        "c_level_rule": mean([_held(found) if _answer(item) else 0.0 for item, found in checked]),
        "no_rule": share([not _checks(item) for item in c_level]),
        "p_level_rule": share([names_all(item.task.meta["answers"], _answer(item)) for item in p_level]),
        "parse_failures": share([not _answer(item) for item in main]),
    }
    splitters = [{c.splitter for checks in found.values() for c in checks if c.splitter} for _, found in checked]
    for name in sorted({name for used in splitters for name in used}):
        figures[f"sentences_by/{name}"] = share([name in used for used in splitters])
    return figures


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """Prediction files, aux rows included: a JSONL a level for the repository's scoring script (`--inference_file`),
    and VLMEvalKit's TSV, which has to hold all rows in their published order.
    """
    files = {}
    for level in ("C-Level", "P-Level"):
        lines = [json.dumps(_row(item), ensure_ascii=False) for item in items if item.task.meta["tag"] == level]
        if lines:
            files[f"mm-ifeval_{level}.jsonl"] = "\n".join(lines) + "\n"
    return files | {"MM-IFEval.tsv": tsv([_tsv_row(item, i) for i, item in enumerate(items)])}


def names_all(answers: Sequence[str], text: str) -> bool:
    """Whether a text holds every answer as whole words, whatever their case and blanks."""
    plain = " ".join(text.casefold().split())
    wanted = (re.escape(" ".join(answer.casefold().split())) for answer in answers)
    return all(re.search(rf"(?<!\w){answer}(?!\w)", plain) for answer in wanted)


def _checks(item: Item) -> dict[str, list[Check]]:
    """Key -> outcomes of a rule-based constraint's functions; of a key that repeats the last counts, as officially."""
    text = _answer(item)
    found = {c["key"]: functions for c in item.task.meta["constraints"] if (functions := rules(c))}
    return {key: [check(name, text, "engine", **params) for name, params in fs] for key, fs in found.items()}


def _held(found: Mapping[str, Sequence[Check]]) -> float:
    """Share of the constraints all of whose functions hold."""
    return sum(all(c.ok for c in checks) for checks in found.values()) / len(found)


def _answer(item: Item) -> str:
    answer = first(item)
    return (answer.final or "") if answer is not None else ""


def _row(item: Item) -> dict[str, Any]:
    """The published fields and the prediction, as the repository's inference script writes them."""
    meta, task = item.task.meta, item.task
    row = {"id": meta["published_id"], "image": task.images[0], "tag": meta["tag"], "infer_type": meta["infer_type"]}
    if meta["tag"] == "P-Level":
        row |= {"question": task.question, "answer": meta["answers"]}
    else:
        row |= {"instruction": meta["instruction"], "constraints": meta["constraints"]}
    if meta["del_cons"] is not None:
        row["del_cons"] = meta["del_cons"]
    return row | {"prediction": _answer(item)}


def _tsv_row(item: Item, position: int) -> dict[str, Any]:
    meta = item.task.meta
    return {
        "index": position if meta["index"] is None else meta["index"],
        "id": meta["published_id"],
        "question": item.task.question,
        "instruction": meta["instruction"] or "",
        "constraints": json.dumps(meta["constraints"], ensure_ascii=False) if meta["tag"] == "C-Level" else "",
        "answer": json.dumps(meta["answers"], ensure_ascii=False) if meta["answers"] else "",
        "tag": meta["tag"],
        "infer_type": meta["infer_type"],
        "del_cons": meta["del_cons"] or "",
        "prediction": _answer(item),
    }


BENCHMARKS = {
    "mm-ifeval": Benchmark(
        name="mm-ifeval",
        main="c_level_rule",
        score=score,
        official=official,
        notes=(
            "No figure is the official score: rule-based constraints only (c_level_rule), and P-Level by whole-word "
            "containment of the published answers (p_level_rule) instead of a GPT judge.",
            "The text inside <answer> is the response. Sentences are split by nltk's punkt where its data is "
            "installed, else by the bundled splitter: sentences_by/NAME says which.",
            "An answer that cannot be read scores 0, though an empty text would pass some rules.",
            "The aux rows are answered for the official scripts only.",
        ),
    )
}
