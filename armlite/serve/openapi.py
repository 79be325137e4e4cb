"""What `/openapi.json` says: each route, what it takes and what it gives. Tests make requests from it."""

from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from armlite.serve.chat import ChatRequest
from armlite.serve.judgments import How
from armlite.serve.systemone import SystemOneRequest
from armlite.types import Task, Verdict

REF = "#/components/schemas/{model}"
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_PICTURE = {
    "description": "A data URL or base64 of a picture; or a name below the server's folder of files.",
    "anyOf": [_TEXT, {"type": "object", "properties": {"url": _TEXT}, "required": ["url"]}],
}
_DOCUMENT = {
    "description": "A data URL or base64 of a PDF, perhaps with a name; or a name below the server's folder of files.",
    "anyOf": [
        _TEXT,
        {"type": "object", "properties": {"name": _TEXT, "data": _TEXT, "url": _TEXT}},
        {"type": "null"},
    ],
}
_LOOKED = {"images": {"anyOf": [{"type": "array", "items": _PICTURE}, _PICTURE]}, "document": _DOCUMENT}
_COLUMNS = {
    "id": _TEXT,
    "question": _TEXT,
    "prompt": {"anyOf": [_TEXT, {"type": "array", "items": {"type": "object"}}]},
    "responses": _TEXTS,
    "response": _TEXT,
    "response_1": _TEXT,
    "response_2": _TEXT,
    "chosen": {},
    "rejected": {},
    "messages": {"type": "array", "items": {"type": "object"}},
    "constraints": {"anyOf": [_TEXT, _TEXTS]},
    "label": {"anyOf": [{"type": "integer"}, {"type": "boolean"}, _TEXT]},
    **_LOOKED,
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {"message": _TEXT, "type": _TEXT},
        }
    },
}


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    records = [(Task, "validation"), (Verdict, "serialization"), (How, "validation")]
    records += [(ChatRequest, "validation"), (SystemOneRequest, "validation")]
    _, made = models_json_schema(records, ref_template=REF)  # type: ignore[arg-type]
    schemas = {**made["$defs"], "Error": _ERROR}
    how = schemas.pop("How")["properties"]
    task = schemas["Task"]
    schemas["Judgment"] = {
        "description": "A Task record, or columns as `armlite judge FILE` reads them, and how to judge.",
        "anyOf": [
            {"type": "object", "properties": {**_COLUMNS, **how}},
            {"type": "object", "properties": {**task["properties"], **_LOOKED, **how}, "required": task["required"]},
        ],
    }
    batch = {"type": "array", "items": _ref("Judgment"), "minItems": 1}
    schemas["Batch"] = {"type": "object", "properties": {"tasks": batch}, "required": ["tasks"]}
    verdicts = {"verdicts": {"type": "array", "items": _ref("Verdict")}, "trajectories": _TEXTS}
    schemas["Verdicts"] = {"type": "object", "properties": verdicts, "required": list(verdicts)}
    anything: dict[str, Any] = {"type": "object"}
    paths = {
        "/health": {"get": _route("Whether the judge is there, and how busy it is.", None, anything)},
        "/metrics": {"get": _route("Counters in Prometheus' text form.", None, _TEXT, "text/plain")},
        "/v1/judge": {"post": _route("Judge a task.", _ref("Judgment"), _ref("Verdict"))},
        "/v1/judge/batch": {"post": _route("Judge several tasks.", _ref("Batch"), _ref("Verdicts"))},
        "/v1/chat/completions": {"post": _route("OpenAI's shape.", _ref("ChatRequest"), anything)},
        "/v1/models": {"get": _route("The judge, by its name.", None, anything)},
        "/v1/systemone": {"post": _route("Decision models' shape.", _ref("SystemOneRequest"), anything)},
    }
    security = {"key": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "armlite serve", "version": version("armlite")},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": security},
        "security": [{}, {"key": []}],
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": REF.format(model=name)}


def _route(
    summary: str, takes: dict[str, Any] | None, gives: dict[str, Any], form: str = "application/json"
) -> dict[str, Any]:
    route: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": "Done.", "content": {form: {"schema": gives}}},
            "4XX": {
                "description": "Refused, in a sentence.",
                "content": {"application/json": {"schema": _ref("Error")}},
            },
        },
    }
    if takes is not None:
        route["requestBody"] = {"required": True, "content": {"application/json": {"schema": takes}}}
    return route
