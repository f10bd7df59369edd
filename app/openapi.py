"""What routes say about themselves in the published contract; `app/document.py` makes the document of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

Answers = dict[int | str, dict[str, Any]]

COMPONENTS = "#/components/schemas/"
PROBLEM_TYPE = "application/problem+json"
DEFINITIONS = "x-definitions"
"""Under this key an operation carries the schemas that its request body refers to."""


def refusals(*statuses: int) -> Answers:
    """The problem answers an operation can really give; their codes stand in its entry of `app/examples`."""
    return {
        status: {"content": {PROBLEM_TYPE: {"schema": {"$ref": f"{COMPONENTS}Problem"}}}}
        for status in statuses
    }


def success(status: int, description: str, **content: Any) -> Answers:
    """A second good answer of an operation."""
    return {status: {"description": description} | content}


def body_of(model: type[BaseModel], *, file: str, more_files: tuple[str, ...] = ()) -> dict[str, Any]:
    """The request body of an operation that parses it by itself: JSON, or a form with file parts."""
    name, definitions = model.__name__, _definitions(model)
    form = name.removesuffix("Request") + "Form"
    definitions[form] = _form_schema(definitions[name], (file, *more_files))
    objects = [key for key in definitions[form]["properties"] if _is_object(definitions, form, key)]
    encoding = {"encoding": {key: {"contentType": "application/json"} for key in objects}} if objects else {}
    return _body(
        definitions,
        {
            "application/json": {"schema": {"$ref": COMPONENTS + name}},
            "multipart/form-data": {"schema": {"$ref": COMPONENTS + form}} | encoding,
        },
    )


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """The request body of an operation that parses JSON by itself, so that numbers stay numbers."""
    return _body(_definitions(model), {"application/json": {"schema": {"$ref": COMPONENTS + model.__name__}}})


def _body(definitions: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}, DEFINITIONS: definitions}


def _definitions(model: type[BaseModel]) -> dict[str, Any]:
    """The schemas of the model and of what it is made of, by name."""
    schema = model.model_json_schema(ref_template=COMPONENTS + "{model}")
    definitions: dict[str, Any] = schema.pop("$defs", {})
    closed: dict[str, Any] = _closed({**definitions, model.__name__: schema})
    return closed


def _closed(node: Any) -> Any:
    """Objects with patterns for names refuse other names, which pydantic means and does not say."""
    if isinstance(node, dict):
        more = {"additionalProperties": False} if "patternProperties" in node else {}
        return {key: _closed(value) for key, value in node.items()} | more
    return [_closed(value) for value in node] if isinstance(node, list) else node


def _form_schema(schema: dict[str, Any], files: tuple[str, ...]) -> dict[str, Any]:
    """The same fields as parts of a form, which cannot say null; `files` are file parts there."""
    properties = {name: without_null(field) for name, field in schema["properties"].items()}
    properties |= {name: {"type": "string", "format": "binary", "description": "the file"} for name in files}
    return {key: value for key, value in schema.items() if key != "title"} | {"properties": properties}


def without_null(field: dict[str, Any]) -> dict[str, Any]:
    """The schema of what is left out rather than null: a form's field, a parameter."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    kept = {
        key: value for key, value in field.items() if key != "anyOf" and (key, value) != ("default", None)
    }
    if not kinds:
        return kept
    return kept | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def _is_object(definitions: dict[str, Any], form: str, name: str) -> bool:
    """Whether a form sends the field as JSON text."""
    field = definitions[form]["properties"][name]
    field = definitions.get(str(field.get("$ref", "")).removeprefix(COMPONENTS), field)
    return bool(field.get("type") == "object")
