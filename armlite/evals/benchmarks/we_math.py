"""We-Math testmini: each multi-step problem in one row, each of its steps in another (We-Math/We-Math).

Reads the hub's parquet and `testmini.json` with image files. The scorer is rebuilt from the repository's
`four_dimensional_metrics.py` and `accuracy.py`: a problem is one multi-step question and a question for each of its
steps, and the four dimensions say how the whole and its steps go together: insufficient knowledge (IK), inadequate
generalization (IG), complete mastery (CM), rote memorization (RM).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.evals.benchmarks.choices import gold_letter, split_options
from armlite.evals.benchmarks.letters import Right, by_rule, given, ours, unread
from armlite.evals.benchmarks.shares import clustered, plain_mean, share
from armlite.evals.figures import Benchmark, Figures, Item, TaskMeta
from armlite.types import Task


class Meta(TaskMeta):
    """`group` has `key` and `steps`."""

    problem: str
    """The ID, which the rows of a problem share."""
    key: str
    """Place of the row in its problem, as `3steps_2`."""
    published: dict[str, Any]
    """What the scripts' file repeats."""


KEYS = ("2steps_1", "2steps_2", "2steps_multi", "3steps_1", "3steps_2", "3steps_3", "3steps_multi")
_LETTER = re.compile(r"(?:^|;)\s*([A-H])[.．]\s*(?=[^\s;])")
"""Semicolons occur inside options too, even before a point's name (`translated to get Shape ;C.; B. ...`): one counts
only before a letter that a text follows."""


def _tasks(row: Row) -> Iterator[Task]:
    problem = row.words("ID")
    key = row.one_of(KEYS, "key")
    options = option_texts(row)
    steps = key.split("_")[0]
    yield Task(
        id=f"{problem}/{key}",  # the ID alone is shared by the rows of a problem
        kind="multiple_choice",
        question=row.words("question").strip(),
        images=(row.picture("image_path"),),
        options=options,
        gold=gold_letter(row, options, "option", "answer"),
        source=f"we-math/{key}",
        meta=Meta(
            published_id=problem,
            problem=problem,
            key=key,
            published=row.there("split", "knowledge concept", "question number", "option"),
            group={"key": key, "steps": steps},
        ).as_dict(),
    )


def option_texts(row: Row) -> dict[str, str]:
    """Letter -> text.

    Raises:
        DataError: the field does not begin with a letter, or has one twice.
    """
    lead, *parts = _LETTER.split(row.words("option"))
    if lead.strip():
        raise row.fail("option", "must read `A. ...; B. ...`, each letter once")
    options: dict[str, str] = {}
    for letter, text in split_options(row, "option", parts).items():
        _put_apart(options, letter)
        options[letter] = text
    return options


def _put_apart(options: dict[str, str], before: str) -> None:
    """Where letters are missing before the next, the last option holds them without a semicolon (`A. 45° B. 60°`)."""
    last = next(reversed(options), before)
    for code in range(ord(last) + 1, ord(before)):
        text, mark, rest = options[last].partition(f" {chr(code)}. ")
        if mark:
            options[last], options[chr(code)] = text.strip(), rest.strip()
            last = chr(code)


Problem = tuple[bool, tuple[bool, ...]]
"""Is the multi-step question right, and are its steps?"""


def official_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The scripts' reading: what follows the last `Answer`, without `<>:.`; its first character, if one of A to H."""
    rest = re.sub("[<>:.]", "", text.split("Answer")[-1].strip()).strip()
    return rest[0] if rest and rest[0] in "ABCDEFGH" else None


def score(items: Sequence[Item]) -> Figures:
    """Figures of the first answers.

    Returns:
        Of all rows: `acc_all`, `s1` (single steps), `s2` and `s3` (multi-step questions of two and of three steps). Of
        problems whose rows are all there: `ik`, `ig`, and under both conditions `cm_strict`, `rm_strict` (counts as
        shares of the problems), `rm_rate_strict` (RM of CM and RM), `score_strict` (1 - IG / 2 - RM - IK), and the same
        with `loose`. All by the scripts' rule; the accuracies and scores by our own reading under `..._ours`.
        `problems_incomplete` (share of problems that lack rows and so have no dimension), `parse_failures`.
    """
    figures: Figures = {}
    for suffix, right in (("", by_rule(official_letter)), ("_ours", ours)):
        found = _accuracies(items, right) | dimensions(_problems(items, right))
        kept = ("acc", "s1", "s2", "s3", "score")
        figures |= {f"{name}{suffix}": f for name, f in found.items() if not suffix or name.split("_")[0] in kept}
    whole, all_problems = len(_problems(items, ours)), {Meta.of(item.task).problem for item in items}
    figures["problems_incomplete"] = share([True] * (len(all_problems) - whole) + [False] * whole)
    return figures | {"parse_failures": unread(items)}


