"""A request as a value: what is sent, the same bytes however often it is repeated."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO
from urllib.parse import quote

from earthsynth.errors import RequestError

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Upload:
    """The file part of a form. `open` gives the file from its beginning, once for every attempt."""

    part: str
    name: str
    content_type: str
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`path` begins with a slash. `read_seconds`: how long the answer may take, where the client's own is too short.

    `redirects`: a redirect is the answer.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    upload: Upload | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    read_seconds: float | None = None
    redirects: bool = False

    def with_headers(self, **headers: str) -> Request:
        return replace(self, headers={**self.headers, **headers})

    def redirecting(self) -> Request:
        return replace(self, redirects=True)


def get(path: str, **query: object) -> Request:
    """A GET; parameters that are None are left out."""
    said = {name: _query_text(value) for name, value in query.items() if value is not None}
    return Request(method="GET", path=path, query=said)


def delete(path: str) -> Request:
    return Request(method="DELETE", path=path)


def post(
    path: str,
    fields: Mapping[str, Any] | None = None,
    *,
    upload: Upload | None = None,
    wait_seconds: float | None = None,
    read_seconds: float | None = None,
) -> Request:
    """A POST with an idempotency key, so that it is done once however often it is sent.

    `fields`: the body's, of which None is left out; `idempotency_key` and `extra_body` among them are no fields but
    what they say. `wait_seconds`: ask the service to answer when the job has ended.
    """
    body = dict(fields or {})
    key = body.pop("idempotency_key", None) or str(uuid.uuid4())
    if not 1 <= len(key) <= 255 or not key.isascii() or not key.isprintable() or key.strip() != key:
        raise RequestError("idempotency_key must be 1 to 255 visible ASCII characters")
    extra = body.pop("extra_body", None) or {}
    said = {name: value for name, value in body.items() if value is not None} | dict(extra)
    headers = {"Idempotency-Key": key}
    if wait_seconds is not None:
        headers["Prefer"] = f"wait={int(wait_seconds)}" if wait_seconds >= 1 else "respond-async"
    return Request(
        method="POST",
        path=path,
        body=None if fields is None and not extra else said,
        upload=upload,
        headers=headers,
        read_seconds=read_seconds,
    )


def segment(text: str, what: str) -> str:
    """An id or name as one part of a path. Raises RequestError: it would lead to another place."""
    if not text or text in {".", ".."}:
        raise RequestError(f"{what} is {text!r}, which names nothing")
    return quote(text, safe="@")


def content(request: Request) -> tuple[dict[str, str], dict[str, Any]]:
    """The headers, and httpx's arguments for the body. A form's files are opened here: see `close`."""
    headers = dict(request.headers)
    if request.upload is None:
        if request.body is None:
            return headers, {}
        headers["Content-Type"] = JSON
        return headers, {"content": json_bytes(request.body)}
    # A boundary that depends on the key alone: the service sees the same body when it is sent again.
    digest = hashlib.sha256(headers.get("Idempotency-Key", "").encode()).hexdigest()
    headers["Content-Type"] = f"multipart/form-data; boundary=earthsynth-{digest[:40]}"
    upload = request.upload
    return headers, {
        "data": {name: form_text(value) for name, value in (request.body or {}).items()},
        "files": {upload.part: (upload.name, upload.open(), upload.content_type)},
    }


def close(arguments: Mapping[str, Any]) -> None:
    """Closes what `content` opened."""
    for _, file, _ in arguments.get("files", {}).values():
        file.close()


def json_bytes(body: Mapping[str, Any]) -> bytes:
    """Raises RequestError for what JSON does not have."""
    try:
        return json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise RequestError(f"the request cannot be written as JSON: {error}") from error


def form_text(value: object) -> str:
    """A value as a form sends it: objects as JSON text."""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, Mapping | list | tuple) else str(value)


def _query_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
