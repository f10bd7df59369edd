"""Storage against a real S3 server, and against one that ignores conditions."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from models.errors import NotFound, TooLarge, Unavailable
from worker.settings import Settings
from worker.storage import Storage


def test_the_first_writer_wins(storage: Storage) -> None:
    with ThreadPoolExecutor(16) as threads:
        won = list(threads.map(lambda n: storage.create("a/b.txt", b"%d" % n, "text/plain"), range(16)))
    assert won.count(True) == 1
    assert storage.read("a/b.txt") == b"%d" % won.index(True)


def test_reads_verify_the_sum(storage: Storage) -> None:
    body = b"picture"
    storage.create("p.png", body, "image/png")
    assert storage.read_verified("p.png", hashlib.sha256(body).hexdigest()) == body
    with pytest.raises(Unavailable) as caught:
        storage.read_verified("p.png", "0" * 64)
    assert caught.value.code == "object_damaged"


def test_absent_objects(storage: Storage) -> None:
    assert not storage.exists("nothing")
    with pytest.raises(NotFound):
        storage.read("nothing")


@pytest.mark.parametrize(
    "key",
    ["local/a b/ü #1 %41.png", "local/x%2Fy", "local/a//b", "local/[1]^`|~*.png", "-x/.y/z"],
)
def test_names_that_people_gave_are_read_as_they_are(storage: Storage, key: str) -> None:
    storage._client.put_object(Bucket=storage.bucket, Key=key, Body=b"theirs")
    assert storage.exists(key)
    assert (storage.read(key), storage.stat(key).bytes) == (b"theirs", 6)
    assert not storage.create(key, b"ours", "text/plain")


def test_both_clients_see_the_same_object(storage: Storage) -> None:
    storage.create("local/x.json", b"{}", "application/json")
    seen = storage._client.head_object(Bucket=storage.bucket, Key="local/x.json")
    assert (seen["ContentType"], seen["ContentLength"]) == ("application/json", 2)
    assert (storage.stat("local/x.json").etag, storage.stat("local/x.json").bytes) == (seen["ETag"], 2)
    with pytest.raises(TooLarge):
        storage.read("local/x.json", max_bytes=1)


def test_a_store_that_is_away_is_soon_unavailable(settings: Settings) -> None:
    away = Storage(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"}))
    for ask in (
        lambda: away.create("a", b"", "text/plain"),
        lambda: away.read("a"),
        lambda: away.exists("a"),
    ):
        with pytest.raises(Unavailable) as caught:
            ask()
        assert caught.value.code == "storage_unavailable"


def test_a_presigned_url_reads_without_credentials_and_only_that_object(storage: Storage) -> None:
    storage.create("local/x.png", b"\x89PNG", "image/png")
    storage.create("local/y.png", b"secret", "image/png")
    url, ends = storage.presign("local/x.png")
    answer = httpx.get(url, trust_env=False)
    assert (answer.status_code, answer.content) == (200, b"\x89PNG")
    assert answer.headers["content-type"] == "image/png"
    assert ends.tzinfo is not None
    assert httpx.get(url.replace("x.png", "y.png"), trust_env=False).status_code == 403


def test_listing_and_deleting_by_prefix(storage: Storage) -> None:
    for key in ("t/jobs/a/1", "t/jobs/a/2", "t/jobs/b/1", "t/masks/1"):
        storage.create(key, b"x", "text/plain")
    assert list(storage.keys("t/jobs/")) == ["t/jobs/a/1", "t/jobs/a/2", "t/jobs/b/1"]
    assert list(storage.folders("t/jobs/")) == ["a", "b"]
    assert list(storage.folders("t/jobs/", start_after="t/jobs/a/~")) == ["b"]
    assert storage.delete("t/jobs/a/") == 2
    assert list(storage.keys("t/")) == ["t/jobs/b/1", "t/masks/1"]


def test_a_wrong_secret_is_an_answer_not_a_crash(settings: Settings) -> None:
    wrong = Storage(settings.model_copy(update={"s3_secret_key": settings.s3_access_key}))
    with pytest.raises(Unavailable) as caught:
        wrong.prepare()
    assert caught.value.code == "storage_unavailable"


@pytest.fixture
def careless_endpoint() -> Iterator[str]:
    """A server that says 200 to every PUT and HEAD, as some S3 look-alikes do."""

    class Careless(BaseHTTPRequestHandler):
        def _yes(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.send_header("ETag", '"0"')
            self.end_headers()

        do_PUT = do_HEAD = do_GET = _yes  # noqa: N815

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Careless)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_store_without_conditional_puts_is_refused(settings: Settings, careless_endpoint: str) -> None:
    with pytest.raises(Unavailable) as caught:
        Storage(settings.model_copy(update={"s3_endpoint": careless_endpoint})).prepare()
    assert caught.value.code == "storage_not_conditional"
    assert "If-None-Match" in caught.value.message


def test_without_an_endpoint_it_is_aws(settings: Settings) -> None:
    storage = Storage(settings.model_copy(update={"s3_endpoint": None, "s3_bucket": "pictures"}))

    assert storage.presign("a.png")[0].startswith("https://pictures.s3.amazonaws.com/a.png?")
