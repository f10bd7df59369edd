"""What holds for every request: a request id, a limit on the body, headers that keep browsers from guessing."""

from __future__ import annotations

import re
import uuid

import structlog
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.body_limit import BodyLimit, BodyLimits
from app.hosts import HostCheck, HostNames
from app.metrics import CountedRequests
from app.shedding import Door

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class AnswerHeaders:
    """Adds the security headers and what the request noted (`state.answer_fields`); log lines carry its id."""

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
                headers.update(scope.get("state", {}).get("answer_fields", {}))
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=correlation_id.get()):
            await self._app(scope, receive, send_with_headers)


def install(
    app: FastAPI,
    *,
    body_limits: BodyLimits,
    hosts: HostNames,
    max_concurrent_requests: int,
    max_waiting_requests: int,
) -> None:
    """`hosts`: see HostCheck."""
    app.add_middleware(BodyLimit, limits=body_limits)
    app.add_middleware(HostCheck, allowed=hosts)
    app.add_middleware(AnswerHeaders)
    app.add_middleware(
        CorrelationIdMiddleware,
        header_name="X-Request-ID",
        generator=lambda: uuid.uuid4().hex,
        validator=lambda value: bool(_REQUEST_ID.fullmatch(value)),
        transformer=lambda value: value,
    )
    app.add_middleware(
        Door, limit=max_concurrent_requests, waiting=max_waiting_requests
    )  # outside all that cost something
    app.add_middleware(CountedRequests)
