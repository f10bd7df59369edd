"""Refusing at the door what this process could not answer soon: a few requests at a time are quick, a hundred are not.

Beyond the limit a request costs one small answer, before its body is read, and those that were let in keep their
speed. A request counts while this process works on it, and not while it waits: for its client's bytes, for the end of a
job (`?wait=`), or, as a stream of events, for news.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import answer, problem_of
from models.errors import Overloaded

RETRY_SECONDS = 1
_NEVER_REFUSED = frozenset({"/livez", "/readyz", "/metrics"})
_CLOSED_ABOVE_BYTES = 1 << 20  # a larger body is not read to its end only to keep the connection


class _Place:
    """One request's place among those that are worked on."""

    __slots__ = ("_door", "_held")

    def __init__(self, door: Door) -> None:
        self._door, self._held = door, False

    def take(self) -> None:
        if not self._held:
            self._held = True
            self._door.inside += 1

    def leave(self) -> None:
        if self._held:
            self._held = False
            self._door.inside -= 1


_place: ContextVar[_Place | None] = ContextVar("place", default=None)


@contextmanager
def only_waiting() -> Iterator[None]:
    """Inside: this request waits for others and takes nobody's place."""
    place = _place.get()
    if place is None:
        yield
        return
    place.leave()
    try:
        yield
    finally:
        place.take()  # never refused now: it was let in, and what is left of it is little


class Door:
    """Middleware that lets `limit` requests in at a time, and answers 429 `overloaded` to the others."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app, self._limit = app, limit
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _NEVER_REFUSED:
            await self._app(scope, receive, send)
            return
        if self.inside >= self._limit:
            await _refuse(scope, receive, send)
            return
        place = _Place(self)

        async def receive_waiting() -> Message:
            place.leave()
            try:
                return await receive()
            finally:
                place.take()

        async def send_noticing(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_stream(message):
                place.leave()
            await send(message)

        token = _place.set(place)
        place.take()
        try:
            await self._app(scope, receive_waiting, send_noticing)
        finally:
            place.leave()
            _place.reset(token)


def _is_stream(start: Message) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream") for name, value in start["headers"]
    )


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    error = Overloaded(
        "More requests have come than this service can answer at a time. Nothing was started; try again.",
        code="overloaded",
        retry_after_seconds=RETRY_SECONDS,
    )
    headers = {"Retry-After": str(RETRY_SECONDS)}
    declared = Headers(scope=scope).get("content-length", "")
    if declared.isdecimal() and int(declared) > _CLOSED_ABOVE_BYTES:
        headers["Connection"] = "close"
    await answer(problem_of(error, scope["path"]), headers)(scope, receive, send)
