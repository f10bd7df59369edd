"""Heads that come slowly, or not at all."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from deploy.http_protocol import StrictHttp
from tests.waiting import until


class Impatient(StrictHttp):
    head_seconds = 0.2


async def _hello(scope, receive, send):  # type: ignore[no-untyped-def]
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    """A connection to a server that waits 0.2 s for a head."""
    config = uvicorn.Config(
        _hello, port=0, http=Impatient, lifespan="off", log_config=None, timeout_keep_alive=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as found:
        yield found
    server.should_exit = True
    thread.join()


def everything(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    found = b""
    while data := connection.recv(65_536):
        found += data
    return found


def test_a_connection_that_says_nothing_is_closed(connection: socket.socket) -> None:
    assert everything(connection) == b""


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nHost: a", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_does_not_end_is_told(connection: socket.socket, sent: bytes) -> None:
    connection.sendall(sent)
    head, _, body = everything(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head
    problem = json.loads(body)
    assert (problem["code"], problem["retryable"]) == ("request_timeout", True)


def test_empty_lines_do_not_keep_a_connection(connection: socket.socket) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n\r\n")
    assert everything(connection).startswith(b"HTTP/1.1 200 ")


def test_the_second_head_has_a_time_of_its_own(connection: socket.socket) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT")
    found = everything(connection)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in found
