"""The published document: valid, complete, and true to the models; every operation with examples."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from openapi_spec_validator import validate
from pydantic import BaseModel, TypeAdapter

import app.routes
from app.document import codes_of, operations
from app.examples import EXAMPLES
from app.examples.problems import PROBLEMS
from tests.conformance import document, examples, faults

OPERATIONS = {operation["operationId"]: operation for _, _, operation in operations(document())}
ERRORS = (Path(__file__).parent.parent.parent / "docs" / "errors.md").read_text()


def routes() -> Iterator[APIRoute]:
    for module in pkgutil.iter_modules(app.routes.__path__):
        router = importlib.import_module(f"app.routes.{module.name}").router
        operations = (route for route in router.routes if isinstance(route, APIRoute))
        yield from (route for route in operations if route.include_in_schema)  # the page is no operation


def models(kind: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    for found in kind.__subclasses__():
        yield found
        yield from models(found)


def test_it_is_valid_openapi() -> None:
    assert document()["openapi"].startswith("3.1")
    validate(document())
    info = document()["info"]
    assert info["version"]
    assert info["description"]
    assert info["contact"]
    assert info["license"]["identifier"] == "Apache-2.0"
    assert document()["servers"] == [{"url": "/", "description": "where this document comes from"}]
    assert "HTTPValidationError" not in json.dumps(document())


def test_operations_and_examples_are_the_same_set() -> None:
    """A new route wants an entry in the file of its resource in `app/examples`."""
    assert OPERATIONS.keys() - EXAMPLES.keys() == set(), "operations without an entry in app/examples"
    assert EXAMPLES.keys() - OPERATIONS.keys() == set(), "entries in app/examples without an operation"


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_an_operation_is_described(name: str) -> None:
    operation = OPERATIONS[name]
    assert re.fullmatch(r"[a-z][a-z0-9_]+", name)
    assert 5 < len(operation["summary"]) <= 150
    assert operation["description"].startswith(operation["summary"])
    known = {tag["name"] for tag in document()["tags"]}
    assert len(operation["tags"]) == 1
    assert set(operation["tags"]) <= known, "a new tag wants a line in app/document_text.py"
    for parameter in operation.get("parameters", ()):
        assert parameter["in"] != "path" or "example" in parameter, (
            "say it in PATH of app/examples/example.py"
        )


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_an_operation_has_every_example(name: str) -> None:
    operation, example = OPERATIONS[name], EXAMPLES[name]
    content = operation.get("requestBody", {}).get("content", {})
    assert bool(example.bodies) == ("application/json" in content), "bodies"
    assert (example.form is not None) == ("multipart/form-data" in content), "form"
    good = {int(status) for status in operation["responses"] if int(status) < 400}
    assert set(example.answers) == good, "answers"
    refused = {int(status) for status in operation["responses"]} - good
    assert set(example.codes) <= refused, "codes of a status that the route does not declare"
    for status in refused:
        codes = codes_of(operation, example, status)
        assert codes, f"no code for {status}"
        for code in codes:
            assert code in PROBLEMS, f"{code} has no example in app/examples/problems.py"
            assert status in PROBLEMS[code].statuses, code
    for status in good:
        kinds = [*operation["responses"][str(status)].get("content", {})]
        texts = [kind for kind in kinds if kind.endswith("json") or kind.startswith("text/")]
        assert (example.answers[status] is not None) == bool(texts), f"the answer {status}"


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_examples_are_as_the_schemas_say(name: str) -> None:
    for place, schema, value in examples(OPERATIONS[name]):
        assert faults(schema, value) == [], place


@pytest.mark.parametrize("route", list(routes()), ids=lambda route: route.name)
def test_answers_are_what_the_models_make(route: APIRoute) -> None:
    """Read by the model and written again: no field is missing, none is one that the model does not have."""
    for status, body in EXAMPLES[route.name].answers.items():
        usual = route.response_model if status == (route.status_code or 200) else None
        model = route.responses.get(status, {}).get("model", usual)
        if model is None or not isinstance(body, dict):
            continue
        adapter = TypeAdapter(model)
        read = adapter.validate_python(body)
        written = adapter.dump_json(read, by_alias=True, exclude_none=route.response_model_exclude_none)
        assert without_times(json.loads(written)) == without_times(body)


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_requests_are_what_the_models_read(name: str) -> None:
    known = {model.__name__: model for model in models()}
    content = OPERATIONS[name].get("requestBody", {}).get("content", {}).get("application/json")
    for body in EXAMPLES[name].bodies.values() if content else ():
        model = known[content["schema"]["$ref"].rpartition("/")[2].removesuffix("Input")]
        model.model_validate_json(json.dumps(body), strict=True)


@pytest.mark.parametrize("code", list(PROBLEMS))
def test_problem_examples_are_documented_with_their_status(code: str) -> None:
    row = next(
        (line for line in ERRORS.splitlines() if f"`{code}`" in line.partition("|")[2].partition("|")[0]),
        None,
    )
    assert row is not None, f"{code} has no row in docs/errors.md"
    assert all(str(status) in row.split("|")[2] for status in PROBLEMS[code].statuses)


def test_every_problem_example_is_an_operations() -> None:
    used = {
        code
        for name, operation in OPERATIONS.items()
        for status in operation["responses"]
        if int(status) >= 400
        for code in codes_of(operation, EXAMPLES.get(name), int(status))
    }
    assert PROBLEMS.keys() - used == {"not_found"}  # an unknown path is no operation


def test_whoever_may_be_asked_for_a_key_is_told() -> None:
    (scheme,) = document()["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    open_to_all = {name for name, operation in OPERATIONS.items() if "security" not in operation}
    assert open_to_all == {"livez", "readyz"}
    for name, operation in OPERATIONS.items():
        assert (name in open_to_all) != ({"401", "403"} <= operation["responses"].keys()), name


def test_an_answer_has_one_shape() -> None:
    """Code generators cannot make much of a union; 200 and 202 of a POST that may wait are two answers."""
    answers = OPERATIONS["create_generation"]["responses"]
    shapes = {status: answers[status]["content"]["application/json"]["schema"] for status in ("200", "202")}
    assert shapes["202"] == {"$ref": "#/components/schemas/JobView"}
    either = [{"$ref": f"#/components/schemas/{name}"} for name in ("FinishedJobView", "CheckedView")]
    assert shapes["200"]["anyOf"] == either, "`validate_only` says which"
    for name, operation in OPERATIONS.items():
        for status, answer in operation["responses"].items():
            for media in answer.get("content", {}).values():
                assert status == "200" or "anyOf" not in media["schema"], (name, status)
                assert int(status) < 400 or set(answer["content"]) == {"application/problem+json"}


def test_headers() -> None:
    answers = OPERATIONS["create_generation"]["responses"]
    assert {"Location", "Retry-After", "Preference-Applied", "X-Request-ID"} <= answers["202"][
        "headers"
    ].keys()
    assert "Retry-After" in answers["429"]["headers"]
    assert "Retry-After" in answers["503"]["headers"]
    assert "Location" in OPERATIONS["create_mask"]["responses"]["201"]["headers"]
    asked = {parameter["name"] for parameter in OPERATIONS["get_job_events"]["parameters"]}
    assert "Last-Event-ID" in asked
    for _, method, operation in operations(document()):
        takes_key = "Idempotency-Key" in {one["name"] for one in operation.get("parameters", ())}
        assert takes_key == (method == "post"), operation["operationId"]
        for status, answer in operation["responses"].items():
            assert ("Idempotent-Replayed" in answer["headers"]) == (takes_key and int(status) < 300)
            assert ("WWW-Authenticate" in answer["headers"]) == (status in {"401", "403"})
            assert answer["headers"].keys() <= document()["components"]["headers"].keys()


def without_times(node: Any) -> Any:
    """The JSON with equal times written in one way."""
    if isinstance(node, dict):
        return {key: without_times(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_times(value) for value in node]
    return re.sub(r"(T\d\d:\d\d:\d\d)(\.\d+)?Z", r"\1Z", node) if isinstance(node, str) else node
