"""A task has one family: what evaluations report it under is what the viewer shows it under."""

import pytest
from published.answers import answered

from armlite.data.tasks import family
from armlite.evals.figures import Item
from armlite.evals.tasks import score
from armlite.types import Task
from armlite.view.text import group


@pytest.mark.parametrize(("source", "name"), [("pocket/zoom", "zoom"), ("mine", "mine"), ("", "open qa")])
def test_the_viewer_and_the_figures_group_tasks_alike(source, name):
    task = Task(id="1", kind="open_qa", question="?", gold="x", source=source)
    assert group(task) == family(task) == name
    item = Item(task, (answered(task, "<think>x</think><answer>x</answer>"),))
    assert [key for key in score([item]) if key.startswith("accuracy/")] == [f"accuracy/{name}"]
