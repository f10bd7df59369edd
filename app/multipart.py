"""multipart/form-data as RFC 7578 has it: Starlette's parser, without what it guesses or passes over."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser

from models.errors import FieldError, InvalidInput, Malformed, TooLarge

_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=?-]{1,70}")  # RFC 2046, but for spaces
_PLAIN = frozenset({b"", b"7bit", b"8bit", b"binary"})
_MAX_PARTS = 100
_MAX_FIELD_BYTES = 65_536


@asynccontextmanager
async def read_form(request: Request) -> AsyncIterator[FormData]:
    """The form, whose files are on disk and gone afterwards.

    Raises Malformed for what is no whole form, TooLarge, InvalidInput for encoded parts and text that is not UTF-8.
    """
    boundary = _boundary(request.headers.getlist("content-type")[0])
    edges = _Edges(request.stream(), boundary)
    try:
        form = await _Parser(request.headers, edges.chunks()).parse()
    except MultiPartException as error:
        _refuse(error.message)
    try:
        edges.check_end()
        yield form
    finally:
        await form.close()


def _boundary(content_type: str) -> bytes:
    found = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(found):
        _refuse("Its boundary must be 1 to 70 of the characters that RFC 2046 allows.")
    return found


def _refuse(why: str) -> NoReturn:
    raise Malformed(f"The body is no valid multipart form. {why}")


class _Edges:
    """Passes the body on, which must begin with its first boundary and end with its last."""

    def __init__(self, stream: AsyncGenerator[bytes], boundary: bytes) -> None:
        self._stream, self._boundary = stream, b"--" + boundary
        self._first, self._last = b"", b"\r\n"

    async def chunks(self) -> AsyncGenerator[bytes]:
        wanted = len(self._boundary)
        async for chunk in self._stream:
            if len(self._first) < wanted:
                self._first += chunk[: wanted - len(self._first)]
                if not self._boundary.startswith(self._first):
                    _refuse("It must begin with its boundary.")
            self._last = (self._last + chunk)[-wanted - 6 :]
            yield chunk

    def check_end(self) -> None:
        if not self._last.removesuffix(b"\r\n").endswith(b"\r\n" + self._boundary + b"--"):
            _refuse("It must end with its last boundary, and nothing after it.")


class _Parser(MultiPartParser):
    """Refuses encoded parts, text that is not UTF-8, and too many or too large parts, each by its code."""

    def on_part_begin(self) -> None:
        super().on_part_begin()
        if len(self.items) >= _MAX_PARTS:
            raise Malformed(f"The form has more than {_MAX_PARTS} parts.", code="too_many_parts")

    def on_headers_finished(self) -> None:
        headers = dict(self._current_part.item_headers)
        encoding = headers.get(b"content-transfer-encoding", b"").strip().lower()
        if encoding not in _PLAIN:
            raise InvalidInput(
                "A part has a Content-Transfer-Encoding; send it as it is.", code="unsupported_encoding"
            )
        super().on_headers_finished()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._current_part
        if part.file is None and len(part.data) + end - start > _MAX_FIELD_BYTES:
            raise TooLarge(f"A form field is longer than {_MAX_FIELD_BYTES} bytes; a file needs a filename.")
        super().on_part_data(data, start, end)

    def on_part_end(self) -> None:
        part = self._current_part
        if part.file is None:
            try:
                part.data.decode("utf-8")
            except UnicodeDecodeError:
                message = "must be UTF-8"
                raise InvalidInput(
                    f"The form field {part.field_name[:100]} {message}.",
                    code="invalid_text",
                    errors=[FieldError(f"/{part.field_name[:100]}", message)],
                ) from None
        super().on_part_end()
