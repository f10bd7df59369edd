"""Bodies that are too large, too slow or encoded, sent byte by byte to the real server."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from deploy.localstack import LocalStack
from tests.app.served import raw_exchange, served
from tests.conftest import checked_client, settings_of
from tests.pictures import png, road_and_buildings
from worker.storage import Storage

JSON_BYTES, FORM_BYTES, ARCHIVE_BYTES = 20_000, 50_000, 100_000
SECONDS = 0.6


@pytest.fixture(scope="module")
def url(servers: LocalStack) -> Iterator[str]:
    changes = {
        "max_json_bytes": JSON_BYTES,
        "max_upload_bytes": FORM_BYTES,
        "max_archive_bytes": ARCHIVE_BYTES,
        "body_seconds": SECONDS,
        "min_body_bytes_per_second": 1000,
    }
    settings = settings_of(servers, s3_bucket="body-limit", **changes)
    with served(settings) as found:
        yield found
    storage = Storage(settings)
    storage.delete("")
    storage._client.delete_bucket(Bucket=storage.bucket)


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with checked_client(url) as found:
        yield found


def head(path: str, *fields: str, kind: str = "application/json") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", *fields, "", ""]
    return "\r\n".join(lines).encode()


def problem_in(answer: bytes) -> tuple[int, dict[str, object]]:
    """The status and the problem document of an answer after which the server closed."""
    fields, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in fields.lower(), answer
    assert b"connection: close" in fields.lower(), answer
    assert not answer.endswith(b"<still open>"), answer
    return int(answer.split(b" ")[1]), json.loads(body)


@pytest.mark.parametrize("sent", [b"", b'{"prefix": "x"', b" " * 1000])
def test_a_body_that_stops_is_answered_408_and_closed(url: str, sent: bytes) -> None:
    """H52: Content-Length larger than sent, then silence."""
    began = time.monotonic()
    answer = raw_exchange(url, head("/v1/datasets", "Content-Length: 5000") + sent)
    status, problem = problem_in(answer)
    assert (status, problem["code"], problem["retryable"]) == (408, "request_timeout", True)
    assert time.monotonic() - began >= SECONDS * 0.9


def test_a_form_that_stops_is_answered_408(url: str) -> None:
    kind = "multipart/form-data; boundary=b"
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="m"\r\n\r\n' + b"x" * 3000
    status, problem = problem_in(
        raw_exchange(url, head("/v1/masks", "Content-Length: 9000", kind=kind) + part)
    )
    assert (status, problem["code"]) == (408, "request_timeout")


def test_a_body_that_drips_is_answered_408(url: str) -> None:
    """Never silent for long, and yet too slow: 5 bytes each twentieth of a second, where 1000 a second are asked."""
    host, port = url.removeprefix("http://").split(":")
    sent = 0
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head("/v1/datasets", "Content-Length: 5000"))
        connection.settimeout(0.05)
        answer = b""
        while not answer:
            connection.sendall(b"     ")
            sent += 5
            assert sent < 5000
            try:
                answer = connection.recv(65_536)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_slow_body_that_keeps_its_rate_comes_in(url: str) -> None:
    """It takes longer than body_seconds, with the rate that is asked for."""
    host, port = url.removeprefix("http://").split(":")
    body = b'{"masks": {"mask_ids": []}' + b" " * 4000 + b"}"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head("/v1/datasets", f"Content-Length: {len(body)}"))
        began = time.monotonic()
        for at in range(0, len(body), 400):
            connection.sendall(body[at : at + 400])
            time.sleep(0.1)
        assert time.monotonic() - began > SECONDS * 1.5
        assert connection.recv(65_536).startswith(b"HTTP/1.1 422")


@pytest.mark.parametrize(
    ("path", "kind", "limit"),
    [
        ("/v1/datasets", "application/json", JSON_BYTES),
        ("/v1/masks", "multipart/form-data; boundary=b", FORM_BYTES),
        ("/v1/mask-sets", "application/json", JSON_BYTES),
        ("/v1/mask-sets", "multipart/form-data; boundary=b", ARCHIVE_BYTES),
    ],
)
def test_each_kind_of_body_has_its_limit(url: str, path: str, kind: str, limit: int) -> None:
    """Declared: 413 at once. In chunks: 413 as soon as it is passed. A body of just the limit is read."""
    answer = raw_exchange(url, head(path, f"Content-Length: {limit + 1}", kind=kind))
    status, problem = problem_in(answer)
    assert (status, problem["code"]) == (413, "too_large")
    assert str(limit) in str(problem["detail"])
    chunk = b"%x\r\n%s\r\n" % (limit + 1, b" " * (limit + 1))
    status, problem = problem_in(
        raw_exchange(url, head(path, "Transfer-Encoding: chunked", kind=kind) + chunk)
    )
    assert (status, problem["code"]) in {(413, "too_large"), (400, "malformed_request")}
    if kind == "application/json":
        assert status == 413
    just = head(path, f"Content-Length: {limit}", "Connection: close", kind=kind) + b" " * limit
    assert raw_exchange(url, just)[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 422"}


def test_who_asks_first_is_told_413_not_100(url: str) -> None:
    """H55, and that an acceptable body is asked for."""
    large = head("/v1/datasets", "Content-Length: 10737418240", "Expect: 100-continue")
    answer = raw_exchange(url, large)
    assert b"100 Continue" not in answer
    assert problem_in(answer)[0] == 413
    small = head("/v1/datasets", "Content-Length: 2", "Expect: 100-continue", "Connection: close")
    assert raw_exchange(url, small).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408")


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "identity, gzip", "GZIP", "x"])
def test_an_encoded_body_is_refused_unread(client: httpx.Client, encoding: str) -> None:
    """H54."""
    answer = client.post("/v1/datasets", content=b"{}", headers={"Content-Encoding": encoding})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_content_encoding")
    assert answer.headers["accept-encoding"] == "identity"


def test_identity_is_no_encoding(client: httpx.Client) -> None:
    files = {"file": ("m.png", png(road_and_buildings(64)))}
    answer = client.post("/v1/masks", files=files, headers={"Content-Encoding": "identity"})
    assert answer.status_code in {200, 201}


def test_a_connection_goes_on_after_a_refusal_of_a_whole_body(client: httpx.Client) -> None:
    """Only where the rest of a body would still come is the connection closed."""
    answer = client.post("/v1/datasets", json={"masks": {}})
    assert answer.status_code == 422
    assert answer.headers.get("connection") != "close"
