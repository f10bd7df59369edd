"""Request bodies: one parse of JSON or of multipart/form-data into the same model."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO, TypeVar

from fastapi import Request
from pydantic import BaseModel
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from app.json_bodies import from_json
from app.multipart import read_form
from models.errors import FieldError, InvalidInput, TooLarge, UnsupportedFormat

_Model = TypeVar("_Model", bound=BaseModel)
_CHARSETS = {"", "utf-8", "utf8"}
_SMALL_BYTES = 65_536  # a body up to here is parsed where it comes in, a larger one in a thread
_MAX_JSON_COMMAS = 1_000_000  # twice what the largest drawing needs; parsing them takes 0.1 s


async def parse_json(request: Request, model: type[_Model]) -> _Model:
    """The validated body, which must be JSON. Raises UnsupportedFormat (415) for another type."""
    if _media_type(request) != "application/json":
        raise UnsupportedFormat("Send the body as application/json.", code="unsupported_media_type")
    return await _json(request, model)


async def parse_body(
    request: Request, model: type[_Model], *, file: str, lists: tuple[str, ...] = ()
) -> tuple[_Model, bytes | None]:
    """The validated body, and the bytes of its one file part, `file`; otherwise as `parse_parts`."""
    found, parts = await parse_parts(request, model, files=(file,), lists=lists)
    return found, parts.get(file)


async def parse_parts(
    request: Request, model: type[_Model], *, files: tuple[str, ...], lists: tuple[str, ...] = ()
) -> tuple[_Model, dict[str, bytes]]:
    """The validated body, and the bytes of its file parts by name (multipart only).

    `files` names the parts that may be there, each once; `lists` the fields that may be repeated or separated by
    commas in a form. Numbers in JSON must be numbers; in a form all values are text. Raises UnsupportedFormat (415)
    for another type.
    """
    kind = _media_type(request)
    if kind == "application/json":
        return await _json(request, model), {}
    if kind != "multipart/form-data":
        raise UnsupportedFormat(
            "Send the body as application/json or multipart/form-data.", code="unsupported_media_type"
        )
    async with read_form(request) as form:
        parts = {name: await _file_bytes(form, name) for name in files}
        fields = model.model_validate(_fields(form, files, lists))
        return fields, {name: data for name, data in parts.items() if data is not None}


async def _json(request: Request, model: type[_Model]) -> _Model:
    """The validated JSON body, parsed off the event loop; raises TooLarge for millions of values, unparsed."""
    body = await request.body()
    if len(body) > _MAX_JSON_COMMAS and body.count(b",") > _MAX_JSON_COMMAS:
        raise TooLarge(
            f"The body holds more than {_MAX_JSON_COMMAS} values; a mask has at most 100,000 points."
        )
    if len(body) < _SMALL_BYTES:
        return from_json(model, body)
    return await run_in_threadpool(from_json, model, body)


@asynccontextmanager
async def parse_upload(
    request: Request, model: type[_Model]
) -> AsyncIterator[tuple[_Model, BinaryIO | None]]:
    """The validated body, and its file part `file` (multipart only), which is on disk and gone afterwards.

    Raises UnsupportedFormat (415) for another type.
    """
    kind = _media_type(request)
    if kind == "application/json":
        yield await _json(request, model), None
    elif kind == "multipart/form-data":
        async with read_form(request) as form:
            fields, file = _upload_parts(form)
            yield model.model_validate(fields), file
    else:
        raise UnsupportedFormat(
            "Send the body as application/json or multipart/form-data.", code="unsupported_media_type"
        )


def _media_type(request: Request) -> str:
    """The body's type, in lower case. Raises UnsupportedFormat for text in another charset than UTF-8."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    if options.get(b"charset", b"").decode("latin-1").lower() not in _CHARSETS:
        raise UnsupportedFormat("Send text as UTF-8.", code="unsupported_media_type")
    return kind.decode("latin-1")


def _upload_parts(form: FormData) -> tuple[dict[str, str], BinaryIO | None]:
    """The fields and the file part, which the parser has streamed into a temporary file without a name."""
    fields: dict[str, str] = {}
    file: BinaryIO | None = None
    for name, value in form.multi_items():
        if name in fields:
            raise InvalidInput(f"The form field {name} is there more than once.", code="repeated_field")
        if isinstance(value, UploadFile) != (name == "file"):
            raise InvalidInput(
                "The form field file, and no other, must be a file part (with curl: -F file=@FILE.zip).",
                code="file_expected" if name == "file" else "unexpected_file",
                errors=[
                    FieldError(f"/{name[:100]}", "must be a file part" if name == "file" else "is no file")
                ],
            )
        if isinstance(value, UploadFile):
            if file is not None:
                raise InvalidInput("Send one file, a zip.", code="too_many_files")
            file = value.file
        else:
            fields[name] = value
    return fields, file


async def _file_bytes(form: FormData, name: str) -> bytes | None:
    parts = form.getlist(name)
    if len(parts) > 1:
        raise InvalidInput(f"Send one {name}, not {len(parts)}.", code="too_many_files")
    if not parts:
        return None
    (part,) = parts
    if isinstance(part, UploadFile):
        return await part.read()
    raise InvalidInput(
        f"The form field {name} must be a file part (with curl: -F {name}=@FILE).",
        code="file_expected",
        errors=[FieldError(f"/{name}", "must be a file part")],
    )


def _fields(form: FormData, files: tuple[str, ...], lists: tuple[str, ...]) -> dict[str, str | list[str]]:
    fields: dict[str, str | list[str]] = {}
    for name in form:
        if name in files:
            continue
        texts = [value for value in form.getlist(name) if isinstance(value, str)]
        if len(texts) != len(form.getlist(name)):
            raise InvalidInput(f"Only {' and '.join(files)} may be file parts here.", code="unexpected_file")
        if name in lists:
            words = [word.strip() for text in texts for word in text.split(",") if word.strip()]
            fields[name] = words or [""]  # to be refused as a name, since the field is there
        elif len(texts) == 1:
            fields[name] = texts[0]
        else:
            raise InvalidInput(f"The form field {name} is there {len(texts)} times.", code="repeated_field")
    return fields


def from_base64(text: str, *, pointer: str) -> bytes:
    """The bytes of a standard base64 text; raises InvalidInput."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        message = "must be standard base64 with padding, without a data: prefix"
        raise InvalidInput(
            f"{pointer}: {message}.", code="invalid_base64", errors=[FieldError(pointer, message)]
        ) from error
