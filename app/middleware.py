"""What holds for every request: a request id, a limit on the body, headers that keep browsers from guessing."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping

import structlog
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.hosts import HostCheck, HostNames
from app.problems import answer, problem_of
from models.errors import TooLarge

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class AnswerHeaders:
    """Adds the security headers, and binds the request id to this request's log lines."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=correlation_id.get()):
            await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses a body over the limit: by its declared length at once, else as soon as the stream passes it.

    FastAPI's own `max_body_size` answers in plain text, from outside the exception handlers.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_form_bytes: Mapping[str, int]) -> None:
        self._app, self._max_bytes, self._max_form_bytes = app, max_bytes, max_form_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        declared, limit = headers.get("content-length", ""), self._max_bytes
        if headers.get("content-type", "").lower().startswith("multipart/form-data"):
            limit = self._max_form_bytes.get(scope["path"], limit)
        seen = 0

        async def receive_counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _too_large(limit)
            return message

        if declared.isdecimal() and int(declared) > limit:
            refusal = answer(problem_of(_too_large(limit), scope["path"]), {"Connection": "close"})
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive_counted, send)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes, the limit of this service.")


def install(
    app: FastAPI, *, hosts: HostNames, max_body_bytes: int, max_form_bytes: Mapping[str, int]
) -> None:
    """`hosts`: see HostCheck. `max_form_bytes`: paths whose forms are streamed to disk, with a limit of their own."""
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes, max_form_bytes=max_form_bytes)
    app.add_middleware(HostCheck, allowed=hosts)
    app.add_middleware(AnswerHeaders)
    app.add_middleware(
        CorrelationIdMiddleware,
        header_name="X-Request-ID",
        generator=lambda: uuid.uuid4().hex,
        validator=lambda value: bool(_REQUEST_ID.fullmatch(value)),
        transformer=lambda value: value,
    )
