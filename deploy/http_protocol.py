"""How bytes become requests: uvicorn's parser, with limits on what precedes a body, and no ambiguous framing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.problems import Problem, problem
from app.request_counts import count_refusal
from worker.logs import get_logger

log = get_logger(__name__)

_MAX_TARGET_BYTES = 8_192
_MAX_HEAD_BYTES = 32_768
_MAX_FIELDS = 100
# What may surround the data of a chunked body: so much over all, and for each chunk.
_FRAMING_BYTES = 16_384
_FRAMING_BYTES_A_CHUNK = 16
_LINGER_SECONDS = 2.0
# A second one of these would say something else to the next reader of the request.
_SINGLE = (b"host", b"content-type", b"content-encoding", b"transfer-encoding", b"expect")


class _Refused(Exception):
    """Raised in the parser's callbacks; the parser then reports an error of its own."""


class StrictHttp(HttpToolsProtocol):
    """HTTP/1.0 and 1.1. What two readers could read in two ways is refused, and so is a head without end.

    llhttp, the parser, refuses a Content-Length beside a Transfer-Encoding or another one, folded fields, bare CR or
    LF, and spaces before the colon, much of which h11 accepts. This class adds limits and rules that llhttp lacks,
    answers with problem documents where uvicorn sends plain text, and ignores offers to upgrade.
    """

    head_seconds: ClassVar[float] = 20.0  # from connecting, or from the first byte, to the end of the head

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows asyncio's signature
        self.parser = httptools.HttpRequestParser(self)  # without uvicorn's leniency for data after a close
        self._refusal: Problem | None = None
        self._over = False  # nothing that comes now is read
        self._timer: asyncio.TimerHandle | None = None
        self._begin()
        self._in_head = False
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._over:
            return
        before = (self.scope, self._in_head, self._body_bytes)
        try:
            self._feed(data)
        except httptools.HttpParserInvalidMethodError:
            if data[:1].isalpha():
                self._refuse(problem(501, "not_implemented", "This is no method that the service knows."))
            else:  # TLS, say
                self._refuse(_malformed("This is no HTTP/1.1 request."))
        except httptools.HttpParserError as error:
            self._refuse(self._refusal or _malformed(f"The request is no valid HTTP/1.1: {error}."))
        else:
            if self.cycle is None or self.cycle.response_complete:
                self._watch()
            if before[:2] == (self.scope, self._in_head):
                self._count_overhead(len(data) - (self._body_bytes - before[2]))

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                # The parser leaves the rest to another protocol; the offer is ignored, so it is HTTP/1.1 too.
                self.parser = httptools.HttpRequestParser(self)
                data = self._head_without_offer() + data[offer.args[0] :]
            else:
                return

    def _head_without_offer(self) -> bytes:
        version = str(self.scope["http_version"]).encode()
        fields = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        line = b" ".join([self.scope["method"].encode(), self.url, b"HTTP/" + version])
        return b"\r\n".join([line, *fields, b"", b""])

    def _begin(self) -> None:
        self._in_head = True
        self._head_bytes = self._body_bytes = self._chunks = self._overhead_bytes = 0

    # Called by the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > _MAX_TARGET_BYTES:
            detail = f"The path and query are longer than {_MAX_TARGET_BYTES} bytes."
            self._stop(problem(414, "uri_too_long", detail))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer: uvicorn would add it to the head, which has been judged without it
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > _MAX_HEAD_BYTES or len(self.headers) > _MAX_FIELDS:
            self._stop(_head_too_large())

    def on_headers_complete(self) -> None:
        self._unwatch()
        for found in _faults(self.parser, self.url, self.headers):
            self._stop(found)
        if self.parser.should_upgrade():
            self.scope["method"] = self.parser.get_method().decode("ascii")
            self.scope["http_version"] = self.parser.get_http_version()
        else:
            super().on_headers_complete()
        self._in_head = False

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_head:  # the next request has begun
            self._unset_keepalive_if_required()
            self._watch()

    # Limits and refusals

    def _count_overhead(self, size: int) -> None:
        """Counts what came in the middle of a message and is no data: parts of its head, or of its framing."""
        self._overhead_bytes += size
        if self._in_head and self._overhead_bytes > _MAX_HEAD_BYTES + _MAX_TARGET_BYTES:
            self._refuse(_head_too_large())
        elif not self._in_head and (
            self._overhead_bytes > _FRAMING_BYTES + _FRAMING_BYTES_A_CHUNK * self._chunks
        ):
            self._refuse(_malformed("The chunks hold more framing than data."))

    def _watch(self) -> None:
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._in_head:
            detail = f"The head of the request did not come within {self.head_seconds:.0f} s."
            self._refuse(problem(408, "request_timeout", detail, retryable=True))
        else:
            self.transport.close()

    def _stop(self, found: Problem) -> None:
        self._refusal = found
        raise _Refused(found.code)

    def _refuse(self, found: Problem) -> None:
        """Answers and closes; requests that came whole before this one are answered instead, then it closes."""
        self._over = True
        self._unwatch()
        log.info("not read as a request", status=found.status, code=found.code)
        last = self.cycle
        if last is None or last.response_complete:
            self._answer(found)
        elif not last.more_body:
            last.keep_alive = False
        elif last.response_started or self.pipeline:
            self.transport.close()
        else:  # its own body is broken
            last.disconnected = True
            last.message_event.set()
            self._answer(found)

    def _answer(self, found: Problem) -> None:
        count_refusal(found.code)
        request_id = uuid.uuid4().hex
        body = found.model_copy(update={"request_id": request_id}).model_dump_json().encode()
        fields = [
            *self.server_state.default_headers,
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
        self.transport.write(STATUS_LINE[found.status] + head + b"\r\n" + body)
        # Closing while the client still sends would reset the connection, and the answer would be lost.
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)


def _faults(
    parser: httptools.HttpRequestParser, target: bytes, fields: list[tuple[bytes, bytes]]
) -> Iterator[Problem]:
    """What is wrong with a whole head."""
    version, names = parser.get_http_version(), [name for name, _ in fields]
    by_name = dict(fields)
    if version not in {"1.0", "1.1"}:
        yield problem(505, "http_version_not_supported", "Speak HTTP/1.1.")
    if parser.get_method() == b"CONNECT":
        yield problem(501, "not_implemented", "This service is no proxy.")
    for name in _SINGLE:
        if names.count(name) > 1:
            yield _malformed(f"The field {name.decode()} is there more than once.")
    if any(b"_" in name and name.replace(b"_", b"-") in by_name for name in names):
        yield _malformed("Two fields differ only in _ and -.")
    if b"host" not in by_name and version == "1.1":
        yield _malformed("The field Host is missing.")
    coding = by_name.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or version == "1.0"):
        yield problem(501, "not_implemented", "The only transfer coding is chunked, in HTTP/1.1.")
    if by_name.get(b"expect", b"100-continue").lower() != b"100-continue":
        yield problem(417, "expectation_failed", "The only expectation is 100-continue.")
    if not target.startswith(b"/") and target != b"*":
        authority = target.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
        if authority.lower() != by_name.get(b"host", b"").lower():
            yield _malformed("The target names another host than the field Host.")


def _malformed(detail: str) -> Problem:
    return problem(400, "malformed_request", detail)


def _head_too_large() -> Problem:
    detail = f"The fields of the head are more than {_MAX_FIELDS}, or longer than {_MAX_HEAD_BYTES} bytes."
    return problem(431, "head_too_large", detail)
