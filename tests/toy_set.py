"""A small set of invented rows in every kind of file, and command lines run in this process, for the data tests."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
from command_line import runner
from PIL import Image

from armlite.data.dataset import DataSet
from armlite.types import Task


def png(colour="red", size=(8, 6)):
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


def toy_tasks(row):
    images = (row.picture("image"),) if row.get("image") is not None else ()
    yield Task(id=row.words("id"), kind="open_qa", question=row.words("question"), images=images, source="toy/all")


TOY = DataSet(
    name="toy",
    title="a set for these tests",
    use="benchmark",
    licence="none",
    tasks=toy_tasks,
    files=("data/*.parquet", "*.tsv|*.json|*.jsonl"),
    counts={"all": 3},
)


def write(folder, form, rows):
    """The same rows in each kind of file."""
    folder.mkdir(parents=True, exist_ok=True)
    if form == "parquet":
        (folder / "data").mkdir()
        pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "test-00000.parquet")
    elif form == "tsv":
        lines = ["\t".join(rows[0]), *("\t".join(f'"{v}"' if v else "" for v in row.values()) for row in rows)]
        (folder / "toy.tsv").write_text("\ufeff" + "\n".join(lines) + "\n")
    elif form == "jsonl":
        (folder / "toy.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    else:
        shape = {"json list": rows, "json mapping": {f"k{i}": row for i, row in enumerate(rows)}}
        (folder / "toy.json").write_text(json.dumps(shape.get(form, {"name": "toy", "data": rows})))


def command(capsys, *words):
    """Runs a command line: (exit status, stdout, stderr)."""
    return runner(capsys)(*words)


def one_line(err, *words):
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