def _accuracies(items: Sequence[Item], right: Right) -> Figures:
    keys = {"acc_all": "", "s1": r"_\d", "s2": "2steps_multi", "s3": "3steps_multi"}
    figures = {}
    for name, pattern in keys.items():
        chosen = [item for item in items if re.search(pattern, Meta.of(item.task).key)]
        hits = [float(right(item)) for item in chosen]
        figures[name] = clustered(hits, [Meta.of(item.task).problem for item in chosen])
    return figures


def _problems(items: Sequence[Item], right: Right) -> list[Problem]:
    """The problems whose rows are all there; of a row that comes twice the first counts."""
    rows: dict[str, dict[str, bool]] = {}
    for item in items:
        meta = Meta.of(item.task)
        rows.setdefault(meta.problem, {}).setdefault(meta.key, right(item))
    found = []
    for parts in rows.values():
        steps = next(iter(parts)).split("_")[0]
        keys = [f"{steps}_{n}" for n in range(1, int(steps[0]) + 1)]
        if f"{steps}_multi" in parts and all(key in parts for key in keys):
            found.append((parts[f"{steps}_multi"], tuple(parts[key] for key in keys)))
    return found


def dimensions(problems: Sequence[Problem]) -> Figures:
    """The four dimensions and the scores, with the scripts' conditions.

    Strict: CM asks that all steps are right. Loose: that one is.
    """
    ik = [not multi and not all(steps) for multi, steps in problems]
    ig = [not multi and all(steps) for multi, steps in problems]
    figures = {"ik": share(ik), "ig": share(ig)}
    for condition, enough in (("strict", all), ("loose", any)):
        cm = [multi and enough(steps) for multi, steps in problems]
        rm = [multi and not enough(steps) for multi, steps in problems]
        values = [1 - (0.5 * g + r + k) for g, r, k in zip(ig, rm, ik, strict=True)]
        figures |= {f"cm_{condition}": share(cm), f"rm_{condition}": share(rm)}
        figures[f"rm_rate_{condition}"] = share([r for r, c in zip(rm, cm, strict=True) if r or c])
        figures[f"score_{condition}"] = plain_mean(values)
    return figures


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The list of answered rows that both scripts read."""
    return {"we_math.json": json.dumps([_row(item) for item in items], ensure_ascii=False, indent=1) + "\n"}


def _columns(item: Item) -> dict[str, Any]:
    meta = Meta.of(item.task)
    return {"ID": meta.problem, "key": meta.key, **meta.published}


def _row(item: Item) -> dict[str, Any]:
    meta = Meta.of(item.task)
    row = {"ID": meta.problem, "key": meta.key, "question": item.task.question}
    return row | meta.published | {"answer": item.task.gold, "response": given(item)}


BENCHMARK = Benchmark(
    name="we-math",
    main="score_strict",
    score=score,
    official=official,
    vlmevalkit=_columns,
    dataset=DataSet(
        title="visual mathematics, each problem whole and step by step",
        licence="CC-BY-NC-4.0",
        tasks=_tasks,
        files=("**/testmini*.parquet", "**/*.parquet", "testmini.json", "**/testmini.json"),
        hub="We-Math/We-Math",
        split="testmini",
        counts={"all": 1740},
        seen="all rows of the repository's testmini.json, without images",
        notes=(
            "525 problems: 360 of two steps and 165 of three. Most have five options, some four.",
            "Image paths of testmini.json are relative to the unpacked archive's folder.",
        ),
    ),
    notes=(
        "extract=rule, as the publisher's scripts do, on the text inside <answer>: they look for 'Answer' with a "
        "capital, which the tag has not.",
        "The prompt is ours and does not give the knowledge concepts.",
        "The scripts divide by 525 whatever is there; here by the problems whose rows are all there, which is the "
        "same on the whole set.",
        "A single row has no score: two runs are compared by acc_all, row by row.",
        "Only the first vote of an item counts.",
    ),
)
