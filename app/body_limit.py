"""Request bodies that are too large, too slow, or encoded: refused as early as can be seen."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import answer, problem_of
from models.errors import EarthSynthError, TooLarge, TooSlow, UnsupportedFormat


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """`archive_paths`: where forms are streamed to disk, and so may be as large as an archive."""

    json_bytes: int
    form_bytes: int
    archive_bytes: int
    archive_paths: frozenset[str]
    seconds: float
    bytes_per_second: int

    def bytes_for(self, path: str, headers: Headers) -> int:
        """How large this body may be. What is neither JSON nor a form is refused by its route."""
        if not headers.get("content-type", "").lower().startswith("multipart/form-data"):
            return self.json_bytes
        return self.archive_bytes if path in self.archive_paths else self.form_bytes


class BodyLimit:
    """Answers 413, 415 or 408, and closes the connection, on which the rest of the body would come.

    A declared length is judged before a byte is read, so that `Expect: 100-continue` is never answered with 100 for
    a body that is too large; uvicorn sends the 100 when the body is first asked for. FastAPI's own `max_body_size`
    answers in plain text, from outside the exception handlers.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        max_bytes = self._limits.bytes_for(scope["path"], headers)
        refusal = _refusal(headers, max_bytes)
        if refusal is not None:
            more = {"Accept-Encoding": "identity"} if isinstance(refusal, UnsupportedFormat) else {}
            found = answer(problem_of(refusal, scope["path"]), {"Connection": "close"} | more)
            await found(scope, receive, send)
            return
        body = _Body(receive, send, max_bytes, self._limits)
        await self._app(scope, body.receive, body.send)


@dataclass(slots=True)
class _Body:
    """A body that is being read. `waited`: seconds spent on the client alone, so that it answers for no others."""

    source: Receive
    sink: Send
    max_bytes: int
    limits: BodyLimits
    seen: int = 0
    waited: float = 0.0
    is_whole: bool = False
    refusal: EarthSynthError | None = None

    async def receive(self) -> Message:
        """The next part. Raises TooLarge, or TooSlow for a silent client and for one that sends too little."""
        if self.refusal is not None:
            raise self.refusal
        if self.is_whole:
            return await self.source()
        message = await self._next()
        self.seen += len(message.get("body", b""))
        self.is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        if self.seen > self.max_bytes:
            self.refusal = _too_large(self.max_bytes)
            raise self.refusal
        return message

    async def _next(self) -> Message:
        limits, began = self.limits, time.monotonic()
        allowed = min(limits.seconds, limits.seconds + self.seen / limits.bytes_per_second - self.waited)
        try:
            async with asyncio.timeout(max(allowed, 0)):
                return await self.source()
        except TimeoutError:
            self.refusal = TooSlow(
                f"The body stopped coming, or came with less than {limits.bytes_per_second} bytes a second after "
                f"the first {math.ceil(limits.seconds)} s. Nothing was started; send it again."
            )
            raise self.refusal from None
        finally:
            self.waited += time.monotonic() - began

    async def send(self, message: Message) -> None:
        """The answer; after a refusal it is the connection's last."""
        if self.refusal is not None and message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Connection"] = "close"
        await self.sink(message)


def _refusal(headers: Headers, max_bytes: int) -> EarthSynthError | None:
    """What is wrong by the head alone."""
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        return _too_large(max_bytes)
    encodings = ",".join(headers.getlist("content-encoding")).split(",")
    if any(encoding.strip().lower() not in {"", "identity"} for encoding in encodings):
        return UnsupportedFormat(
            "Send the body as it is, without Content-Encoding: compressed bodies are not read.",
            code="unsupported_content_encoding",
        )
    return None


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes, the limit of this service.")
