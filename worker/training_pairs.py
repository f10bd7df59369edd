"""The pairs of a kept training set, as a training reads them: one by one, or shard by shard; never all in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, BinaryIO

from models.cfcomp.pairs import MaskReading, decode_pair
from models.cfcomp.shards import Shard
from models.cfcomp.triple import Triple, caption_of
from models.errors import NotFound
from models.masks import Encoding
from worker.layout import training_file_key
from worker.manifest_lines import PAGE_LINES
from worker.storage import Storage
from worker.training_set_manifest import (
    PairEntry,
    TrainingSetRecord,
    pair_page,
    shard_entries,
)
from worker.training_sets import mask_reading

_ANY_SIDE = 65_536  # the limit was applied when the set came in
_STORED = MaskReading(Encoding.CLASS_ID, ignore=True, max_side=_ANY_SIDE)


class StoragePairs:
    """The pairs of a set of layout "pairs"; a `PairSource` that threads may share, and that can be pickled."""

    def __init__(self, storage: Storage, tenant: str, record: TrainingSetRecord) -> None:
        self._storage, self._tenant, self._record = storage, tenant, record
        self.frequencies: Mapping[int, float] = record.frequencies
        self._start_pages()

    def _start_pages(self) -> None:
        self._pages: dict[int, tuple[PairEntry, ...]] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Without the pages: they are read again where it arrives."""
        return {name: value for name, value in vars(self).items() if name not in {"_pages", "_lock"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start_pages()

    def __len__(self) -> int:
        return self._record.pairs

    def entry(self, number: int) -> PairEntry:
        """A pair's line of the manifest. Raises IndexError."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        page, place = divmod(number, PAGE_LINES)
        with self._lock:
            if page not in self._pages:
                self._pages[page] = pair_page(self._storage, self._tenant, self._record, page)
            return self._pages[page][place]

    def read(self, number: int) -> Triple:
        """Return a pair, decoded; its two files must have the sums they were stored under.

        Raises NotFound, Unavailable.
        """
        entry = self.entry(number)
        picture, mask = decode_pair(self._bytes(entry.picture), self._bytes(entry.mask), _STORED)
        return Triple(entry.name, picture, mask, entry.text or caption_of(mask))

    def _bytes(self, name: str) -> bytes:
        return self._storage.read_verified(
            training_file_key(self._tenant, name), sha256=name.partition(".")[0]
        )


def pair_shards(storage: Storage, tenant: str, record: TrainingSetRecord) -> list[Shard]:
    """The shards of a set of layout "shards". To open one raises what `_open` does."""
    return [
        Shard(found.name, partial(_open, storage, f"{tenant}/{found.path}", found.etag))
        for found in shard_entries(storage, tenant, record)
    ]


def shard_reading(record: TrainingSetRecord) -> MaskReading:
    """How the masks of a set's shards are read. Raises ValueError for a set of another layout."""
    if record.reading is None:
        raise ValueError(f"{record.id} has no shards")
    return mask_reading(record.reading.masks, record.reading.max_side)


def _open(storage: Storage, key: str, etag: str) -> BinaryIO:
    """Raises NotFound (object_gone), Conflict (object_changed): it is not what the set was made of any more."""
    try:
        return storage.open(key, etag=etag)
    except NotFound as error:
        raise NotFound(
            f"The shard {key.partition('/')[2]} was deleted; make the training set again.", code="object_gone"
        ) from error
