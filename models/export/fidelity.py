"""What a label is still worth after its way through a format: label → format → label, IoU by category."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE


class Fidelity:
    """Intersections and unions in pixels, summed over pictures.

    Only the ids in `measured` count: what a format by its nature leaves out is not its loss.
    """

    def __init__(self, measured: frozenset[int]) -> None:
        self._measured = measured
        self._both = np.zeros(256, np.int64)
        self._either = np.zeros(256, np.int64)

    def add(self, label: NDArray[np.uint8], regions: Mapping[int, NDArray[np.bool_]]) -> None:
        """Compare a label (H, W) with the regions (H, W) that a reader regained for each id."""
        pixels = np.bincount(label.ravel(), minlength=256)
        for number in self._measured & (set(np.flatnonzero(pixels).tolist()) | regions.keys()):
            region = regions.get(number)
            if region is None:
                self._either[number] += pixels[number]
                continue
            both = int(np.count_nonzero(region & (label == number)))
            self._both[number] += both
            self._either[number] += int(pixels[number]) + int(np.count_nonzero(region)) - both

    def by_category(self) -> dict[str, float]:
        """Return the IoU, 0 to 1, of every category met, by ascending id; rounded down to six digits."""
        names = {**{c.id: c.name for c in CATEGORIES}, IGNORE: "ignore"}
        return {
            names[int(n)]: int(self._both[n]) * 1_000_000 // int(self._either[n]) / 1_000_000
            for n in np.flatnonzero(self._either)
        }
