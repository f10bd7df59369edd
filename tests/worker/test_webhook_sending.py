"""One attempt against receivers of every kind: hostile_inputs.md U65 to U75, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpcore
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.certificates import NAME, Authority, authority
from tests.receivers import Behaviour, Call, Receiver, answer, raw, receiver
from worker.deliveries import Fault
from worker.name_lookup import NameLookup
from worker.webhook_network import Dial, dial, tls_context
from worker.webhook_rules import WebhookRules
from worker.webhook_sending import Answer, Courier, Message

SECRET, OLD_SECRET = "whsec_" + "A" * 32, "whsec_" + "B" * 32
BODY = '{"type":"job.succeeded","data":{"id":"job_1","custom_id":"Zürich"}}'
MESSAGE = Message("msg_1", BODY, [SECRET])
LOCAL = WebhookRules(allow_http=True, allow_private=True, ports=frozenset())
PUBLIC = "93.184.216.34"
OPEN = tls_context()


def send(
    url: str,
    *,
    seconds: float = 10,
    tls: ssl.SSLContext = OPEN,
    connect: Dial = dial,
    message: Message = MESSAGE,
) -> Answer:
    return asyncio.run(
        Courier(LOCAL, NameLookup(lambda host: [PUBLIC]), tls, seconds, dial=connect).send(url, message)
    )


def called(behaviour: Behaviour, *, seconds: float = 10) -> tuple[Answer, Receiver]:
    with receiver(behaviour) as found:
        return send(found.url, seconds=seconds), found


@pytest.mark.parametrize("status", [200, 204, 299])
def test_u73_any_2xx_is_a_success(status: int) -> None:
    body = b'{"error": "not really"}' if status == 200 else b""
    given, found = called(answer(status, body=body))
    assert given.delivered
    assert given.attempt.status == status
    (call,) = found.calls
    assert call.line == "POST /hook?a=1 HTTP/1.1"
    assert call.headers["host"] == f"127.0.0.1:{found.port}"
    assert call.headers["content-type"] == "application/json"
    assert call.headers["webhook-id"] == "msg_1"
    assert call.verified(SECRET)["data"]["custom_id"] == "Zürich"


def test_during_a_rotation_both_secrets_verify_and_no_other() -> None:
    with receiver(answer(200)) as found:
        send(found.url, message=Message("msg_1", BODY, [SECRET, OLD_SECRET]))
    (call,) = found.calls
    assert call.verified(SECRET) == call.verified(OLD_SECRET)
    with pytest.raises(WebhookVerificationError):
        call.verified("whsec_" + "C" * 32)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(call.body + b" ", call.headers)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("row", ["U44", "U45"])
def test_u44_u45_a_redirect_is_a_failure_and_not_followed(status: int, row: str) -> None:
    with receiver(answer(200)) as elsewhere:
        target = "http://169.254.169.254/" if row == "U44" else elsewhere.url
        given, _ = called(answer(status, f"Location: {target}"))
    assert given.attempt.error is Fault.REDIRECT
    assert given.attempt.status == status
    assert elsewhere.calls == []


@pytest.mark.parametrize(("status", "fault"), [(400, Fault.STATUS), (500, Fault.STATUS), (410, Fault.GONE)])
def test_u71_other_answers_are_failures(status: int, fault: Fault) -> None:
    given, _ = called(answer(status))
    assert (given.attempt.error, given.attempt.status) == (fault, status)


def silent(connection: socket.socket, call: Call) -> None:
    connection.recv(1)  # until the other side goes


def dripping(first: bytes) -> Behaviour:
    def drip(connection: socket.socket, call: Call) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)

    return drip


def one_after_another(connection: socket.socket, call: Call) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("row", "behaviour"),
    [
        ("U65", silent),
        ("U66", dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")),
        ("U66", dripping(b"HTTP/1.1 200 OK\r\nX-Header: ")),
        ("U68", one_after_another),
    ],
    ids=["U65-silence", "U66-body", "U66-header", "U68-1xx"],
)
def test_u65_u66_u68_the_whole_exchange_has_one_deadline(row: str, behaviour: Behaviour) -> None:
    given, _ = called(behaviour, seconds=0.4)
    assert given.attempt.error is Fault.TIMEOUT
    assert given.attempt.status is None


def endless(connection: socket.socket, call: Call) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\nContent-Encoding: gzip\r\n\r\n")
    sent = 0
    try:
        while True:
            sent += connection.send(bytes(65536))
    except OSError:
        assert sent < 20_000_000, "what fits into the sockets' buffers, and no more"
        raise


@pytest.mark.parametrize("status", [200, 500])
def test_u67_of_an_endless_body_64_kb_are_read_and_the_status_counts(status: int) -> None:
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"

    def endless_chunks(connection: socket.socket, call: Call) -> None:
        connection.sendall(f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        while True:
            connection.sendall(chunk)

    for behaviour in (endless_chunks, endless) if status == 200 else (endless_chunks,):
        given, _ = called(behaviour)
        assert given.attempt.status == status
        assert given.delivered == (status == 200)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"<html>this is HTTP/0.9</html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        bytes(range(256)),
    ],
    ids=["long header", "many headers", "status line", "HTTP/0.9", "length", "bytes"],
)
def test_u68_what_is_not_http_is_a_failure(data: bytes) -> None:
    given, _ = called(raw(data))
    assert given.attempt.error in {Fault.PROTOCOL, Fault.DISCONNECTED}


def test_u74_a_connection_that_ends_before_the_answer() -> None:
    given, _ = called(raw(b""))
    assert given.attempt.error is Fault.DISCONNECTED
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    given = send(f"http://127.0.0.1:{port}/")
    assert given.attempt.error is Fault.CONNECT
    assert "refused" in (given.attempt.detail or "")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("-1", None),
        (str(10**9), 86_400),
        ("0", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Fri, 99 Nov 99999 07:28:00 GMT", None),
    ],
)
def test_u72_retry_after_is_honoured_up_to_a_day(status: int, value: str, seconds: float | None) -> None:
    given, _ = called(answer(status, f"Retry-After: {value}"))
    assert given.retry_after_seconds == seconds


def test_u72_a_date_to_come_and_other_statuses() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    given, _ = called(answer(503, f"Retry-After: {date}"))
    assert given.retry_after_seconds == pytest.approx(3600, abs=10)
    given, _ = called(answer(500, "Retry-After: 120"))
    assert given.retry_after_seconds is None


def test_u75_nothing_that_a_receiver_says_is_kept() -> None:
    headers = ("Set-Cookie: a=b", 'Alt-Svc: h3=":443"', "Strict-Transport-Security: max-age=9999")
    with receiver(answer(200, *headers)) as found:
        courier = Courier(LOCAL, NameLookup(), OPEN, 10)
        for _ in range(2):
            assert asyncio.run(courier.send(found.url, MESSAGE)).delivered
    first, second = found.calls
    assert "cookie" not in second.headers
    assert first.headers.keys() == second.headers.keys()


def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    given, _ = called(answer(200))
    assert given.delivered


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("certificates"))


def to(port: int, dialled: list[tuple[str, int]]) -> Dial:
    """Notes the address, and connects to a receiver on loopback in its stead."""

    async def connect(address: str, wanted: int) -> httpcore.AsyncNetworkStream:
        dialled.append((address, wanted))
        return await dial("127.0.0.1", port)

    return connect


def test_u01_tls_is_spoken_with_the_checked_address_under_the_urls_name(ca: Authority) -> None:
    dialled: list[tuple[str, int]] = []
    with receiver(answer(200), ca.leaf("good")) as found:
        given = send(f"https://{NAME}/a?b=1", tls=tls_context(str(ca.file)), connect=to(found.port, dialled))
    assert given.delivered, given
    assert dialled == [(PUBLIC, 443)]
    assert found.names == [NAME], "SNI"
    assert found.calls[0].headers["host"] == NAME
    assert found.calls[0].line == "POST /a?b=1 HTTP/1.1"


def only_tls_1_1(ca: Authority) -> ssl.SSLContext:
    context = ca.leaf("old")
    with warnings.catch_warnings():  # Python says that these are deprecated, which is the point
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("expired", "expired"),
        ("self-signed", "self-signed"),
        ("wrong-name", "mismatch"),
        ("sha1", "too weak"),
        ("TLS 1.1", "version"),
    ],
)
def test_u69_u70_tls_that_is_not_good_enough_is_named(ca: Authority, label: str, reason: str) -> None:
    dialled: list[tuple[str, int]] = []
    contexts = {
        "expired": lambda: ca.leaf("expired", days=-1),
        "self-signed": lambda: ca.leaf("own", own=True),
        "wrong-name": lambda: ca.leaf("other", name="other.example.com"),
        "sha1": lambda: ca.leaf("sha1", digest="sha1"),
        "TLS 1.1": lambda: only_tls_1_1(ca),
    }
    with receiver(answer(200), contexts[label]()) as found:
        given = send(f"https://{NAME}/", tls=tls_context(str(ca.file)), connect=to(found.port, dialled))
    assert given.attempt.error is Fault.TLS, given
    assert reason in (given.attempt.detail or "")
    assert found.calls == []


def proxy(found: list[str], port: int) -> Behaviour:
    """A CONNECT proxy: notes what it is asked for, and connects to a receiver on loopback in its stead."""

    def relay(connection: socket.socket, call: Call) -> None:
        found.append(f"{call.line.rpartition(' ')[0]} {call.headers.get('proxy-authorization', '')}".strip())
        if "blocked" in call.line:
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as other:
            back = threading.Thread(target=_pump, args=(other, connection), daemon=True)
            back.start()
            _pump(connection, other)
            back.join(5)

    return relay


def _pump(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65536):
        sink.sendall(data)


def test_an_egress_proxy_resolves_and_connects(ca: Authority, tmp_path: Path) -> None:
    asked: list[str] = []
    rules = WebhookRules(by_proxy=True)
    with receiver(answer(200), ca.leaf("behind")) as found, receiver(proxy(asked, found.port)) as between:
        courier = Courier(
            rules,
            NameLookup(lambda host: pytest.fail("resolved here")),
            tls_context(str(ca.file)),
            seconds=10,
            proxy=f"http://user:p%40ss@127.0.0.1:{between.port}",
        )
        given = asyncio.run(courier.send(f"https://{NAME}/", MESSAGE))
        refused = asyncio.run(courier.send("https://blocked.example.com/", MESSAGE))
    assert given.delivered, given
    assert asked == [
        f"CONNECT {NAME}:443 Basic dXNlcjpwQHNz",
        "CONNECT blocked.example.com:443 Basic dXNlcjpwQHNz",
    ]
    assert found.calls[0].verified(SECRET)
    assert "proxy-authorization" not in found.calls[0].headers
    assert refused.attempt.error is Fault.PROXY
