"""What the service answers, held against the document that it publishes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import jsonschema_rs

from app.document import operations
from app.main import create_app

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@cache
def document() -> dict[str, Any]:
    """The published document of this code."""
    return create_app().openapi()


@cache
def validator(reference: str) -> jsonschema_rs.Validator:
    """Checks JSON against a schema that the document has at that pointer ("#/components/schemas/JobView")."""
    return jsonschema_rs.validator_for(
        {"$schema": DIALECT, "components": document()["components"], "$ref": reference}
    )


def faults(schema: dict[str, Any], value: Any) -> list[str]:
    """What of the JSON is not as the schema of the document says."""
    if set(schema) == {"$ref"}:
        found = validator(schema["$ref"])
    else:
        whole = {"$schema": DIALECT, "components": document()["components"], **schema}
        found = jsonschema_rs.validator_for(whole)
    return [
        f"{'/'.join(map(str, one.instance_path))}: {one.message[:300]}" for one in found.iter_errors(value)
    ]


def conforms(response: httpx.Response) -> None:
    """Asserts that the operation may give this answer: its status, its media type, its JSON.

    What is no operation (an unknown path, a method that a path does not have) is not looked at.
    """
    request = response.request
    found = _operation(request.method.lower(), request.url.path)
    if found is None or response.status_code == 405:
        return
    where = f"{request.method} {request.url.path}"
    answer = found["responses"].get(str(response.status_code))
    assert answer is not None, f"{where}: {response.status_code} is not documented"
    kind = response.headers.get("content-type", "").partition(";")[0]
    ok = found["responses"].get("200")
    content = answer.get("content", {})
    assert (kind in content) or not content, f"{where}: {response.status_code} as {kind} is not documented"
    for name in answer["headers"]:
        sure = {"X-Request-ID", "Retry-After", "WWW-Authenticate"} | (
            {"Location"} if answer is not ok else set()
        )
        if name in sure:
            assert name in response.headers, f"{where}: {response.status_code} without {name}"
    if kind.endswith("json") and content:
        response.read()
        wrong = faults(content[kind]["schema"], response.json())
        assert not wrong, f"{where}: {wrong[:5]}"


@cache
def _patterns() -> list[tuple[str, re.Pattern[str], dict[str, Any]]]:
    found = [
        (method, re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path))), operation)
        for path, method, operation in operations(document())
    ]
    return sorted(found, key=lambda entry: "[^/]" in entry[1].pattern)  # fixed paths first, as the routes do


def _operation(method: str, path: str) -> dict[str, Any] | None:
    return next(
        (
            operation
            for known, pattern, operation in _patterns()
            if known == method and pattern.fullmatch(path)
        ),
        None,
    )


def examples(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every example of the operation: where it stands, its schema, the value."""
    places = {"request": operation.get("requestBody", {})} | operation["responses"]
    for place, part in places.items():
        for kind, media in part.get("content", {}).items():
            for example in media.get("examples", {}).values():
                value = example
                if "$ref" in example:
                    value = document()["components"]["examples"][example["$ref"].rpartition("/")[2]]
                yield f"{place} {kind}", media["schema"], value["value"]
