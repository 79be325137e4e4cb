"""The page `serve`: each route's example is sent, and what comes back is what the page says."""

import json
import re
from pathlib import Path

import pytest
from serving import Served, says

from armlite.judge import Judge
from armlite.models.scripted import ScriptedModel
from armlite.serve.app import ROUTES

PAGE = (Path(__file__).parents[1] / "armlite" / "docs" / "serve.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ((?:GET|POST) \S+)\n(.*?)(?=^## )", PAGE, re.DOTALL | re.MULTILINE))


def examples(section):
    return [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", section, re.DOTALL | re.MULTILINE)]


def is_like(said, got):
    """Whether an answer is what a page says of it; `...` stands for anything."""
    if said == "...":
        return True
    if isinstance(said, dict) and isinstance(got, dict):
        same = set(said) - {"..."} <= set(got) if "..." in said else set(said) == set(got)
        return same and all(is_like(value, got[name]) for name, value in said.items() if name != "...")
    if isinstance(said, list) and isinstance(got, list):
        return len(said) == len(got) and all(map(is_like, said, got))
    return said == got


@pytest.fixture(scope="module")
def served():
    with Served(Judge(ScriptedModel(says))) as server:
        yield server


@pytest.mark.parametrize("route", SECTIONS)
def test_what_the_page_sends_is_answered_as_the_page_says(served, route):
    method, path = route.split()
    *body, said = examples(SECTIONS[route])
    answer = served.http.request(method, path, json=body[0] if body else None)
    assert answer.status_code == 200, answer.text
    assert is_like(said, answer.json()), json.dumps(answer.json(), indent=1)[:3000]


def test_every_route_that_takes_a_body_has_an_example_and_all_are_named(served):
    for method, path, _ in ROUTES:
        assert path.partition("{")[0].rstrip("/") in PAGE
        assert method == "GET" or f"{method} {path}" in SECTIONS
    told = served.http.get("/openapi.json").json()["paths"]
    assert set(told) == {path for _, path, _ in ROUTES if "{" not in path and path != "/openapi.json"}


def test_the_matcher_tells_answers_apart():
    assert is_like({"a": 1, "...": "..."}, {"a": 1, "b": 2}) and not is_like({"a": 1}, {"a": 1, "b": 2})
    assert not is_like({"a": 1, "...": "..."}, {"a": 2}) and not is_like(["..."], [1, 2])


REAL = json.loads((Path(__file__).parent / "real" / "committed" / "serving.json").read_text(encoding="utf-8"))
"""What `tests/real/serving_clients.py` wrote down."""


def test_the_clients_of_others_were_answered():
    assert set(REAL) == {"openai", "verifiers", "deepeval", "fuzz"}
    assert all(found["date"] and found["version"] for found in REAL.values())
    assert REAL["openai"]["stream"] and REAL["deepeval"]["measure"]["score"] == REAL["deepeval"]["a_measure"]["score"]
    fuzz = REAL["fuzz"]
    assert fuzz["cases"] >= 2000 and fuzz["opened"] == [] and max(map(int, fuzz["statuses"])) < 500
