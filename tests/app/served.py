"""The API of any settings on a port of its own, in a thread of the test process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.api_server import api_server
from tests.waiting import until
from worker.settings import Settings


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Its base URL, while it runs as it does in its own process."""
    server = api_server(settings.model_copy(update={"port": 0}))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        assert server.started
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


def raw_exchange(url: str, request: bytes, *, seconds: float = 10) -> bytes:
    """Whatever comes back for these bytes until the server closes the connection, or is silent for so long."""
    host, _, port = url.removeprefix("http://").partition(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(request)
        try:
            while piece := connection.recv(65_536):
                answer += piece
        except TimeoutError:
            return answer + b"<still open>"
    return answer
