"""The judge as a python assertion of `promptfoo`: `value: file://.../armlite/adapters/promptfoo.py`.

Tried with promptfoo 0.121.20. It starts a process for each assertion: a judge on a server answers sooner than weights
that are loaded each time. The assertion's `config` says which judge:

    assert:
      - type: python
        value: file:///path/to/armlite/adapters/promptfoo.py
        config: {model: "openai:judge-7b@http://localhost:8000/v1", mode: check}
"""

import json
from functools import lru_cache
from typing import Any

from armlite.adapters.scored import Item, Scorer
from armlite.errors import ArmliteError, nearest
from armlite.judge import Judge

KNOWN = ("model", "mode", "rubric", "votes", "threshold", "question", "images", "document", "constraints", "against")
"""Keys of the assertion's `config`; the last five name variables of the test."""


def get_assert(output: str, context: dict[str, Any]) -> dict[str, Any]:
    """What promptfoo calls with an output: `pass`, `score` (0 to 1), `reason`.

    The question is the test's variable `question`, or the whole prompt where it has none; likewise `images` (paths,
    URLs or data URLs) and `constraints`, one as a text or several as JSON (of a list promptfoo makes a test of each),
    `document` and, for `compare`, `against`.

    promptfoo knows no assertion without a score: one that could not be judged fails, with 0, a reason that begins with
    `could not judge`, and what is in `metadata.status`.

    Raises:
        ArmliteError: the config names no model, or something else than `KNOWN`.
    """
    config = dict(context.get("config") or {})
    if wrong := [key for key in config if key not in KNOWN]:
        raise ArmliteError(f"config: there is no {wrong[0]!r}.{nearest(wrong[0], KNOWN)} Known: {', '.join(KNOWN)}")
    if "model" not in config:
        raise ArmliteError("config: say which judge, as model: openai:judge-7b@http://localhost:8000/v1")
    known = context.get("vars") or {}

    def variable(name: str) -> Any:
        return known.get(config.get(name, name))

    item = Item(
        question=variable("question") or str(context.get("prompt") or ""),
        response=output,
        images=_several(variable("images")),
        document=variable("document"),
        constraints=_several(variable("constraints")),
        against=variable("against"),
    )
    scorer = _scorer(config["model"], config.get("mode", "check"), config.get("rubric"), config.get("votes", 1))
    found = scorer.score(item)
    passed = found.value is not None and found.value >= config.get("threshold", 0.5)
    return {"pass": passed, "score": found.value or 0.0, "reason": found.reason, "metadata": found.facts}


def _several(value: Any) -> list[Any]:
    """One, or a list, which may be JSON."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = json.loads(value)
    return list(value) if isinstance(value, list | tuple) else [value] if value else []


@lru_cache
def _scorer(model: str, mode: Any, rubric: str | None, votes: int) -> Scorer:
    return Scorer(Judge.load(model), mode, rubric, votes)
