"""Small drawn images and files in the publishers' formats, for the fixture builders."""

import base64
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw


def png(mark: str, size: tuple[int, int] = (32, 24)) -> bytes:
    """A drawn image; different marks give different images."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((2, 2), mark, fill="black")
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def base64_png(mark: str) -> str:
    return base64.b64encode(png(mark)).decode()


def image_column(mark: str) -> dict[str, Any]:
    """An image as `datasets` stores it."""
    return {"bytes": png(mark), "path": f"{mark}.png"}


def write_image(file: Path, mark: str, size: tuple[int, int] = (32, 24)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(png(mark, size))


def write_parquet(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), file)


def write_tsv(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    """As pandas does: nothing for None, lists written out, quotes where needed."""
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_json(file: Path, rows: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, ensure_ascii=False, indent=1), "utf-8")


def write_jsonl(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def converted(tmp_path: Path, module: Any, form: str, name: str | None = None) -> dict[str, Any]:
    """Task id -> task of a built set, read as a user's would be."""
    from armlite.data.convert import convert
    from armlite.data.tasks import read_tasks
    from armlite.evals.benchmarks import get_set

    name = name or module.NAMES[0]
    (tmp_path / form).mkdir()
    module.build(tmp_path / form, form, name)
    out = tmp_path / f"{form}-tasks" / "tasks.jsonl"
    convert(get_set(name), tmp_path / form, out)
    return {task.id: task for task in read_tasks(out)}
