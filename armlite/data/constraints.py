"""Constraints as MM-IFEngine publishes them, as Constraints that name their verifier.

Read by the sets that hold such constraints and by the builder of look-alike tracks; the verifiers themselves are in
`armlite.tools.checks.verifiers`.
"""

from collections.abc import Mapping
from typing import Any

from armlite.errors import ToolError
from armlite.tools.checks.verifiers import check, parameters
from armlite.types import Constraint


def rules(published: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Verifiers of a published constraint with their parameters by name; none where a model has to judge it.

    Args:
        published: `{"key", "value", "judge": {"method", "verify_funcs": [{"func", "params"}]}}`; `params` are in the
            verifier's own order, without the response.

    Raises:
        ValueError: the judge is no such mapping, or a verifier is unknown or has another number of parameters.
    """
    judge = published.get("judge") or {}
    if not isinstance(judge, Mapping):
        raise ValueError(f"its judge is no mapping but {type(judge).__name__}")
    if judge.get("method") != "rule_based":
        return []
    found = []
    for function in _functions(judge):
        name, params = str(function.get("func")), function.get("params") or []
        try:
            names = parameters(name)
        except ToolError as error:
            raise ValueError(str(error).removeprefix("Error: ")) from error
        if len(params) != len(names):
            raise ValueError(f"{name} takes {len(names)} parameters, not {len(params)}")
        found.append((name, dict(zip(names, map(_whole, params), strict=True))))
    return found


def _whole(value: Any) -> Any:
    """2.0 as 2: the engine compares numbers, whatever their type."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _functions(judge: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    functions = judge.get("verify_funcs") or []
    fine = isinstance(functions, list) and all(
        isinstance(f, Mapping) and isinstance(f.get("params") or [], list) for f in functions
    )
    if not fine:
        raise ValueError("its verify_funcs is no list of {func, params}")
    return functions


def as_constraint(published: Mapping[str, Any]) -> Constraint:
    """What the judge reads; its verifier is named where there is exactly one.

    Raises:
        ValueError: see `rules`; or it has no text.
    """
    text = published.get("value")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("it has no text in `value`")
    found = rules(published)
    if len(found) != 1:
        return Constraint(text=text)
    [(name, params)] = found
    return Constraint(text=text, check=name, arguments=params)


def holds(published: Mapping[str, Any], response: str) -> bool | None:
    """Whether a response satisfies a rule-based constraint, as MM-IFEval's own code decides; None: no rule.

    Raises:
        ValueError: see `rules`; or a parameter has the wrong type.
    """
    found = rules(published)
    try:
        return all(check(name, response, "engine", **params).ok for name, params in found) if found else None
    except ToolError as error:
        raise ValueError(str(error).removeprefix("Error: ")) from error
