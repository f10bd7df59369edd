"""The lines of a manifest: gathered in a temporary file, stored in pages, so that line n is one read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from tempfile import TemporaryFile

from pydantic import BaseModel

from worker.storage import Storage

PAGE_LINES = 500


class ManifestLines:
    """Records as JSON lines, in the order they come; only sums stay in memory.

    A context manager, which gives the file back. `digest` is one hex SHA-256 over `salt` and all lines, `pages` are
    those of the pages.
    """

    def __init__(self, salt: bytes = b"") -> None:
        self._file = TemporaryFile()  # noqa: SIM115  (closed by __exit__)
        self._whole, self._page = hashlib.sha256(salt), hashlib.sha256()
        self._full_pages: list[str] = []
        self._page_bytes: list[int] = [0]
        self.count = 0

    def __enter__(self) -> ManifestLines:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, record: BaseModel) -> None:
        """Appends a line."""
        line = record.model_dump_json().encode() + b"\n"
        if self.count and self.count % PAGE_LINES == 0:
            self._full_pages.append(self._page.hexdigest())
            self._page = hashlib.sha256()
            self._page_bytes.append(0)
        self._file.write(line)
        self._whole.update(line)
        self._page.update(line)
        self._page_bytes[-1] += len(line)
        self.count += 1

    @property
    def digest(self) -> str:
        return self._whole.hexdigest()

    @property
    def pages(self) -> tuple[str, ...]:
        return (*self._full_pages, self._page.hexdigest())

    def store(self, storage: Storage, key: Callable[[int], str]) -> None:
        """Writes each page under the key of its number."""
        self._file.seek(0)
        for page, size in enumerate(self._page_bytes):
            storage.create(key(page), self._file.read(size), "application/x-ndjson")
