"""The published contract: OpenAPI 3.1 from the code, with problem documents and both body forms."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from app.problems import Problem
from app.shedding import NEVER_REFUSED

Answers = dict[int | str, dict[str, Any]]
# Whoever needs a key may lack it, or its scope; come too often; and misspell a parameter.
_OF_EVERY_CALLER = {
    401: "Unauthorized",
    403: "Forbidden",
    422: "Unprocessable Content",
    429: "Too Many Requests",
}


def refusals(*statuses: int) -> Answers:
    """The problem answers an operation can really give."""
    return {
        status: {
            "model": Problem,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def success(status: int, description: str, **content: Any) -> Answers:
    """A second good answer of an operation."""
    return {status: {"description": description} | content}


def body_of(model: type[BaseModel], *, file: str, more_files: tuple[str, ...] = ()) -> dict[str, Any]:
    """The request body of an operation that parses it by itself: JSON, or a form with file parts."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs", {})
    properties = {name: _inlined(field, definitions) for name, field in schema["properties"].items()}
    texts = {name: _without_null(field) for name, field in properties.items()}  # a form cannot say null
    form = texts | {name: {"type": "string", "format": "binary"} for name in (file, *more_files)}
    shape = {"type": "object", "additionalProperties": False}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": shape | {"properties": properties}},
                "multipart/form-data": {"schema": shape | {"properties": form}},
            },
        }
    }


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """The request body of an operation that parses JSON by itself, so that numbers stay numbers."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs", {})
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _inlined(schema, definitions)}},
        }
    }


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    """The schema with its local references replaced, so that it stands alone in the document."""
    if isinstance(node, dict):
        name = str(node.get("$ref", "")).rpartition("/")[2]
        if name in definitions:
            return _inlined(definitions[name], definitions)
        if "patternProperties" in node:  # pydantic means that other names are refused, and does not say so
            node = node | {"additionalProperties": False}
        return {key: _inlined(value, definitions) for key, value in node.items()}
    if isinstance(node, list):
        return [_inlined(value, definitions) for value in node]
    return node


def _problem(title: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": title, "content": {"application/problem+json": {"schema": schema}}}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter, which is absent rather than null."""
    kinds: list[dict[str, Any]] = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {key: value for key, value in schema.items() if key != "anyOf"} | kinds[0]


def install(app: FastAPI) -> None:
    """Puts problem documents where FastAPI describes its own errors, and those that middleware gives."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        schemas = document.get("components", {}).get("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for name, path in document["paths"].items():
            for operation in path.values():
                if name not in NEVER_REFUSED:
                    operation["responses"].setdefault("429", _problem("Too Many Requests"))
                if "security" in operation:
                    for status, title in _OF_EVERY_CALLER.items():
                        operation["responses"].setdefault(str(status), _problem(title))
                if "requestBody" in operation:
                    for status, title in ((408, "Request Timeout"), (413, "Content Too Large")):
                        operation["responses"].setdefault(str(status), _problem(title))
                for status, answer in list(operation["responses"].items()):
                    if "HTTPValidationError" in str(answer):
                        operation["responses"][status] = _problem("Unprocessable Content")
                ok = operation["responses"].get("200", {}).get("content", {})
                if "text/event-stream" in ok:  # a stream of events is no string, as FastAPI has it
                    ok["text/event-stream"] = {}
                for parameter in operation.get("parameters", ()):
                    parameter["schema"] = _without_null(parameter["schema"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to change the document
