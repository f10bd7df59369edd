"""Pages of lists: how many, from where on, and what comes next."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from itertools import islice
from typing import Annotated

from fastapi import Query

from app.schemas import SamplePage, sample_view
from models.errors import InvalidInput
from worker.jobs import Job
from worker.pages import Page, read_pages
from worker.storage import Storage

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[
    str | None, Query(max_length=200, description="`next_cursor` of the page before, with the same filters")
]
_MARK_BYTES = 9


def cursor_after(place: str, *scope: str | None) -> str:
    """Where a list goes on. `scope`: whose list it is, and its filters: the cursor is good for no other."""
    return base64.urlsafe_b64encode(_mark(scope) + place.encode()).decode().rstrip("=")


def place_of(cursor: str | None, *scope: str | None) -> str | None:
    """What `cursor_after` was told; None without a cursor. Raises InvalidInput for one of another list, or none."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        mark, place = raw[:_MARK_BYTES], raw[_MARK_BYTES:].decode()
    except (binascii.Error, ValueError):
        mark, place = b"", ""
    if mark != _mark(scope) or not place:
        raise InvalidInput("The cursor is not one that this list gave.", code="invalid_cursor")
    return place


def _mark(scope: Iterable[str | None]) -> bytes:
    return hashlib.sha256(repr(tuple(scope)).encode()).digest()[:_MARK_BYTES]


def sample_page(
    storage: Storage, job: Job, pages: Iterable[Page], limit: int, cursor: str | None
) -> SamplePage:
    """Samples after the cursor, by index, with fresh presigned URLs. Raises InvalidInput for a foreign cursor."""
    scope = (job.tenant, job.id, "samples")
    after = place_of(cursor, *scope)
    records = list(islice(read_pages(storage, pages, after=-1 if after is None else int(after)), limit + 1))
    more = cursor_after(str(records[limit - 1].index), *scope) if len(records) > limit else None
    return SamplePage(
        items=[sample_view(record, job, storage) for record in records[:limit]], next_cursor=more
    )
