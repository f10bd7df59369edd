"""What holds for every request: a request id, a limit on the body, headers that keep browsers from guessing."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import structlog
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from app.answer_heads import AnswerHeads
from app.body_limit import BodyLimit, BodyLimits
from app.head_requests import HeadRequests
from app.hosts import HostCheck, HostNames
from app.request_counts import CountedRequests
from app.shedding import Door

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class AnswerHeaders(AnswerHeads):
    """Adds the security headers and what the request noted (`state.answer_fields`); log lines carry its id."""

    def begin(self, scope: Scope) -> Callable[[Message], None]:
        def add(head: Message) -> None:
            headers = MutableHeaders(scope=head)
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
            headers.update(scope.get("state", {}).get("answer_fields", {}))

        return add

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with structlog.contextvars.bound_contextvars(request_id=correlation_id.get()):
            await super().__call__(scope, receive, send)


def install(
    app: FastAPI,
    *,
    body_limits: BodyLimits,
    hosts: HostNames,
    max_concurrent_requests: int,
    max_waiting_requests: int,
) -> None:
    """`hosts`: see HostCheck."""
    app.add_middleware(HeadRequests)
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
