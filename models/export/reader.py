"""What a public reader regains from an export, picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES
from models.errors import EarthSynthError


class ExportUnreadable(EarthSynthError):
    """A public reader cannot open an export, or finds something else in it than was written."""

    default_code = "export_unreadable"


@dataclass(frozen=True, slots=True)
class Regained:
    """One picture as a reader sees it.

    `annotations` is how many it has, None where the format has none. `regions` maps category ids to (H, W)
    bool masks of all that the reader would learn as that category; None where the reader only counts.
    """

    split: str
    stem: str
    annotations: int | None
    regions: Mapping[int, NDArray[np.bool_]] | None


@dataclass(frozen=True, slots=True)
class Reader:
    """A public library that opens an export. `package` is its name on PyPI."""

    package: str
    read: Callable[[Path], Iterator[Regained]]

    @property
    def version(self) -> str:
        return version(self.package)


def id_regions(ids: NDArray[np.uint8]) -> dict[int, NDArray[np.bool_]]:
    """Return the regions of an id mask, background and ignore included."""
    return {int(number): ids == number for number in np.unique(ids)}


def category_ids(names: Sequence[str]) -> list[int]:
    """Return the ids of categories by their exact names, as a reader lists its classes.

    Raises:
        ValueError: a name that no category has.
    """
    known = {category.name: category.id for category in CATEGORIES}
    if strange := set(names) - known.keys():
        raise ValueError(f"{min(strange)!r} is no category")
    return [known[name] for name in names]


def whole_pictures(pieces: Iterator[Regained]) -> Iterator[Regained]:
    """Yield pictures, each joined from its pieces, which must follow one another."""
    for (split, stem), group in groupby(pieces, key=lambda piece: (piece.split, piece.stem)):
        count = 0
        regions: dict[int, NDArray[np.bool_]] = {}
        for piece in group:
            count += piece.annotations or 0
            for number, region in (piece.regions or {}).items():
                regions[number] = regions[number] | region if number in regions else region
        yield Regained(split, stem, count, regions)
