"""A training's checkpoints in storage: `{tenant}/jobs/{id}/checkpoints/`, beside its attempts, which they outlive."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from models.cfcomp.vault import MARKER
from worker.run import patiently
from worker.storage import Storage


class StorageVault:
    """A vault in S3. While it is empty, the checkpoints of another training may be read in its place.

    What cannot be stored for a minute, because storage is away or full, ends the attempt: raises Unavailable.
    """

    def __init__(
        self, storage: Storage, prefix: str, *, earlier: str = "", pulse: Callable[[], None] = lambda: None
    ) -> None:
        """`prefix` and `earlier` (the other training's, or empty) end in "/". `pulse` is called before each move."""
        self._storage, self._prefix, self._earlier, self._pulse = storage, prefix, earlier, pulse

    def put(self, name: str, file: Path) -> None:
        self._pulse()
        patiently(lambda: self._storage.upload(self._prefix + name, file, "application/octet-stream"))

    def create(self, name: str, body: bytes) -> None:
        self._pulse()
        patiently(lambda: self._storage.create(self._prefix + name, body, "application/json"))

    def names(self) -> Iterator[str]:
        own = patiently(lambda: list(self._storage.keys(self._prefix)))
        yield from (key.removeprefix(self._prefix) for key in own)
        if self._earlier and not any(key.endswith(f"/{MARKER}") for key in own):
            others = patiently(lambda: list(self._storage.keys(self._earlier)))
            yield from (key.removeprefix(self._earlier) for key in others)

    def fetch(self, name: str, file: Path) -> None:
        self._pulse()
        prefix = self._prefix if self._storage.exists(self._prefix + name) else self._earlier or self._prefix
        patiently(lambda: self._copy(prefix + name, file))

    def _copy(self, key: str, file: Path) -> None:
        with self._storage.open(key) as stream, file.open("wb") as target:
            shutil.copyfileobj(stream, target)

    def delete(self, folder: str) -> None:
        self._pulse()
        patiently(lambda: self._storage.delete(f"{self._prefix}{folder}/"))
