"""A client that sends prebuilt requests at a fixed rate, whatever the answers do, and costs next to no CPU.

A latency counts from the moment at which a request should have been sent, so that a server that stalls is not spared
the requests that were due meanwhile.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

CONNECTIONS = 400  # more are not opened: what is due then waits, and its latency says so


@dataclass(frozen=True, slots=True)
class Answer:
    """Seconds from when the request was due. Status 0: the connection broke."""

    status: int
    seconds: float
    head: bytes

    def header(self, name: bytes) -> bytes | None:
        """The value of a header; its name is given in lower case."""
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.lower() == name:
                return value.strip()
        return None


@dataclass
class Load:
    """What came back."""

    seconds: float
    answers: list[Answer] = field(default_factory=list)

    @property
    def statuses(self) -> Counter[int]:
        return Counter(answer.status for answer in self.answers)

    def latency(self, share: float, *statuses: int) -> float:
        """The quantile in milliseconds of the answers with one of these statuses."""
        found = sorted(answer.seconds for answer in self.answers if answer.status in statuses)
        return 1000 * found[min(len(found) - 1, int(share * len(found)))] if found else float("nan")


def with_key(request: bytes) -> bytes:
    """The request with an Idempotency-Key of its own."""
    line, _, rest = request.partition(b"\r\n")
    return b"%s\r\nIdempotency-Key: %s\r\n%s" % (line, uuid.uuid4().hex.encode(), rest)


def multipart(path: str, host: str, name: str, file: bytes, **fields: str) -> bytes:
    """A whole request: a form with one PNG and some fields."""
    boundary = b"----5e1c8b7a"
    parts = [
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        % (boundary, key.encode(), value.encode())
        for key, value in fields.items()
    ]
    parts.append(
        b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="m.png"\r\n'
        b"Content-Type: image/png\r\n\r\n%s\r\n" % (boundary, name.encode(), file)
    )
    body = b"".join(parts) + b"--%s--\r\n" % boundary
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; "
        f"boundary={boundary.decode()}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self._due: float | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none of asyncio's classes

    def send(self, request: bytes, due: float) -> None:
        self._due, self._buffer = due, b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._buffer.lower().find(b"content-length:", 0, end)
        length = int(self._buffer[at + 15 : self._buffer.find(b"\r\n", at)])
        if len(self._buffer) < end + 4 + length:
            return
        head = self._buffer[:end]
        assert self._due is not None
        self._sender.note(Answer(int(head[9:12]), time.perf_counter() - self._due, head))
        self._due = None
        if b"connection: close" in head.lower():
            self.transport.close()
        else:
            self._sender.idle(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._due is not None:
            self._sender.note(Answer(0, time.perf_counter() - self._due, b""))
        self._sender.lost(self)


class _Sender:
    def __init__(self, host: str, port: int, load: Load, expected: int) -> None:
        self._host, self._port, self._load, self._expected = host, port, load, expected
        self._idle: list[_Connection] = []
        self._open = 0
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self.done = asyncio.Event()

    def submit(self, request: bytes, due: float) -> None:
        if self._idle:
            self._idle.pop().send(request, due)
            return
        self._waiting.append((request, due))
        self._another()

    def _another(self) -> None:
        if self._open < CONNECTIONS:
            self._open += 1
            task = asyncio.ensure_future(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
        self.idle(made)

    def idle(self, connection: _Connection) -> None:
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        self._open -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting:
            self._another()

    def note(self, answer: Answer) -> None:
        self._load.answers.append(answer)
        if len(self._load.answers) == self._expected:
            self.done.set()

    def close(self) -> None:
        for connection in list(self._idle):
            connection.transport.close()


async def fire(host: str, port: int, requests: Sequence[bytes], *, rate: float, patience: float = 60) -> Load:
    """Sends the requests at `rate` a second and waits for every answer, `patience` seconds after the last at most."""
    load = Load(seconds=len(requests) / rate)
    sender = _Sender(host, port, load, len(requests))
    began = time.perf_counter()
    for number, request in enumerate(requests):
        due = began + number / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        sender.submit(request, due)
    async with asyncio.timeout(patience):
        await sender.done.wait()
    load.seconds = max(time.perf_counter() - began, load.seconds)
    sender.close()
    return load
