"""Sample records in pages: 100,000 of them are never in memory together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, zip_longest
from typing import Protocol

from worker.jobs import Frozen
from worker.samples import SampleRecord, from_lines, to_lines
from worker.storage import Storage

PAGE_SAMPLES = 500


class Page(Frozen):
    """Samples in index order, as JSON lines. `first`: the index of the first one."""

    key: str
    sha256: str
    first: int
    count: int


class Put(Protocol):
    def __call__(self, name: str, body: bytes, content_type: str) -> tuple[str, str]: ...


def write_pages(put: Put, records: Iterable[SampleRecord], *, folder: str = "") -> tuple[Page, ...]:
    """Stores the records page by page."""
    pages: list[Page] = []
    rest = iter(records)
    while part := list(islice(rest, PAGE_SAMPLES)):
        key, sha256 = put(f"{folder}samples-{len(pages):05d}.jsonl", to_lines(part), "application/jsonl")
        pages.append(Page(key=key, sha256=sha256, first=part[0].index, count=len(part)))
    return tuple(pages)


def read_pages(storage: Storage, pages: Iterable[Page], *, after: int = -1) -> Iterator[SampleRecord]:
    """The records with an index above `after`; bytes are checked against their recorded sha256."""
    pages = list(pages)
    for page, following in zip_longest(pages, pages[1:]):
        if following is not None and following.first <= after:
            continue
        for record in from_lines(storage.read_verified(page.key, page.sha256)):
            if record.index > after:
                yield record
