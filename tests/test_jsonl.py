"""JSONL files as other people's editors write them: read, or told by file and line."""

import json

import pytest

from armlite.data.tasks import read_tasks
from armlite.errors import ArmliteError, DataError
from armlite.jsonl import json_rows

ROW = {"id": "a", "kind": "pairwise", "question": "Wie schön ist 日本?\u2028So?", "responses": ["x", "y"], "gold": 1}
ROWS = [ROW, {**ROW, "id": "b"}]
TEXT = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\n\n").encode(),
        TEXT.rstrip().encode(),
        json.dumps(ROWS).encode(),
        json.dumps(ROWS, indent=2, ensure_ascii=False).encode("utf-16"),
        b"\xef\xbb\xbf\n" + json.dumps(ROWS, indent=1).encode(),
    ],
    ids="plain mark utf-16 utf-16-be utf-32 crlf blank no-end array array-utf-16 array-mark".split(),
)
def test_rows_are_read_whatever_the_editor_made_of_the_file(tmp_path, content):
    file = tmp_path / "tasks.jsonl"
    file.write_bytes(content)
    assert [task.model_dump(exclude_defaults=True) for task in read_tasks(file)] == [
        {**row, "responses": tuple(row["responses"])} for row in ROWS
    ]


SECOND = TEXT.split("\n")[0] + "\n"


@pytest.mark.parametrize(
    ("content", "row", "why"),
    [
        (SECOND.encode() + '{"id": "é"}\n'.encode("latin-1"), 2, "byte 0xe9 is not UTF-8 (Latin-1 or Windows-1252?)"),
        (SECOND.encode() + b'{"id": "b", "id": "c"}\n', 2, "the key 'id' stands twice"),
        (SECOND.encode() + b'{"id": "b", "meta": {"x": 1, "x": 1}}\n', 2, "the key 'x' stands twice"),
        (SECOND.encode() + b"[" * 100_000 + b"\n", 2, "is nested too deeply"),
        (b"[" * 100_000, 1, "is nested too deeply"),
        (SECOND.encode() + b'{"a":' * 100_000 + b"\n", 2, "is nested too deeply"),
        (SECOND.encode() + b'{"id": "b", "ki', 2, "the line is cut off"),
        (SECOND.encode() + b"id: b\n", 2, "this is not JSON"),
        (SECOND.encode() + b'{"id": "\\ud83d"}\n', 2, "half of a character (\\ud83d without its other half)"),
        (json.dumps(ROWS).encode()[:-9], 1, "the line is cut off"),
        (TEXT.encode("utf-16")[:-3], 2, "UTF-16"),
    ],
    ids="latin-1 twice twice-inside brackets brackets-first braces cut-off yaml surrogate array-cut utf-16-cut".split(),
)
def test_what_cannot_be_read_is_told_by_file_and_line(tmp_path, content, row, why):
    file = tmp_path / "tasks.jsonl"
    file.write_bytes(content)
    with pytest.raises(DataError) as raised:
        list(json_rows(file))
    assert (raised.value.dataset, raised.value.row) == (str(file), row)
    assert why in raised.value.why and len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "pairwize"}, "field kind: Input should be "),
        ({"kind": "pairwize"}, "Did you mean 'pairwise'?"),
        ({"questions": "Q?", "question": None}, "field questions: there is no such field. Did you mean 'question'?"),
        ({"response": ["x"], "responses": None}, "field response: there is no such field. Did you mean 'responses'?"),
        ({"constraints": [{"txt": "short"}]}, "txt: there is no such field. Did you mean 'text'?"),
    ],
)
def test_a_field_or_value_that_is_nearly_right_is_suggested(tmp_path, change, said):
    row = {name: value for name, value in {**ROW, **change}.items() if value is not None}
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(ArmliteError) as raised:
        read_tasks(file)
    assert said in str(raised.value)


def test_texts_that_look_like_numbers_stay_texts(tmp_path):
    file = tmp_path / "tasks.jsonl"
    row = {"id": "a", "kind": "open_qa", "question": "How many?", "gold": ["14", "fourteen"]}
    file.write_text(json.dumps(row) + "\n" + json.dumps({**row, "id": "b", "gold": ["14"]}), encoding="utf-8")
    assert [task.gold for task in read_tasks(file)] == [("14", "fourteen"), ("14",)]
