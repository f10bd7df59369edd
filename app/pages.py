"""Pages of lists: how many, from where on, and what comes next."""

from __future__ import annotations

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
Cursor = Annotated[str | None, Query(max_length=100)]


def invalid_cursor() -> InvalidInput:
    return InvalidInput("The cursor is not one that this service gave.", code="invalid_cursor")


def sample_page(
    storage: Storage, job: Job, pages: Iterable[Page], limit: int, cursor: str | None
) -> SamplePage:
    """Samples after the cursor, by index, with fresh presigned URLs. Raises InvalidInput for a foreign cursor."""
    if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
        raise invalid_cursor()
    records = list(islice(read_pages(storage, pages, after=int(cursor) if cursor else -1), limit + 1))
    more = str(records[limit - 1].index) if len(records) > limit else None
    return SamplePage(
        items=[sample_view(record, job, storage) for record in records[:limit]], next_cursor=more
    )
