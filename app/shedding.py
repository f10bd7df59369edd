"""Refusing at the door what this process could not answer soon: a few requests at a time are quick, hundreds are not.

So many are worked on, so many more wait in line, and beyond that a request costs one small answer, before its body
is read: those that were let in keep their speed. A request counts while this process works on it, and not while it
waits: for its client's bytes, for the end of a job (`?wait=`), or, as a stream of events, for news.

Many more that only read may wait: they cost little, and all followers of all jobs come at once when a process was
started anew; a browser's EventSource gives up for good at a refusal.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import problem_of
from app.request_counts import count_refusal
from models.errors import Overloaded

RETRY_SECONDS = 1
READS_PER_WRITE = 16  # so many requests that read may wait where one that makes something may
NEVER_REFUSED = frozenset({"/livez", "/readyz", "/metrics"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_CLOSED_ABOVE_BYTES = 1 << 20  # a larger body is not read to its end only to keep the connection


class _Place:
    """One request's place among those that are worked on."""

    __slots__ = ("_door", "_held")

    def __init__(self, door: Door) -> None:
        self._door, self._held = door, False

    async def wait_for(self, reads: bool) -> None:
        await self._door.admit(reads)
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
    """Middleware that lets `limit` requests in at a time and `waiting` wait; others get 429 `overloaded`.

    All stand in one line, and of GET and HEAD, counted by themselves, 16 times as many may.
    """

    def __init__(self, app: ASGIApp, limit: int, waiting: int) -> None:
        self._app, self._limit = app, limit
        self._room = {False: waiting, True: waiting * READS_PER_WRITE}  # by whether a request only reads
        self._refusal = _Refusal()
        self._line: deque[asyncio.Future[None]] = deque()
        self._in_line = {False: 0, True: 0}
        self.inside = 0

    async def admit(self, reads: bool) -> None:
        """Returns when there is a place, which is then the caller's."""
        if self.inside < self._limit:
            self.inside += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        self._in_line[reads] += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place was its own already
                self.release()
            raise
        finally:
            self._in_line[reads] -= 1

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
        reads = scope["method"] in {"GET", "HEAD"}
        if self._in_line[reads] >= self._room[reads] and self.inside >= self._limit:
            await self._refusal.send(scope, send)
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

        await place.wait_for(reads)
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


class _Refusal:
    """The answer to those who are too many, made once but for the path and the request's id.

    Under an overload most of the work would otherwise be to say so.
    """

    def __init__(self) -> None:
        error = Overloaded(
            "More requests have come than this service can answer at a time. Nothing was started; try again.",
            code="overloaded",
            retry_after_seconds=RETRY_SECONDS,
        )
        document = problem_of(error, "@path").model_dump() | {"request_id": "@id"}
        whole = json.dumps(document, separators=(",", ":")).encode()
        self._before, _, rest = whole.partition(b'"@path"')
        self._between, _, self._after = rest.partition(b"@id")
        self._headers = [
            (b"retry-after", b"%d" % RETRY_SECONDS),
            (b"content-type", b"application/problem+json"),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
        ]

    async def send(self, scope: Scope, send: Send) -> None:
        count_refusal("overloaded")
        given = dict(scope["headers"])
        request_id: bytes = given.get(b"x-request-id", b"")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = uuid.uuid4().hex.encode()
        path = json.dumps(scope["path"]).encode()
        body = b"".join((self._before, path, self._between, request_id, self._after))
        headers = [*self._headers, (b"x-request-id", request_id), (b"content-length", b"%d" % len(body))]
        declared = given.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > _CLOSED_ABOVE_BYTES:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": body})
