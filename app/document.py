"""The published contract: OpenAPI 3.1 from the routes, with an example of every operation, answer and refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.document_headers import HEADERS, REQUEST_HEADERS, headers_of
from app.document_text import ANSWERS, CONTACT, DESCRIPTION, LICENSE, PARAMETERS, TAGS, VERSION
from app.examples import EXAMPLES
from app.examples.example import PATH, Example
from app.examples.problems import PROBLEMS, REPEATED, USUAL, problem_example
from app.openapi import COMPONENTS, DEFINITIONS, PROBLEM_TYPE, without_null
from app.problems import Problem
from app.shedding import NEVER_REFUSED

Document = dict[str, Any]
_METHODS = frozenset({"get", "put", "post", "delete", "patch"})
_JOB = {"$ref": f"{COMPONENTS}JobView"}
_BINARY = {"type": "string", "format": "binary"}


def operation_id(route: APIRoute) -> str:
    """The route's function name: what generated clients call the operation."""
    return route.name


def install(app: FastAPI) -> None:
    """Makes the application publish the finished document, which is made when it is first asked for."""
    generated = app.openapi
    made: list[Document] = []

    def openapi() -> Document:
        if not made:
            made.append(finished(generated))
        return made[0]

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to change the document


def finished(generated: Callable[[], Document]) -> Document:
    """FastAPI's document with what it cannot know: headers, examples, problem codes, one shape an answer."""
    document = generated()
    document["info"] |= {
        "version": VERSION,
        "description": DESCRIPTION,
        "contact": CONTACT,
        "license": LICENSE,
    }
    document["servers"] = [{"url": "/", "description": "where this document comes from"}]
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas.setdefault("Problem", _problem_schema(schemas))
    problems: dict[str, Any] = {}
    for path, method, operation in operations(document):
        _place_definitions(operation, schemas)
        _summarise(operation)
        _parameters(operation, method)
        _callers_refusals(path, operation)
        example = EXAMPLES.get(operation["operationId"])
        for status, answer in operation["responses"].items():
            problems |= _answer(operation, int(status), answer, example)
        if example is not None:
            _requests(operation, example)
    components["examples"] = dict(sorted(problems.items()))
    components["headers"] = HEADERS
    tagged = {tag for _, _, operation in operations(document) for tag in operation["tags"]}
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items() if name in tagged]
    return document


