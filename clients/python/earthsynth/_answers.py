"""Answers: JSON into records, problem documents into errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from earthsynth.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    EarthSynthError,
    FieldError,
    RequestError,
    UnexpectedAnswer,
    class_for,
)
from earthsynth.retries import retry_after

T = TypeVar("T", bound=BaseModel)
_BROKEN = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, httpx.ProxyError)


def parse(kind: type[T], response: httpx.Response) -> T:
    """The record. Raises UnexpectedAnswer."""
    return record(kind, json_of(response))


def record(kind: type[T], data: object) -> T:
    """The JSON object as a record. Raises UnexpectedAnswer."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise UnexpectedAnswer(
            f"the answer is no {kind.__name__}: {place}: {fault['msg']}; is this client as new as the service?"
        ) from error


def items(kind: type[T], response: httpx.Response) -> list[T]:
    """The items of a list that comes in one page."""
    data = json_of(response)
    return TypeAdapter(list[kind]).validate_python(data.get("items", []))  # type: ignore[valid-type]


def json_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of the answer. Raises UnexpectedAnswer."""
    found = json_object(response)
    if found is None:
        raise UnexpectedAnswer(
            f"{response.request.url} answered {response.status_code} without a JSON object; is it EarthSynth?"
        )
    return found


def json_object(response: httpx.Response) -> dict[str, Any] | None:
    """The JSON object of the answer; None where it is something else, as a proxy's page."""
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def refusal(response: httpx.Response) -> APIError:
    """The error that an answer with a status of 400 or more, read to its end, stands for."""
    status = response.status_code
    return problem_error(status, json_object(response) or {}, response.headers, str(response.request.url))


def problem_error(status: int, problem: Mapping[str, Any], headers: Mapping[str, str], url: str) -> APIError:
    """Where it is no problem document, somebody else than the service answered: that may pass on 5xx."""
    code = problem.get("code")
    ours = isinstance(code, str)
    detail = problem.get("detail") or problem.get("title")
    if not isinstance(detail, str):
        detail = f"{url} answered {status} without a problem document; is it EarthSynth?"
    fields = problem.get("errors")
    return class_for(status)(
        detail,
        status=status,
        code=code if isinstance(code, str) else "http_error",
        errors=tuple(
            FieldError(str(one.get("pointer", "")), str(one.get("message", "")))
            for one in (fields if isinstance(fields, list) else ())
            if isinstance(one, dict)
        ),
        request_id=problem.get("request_id") or headers.get("x-request-id"),
        retryable=bool(problem.get("retryable")) if ours else status >= 500,
        retry_after_seconds=retry_after(headers),
    )


def redirected(response: httpx.Response) -> UnexpectedAnswer:
    place = response.headers.get("location", "elsewhere")
    return UnexpectedAnswer(
        f"{response.request.url} redirects to {place}; set base_url to where the service is"
    )


def broken(error: httpx.TransportError, url: str, what: str) -> EarthSynthError:
    """What a failed exchange with `url` about `what` means; only broken connections are worth another attempt."""
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
        return APIConnectionError(f"{url} is not reachable: {reason}")
    if isinstance(error, httpx.TimeoutException):
        return APITimeoutError(f"{url} did not answer {what} in time: {reason}")
    if isinstance(error, _BROKEN):
        return APIConnectionError(f"{url} did not answer {what}: {reason}")
    return RequestError(f"{url} cannot be asked: {reason}")
