"""Refusing at the door what this process could not answer soon: a few requests at a time are quick, hundreds are not.

So many are worked on, so many more wait in line, and beyond that a request costs one small answer, before its body
is read: those that were let in keep their speed. A request counts while this process works on it, and not while it
waits: for its client's bytes, for the end of a job (`?wait=`), or, as a stream of events, for news.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import answer, problem_of
from models.errors import Overloaded

RETRY_SECONDS = 1
NEVER_REFUSED = frozenset({"/livez", "/readyz", "/metrics"})
_CLOSED_ABOVE_BYTES = 1 << 20  # a larger body is not read to its end only to keep the connection


class _Place:
    """One request's place among those that are worked on."""

    __slots__ = ("_door", "_held")

    def __init__(self, door: Door) -> None:
        self._door, self._held = door, False

    async def wait_for(self) -> None:
        await self._door.admit()
        self._held = True

    def take(self) -> None:
        """Without waiting: the request was let in before, and what is left of it is little."""
        if not self._held:
            self._held = True
            self._door.inside += 1

    def leave(self) -> None:
        if self._held:
            self._held = False
            self._door.release()


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
        place.take()


class Door:
    """Middleware that lets `limit` requests in at a time and `waiting` wait; others get 429 `overloaded`."""

    def __init__(self, app: ASGIApp, limit: int, waiting: int) -> None:
        self._app, self._limit, self._waiting = app, limit, waiting
        self._line: deque[asyncio.Future[None]] = deque()
        self.inside = 0

    async def admit(self) -> None:
        """Returns when there is a place, which is then the caller's."""
        if self.inside < self._limit:
            self.inside += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place was its own already
                self.release()
            raise

    def release(self) -> None:
        """Gives a place to who has waited longest."""
        while self._line and self.inside <= self._limit:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.inside -= 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in NEVER_REFUSED:
            await self._app(scope, receive, send)
            return
        if len(self._line) >= self._waiting and self.inside >= self._limit:
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

        await place.wait_for()
        token = _place.set(place)
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
