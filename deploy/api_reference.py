"""docs/api.md, made from the document that the service publishes: python -m deploy.api_reference docs/api.md"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from app.document import Document, operations
from app.examples import EXAMPLES
from app.examples.example import PATH, Example
from app.main import create_app
from deploy.api_types import fields_table, lines_of, name_of, names_in, row, words

_HEAD = """\
# HTTP reference

<!-- Made by `make docs` from the OpenAPI document, and checked by a test: change the code, not this file. -->
"""
_HOST = "localhost:8000"


def reference(document: Document) -> str:
    """The whole page: every resource with its operations, then every object."""
    schemas = document["components"]["schemas"]
    parts = [_HEAD, document["info"]["description"], "", *_contents(document)]
    shown: dict[str, str] = {}
    for tag in document["tags"]:
        parts += ["", f"## {tag['name'].capitalize()}", "", tag["description"]]
        for path, method, operation in operations(document):
            if operation["tags"] == [tag["name"]]:
                parts += ["", *_operation(path, method, operation, schemas, shown)]
    parts += ["", *_headers(document), "", "## Objects", "", "Every field of an answer is always there.", ""]
    answered = _reached(schemas, (operation["responses"] for _, _, operation in operations(document)))
    asked = _reached(schemas, (operation.get("requestBody") for _, _, operation in operations(document)))
    whole = {
        name_of(media["schema"])
        for _, _, operation in operations(document)
        for media in operation.get("requestBody", {}).get("content", {}).values()
    }
    for name in sorted((asked - whole) | answered, key=str.lower):
        parts += _object(name, schemas, asked=name not in answered)
    return "\n".join(parts).rstrip() + "\n"


def _contents(document: Document) -> Iterator[str]:
    yield "| operation | | |"
    yield "|---|---|---|"
    for tag in document["tags"]:
        for path, method, operation in operations(document):
            if operation["tags"] == [tag["name"]]:
                name = operation["operationId"]
                yield row([f"[{name}](#{name})", f"`{method.upper()} {path}`", operation["summary"]])


def _operation(
    path: str, method: str, operation: dict[str, Any], schemas: Mapping[str, Any], shown: dict[str, str]
) -> Iterator[str]:
    """One operation. `shown`: answers that stand above, and in which operation."""
    yield f"### {operation['operationId']}"
    yield ""
    yield f"`{method.upper()} {path}`"
    yield ""
    yield operation["description"]
    if operation.get("security"):
        yield ""
        yield "Wants `Authorization: Bearer …`."
    parameters = operation.get("parameters", [])
    if parameters:
        yield ""
        yield "| parameter | in | type | meaning |"
        yield "|---|---|---|---|"
        for one in parameters:
            kind = words(one["schema"], schemas).removesuffix(" or null")
            if "default" in one["schema"] and one["schema"]["default"] not in {None, ""}:
                kind += f", default {json.dumps(one['schema']['default'])}"
            yield row([f"`{one['name']}`", one["in"], kind, one.get("description", "")])
    yield from _body(operation, schemas)
    yield from _examples(path, method, operation, shown)
    yield from _answers(operation, schemas)


def _body(operation: dict[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        return
    form = content.get("multipart/form-data")
    media = content.get("application/json") or form
    shape = schemas[name_of(media["schema"]) or ""]
    yield ""
    yield "Body: JSON" + (", or the same fields as `multipart/form-data`." if form else ".")
    if shape.get("description"):
        yield shape["description"]
    yield ""
    yield from fields_table(shape, schemas, asked=True)


def _examples(path: str, method: str, operation: dict[str, Any], shown: dict[str, str]) -> Iterator[str]:
    example = EXAMPLES[operation["operationId"]]
    yield ""
    yield "```console"
    if example.form is not None:
        yield f"$ curl {_form(example.form)} {_url(path, example)}"
    for body in example.bodies.values():
        text = json.dumps(body, ensure_ascii=False)
        yield f"$ curl -H 'Content-Type: application/json' -d {shlex.quote(text)} {_url(path, example)}"
    if example.form is None and not example.bodies:
        verb = "" if method == "get" else f"-X {method.upper()} "
        yield f"$ curl {verb}{_url(path, example)}"
    yield "```"
    status, answer = next(iter(example.answers.items()))
    if isinstance(answer, str):
        yield from ("", "```text", answer.rstrip(), "```")
    elif answer is not None:
        text = lines_of(answer)
        if text in shown:
            yield from ("", f"{status}: as in [{shown[text]}](#{shown[text]}).")
            return
        shown[text] = operation["operationId"]
        yield from ("", f"{status}:", "", "```json", text, "```")


def _url(path: str, example: Example) -> str:
    for name, value in {**PATH, **example.path}.items():
        path = path.replace("{" + name + "}", str(value))
    query = f"?{urlencode(example.query)}" if example.query else ""
    return shlex.quote(f"{_HOST}{path}{query}")


def _form(form: Mapping[str, Any]) -> str:
    parts = []
    for name, value in form.items():
        text = ",".join(value) if isinstance(value, list) else value
        text = text if isinstance(text, str) else json.dumps(text)
        parts.append("-F " + shlex.quote(f"{name}={text}"))
    return " ".join(parts)


def _answers(operation: dict[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "| status | answer | headers |"
    yield "|---|---|---|"
    for status, answer in sorted(operation["responses"].items()):
        headers = ", ".join(f"`{name}`" for name in answer["headers"] if name != "X-Request-ID")
        if int(status) >= 400:
            yield row([status, answer["description"], headers])
            continue
        kinds = [
            f"{words(media['schema'], schemas)}{'' if kind == 'application/json' else f' ({kind})'}"
            for kind, media in answer.get("content", {}).items()
        ]
        text = answer["description"]
        text = f"{text}: " if kinds else text
        yield row([status, text + " or ".join(kinds), headers])


def _headers(document: Document) -> Iterator[str]:
    yield "## Headers of answers"
    yield ""
    yield "| header | meaning |"
    yield "|---|---|"
    for name, header in document["components"]["headers"].items():
        yield row([f"`{name}`", header["description"]])


def _reached(schemas: Mapping[str, Any], roots: Iterable[Any]) -> set[str]:
    """The components that those parts of the document are made of, whole."""
    waiting = [name for root in roots for name in names_in(root)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in schemas and name not in seen:
            seen.add(name)
            waiting += names_in(schemas[name])
    return seen


def _object(name: str, schemas: Mapping[str, Any], *, asked: bool) -> list[str]:
    schema = schemas[name]
    if "enum" in schema:
        return []
    text = schema.get("description", "")
    return [f"### {name}", "", *([text, ""] if text else []), *fields_table(schema, schemas, asked=asked), ""]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(create_app().openapi()))
