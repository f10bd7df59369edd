"""Receivers of webhooks on loopback: each does with a connection what a test says, and keeps what it was told."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Call:
    """One request, as it came."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """The message, once the reference library has verified its signature."""
        found: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return found


Behaviour = Callable[[socket.socket, Call], None]


@dataclass
class Receiver:
    """Where it listens, what it does, and what it saw: calls, names by SNI."""

    host: str
    port: int
    behaviour: Behaviour
    calls: list[Call] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/hook?a=1"


def answer(status: int, *headers: str, body: bytes = b"") -> Behaviour:
    """Answers every call with that status."""
    head = "\r\n".join((f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""))
    return lambda connection, call: connection.sendall(head.encode() + body)


def raw(data: bytes) -> Behaviour:
    """Answers every call with these bytes and closes."""
    return lambda connection, call: connection.sendall(data)


@contextmanager
def receiver(
    behaviour: Behaviour, tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1"
) -> Iterator[Receiver]:
    """A receiver that answers while the block runs."""
    with socket.create_server((host, 0)) as server:
        found = Receiver(host, server.getsockname()[1], behaviour)
        if tls is not None:
            tls.sni_callback = lambda connection, name, context: found.names.append(name)
        threading.Thread(target=_serve, args=(server, found, tls), daemon=True).start()
        yield found


def _serve(server: socket.socket, found: Receiver, tls: ssl.SSLContext | None) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # closed: the test is over
            return
        threading.Thread(target=_talk, args=(connection, found, tls), daemon=True).start()


def _talk(connection: socket.socket, found: Receiver, tls: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError), connection:
        connection.settimeout(30)
        talking = tls.wrap_socket(connection, server_side=True) if tls else connection
        with talking:
            call = _read(talking)
            found.calls.append(call)
            found.behaviour(talking, call)


def _read(connection: socket.socket) -> Call:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise OSError("closed")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in fields)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    return Call(line, headers, body)
