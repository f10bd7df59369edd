"""Training pairs, every one looked at before any of them is trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE
from models.cfcomp.pair_files import BadPair, PairFiles, list_pairs
from models.cfcomp.pictures import read_picture
from models.cfcomp.triple import caption_of
from models.errors import EarthSynthError, FieldError, InvalidInput
from models.masks import MAX_SIDE, Encoding, decode_mask
from models.pixel_values import unique_values

MAX_BAD_SHARE = 0.05
_SHOWN = 100  # bad pairs that a refusal lists


@dataclass(frozen=True, slots=True)
class MaskReading:
    """How a training set's masks are to be understood, as `models.masks.decode_mask` takes it."""

    encoding: Encoding = Encoding.AUTO
    ontology: str = "earthsynth"
    label_map: Mapping[str, int | str] | None = None
    ignore: bool = True
    category: str | None = None
    max_side: int = MAX_SIDE

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """Return a mask file's EarthSynth ids, (H, W) uint8."""
        return decode_mask(
            data,
            encoding=self.encoding,
            ontology=self.ontology,
            label_map=self.label_map,
            category=self.category,
            ignore=self.ignore,
            max_side=self.max_side,
        ).ids


@dataclass(frozen=True, slots=True)
class GoodPair:
    """`pixels` counts those of each category, 0 and 255 left out. `text` is null where it is the mask's caption."""

    files: PairFiles
    width: int
    height: int
    pixels: Mapping[int, int]
    text: str | None


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """How many good pairs have a category, and in how many pixels."""

    id: int
    name: str
    pairs: int
    pixels: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a training set holds: each pair is either good or bad, by name."""

    folder: Path
    pairs: tuple[GoodPair, ...]
    refused: tuple[BadPair, ...]

    @property
    def bad_share(self) -> float:
        total = len(self.pairs) + len(self.refused)
        return len(self.refused) / total if total else 0.0

    @property
    def frequencies(self) -> dict[int, float]:
        """The share of good pairs that have a category, above 0, for each that there is."""
        return {found.id: found.pairs / len(self.pairs) for found in self.categories}

    @property
    def categories(self) -> list[CategoryCount]:
        """Every category that there is, by ascending id."""
        pixels: Counter[int] = Counter()
        pairs: Counter[int] = Counter()
        for pair in self.pairs:
            pixels.update(pair.pixels)
            pairs.update(pair.pixels.keys())
        return [
            CategoryCount(number, CATEGORIES[number].name, pairs[number], pixels[number])
            for number in sorted(pixels)
        ]


def decode_pair(
    picture: bytes, mask: bytes, reading: MaskReading
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a picture (H, W, 3) and its mask (H, W), both uint8.

    Raises:
        InvalidInput: sizes_differ, all_background (nothing but 0 and 255), or why a file cannot be read.
        UnsupportedFormat, TooLarge: as the readers of masks and pictures say.
    """
    ids = reading.decode(mask)
    if not set(unique_values(ids)) - {0, IGNORE}:
        raise InvalidInput("The mask has no category at all; leave the pair out.", code="all_background")

    def check_size(width: int, height: int) -> None:
        if (height, width) != ids.shape:
            raise InvalidInput(
                f"The picture is {width}x{height} pixels and its mask {ids.shape[1]}x{ids.shape[0]}; "
                "send both in one size.",
                code="sizes_differ",
            )

    return read_picture(picture, check_size), ids


def look_at(
    files: PairFiles, picture: bytes, mask: bytes, reading: MaskReading
) -> tuple[GoodPair, NDArray[np.uint8]]:
    """Return what a pair holds, and its mask's ids (H, W); raises as `decode_pair` does."""
    _, ids = decode_pair(picture, mask, reading)
    text = None if files.text == caption_of(ids) else files.text
    return GoodPair(files, ids.shape[1], ids.shape[0], count_pixels(ids), text), ids


def count_pixels(ids: NDArray[np.uint8]) -> dict[int, int]:
    """Return how many pixels each category has, 0 and 255 left out."""
    counts = np.bincount(ids.ravel(), minlength=256)
    return {
        int(number): int(counts[number]) for number in np.flatnonzero(counts) if number not in {0, IGNORE}
    }


def read_pairs(
    folder: Path, *, reading: MaskReading | None = None, max_bad_share: float = MAX_BAD_SHARE
) -> Report:
    """Return what a folder in EarthSynth's layout holds; every file is decoded once.

    Raises:
        InvalidInput: code "no_pairs": not one good pair; code "too_many_bad_pairs": more than `max_bad_share` of all;
            `errors` lists up to 100 of them.
    """
    return check_pairs(folder, list_pairs(folder), reading=reading, max_bad_share=max_bad_share)


def check_pairs(
    folder: Path,
    listed: Iterable[PairFiles | BadPair],
    *,
    reading: MaskReading | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
) -> Report:
    """Return what the listed pairs of a folder hold; raises as `read_pairs` does."""
    reading = reading or MaskReading()
    good: list[GoodPair] = []
    bad: list[BadPair] = []
    for found in listed:
        if isinstance(found, BadPair):
            bad.append(found)
            continue
        try:
            pair, _ = look_at(
                found, (folder / found.picture).read_bytes(), (folder / found.mask).read_bytes(), reading
            )
        except EarthSynthError as error:
            bad.append(BadPair(found.name, error.code, error.message))
            continue
        good.append(pair)
    report = Report(folder, tuple(good), tuple(bad))
    if not good or report.bad_share > max_bad_share:
        raise refusal(len(good), bad, max_bad_share)
    return report


def refusal(good: int, bad: Sequence[BadPair], max_bad_share: float) -> InvalidInput:
    """Return why a training set is not trained on."""
    errors = [
        FieldError("/" + one.name.replace("~", "~0").replace("/", "~1"), f"{one.code}: {one.message}")
        for one in bad[:_SHOWN]
    ]
    if not good:
        return InvalidInput(
            f"There is no good pair of a picture and its mask, and {len(bad)} bad ones. Put pictures into images/ "
            "and masks of the same names into masks/.",
            code="no_pairs",
            errors=errors,
        )
    return InvalidInput(
        f"{len(bad)} of {good + len(bad)} pairs are bad, more than {max_bad_share:.0%}: mend them, or allow a larger "
        "share.",
        code="too_many_bad_pairs",
        errors=errors,
    )
