"""COCO's run-length encoding, checked before anything is allocated.

Runs count pixels down the columns, beginning with background. The compressed form packs each count into characters of
five bits, from the third run on as the difference from the run two before (cocoapi, `maskApi.c`, `rleFrString`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.rasterize import Window

_LONGEST_COUNT = 7  # characters: 35 bits, more than any picture has pixels


class NoRunLengths(ValueError):
    """What is wrong, as the end of a sentence."""


def read_counts(counts: Any, *, pixels: int) -> NDArray[np.int64]:
    """Return the lengths of the runs, whose sum is `pixels`.

    `counts` is a list of whole numbers, or the compressed text. Raises NoRunLengths.
    """
    if isinstance(counts, str):
        found = _decompressed(counts)
    elif isinstance(counts, list) and all(type(count) is int for count in counts):
        if any(not 0 <= count <= pixels for count in counts):
            raise NoRunLengths(f"holds a run that is negative or longer than the mask's {pixels} pixels")
        found = np.array(counts, np.int64)
    else:
        raise NoRunLengths("must be a list of whole numbers, or COCO's compressed text")
    if not len(found) or int(found.min()) < 0 or int(found.max()) > pixels:
        raise NoRunLengths(f"holds no run, or one that is negative or longer than the mask's {pixels} pixels")
    total = int(found.sum())
    if total != pixels:
        raise NoRunLengths(f"adds up to {total} pixels, and the size to {pixels}")
    return found


def run_window(counts: NDArray[np.int64], height: int) -> Window | None:
    """Return where the runs' foreground lies, in whole columns; None where there is none."""
    ends = np.cumsum(counts)
    starts = ends - counts
    on = np.flatnonzero((np.arange(len(counts)) % 2 == 1) & (counts > 0))
    if not len(on):
        return None
    left, right = int(starts[on[0]]) // height, (int(ends[on[-1]]) - 1) // height + 1
    bounds = np.clip(ends, left * height, right * height) - np.clip(starts, left * height, right * height)
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, bounds)
    return Window(0, left, np.ascontiguousarray(flat.reshape(right - left, height).T))


def _decompressed(text: str) -> NDArray[np.int64]:
    try:
        codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError as error:
        raise NoRunLengths("holds characters that are not COCO's") from error
    if not len(codes) or codes.min() < 0 or codes.max() > 63:
        raise NoRunLengths("is empty, or holds characters that are not COCO's")
    last = codes & 0x20 == 0
    if not last[-1]:
        raise NoRunLengths("ends within a run")
    starts = np.append(0, np.flatnonzero(last)[:-1] + 1)
    place = np.arange(len(codes)) - np.repeat(starts, np.diff(np.append(starts, len(codes))))
    if place.max() >= _LONGEST_COUNT:
        raise NoRunLengths("holds a run that is longer than any picture")
    values = np.add.reduceat((codes & 0x1F) << (5 * place), starts)
    negative = codes[last] & 0x10 != 0
    values -= np.where(negative, 1 << (5 * (place[last] + 1)), 0)
    for first in (1, 2):  # run k is given as its difference from run k - 2, for k > 2
        values[first::2] = np.cumsum(values[first::2])
    return values
