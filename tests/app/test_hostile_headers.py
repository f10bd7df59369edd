"""Odd and hostile heads, framing and forms, as bytes on a socket, each with the answer it must get.

Ids are those of the catalogue of hostile inputs. The catalogue is written for a proxy and the service behind it; here
is what the service alone answers, which listens on loopback and asks for no key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from deploy.localstack import LocalStack
from tests.app.hostile import MASK
from tests.app.raw_http import Answer, ask, request, talk
from tests.conftest import GuardedService, settings_of
from worker.api_keys import Scope, create_key, revoke_key
from worker.queue import QUEUE_NAME, TRAINING_QUEUE, depth
from worker.redis_client import connect

JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module")
def port(service: LocalStack) -> Iterator[int]:
    """The service's port. Afterwards nothing waits, and there is no new job."""
    redis = connect(settings_of(service))

    def kept() -> tuple[int, int, list[str]]:
        with httpx.Client(base_url=service.api_url, trust_env=False) as client:
            jobs = client.get("/v1/jobs", params={"limit": 200}).json()["items"]
        return depth(redis, QUEUE_NAME), depth(redis, TRAINING_QUEUE), [job["id"] for job in jobs]

    before = kept()
    yield service.api_port
    assert kept() == before
    redis.close()


def post(*fields: str, body: bytes = b"{}", target: str = "/v1/generations") -> bytes:
    return request(target, *fields, method="POST", body=body)


def chunked(body: bytes, *fields: str) -> bytes:
    return request("/v1/generations", CHUNKED, JSON, *fields, method="POST") + body


