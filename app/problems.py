"""The one table that turns an error into a status code, and every answer ≥ 400 into problem+json (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from app.request_counts import count_refusal
from models import errors
from models.errors import EarthSynthError, FieldError
from worker.logs import get_logger

log = get_logger(__name__)

STATUS: Mapping[type[EarthSynthError], HTTPStatus] = {
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UnsupportedFormat: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.TooSlow: HTTPStatus.REQUEST_TIMEOUT,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Gone: HTTPStatus.GONE,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.Malformed: HTTPStatus.BAD_REQUEST,
    errors.Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.SynthesisError: HTTPStatus.INTERNAL_SERVER_ERROR,
    EarthSynthError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
_HTTP_CODES = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
}
# These OGC 18-062r2 names; all others are ours.
_TYPES = {
    code: f"http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/{code.replace('_', '-')}"
    for code in ("no_such_process", "no_such_job", "result_not_ready")
}
# RFC 6750: how to authenticate, and why that was not enough
_CHALLENGES = {
    "missing_key": 'Bearer realm="earthsynth"',
    "invalid_key": 'Bearer realm="earthsynth", error="invalid_token"',
    "missing_scope": 'Bearer realm="earthsynth", error="insufficient_scope"',
}
_RANGE = ("greater_than_equal", "less_than_equal", "greater_than", "less_than", "finite_number")
_FIELD_CODES = dict.fromkeys(_RANGE, "out_of_range") | {
    "extra_forbidden": "unknown_field",
    "invalid_text": "invalid_text",
    "missing": "missing_field",
}


class ProblemField(BaseModel):
    pointer: str = Field(description="RFC 6901 pointer into the body, or the parameter's name")
    message: str


class Problem(BaseModel):
    """RFC 9457. `code` is stable; docs/errors.md lists every one."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    code: str
    errors: list[ProblemField] = []
    request_id: str | None = None
    retryable: bool = False


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    fields: tuple[FieldError, ...] = (),
    retryable: bool = False,
    instance: str | None = None,
) -> Problem:
    return Problem(
        type=_TYPES.get(code, f"urn:earthsynth:problem:{code}"),
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=instance,
        code=code,
        errors=[ProblemField(pointer=found.pointer, message=found.message) for found in fields],
        request_id=correlation_id.get(),
        retryable=retryable,
    )


def status_of(error: EarthSynthError) -> HTTPStatus:
    """The table's row of the error's nearest class."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem_of(error: EarthSynthError, instance: str) -> Problem:
    """The problem document of one of our errors."""
    return problem(
        status_of(error),
        error.code,
        error.message,
        fields=error.errors,
        retryable=error.retryable,
        instance=instance,
    )


def answer(found: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The document as an answer, which is counted."""
    count_refusal(found.code)
    return JSONResponse(
        found.model_dump(),
        status_code=found.status,
        headers=dict(headers or {}),
        media_type="application/problem+json",
    )


def install(app: FastAPI) -> None:
    """Registers the handlers."""
    app.add_exception_handler(EarthSynthError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EarthSynthError)  # noqa: S101  (registered for this class only)
    headers: dict[str, str] = {}
    if (retry_after := getattr(error, "retry_after_seconds", None)) is not None:
        headers["Retry-After"] = str(retry_after)
    if error.code in _CHALLENGES:
        headers["WWW-Authenticate"] = _CHALLENGES[error.code]
    return answer(problem_of(error, _place(request)), headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Names each wrong field; never echoes the input, which may be hostile or huge."""
    assert isinstance(error, RequestValidationError | ValidationError)  # noqa: S101
    faults: list[Any] = list(error.errors())[:100]
    broken = next((fault for fault in faults if fault["type"] in {"json_invalid", "json_type"}), None)
    if broken is not None:
        detail = "The body is not valid JSON: " + str(broken["msg"]).removeprefix("Invalid JSON: ")
        return answer(problem(400, "malformed_json", detail[:300], instance=_place(request)))
    fields = tuple(FieldError(_pointer(fault["loc"]), str(fault["msg"])[:300]) for fault in faults)
    code = _FIELD_CODES.get(faults[0]["type"], "invalid_request")
    detail = f"{fields[0].pointer}: {fields[0].message}"
    return answer(problem(422, code, detail, fields=fields, instance=_place(request)))


def _pointer(location: tuple[int | str, ...]) -> str:
    parts = [str(part) for part in location]
    if parts and parts[0] in {"body", "query", "path", "header"}:
        parts = parts[1:]
    return "/" + "/".join(part.replace("~", "~0").replace("/", "~1")[:100] for part in parts)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    code = _HTTP_CODES.get(error.status_code, "http_error")
    found = problem(error.status_code, code, str(error.detail), instance=_place(request))
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(_allowed(request))}
        found.detail = f"This path takes {headers['Allow']}."
    return answer(found, headers)


def _allowed(request: Request) -> list[str]:
    """The methods of the path; Starlette names those of one route only, and a path may have several."""
    path = request.scope["path"]
    found = [route for route in iter_route_contexts(request.app.routes) if route.path_regex.match(path)]
    methods = {method for route in found if route.path == found[0].path for method in route.methods or ()}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _place(request: Request) -> str:
    """The path as it was asked for, so that it is a URI; cut, since it may be long."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw.decode("ascii", "backslashreplace")[:200]


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error", path=_place(request), exc_info=error)
    detail = "The service met an unexpected error. Try again; if it stays, report the request_id."
    return answer(problem(500, "internal_error", detail, retryable=True, instance=_place(request)))