def operations(document: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation of everything in the document."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, method, operation


def codes_of(operation: dict[str, Any], example: Example | None, status: int) -> tuple[str, ...]:
    """The stable codes with which the operation answers that status."""
    special = example.codes.get(status) if example is not None else None
    codes = USUAL.get(status, ()) if special is None else special
    if status == 400 and "requestBody" not in operation:
        codes = ()
    asked = {parameter["name"] for parameter in operation.get("parameters", ())}
    return (*codes, *REPEATED.get(status, ())) if "Idempotency-Key" in asked else codes


def _problem_schema(schemas: dict[str, Any]) -> dict[str, Any]:
    schema = Problem.model_json_schema(mode="serialization", ref_template=COMPONENTS + "{model}")
    schemas.update(schema.pop("$defs", {}))
    return schema


def _place_definitions(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Moves the schemas of the request body to the others.

    A name that answers use for another shape (there every field is always said) is followed by "Input".
    """
    definitions: dict[str, Any] = operation.pop(DEFINITIONS, {})
    renamed = {
        name: f"{name}Input"
        for name, schema in definitions.items()
        if name in schemas and schemas[name] != schema
    }
    for name, schema in definitions.items():
        schemas[renamed.get(name, name)] = _renamed(schema, renamed)
    if "requestBody" in operation:
        operation["requestBody"] = _renamed(operation["requestBody"], renamed)


def _renamed(node: Any, names: dict[str, str]) -> Any:
    """The schema with its references to those names changed."""
    if isinstance(node, dict):
        return {
            key: COMPONENTS + names.get(value.removeprefix(COMPONENTS), value.removeprefix(COMPONENTS))
            if key == "$ref" and isinstance(value, str)
            else _renamed(value, names)
            for key, value in node.items()
        }
    return [_renamed(value, names) for value in node] if isinstance(node, list) else node


def _summarise(operation: dict[str, Any]) -> None:
    """The first sentence of the docstring is the summary."""
    first = operation["description"].partition("\n\n")[0].replace("\n", " ")
    operation["summary"] = first.partition(". ")[0].rstrip(".")


def _callers_refusals(path: str, operation: dict[str, Any]) -> None:
    """Whoever needs a key may lack it, or its scope, or misspell a parameter; anybody comes too often, or is slow."""
    counted = "security" in operation or path not in NEVER_REFUSED  # for a key's rate, or at the door
    statuses = [429] if counted else []
    statuses += [401, 403, 422, 503] if "security" in operation else []
    statuses += [408, 413] if "requestBody" in operation else []
    if any(parameter["in"] in {"path", "query"} for parameter in operation.get("parameters", ())):
        statuses.append(414)  # from the web server itself
    for status in statuses:
        operation["responses"].setdefault(str(status), {})


def _parameters(operation: dict[str, Any], method: str) -> None:
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        parameter["schema"] = without_null(parameter["schema"])
        if parameter["in"] == "path" and parameter["name"] in PATH:
            parameter["example"] = PATH[parameter["name"]]
        if parameter["in"] == "header":
            parameter["name"] = _header(parameter["name"])
        if not parameter.get("description") and parameter["name"] in PARAMETERS:
            parameter["description"] = PARAMETERS[parameter["name"]]
    known = {parameter["name"].lower() for parameter in parameters if parameter["in"] == "header"}
    for header in REQUEST_HEADERS.get(method, ()):
        if header["name"].lower() not in known:
            parameters.append(header)
    if not parameters:
        del operation["parameters"]


def _header(name: str) -> str:
    """last-event-id → Last-Event-ID"""
    return "-".join("ID" if word == "id" else word.capitalize() for word in name.split("-"))


def _answer(
    operation: dict[str, Any], status: int, answer: dict[str, Any], example: Example | None
) -> dict[str, Any]:
    """Completes one answer; returns the examples of the problems that it refers to."""
    names = headers_of(operation, status)
    answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    if status >= 400:
        codes = codes_of(operation, example, status)
        answer["content"] = {PROBLEM_TYPE: {"schema": {"$ref": f"{COMPONENTS}Problem"}}}
        answer["description"] = " · ".join(f"`{code}`" for code in codes) or "see `code`"
        known = dict(problem_example(code, status) for code in codes if code in PROBLEMS)
        answer["content"][PROBLEM_TYPE]["examples"] = {
            name: {"$ref": f"#/components/examples/{name}"} for name in known
        }
        return known
    if answer["description"] == "Successful Response":
        answer["description"] = ANSWERS[status]
    content = answer.get("content", {})
    if status in {204, 307}:
        content.clear()
        answer.pop("content", None)
    for kind, media in content.items():
        if kind == "text/event-stream":  # it is no string, which FastAPI takes it for
            media["schema"] = {}
        elif not media.get("schema"):
            media["schema"] = dict(_BINARY)
        if status == 202:
            _one_shape(media)
        if example is not None and example.answers.get(status) is not None and kind in _shown(content):
            media["examples"] = {"example": {"value": example.answers[status]}}
    return {}


def _shown(content: dict[str, Any]) -> list[str]:
    """The media type that an example of the answer is in: JSON where there is any, no binary one."""
    json_types = [kind for kind in content if kind.endswith("json")]
    return json_types or [kind for kind in content if kind.startswith("text/")]


def _one_shape(media: dict[str, Any]) -> None:
    """202 is always the job: generators want one shape, and 200 tells the others."""
    if _JOB in media["schema"].get("anyOf", ()):
        media["schema"] = dict(_JOB)


def _requests(operation: dict[str, Any], example: Example) -> None:
    content = operation.get("requestBody", {}).get("content", {})
    if example.bodies and "application/json" in content:
        content["application/json"]["examples"] = {
            f"example_{number}": {"summary": summary, "value": body}
            for number, (summary, body) in enumerate(example.bodies.items(), 1)
        }
    if example.form is not None and "multipart/form-data" in content:
        content["multipart/form-data"]["examples"] = {"example": {"value": dict(example.form)}}