# Heads that are no request, or that two readers would read in two ways
MALFORMED: list[tuple[str, bytes]] = [
    ("H15-none", request(host=None)),
    ("H15-two", request("/livez", "Host: evil.example")),
    ("H31-two", post(JSON, "Content-Type: text/plain")),
    ("H46-minus", request("/v1/generations", JSON, "Content-Length: -4", method="POST") + b"{}"),
    ("H46-plus", request("/v1/generations", JSON, "Content-Length: +2", method="POST") + b"{}"),
    ("H46-letter", request("/v1/generations", JSON, "Content-Length: 2x", method="POST") + b"{}"),
    ("H46-exponent", request("/v1/generations", JSON, "Content-Length: 2e0", method="POST") + b"{}"),
    ("H46-hexadecimal", request("/v1/generations", JSON, "Content-Length: 0x2", method="POST") + b"{}"),
    ("H46-2**64", request("/v1/generations", JSON, f"Content-Length: {2**64}", method="POST") + b"{}"),
    ("H46-empty", request("/v1/generations", JSON, "Content-Length:", method="POST") + b"{}"),
    ("H47-different", post(JSON, "Content-Length: 3")),
    ("H47-equal", post(JSON, "Content-Length: 2")),
    ("H47-list", request("/v1/generations", JSON, "Content-Length: 2, 2", method="POST") + b"{}"),
    ("H48", post(JSON, CHUNKED, body=b"2\r\n{}\r\n0\r\n\r\n")),
    ("H48-first", request("/v1/generations", JSON, CHUNKED, "Content-Length: 2", method="POST")),
    ("H48-two", request("/v1/generations", JSON, CHUNKED, "Transfer-Encoding: identity", method="POST")),
    ("H48-last", request("/v1/generations", JSON, "Transfer-Encoding: chunked, gzip", method="POST")),
    ("H50-minus", chunked(b"-1\r\n{}\r\n0\r\n\r\n")),
    ("H50-huge", chunked(b"f" * 17 + b"\r\n{}\r\n0\r\n\r\n")),
    ("H50-prefix", chunked(b"0x2\r\n{}\r\n0\r\n\r\n")),
    ("H50-space", chunked(b"2 \r\n{}\r\n0\r\n\r\n")),
    ("H50-line-feed", chunked(b"2\n{}\n0\n\n")),
    ("H50-longer", chunked(b"1\r\n{}\r\n0\r\n\r\n")),
    ("H50-extension", chunked(b"2;" + b"x" * 1_000_000 + b"\r\n{}\r\n0\r\n\r\n")),
    ("H65-space", request("/livez", "X A: a")),
    ("H65-space-before-colon", request("/livez", "X-A : a")),
    ("H65-colon", request("/livez", ": a")),
    ("H65-none", request("/livez", "X-A")),
    ("H65-nul", request("/livez", "X\0A: a")),
    ("H65-underscore", request("/livez", "X-Request-ID: a", "X_Request_ID: b")),
    ("H65-value-nul", request("/livez", "X-A: a\0b")),
    ("H65-value-control", request("/livez", "X-A: a\x01b")),
    ("H65-value-return", request("/livez", "X-A: a\rX-B: b")),
    ("H66", request("/livez", "X-A: a\r\n b")),
    ("H66-tab", request("/livez", "X-A: a\r\n\tb")),
    ("H66-first", b"GET /livez HTTP/1.1\r\n Host: localhost\r\n\r\n"),
    ("H66-line-feed", b"GET /livez HTTP/1.1\nHost: localhost\n\n"),
    ("H69-1.2", request(version="HTTP/1.2")),
    ("H69-3.0", request(version="HTTP/3.0")),
    ("H69-none", request(version="HTTP/")),
    ("H69-prior-knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("H69-tls", bytes.fromhex("16030100c8010000c40303")),
    ("H70-other-host", request("http://evil.example/livez")),
    ("H70-user", request("http://user@localhost/livez")),
    ("H70-no-slash", request("livez")),
    ("H70-control", request("/\x01")),
    ("H70-latin-1", request("/é")),
]


@pytest.mark.parametrize("sent", [pytest.param(made, id=row) for row, made in MALFORMED])
def test_malformed(port: int, sent: bytes) -> None:
    (answer,), closed = talk(port, sent)
    assert (answer.status, answer.code) == (400, "malformed_request")
    assert (closed, answer.headers["connection"]) == (True, "close")
    assert answer.headers["x-request-id"] == answer.problem["request_id"]
    assert answer.headers["x-content-type-options"] == "nosniff"


REFUSED: list[tuple[str, bytes, int, str]] = [
    ("H15-other", request(host="evil.example"), 421, "host_not_allowed"),
    ("H15-rebound", request(host="127.0.0.1.evil.example"), 421, "host_not_allowed"),
    ("H15-address", request(host="192.0.2.1"), 421, "host_not_allowed"),
    ("H15-port", request(host="localhost:99999"), 400, "invalid_host"),
    ("H15-letters", request(host="localhost:80x"), 400, "invalid_host"),
    ("H15-path", request(host="localhost/x"), 400, "invalid_host"),
    ("H15-user", request(host="evil@localhost"), 400, "invalid_host"),
    ("H15-list", request(host="localhost, evil.example"), 400, "invalid_host"),
    ("H15-empty", request(host=""), 400, "invalid_host"),
    ("H15-redirect", request("/v1/jobs/", host="evil.example"), 421, "host_not_allowed"),
    ("H31", post(), 415, "unsupported_media_type"),
    ("H44", request("/v1/generations", JSON, "Content-Length: 0", method="POST"), 422, "missing_body"),
    ("H45", request("/v1/generations", JSON, method="POST"), 422, "missing_body"),
    (
        "H48-gzip",
        request("/v1/generations", JSON, "Transfer-Encoding: gzip", method="POST"),
        501,
        "not_implemented",
    ),
    (
        "H48-gzip-chunked",
        request("/v1/generations", JSON, "Transfer-Encoding: gzip, chunked", method="POST"),
        501,
        "not_implemented",
    ),
    (
        "H48-1.0",
        request("/v1/generations", JSON, CHUNKED, method="POST", version="HTTP/1.0"),
        501,
        "not_implemented",
    ),
    (
        "H50-trailer",
        request("/v1/generations", CHUNKED, method="POST")
        + b"2\r\n{}\r\n0\r\n"
        + JSON.encode()
        + b"\r\n\r\n",
        415,
        "unsupported_media_type",
    ),  # the trailer is no field of the head
    ("H56", post(JSON, "Expect: nonsense"), 417, "expectation_failed"),
    ("H56-list", post(JSON, "Expect: 100-continue, nonsense"), 417, "expectation_failed"),
    ("H58", request("/livez", "Accept-Encoding: " + "gzip;q=0.1, " * 10_000), 431, "head_too_large"),
    (
        "H62",
        request(
            "/v1/jobs",
            "Origin: http://evil.example",
            "Access-Control-Request-Method: POST",
            "Access-Control-Request-Headers: " + ", ".join(f"x-{n}" for n in range(1000)),
            method="OPTIONS",
        ),
        405,
        "method_not_allowed",
    ),  # nothing is shared with other origins
    ("H63", request("/livez", "Cookie: a=" + "b" * 100_000), 431, "head_too_large"),
    ("H64-long", request("/livez", "X-A: " + "a" * 100_000), 431, "head_too_large"),
    ("H64-name", request("/livez", "a" * 100_000 + ": a"), 431, "head_too_large"),
    ("H64-many", request("/livez", *(f"X-{n}: a" for n in range(1000))), 431, "head_too_large"),
    ("H64-endless", b"GET /livez HTTP/1.1\r\nX-A: " + b"a" * 1_000_000, 431, "head_too_large"),
    ("H23-baggage", request("/livez", "baggage: " + "a=b," * 16_000), 431, "head_too_large"),
    ("H68-brew", request(method="BREW"), 501, "not_implemented"),
    ("H68-lower", request(method="get"), 501, "not_implemented"),
    ("H68-trace", request("/livez", "X-Secret: 7", method="TRACE"), 405, "method_not_allowed"),
    ("H68-connect", request("evil.example:443", method="CONNECT"), 501, "not_implemented"),
    ("H68-connect-path", request("/livez", method="CONNECT"), 501, "not_implemented"),
    ("H68-delete", request("/v1/categories", method="DELETE"), 405, "method_not_allowed"),
    ("H69-0.9", b"GET /livez\r\n\r\n", 505, "http_version_not_supported"),
    ("H69-0.9-text", request(version="HTTP/0.9"), 505, "http_version_not_supported"),
    ("H69-2.0", request(version="HTTP/2.0"), 505, "http_version_not_supported"),
    ("H70-star", request("*"), 404, "not_found"),
    ("H70-slashes", request("//livez"), 404, "not_found"),
    ("I20-1MB", request("/v1/jobs/" + "a" * 1_000_000), 414, "uri_too_long"),
    ("J04", request("/v1/generations", JSON, "Content-Length: 200000000", method="POST"), 413, "too_large"),
    ("J56-100MB", request("/v1/masks", JSON, "Content-Length: 100000000", method="POST"), 413, "too_large"),
]


@pytest.mark.parametrize(("sent", "status", "code"), [pytest.param(*made, id=row) for row, *made in REFUSED])
def test_refused(port: int, sent: bytes, status: int, code: str) -> None:
    answer = ask(port, sent)
    assert (answer.status, answer.code) == (status, code)
    assert b"X-Secret" not in answer.body
    assert b"evil" not in answer.body


def test_a_method_that_a_path_lacks_is_told_what_it_has(port: int) -> None:
    for target, allow in (
        ("/v1/jobs", "GET, HEAD"),
        ("/v1/trainings/preview", "POST"),
        ("/v1/datasets/x/exports", "GET, HEAD, POST"),
    ):
        answer = ask(port, request(target, method="PATCH"))
        assert (answer.status, answer.headers["allow"]) == (405, allow)


ACCEPTED: list[tuple[str, bytes]] = [
    ("H15-localhost", request(host="LOCALHOST:8000")),
    ("H15-dot", request(host="localhost.")),
    ("H15-address", request(host="127.0.0.1:80")),
    ("H15-ipv6", request(host="[::1]")),
    ("H22-ff", request("/livez", "traceparent: ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
    ("H22-zeros", request("/livez", f"traceparent: 00-{'0' * 32}-{'0' * 16}-00")),
    ("H22-upper", request("/livez", "traceparent: 00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01")),
    ("H22-10kB", request("/livez", "traceparent: " + "0" * 10_000)),
    ("H22-two", request("/livez", "traceparent: 00-1-1-01", "traceparent: 00-2-2-01")),
    ("H23-tracestate", request("/livez", "tracestate: " + ",".join(f"k{n}=v" for n in range(100)))),
    ("H30", request("/livez", "Idempotency-Key: abc")),
    ("H58-some", request("/livez", "Accept-Encoding: " + "gzip, " * 1000)),
    ("H64-some", request("/livez", *(f"X-{n}: a" for n in range(90)), "X-A: " + "a" * 20_000)),
    ("H69-1.0", b"GET /livez HTTP/1.0\r\n\r\n"),
    ("H70-same", request("http://localhost/livez")),
    ("H70-fragment", request("/livez#x")),
    (
        "H74-h2c",
        request("/livez", "Connection: upgrade, http2-settings", "Upgrade: h2c", "HTTP2-Settings: AA"),
    ),
    ("H74-websocket", request("/livez", "Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")),
]


@pytest.mark.parametrize("sent", [pytest.param(made, id=row) for row, made in ACCEPTED])
def test_accepted(port: int, sent: bytes) -> None:
    answer = ask(port, sent)
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})
    assert not answer.headers.keys() & {"traceparent", "tracestate", "baggage", "upgrade", "server"}


def test_options_of_the_whole_service(port: int) -> None:
    """H70."""
    answer = ask(port, request("*", method="OPTIONS"))
    assert (answer.status, answer.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, POST")


def test_an_offer_to_upgrade_keeps_the_body_and_the_connection(port: int) -> None:
    """H74: as Java's client sends every first request over plain HTTP."""
    offer = (
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk",
    )
    sent = post(JSON, *offer, body=b'{"surprise": 1}') + request() + post(JSON, *offer, body=b"[") + request()
    answers, closed = talk(port, sent)
    assert [answer.status for answer in answers] == [422, 200, 400, 200]
    assert answers[0].code == "unknown_field"
    assert not closed


def test_a_thousand_requests_at_once_are_answered_in_order(port: int) -> None:
    """H72."""
    sent = b"".join(request("/livez", f"X-Request-ID: n{number}") for number in range(1000))
    answers, closed = talk(port, sent)
    assert [answer.headers["x-request-id"] for answer in answers] == [f"n{number}" for number in range(1000)]
    assert not closed


def test_what_follows_a_body_is_not_part_of_it(port: int) -> None:
    """H53, H45: it is read as a request of the same connection, strictly, and closes it where it is none."""
    sent = post(JSON, body=b"[]") + b'{"mask_id": "x"}\r\n'
    answers, closed = talk(port, sent)
    assert [answer.code for answer in answers] == ["invalid_request"], "what follows is no request"
    assert closed
    answers, closed = talk(port, request("/v1/generations", JSON, method="POST") + b"{}")
    assert [answer.code for answer in answers] == ["missing_body"]
    assert closed


def test_what_follows_a_request_that_closes_is_not_read(port: int) -> None:
    answers, closed = talk(port, request("/livez", "Connection: close") + request("/v1/jobs"))
    assert ([answer.status for answer in answers], closed) == ([200], True)


def test_a_body_in_chunks_is_read(port: int) -> None:
    text = b'{"surprise": 1}'
    pieces = b"".join(b"%x;a=b\r\n%b\r\n" % (1, text[at : at + 1]) for at in range(len(text)))
    answers, closed = talk(port, chunked(pieces + b"0\r\nX-Sum: 7\r\n\r\n") + request())
    assert [answer.status for answer in answers] == [422, 200]
    assert answers[0].code == "unknown_field"
    assert not closed


def test_a_broken_chunk_ends_the_request(port: int) -> None:
    (answer,), closed = talk(port, chunked(b"2\r\n{}\r\nzz\r\n"))
    assert ((answer.status, answer.code), closed) == ((400, "malformed_request"), True)


REQUEST_IDS: list[tuple[str, str, bool]] = [
    ("H20-36", "0af76519-16cd-43dd-8448-eb211c80319c", True),
    ("H20-64", "a" * 64, True),
    ("H20-65", "a" * 65, False),
    ("H20-10kB", "a" * 10_000, False),
    ("H20-sql", "' OR 1=1--", False),
    ("H20-latin-1", "é", False),
    ("H20-empty", "", False),
]


@pytest.mark.parametrize(("given", "kept"), [pytest.param(*made, id=row) for row, *made in REQUEST_IDS])
def test_request_ids(port: int, given: str, kept: bool) -> None:
    for target in ("/livez", "/nowhere"):
        answer = ask(port, request(target, f"X-Request-ID: {given}"))
        shown = answer.headers["x-request-id"]
        assert (shown == given) == kept
        assert kept or len(shown) == 32
        assert answer.status == 200 or answer.problem["request_id"] == shown


def test_a_request_id_cannot_split_the_answer(port: int) -> None:
    """H20: what follows the line is a field of its own."""
    answer = ask(port, request("/livez", "X-Request-ID: a\r\nSet-Cookie: b=c"))
    assert (answer.status, answer.headers["x-request-id"]) == (200, "a")
    assert "set-cookie" not in answer.headers


@pytest.fixture(scope="module")
def preview(service: LocalStack) -> str:
    with httpx.Client(base_url=service.api_url, trust_env=False) as client:
        return str(client.post("/v1/masks", files={"file": ("m.png", MASK)}).json()["preview_url"])


CONDITIONS: list[tuple[str, str]] = [
    ("H59-all", "Range: bytes=0-"),
    ("H59-last", "Range: bytes=-1"),
    ("H59-backwards", "Range: bytes=5-1"),
    ("H59-thousand", "Range: bytes=" + ",".join(f"{n}-{n}" for n in range(1000))),
    ("H59-unit", "Range: lines=1-2"),
    ("H60-tag", 'If-None-Match: "x"'),
    ("H60-tags", "If-None-Match: " + ", ".join(f'W/"{n}"' for n in range(1000))),
    ("H60-bare", "If-None-Match: x"),
    ("H60-date", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"),
    ("H60-odd-date", "If-Modified-Since: Mon, 99 Foo 99999 99:99:99 XST"),
    ("H60-unmodified", "If-Unmodified-Since: never"),
    ("H60-match", 'If-Match: "x"'),
]


@pytest.mark.parametrize("field", [pytest.param(made, id=row) for row, made in CONDITIONS])
def test_conditions_that_are_not_offered_are_ignored(port: int, preview: str, field: str) -> None:
    whole, asked = ask(port, request(preview)), ask(port, request(preview, field))
    assert (asked.status, asked.body) == (200, whole.body)
    assert whole.body.startswith(b"\x89PNG")
    assert asked.headers["x-content-type-options"] == "nosniff"
    assert "accept-ranges" not in asked.headers


FORWARDED = [
    "X-Forwarded-For: 192.0.2.1",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Prefix: /evil",
    "Forwarded: for=192.0.2.1;host=evil.example;proto=https",
    "X-Original-URL: /v1/workers",
    "X-HTTP-Method-Override: DELETE",
]


def test_fields_of_proxies_are_not_believed(port: int, preview: str) -> None:
    """H16."""
    target = preview.removesuffix("/preview")
    plain, asked = ask(port, request(target)), ask(port, request(target, *FORWARDED))
    assert (asked.status, asked.body) == (200, plain.body)
    assert b"evil" not in asked.body


def form(*parts: bytes, boundary: bytes = b"b", end: bytes | None = None) -> bytes:
    last = b"--" + boundary + b"--\r\n" if end is None else end
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + last


def part(head: str, data: bytes = b"x") -> bytes:
    return f"Content-Disposition: form-data; {head}\r\n\r\n".encode("latin-1") + data


MULTIPART = "multipart/form-data; boundary=b"
GOOD_PART = part('name="file"; filename="m.png"', MASK)
FORMS: list[tuple[str, str, bytes, int, str]] = [
    ("H34", "multipart/form-data", form(GOOD_PART), 400, "malformed_request"),
    (
        "H35-1000",
        f"multipart/form-data; boundary={'b' * 1000}",
        form(GOOD_PART, boundary=b"b" * 1000),
        400,
        "malformed_request",
    ),
    (
        "H35-71",
        f"multipart/form-data; boundary={'b' * 71}",
        form(GOOD_PART, boundary=b"b" * 71),
        400,
        "malformed_request",
    ),
    (
        "H35-space",
        'multipart/form-data; boundary="b b"',
        form(GOOD_PART, boundary=b"b b"),
        400,
        "malformed_request",
    ),
    ("H35-empty", "multipart/form-data; boundary=", form(GOOD_PART, boundary=b""), 400, "malformed_request"),
    ("H36-first", MULTIPART, GOOD_PART + b"\r\n--b--\r\n", 400, "malformed_request"),
    (
        "H36-line-feeds",
        MULTIPART,
        form(part('name="file"; filename="m.png"')).replace(b"\r\n", b"\n"),
        400,
        "malformed_request",
    ),
    ("H36-last", MULTIPART, form(GOOD_PART, end=b""), 400, "malformed_request"),
    ("H36-cut", MULTIPART, form(GOOD_PART)[:-200], 400, "malformed_request"),
    ("H36-half", MULTIPART, form(GOOD_PART, end=b"--b-"), 400, "malformed_request"),
    ("H36-none", MULTIPART, b"hello", 400, "malformed_request"),
    ("H36-only-end", MULTIPART, b"--b--\r\n", 422, "mask_missing"),
    ("H36-no-name", MULTIPART, form(part('filename="m.png"', MASK)), 400, "malformed_request"),
    (
        "H36-no-disposition",
        MULTIPART,
        form(b"Content-Type: image/png\r\n\r\n" + MASK),
        400,
        "malformed_request",
    ),
    ("H37", MULTIPART, form(*[part(f'name="f{n}"') for n in range(1001)]), 400, "too_many_parts"),
    ("H38", MULTIPART, form(part('name="file"', b"x" * 2_000_000)), 413, "too_large"),
    ("H39-preamble", MULTIPART, b"x" * 1_000_000 + b"\r\n" + form(GOOD_PART), 400, "malformed_request"),
    ("H39-blank-preamble", MULTIPART, b"\r\n" * 500_000 + form(GOOD_PART), 400, "malformed_request"),
    ("H39-epilogue", MULTIPART, form(GOOD_PART) + b"x" * 1_000_000, 400, "malformed_request"),
    (
        "H39-fields",
        MULTIPART,
        form(b"".join(b"X-%d: a\r\n" % n for n in range(100_000)) + GOOD_PART),
        400,
        "malformed_request",
    ),
    ("H39-field", MULTIPART, form(b"X: " + b"a" * 1_000_000 + b"\r\n" + GOOD_PART), 400, "malformed_request"),
    ("H42", MULTIPART, form(GOOD_PART, GOOD_PART), 422, "too_many_files"),
    (
        "H42-field",
        MULTIPART,
        form(GOOD_PART, part('name="encoding"', b"auto"), part('name="encoding"', b"auto")),
        422,
        "repeated_field",
    ),
    ("H42-text", MULTIPART, form(part('name="file"')), 422, "file_expected"),
    (
        "H42-other-file",
        MULTIPART,
        form(GOOD_PART, part('name="encoding"; filename="x"', b"auto")),
        422,
        "unexpected_file",
    ),
    (
        "H43",
        MULTIPART,
        form(b"Content-Transfer-Encoding: base64\r\n" + GOOD_PART),
        422,
        "unsupported_encoding",
    ),
    (
        "H43-quoted",
        MULTIPART,
        form(
            GOOD_PART, b"Content-Transfer-Encoding: quoted-printable\r\n" + part('name="encoding"', b"auto")
        ),
        422,
        "unsupported_encoding",
    ),
    ("H43-utf-8", MULTIPART, form(GOOD_PART, part('name="category"', b"caf\xe9")), 422, "invalid_text"),
    ("H32", MULTIPART + "; charset=utf-16", form(GOOD_PART), 415, "unsupported_media_type"),
]


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"), [pytest.param(*made, id=row) for row, *made in FORMS]
)
def test_a_form_is_refused(port: int, kind: str, body: bytes, status: int, code: str) -> None:
    answer = ask(port, post(f"Content-Type: {kind}", body=body, target="/v1/masks"))
    assert (answer.status, answer.code) == (status, code), answer.body
    assert len(answer.body) < 1_000


def test_a_boundary_with_a_line_break_ends_the_head(port: int) -> None:
    """H35: what follows is no field."""
    answer = ask(port, post("Content-Type: multipart/form-data; boundary=b\r\nb", body=form(GOOD_PART)))
    assert (answer.status, answer.code) == (400, "malformed_request")


NAMES: list[tuple[str, str]] = [
    ("H40", 'filename="../../etc/passwd"'),
    ("H40-absolute", 'filename="/etc/passwd"'),
    ("H40-windows", 'filename="C:\\\\x.png"'),
    ("H40-html", 'filename="x.html"'),
    ("H41-quotes", 'filename="a\\"b.png"'),
    ("H41-extended", "filename=\"a\"; filename*=UTF-8''..%2f..%2fx"),
    ("H41-encoded", 'filename="a%0d%0aSet-Cookie: b=c"'),
    ("H41-latin-1", 'filename="é.png"'),
    ("H41-empty", 'filename=""'),
]


@pytest.mark.parametrize("name", [pytest.param(made, id=row) for row, made in NAMES])
def test_names_of_files_are_not_used(port: int, preview: str, name: str) -> None:
    body = form(part(f'name="file"; {name}', MASK))
    answer = ask(port, post(f"Content-Type: {MULTIPART}", body=body, target="/v1/masks"))
    assert answer.status == 200, answer.body
    assert answer.headers["location"] == preview.removesuffix("/preview")
    assert not answer.headers.keys() & {"set-cookie", "content-disposition"}
    for word in (b"passwd", b"html", b".."):
        assert word not in answer.body


def test_a_name_with_a_line_break_breaks_the_part(port: int) -> None:
    """H41."""
    body = form(part('name="file"; filename="a\r\nSet-Cookie: b=c"', MASK))
    answer = ask(port, post(f"Content-Type: {MULTIPART}", body=body, target="/v1/masks"))
    assert answer.status in {200, 400}
    assert "set-cookie" not in answer.headers


IDEMPOTENCY: list[tuple[str, list[str]]] = [
    ("H25-empty", ["Idempotency-Key:"]),
    ("H25-quoted-empty", ['Idempotency-Key: ""']),
    ("H25-256", ["Idempotency-Key: " + "a" * 256]),
    ("H25-tab", ["Idempotency-Key: a\tb"]),
    ("H25-latin-1", ["Idempotency-Key: é"]),
    ("H26", ["Idempotency-Key: a", "Idempotency-Key: b"]),
    ("H26-same", ["Idempotency-Key: a", "Idempotency-Key: a"]),
]


@pytest.mark.parametrize("fields", [pytest.param(made, id=row) for row, made in IDEMPOTENCY])
def test_keys_of_repeatable_requests(port: int, fields: list[str]) -> None:
    answer = ask(port, post(JSON, *fields))
    assert (answer.status, answer.code) == (400, "invalid_idempotency_key")


# Keys


def with_key(guarded: GuardedService, *fields: str, target: str = "/v1/jobs", **options: str) -> Answer:
    return ask(guarded.stack.api_port, request(target, *fields, **options))  # type: ignore[arg-type]


def test_keys(guarded: GuardedService) -> None:
    """H01 to H12, but for those with keys of their own."""
    key = guarded.keys["acme"]
    cases: list[tuple[str, list[str], int, str]] = [
        ("H01", [], 401, "missing_key"),
        ("H02-empty", ["Authorization:"], 401, "missing_key"),
        ("H02-scheme", ["Authorization: Bearer"], 401, "missing_key"),
        ("H02-space", ["Authorization: Bearer "], 401, "missing_key"),
        ("H03-case", [f"Authorization: bearer {key}"], 200, ""),  # RFC 9110: schemes have no case
        ("H03-spaces", [f"Authorization: Bearer  {key}"], 401, "invalid_key"),
        ("H03-tab", [f"Authorization: Bearer\t{key}"], 401, "missing_key"),
        ("H04-basic", [f"Authorization: Basic {key}"], 401, "missing_key"),
        ("H04-digest", [f'Authorization: Digest username="{key}"'], 401, "missing_key"),
        ("H04-negotiate", [f"Authorization: Negotiate {key}"], 401, "missing_key"),
        ("H05-bit", [f"Authorization: Bearer {key[:-1]}{chr(ord(key[-1]) ^ 1)}"], 401, "invalid_key"),
        ("H05-cut", [f"Authorization: Bearer {key[:-1]}"], 401, "invalid_key"),
        ("H05-doubled", [f"Authorization: Bearer {key}{key}"], 401, "invalid_key"),
        ("H05-upper", [f"Authorization: Bearer {key.upper()}"], 401, "invalid_key"),
        ("H09-cookie", [f"Cookie: authorization=Bearer {key}; key={key}"], 401, "missing_key"),
        ("H09-other", [f"X-API-Key: {key}", f"Proxy-Authorization: Bearer {key}"], 401, "missing_key"),
        ("H10", [f"Authorization: Bearer {key}", "Authorization: Bearer x"], 401, "missing_key"),
        ("H10-same", [f"Authorization: Bearer {key}"] * 2, 401, "missing_key"),
        ("H11-10kB", [f"Authorization: Bearer {'a' * 10_000}"], 401, "invalid_key"),
        ("H11-1MB", [f"Authorization: Bearer {'a' * 1_000_000}"], 431, "head_too_large"),
        ("H12-nul", ["Authorization: Bearer a\0b"], 400, "malformed_request"),
        ("H12-latin-1", ["Authorization: Bearer é"], 401, "invalid_key"),
        ("H12-line", ["Authorization: Bearer x\r\nX-Admin: true"], 401, "invalid_key"),
    ]
    for row, fields, status, code in cases:
        answer = with_key(guarded, *fields)
        assert (answer.status, answer.code) == (status, code), row
        if status == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer "), row
    query = with_key(guarded, target=f"/v1/jobs?key={key}&access_token={key}")
    assert (query.status, query.code) == (401, "missing_key")  # H09
    assert key not in (guarded.stack.data.path / "logs" / "api.log").read_text()


def test_wrong_keys_are_told_apart_by_nothing(guarded: GuardedService) -> None:
    """H05, H06: one that never was, one with a wrong end, a revoked, an expired and an early one get one answer."""
    key = guarded.keys["acme"]
    revoked, record = create_key(guarded.storage, tenant="acme", name="", scopes=[Scope.READ])
    revoke_key(guarded.storage, record.id)
    expired, _ = create_key(
        guarded.storage,
        tenant="acme",
        name="",
        scopes=[Scope.READ],
        expires_at=datetime.now(UTC) - timedelta(seconds=1),
    )
    early, _ = create_key(
        guarded.storage,
        tenant="acme",
        name="",
        scopes=[Scope.READ],
        not_before=datetime.now(UTC) + timedelta(hours=1),
    )
    wrong = [
        key[:-1] + ("a" if key[-1] != "a" else "b"),
        "es_" + "0" * 26 + "_" + "a" * 40,
        revoked,
        expired,
        early,
    ]
    seen = set()
    for secret in wrong:
        answer = with_key(guarded, f"Authorization: Bearer {secret}")
        seen.add(json.dumps(answer.problem | {"request_id": None}) + answer.headers["www-authenticate"])
        assert answer.status == 401
    assert len(seen) == 1


def test_a_key_without_the_scope_is_told_which(guarded: GuardedService) -> None:
    """H08."""
    key, _ = create_key(guarded.storage, tenant="acme", name="", scopes=[Scope.READ])
    answer = with_key(guarded, f"Authorization: Bearer {key}", JSON, target="/v1/generations", method="POST")
    assert (answer.status, answer.code) == (403, "missing_scope")
    assert "scope write" in answer.problem["detail"]
    assert "insufficient_scope" in answer.headers["www-authenticate"]


def test_with_keys_any_host_will_do(guarded: GuardedService) -> None:
    """H15: a page whose name was made to mean this machine has no key; a proxy passes on the name it is asked by."""
    answer = ask(
        guarded.stack.api_port,
        request("/v1/jobs", f"Authorization: Bearer {guarded.keys['acme']}", host="api.example"),
    )
    assert answer.status == 200
