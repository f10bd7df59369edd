"""Objects read as a stream, from a real S3 server and from one that breaks off."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from models.errors import Conflict, NotFound, Unavailable
from worker import object_stream
from worker.object_stream import ObjectStream
from worker.settings import Settings
from worker.storage import Storage

BODY = np.random.default_rng(0).bytes(6 << 20)


def test_an_object_is_read_in_pieces(storage: Storage) -> None:
    storage.create("a.tar", BODY, "application/x-tar")
    storage.create("empty.tar", b"", "application/x-tar")
    with storage.open("a.tar") as stream:
        assert stream.read(10) == BODY[:10]
        assert stream.read() == BODY[10:]
        assert stream.read(1) == b""
    with storage.open("empty.tar") as stream:
        assert stream.read() == b""
    facts = storage.stat("a.tar")
    assert facts.bytes == len(BODY)
    with storage.open("a.tar", etag=facts.etag) as stream:
        tracemalloc.start()
        read = 0
        while piece := stream.read(1 << 16):
            read += len(piece)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (read, most < 4 << 20) == (len(BODY), True)
    there: Storage = pickle.loads(pickle.dumps(storage))  # noqa: S301  (our own)
    with there.open("a.tar") as stream:
        assert stream.read(100) == BODY[:100]


def test_another_object_under_the_key_is_not_read(storage: Storage) -> None:
    with pytest.raises(NotFound):
        storage.open("a.tar")
    storage.create("a.tar", BODY, "application/x-tar")
    etag = storage.stat("a.tar").etag
    stream = storage.open("a.tar")
    storage.delete("a.tar")
    storage.create("a.tar", bytes(6 << 20), "application/x-tar")
    for read in (stream.read, lambda: storage.open("a.tar", etag=etag)):
        with pytest.raises(Conflict) as caught:
            read()
        assert caught.value.code == "object_changed"


@pytest.fixture
def breaking_endpoint() -> Iterator[str]:
    """An S3 server that closes each connection after 2 MB of a body that it promised whole."""

    class Breaking(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._head(200, len(BODY))

        def do_GET(self) -> None:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            self._head(206, len(BODY) - start)
            self.wfile.write(BODY[start : start + (2 << 20)])
            self.close_connection = True

        def _head(self, status: int, length: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.send_header("ETag", '"one"')
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Breaking)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_broken_connection_is_taken_up_again(settings: Settings, breaking_endpoint: str) -> None:
    storage = Storage(settings.model_copy(update={"s3_endpoint": breaking_endpoint}))
    with storage.open("a.tar") as stream:
        assert stream.read() == BODY


def test_it_does_not_go_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_stream, "_PAUSES_SECONDS", (0.0, 0.0))
    asked: list[int] = []

    def pieces_from(start: int) -> Generator[bytes, None, None]:
        asked.append(start)
        if len(asked) < 3:
            yield b"abc"
        raise Unavailable("gone", code="storage_unavailable")

    stream = ObjectStream(pieces_from, 10)
    assert stream.read(6) == b"abc"
    assert stream.read(6) == b"abc"
    with pytest.raises(Unavailable):
        stream.read(6)
    assert asked == [0, 3, 6, 6]  # the first try was with what was open
