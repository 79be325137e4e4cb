"""ARMBench-VL: the reference's own benchmark in the row that its evaluation scripts read, one JSONL file a track.

No public file was at hand: the reader follows the scripts. Tracks of the same kind made from other sets are built by
`armlite.evals.lookalike`; they are "ARMBench-VL-style", never this set.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from armlite.data.constraints import as_constraint
from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.types import Constraint, Kind, Task

TAGS: dict[str, tuple[Kind, int]] = {
    "single_rm": ("pointwise", 1),
    "pair_rm": ("pairwise", 2),
    "2-way-pair_rm": ("pairwise", 2),
    "4-way-pair_rm": ("listwise", 4),
}
"""`rm_tag` -> kind and number of responses."""


def _tasks(row: Row) -> Iterator[Task]:
    tag = row.one_of(tuple(TAGS), "rm_tag")
    kind, wanted = TAGS[tag]
    responses = row.items("preds", of=str)
    if len(responses) != wanted:
        raise row.fail("preds", f"must hold {wanted} for {tag}, not {len(responses)}")
    question = row.words("question")
    images = row.items("images") if row.get("images") is not None else []
    marks = question.count("<image>")
    if marks > len(images):
        raise row.fail("question", f"names {marks} images, the row has {len(images)}")
    identity, track = row.words("idx"), row.file.stem
    document = _document(row)
    # The reference shows the first image only; of a document that is its contact sheet, which is drawn anew here.
    shown = () if document or not images else (row.keep(images[0], "images.0"),)
    yield Task(
        id=f"{track}/{identity}",
        kind=kind,
        question=question.replace("<image>", "").strip(),
        images=shown,
        document=document,
        responses=tuple(responses),
        constraints=tuple(_constraints(row)),
        gold=_gold(row, kind, wanted),
        source=f"armbench-vl/{track}",
        meta={"published_id": row.need("idx"), "group": {"rm_tag": tag, "track": track}} | _rest(row),
    )


def _gold(row: Row, kind: Kind, count: int) -> bool | int:
    """`gt`: "True" or "False" as text, or the number of the right response from 1; the types matter."""
    gold = row.need("gt")
    if kind == "pointwise":
        if gold not in ("True", "False"):
            raise row.fail("gt", f"must be the text 'True' or 'False' for single_rm, not {gold!r}")
        return gold == "True"
    if type(gold) is not int or not 1 <= gold <= count:
        raise row.fail("gt", f"must be a whole number from 1 to {count}, not {gold!r}")
    return gold


def _document(row: Row) -> str | None:
    """`documents/<doc_id>`, a PDF or a folder of pages below the set's folder; None: only the contact sheet is there.

    Raises:
        DataError: the name leads out of the folder.
    """
    if row.get("doc_id") is None:
        return None
    name = row.words("doc_id")
    base = Path(os.path.abspath(row.folder / "documents"))
    for file in (base / name, base / f"{name}.pdf", base / name.removesuffix(".pdf")):
        path = Path(os.path.abspath(file))
        if path == base or not path.is_relative_to(base):
            raise row.fail("doc_id", f"names {name!r}, outside the documents' folder")
        if path.exists():
            return os.path.relpath(path, row.pictures.out or row.folder)
    return None


def _constraints(row: Row) -> Iterator[Constraint]:
    if row.get("constraints") is None:
        return
    for position, published in enumerate(row.items("constraints", of=(dict, str))):
        try:
            yield as_constraint({"value": published} if isinstance(published, str) else published)
        except ValueError as error:
            raise row.fail(f"constraints.{position}", str(error)) from error


def _rest(row: Row) -> dict[str, Any]:
    return {name: row.get(name) for name in ("doc_id",) if row.get(name) is not None}


SETS = {
    "armbench-vl": DataSet(
        name="armbench-vl",
        title="the reference's benchmark: perception, long documents, instruction following",
        use="benchmark",
        licence="other (not seen)",
        tasks=_tasks,
        files=(
            "**/fine_grained_perception.jsonl|**/multimodal_long_document.jsonl|"
            "**/multimodal_instruction_following.jsonl",
            "**/*.jsonl",
        ),
        hub="ChrisDing1105/ARMBench-VL",
        snapshot=True,
        seen="row as the reference's evaluation scripts read it; no published file was at hand",
        notes=(
            "The hub id (three configs, mixed types of idx) was reported and not seen; row counts are unknown.",
            "All constraints of a row are shown; the reference shows the first, and by a slip in most runs none.",
            "With documents/<doc_id>.pdf below the folder the document itself is given, else the contact sheet image.",
        ),
    )
}
