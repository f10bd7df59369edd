"""Small batches for readers that hold every mask of what they read in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

_MAX_PICTURES = 64
_MAX_MASK_BYTES = 32 * 2**20  # a reader makes an (H, W) bool mask for each annotation, and copies them

Key = TypeVar("Key")
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Slice(Generic[Key, Row]):
    """A picture and some of its annotations; all of them, but for pictures with very many."""

    key: Key
    rows: list[Row]


def in_batches(pictures: Iterable[tuple[Key, int, list[Row]]]) -> Iterator[list[Slice[Key, Row]]]:
    """Yield (key, pixels, rows) in batches of at most 64 pictures and 32 MiB of masks.

    A picture stays in one batch where its own masks fit, and is cut over several batches where they do not.
    """
    batch: list[Slice[Key, Row]] = []
    used = 0
    for key, pixels, rows in pictures:
        most = max(1, _MAX_MASK_BYTES // pixels)
        for start in range(0, max(1, len(rows)), most):
            some = rows[start : start + most]
            if batch and (
                len(batch) == _MAX_PICTURES or start or used + len(some) * pixels > _MAX_MASK_BYTES
            ):
                yield batch
                batch, used = [], 0
            batch.append(Slice(key, some))
            used += len(some) * pixels
    if batch:
        yield batch
