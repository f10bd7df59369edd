"""What has to be known of all samples before the first is written: labels' sizes, splits and categories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE
from models.errors import Conflict
from models.export.reader import ExportUnreadable
from models.export.sample import ExportSample
from models.export.splits import check_split_name, in_usual_order
from models.export.spool import LabelSpool
from models.masks import encode_png


@dataclass(frozen=True, slots=True)
class Survey:
    """Counts over all labels.

    `splits` are pictures by split, training first. `pixels` (256,) is how many pixels have each id, `mains` the
    ids that are the largest of some picture (see `main_category`).
    """

    splits: dict[str, int]
    pixels: NDArray[np.int64]
    mains: frozenset[int]

    @property
    def pictures(self) -> int:
        return sum(self.splits.values())

    @property
    def present(self) -> list[int]:
        """The categories with at least a pixel, ascending; neither background nor ignore."""
        return [c.id for c in CATEGORIES[1:] if self.pixels[c.id]]

    def histogram(self) -> dict[str, int]:
        """Pixels by category name, "background" and "ignore" among them."""
        names = {**{c.id: c.name for c in CATEGORIES}, IGNORE: "ignore"}
        return {names[int(n)]: int(self.pixels[n]) for n in np.flatnonzero(self.pixels)}


def main_category(ids: NDArray[np.uint8]) -> int:
    """Return the id that covers most of (H, W) ids; 0 where there is only background and ignore."""
    counts = np.bincount(ids.ravel(), minlength=256)[: len(CATEGORIES)]
    return int(counts[1:].argmax()) + 1 if counts[1:].any() else 0


def survey(samples: Iterator[ExportSample], spool: LabelSpool, on_sample: Callable[[int], None]) -> Survey:
    """Read every label once, keep it in the spool, and return what they hold together.

    Raises:
        Conflict: nothing_to_export, there is no sample.
        InvalidInput: a split's name that cannot be a folder's.
        ExportUnreadable: a label that is not its picture's, or holds an unknown id.
    """
    splits: dict[str, int] = {}
    pixels = np.zeros(256, np.int64)
    mains: set[int] = set()
    for sample in samples:
        check_split_name(sample.split)
        ids = sample.read_label()
        counts = np.bincount(ids.ravel(), minlength=256)
        if ids.shape != (sample.height, sample.width) or counts[len(CATEGORIES) : IGNORE].any():
            raise ExportUnreadable(
                f"The label of sample {sample.index} is not one of its picture; make it again."
            )
        spool.put(sample.index, encode_png(ids))
        splits[sample.split] = splits.get(sample.split, 0) + 1
        pixels += counts
        mains.add(main_category(ids))
        on_sample(0)
    if not splits:
        raise Conflict(
            "The data set has no accepted sample, so there is nothing to export.", code="nothing_to_export"
        )
    return Survey({name: splits[name] for name in in_usual_order(splits)}, pixels, frozenset(mains))
