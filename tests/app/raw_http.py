"""Requests as bytes, and the answers to them: an HTTP client would mend what these tests send."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """`headers` by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The body, which must be a whole problem document."""
        assert self.headers["content-type"] == "application/problem+json", self
        found: dict[str, Any] = json.loads(self.body)
        assert {"type", "title", "status", "detail", "code", "request_id", "retryable"} <= found.keys()
        assert found["status"] == self.status
        return found

    @property
    def code(self) -> str:
        return str(self.problem["code"]) if self.status >= 400 else ""


def talk(port: int, sent: bytes, *, seconds: float = 10) -> tuple[list[Answer], bool]:
    """The answers on one connection, and whether the server closed it after them."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(sent)
        return _answers(connection, None)


def ask(port: int, sent: bytes, *, seconds: float = 10) -> Answer:
    """The first answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(sent)
        (found,), _ = _answers(connection, 1)
        return found


def request(
    target: str = "/livez",
    *fields: str,
    method: str = "GET",
    body: bytes = b"",
    host: str | None = "localhost",
    version: str = "HTTP/1.1",
) -> bytes:
    """A request of these lines and no other, but for Host, and Content-Length where there is a body."""
    lines = [f"{method} {target} {version}"]
    lines += [] if host is None else [f"Host: {host}"]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1") + body


def _answers(connection: socket.socket, wanted: int | None) -> tuple[list[Answer], bool]:
    """`wanted` answers, or as many as come before the connection is closed, or silent for a second."""
    found: list[Answer] = []
    buffer = b""
    if wanted is None:
        connection.settimeout(1)
    while True:
        parsed, buffer = _take(buffer)
        if parsed is not None:
            found.append(parsed)
            if len(found) == wanted:
                return found, False
            continue
        try:
            data = connection.recv(65_536)
        except TimeoutError:
            assert wanted is None, f"no answer; so far {buffer!r}"
            return found, False
        if not data:
            assert not buffer, f"closed in the middle of {buffer!r}"
            assert wanted is None, "closed without an answer"
            return found, True
        buffer += data


def _take(buffer: bytes) -> tuple[Answer | None, bytes]:
    head, end, rest = buffer.partition(b"\r\n\r\n")
    if not end:
        return None, buffer
    line, *fields = head.decode("latin-1").split("\r\n")
    status = int(line.split(" ")[1])
    headers = {}
    for text in fields:
        name, _, value = text.partition(":")
        assert name.lower() not in headers or name.lower() == "vary", f"{name} twice"
        headers[name.lower()] = value.strip()
    size = 0 if status in {100, 204, 304} else int(headers["content-length"])
    if len(rest) < size:
        return None, buffer
    return Answer(status, headers, rest[:size]), rest[size:]
