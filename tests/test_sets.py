"""Every published set in every form, through its fixture builder: it reads, converts, and tells what is wrong."""

import json
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

from armlite.data.check import check
from armlite.data.convert import convert
from armlite.data.sets import MODULES as TRAINING
from armlite.data.tasks import read_tasks
from armlite.errors import DataError
from armlite.evals.benchmarks import MODULES, get_set, set_names
from armlite.tools.documents.pages import Document

MODULE_FILES = sorted((Path(__file__).parent / "published").glob("[a-z]*.py"))
FOUND = {file.stem: import_module(f"published.{file.stem}") for file in MODULE_FILES}
BUILDERS = {name: module for name, module in FOUND.items() if hasattr(module, "FORMS")}
CASES = [(module, name, form) for module, b in BUILDERS.items() for name in b.NAMES for form in b.FORMS]
FILES = (".png", ".jpg", ".jpeg", ".webp", ".pdf")
each = pytest.mark.parametrize(("module", "name", "form"), CASES, ids=["-".join(case[1:]) for case in CASES])


def test_every_set_has_a_builder_and_calls_itself_by_its_name():
    built = {name: module for module, builder in BUILDERS.items() for name in builder.NAMES}
    assert built == MODULES | TRAINING
    for name in set_names():
        assert get_set(name).name == name
        assert get_set(name).files
        assert get_set(name).licence


@each
def test_a_published_form_passes_its_check(module, name, form, tmp_path):
    built = BUILDERS[module].build(tmp_path, form, name)
    report = check(get_set(name), tmp_path)
    found = (report.rows, report.bad, report.tasks, report.missing_images)
    assert found == (built.rows, built.bad, built.tasks, 0), report.problems


@each
def test_a_published_form_becomes_tasks_whose_files_open(module, name, form, tmp_path):
    (tmp_path / "published").mkdir()
    built = BUILDERS[module].build(tmp_path / "published", form, name)
    out = tmp_path / "converted" / "tasks.jsonl"
    counts = convert(get_set(name), tmp_path / "published", out)
    tasks = read_tasks(out)  # refuses what breaks the schema, and ids that repeat
    assert len(tasks) == counts.tasks == built.tasks
    assert counts.bad == built.bad
    assert (out.parent / "rejects.jsonl").exists() == bool(built.bad)
    for task in tasks:
        assert task.source.startswith(f"{name}/"), task.source
        assert "<image>" not in task.question
        assert json.loads(json.dumps(task.meta)) == task.meta
        for image in task.images:
            with Image.open(out.parent / image) as opened:
                opened.load()
        if task.document is not None:
            assert len(Document(out.parent / task.document)) > 0


@each
def test_a_spoilt_row_is_named_with_field_and_reason(module, name, form, tmp_path):
    built = BUILDERS[module].build(tmp_path, form, name)
    row, field, reason = BUILDERS[module].spoil(tmp_path, form, name)
    report = check(get_set(name), tmp_path)
    assert report.bad == built.bad + 1, report.problems
    problem = next(problem for problem in report.problems if problem["row"] == row)
    assert (problem["field"], reason in problem["why"]) == (field, True), problem
    out = tmp_path / "converted" / "tasks.jsonl"
    with pytest.raises(DataError) as refused:
        convert(get_set(name), tmp_path, out, strict=True)
    assert not out.exists()
    if not built.bad:
        assert (refused.value.row, refused.value.field) == (row, field)


@each
def test_missing_images_are_counted_apart(module, name, form, tmp_path):
    built = BUILDERS[module].build(tmp_path, form, name)
    files = [file for file in tmp_path.rglob("*") if file.suffix.lower() in FILES]
    for file in files:
        file.unlink()
    report = check(get_set(name), tmp_path)
    assert (report.rows, report.bad) == (built.rows, built.bad), report.problems
    assert bool(report.missing_images) == bool(files)
