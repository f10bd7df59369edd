"""Training samples: random crops and single-category views of real pairs, made when asked for and never stored.

A sample is a function of (seed, epoch, index) and its pair alone, so a resumed run sees what the first would have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import count
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from models.categories import IGNORE, caption
from models.cfcomp.pairs import MaskReading, Report, decode_pair
from models.cfcomp.triple import Triple, caption_of
from models.masks import resize_ids
from models.pixel_values import unique_values


class CropOptions(BaseModel):
    """How a sample is cut out of a pair."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: int = Field(512, ge=16, le=2048, multiple_of=8, description="side of the square sample, pixels")
    max_zoom_out: float = Field(
        1, ge=1, le=4, description="a crop shows up to so many times more ground a side"
    )
    orientations: bool = Field(True, description="quarter turns and mirror images, all eight equally likely")
    single_category: float = Field(
        0.15, ge=0, le=1, description="probability that one category is kept and the others become 0"
    )


def draw_sample(pair: Triple, options: CropOptions, rng: np.random.Generator) -> Triple:
    """Return a square crop of `options.size` of a pair, masks cut and scaled by nearest only.

    A pair that is smaller than the crop gives the largest square that fits, enlarged. The pair's text is kept where
    the sample has every category of the pair, else the sample is described by its own categories. All draws are
    made, used or not, so that switching one option on does not change what the others do.
    """
    draws = rng.random(6)
    side = min(round(options.size * (1 + (options.max_zoom_out - 1) * draws[0])), *pair.mask.shape)
    top = int(draws[1] * (pair.mask.shape[0] - side + 1))
    left = int(draws[2] * (pair.mask.shape[1] - side + 1))
    window = (slice(top, top + side), slice(left, left + side))
    orientation = int(draws[3] * 8) if options.orientations else 0
    picture = _orient(_resize(pair.picture[window], options.size), orientation)
    mask = _orient(resize_ids(pair.mask[window], options.size, options.size), orientation)
    present = [number for number in unique_values(mask) if number not in {0, IGNORE}]
    if present and draws[4] < options.single_category:
        kept = present[int(draws[5] * len(present))]
        mask = single_category(mask, kept)
        present = [kept]
    is_whole = set(present) == set(unique_values(pair.mask)) - {0, IGNORE}
    text = pair.text if is_whole else caption(present)
    return Triple(pair.name, picture, mask, text)


class PairSource(Protocol):
    """Checked pairs, wherever they lie: whole pictures and masks, each read when it is asked for."""

    @property
    def frequencies(self) -> Mapping[int, float]:
        """The share of pairs that have a category, above 0, for each that there is."""
        ...

    def __len__(self) -> int: ...

    def read(self, number: int) -> Triple:
        """Return a pair, counted from 0, decoded."""
        ...


class FolderPairs:
    """The good pairs of a folder that `read_pairs` has looked at."""

    def __init__(self, report: Report, reading: MaskReading | None = None) -> None:
        self._report = report
        self._reading = reading or MaskReading()
        self.frequencies: Mapping[int, float] = report.frequencies

    def __len__(self) -> int:
        return len(self._report.pairs)

    def read(self, number: int) -> Triple:
        """Return a pair, its two files read and decoded again."""
        folder, pair = self._report.folder, self._report.pairs[number]
        picture, mask = decode_pair(
            (folder / pair.files.picture).read_bytes(), (folder / pair.files.mask).read_bytes(), self._reading
        )
        return Triple(pair.files.name, picture, mask, pair.text or caption_of(mask))


class TrainingSet:
    """The samples of checked pairs. `training_set[epoch, index]` is one; a PyTorch DataLoader takes it as it is.

    The last `keep_decoded` pairs stay decoded in memory; every other sample reads its pair from the source.
    """

    def __init__(
        self, source: PairSource, options: CropOptions, *, seed: int, keep_decoded: int = 64
    ) -> None:
        self._source = source
        self._options = options
        self._seed = seed
        self._keep_decoded = keep_decoded
        self._start_caches()

    @property
    def frequencies(self) -> Mapping[int, float]:
        """The share of pairs that have a category, as their source counts it."""
        return self._source.frequencies

    def _start_caches(self) -> None:
        self._decoded = lru_cache(self._keep_decoded)(self._source.read)
        self._order = lru_cache(2)(
            self._draw_order
        )  # a permutation of a large set takes longer than a sample

    def __getstate__(self) -> dict[str, object]:
        """Without the caches: each process of a DataLoader fills its own."""
        return {name: value for name, value in vars(self).items() if name not in {"_decoded", "_order"}}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._start_caches()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, key: tuple[int, int]) -> Triple:
        """Return sample `index`, from 0, of an epoch. Every pair gives one sample in each epoch, in random order."""
        epoch, index = key
        number = int(self.order(epoch)[index])
        rng = np.random.default_rng([self._seed, 1, epoch, index])
        return draw_sample(self._decoded(number), self._options, rng)

    def order(self, epoch: int) -> NDArray[np.intp]:
        """Return which pair each sample of an epoch comes from: a permutation."""
        return self._order(epoch)

    def _draw_order(self, epoch: int) -> NDArray[np.intp]:
        return np.random.default_rng([self._seed, 0, epoch]).permutation(len(self._source))

    def batch(self, step: int, size: int) -> list[Triple]:
        """Return the samples of a step, counted from 0 through all epochs."""
        places = range(step * size, (step + 1) * size)
        return [self[place // len(self), place % len(self)] for place in places]

    def epochs(self) -> Iterator[Triple]:
        """Yield the samples of one epoch after the other, without end."""
        for epoch in count():
            for index in range(len(self)):
                yield self[epoch, index]


def single_category(mask: NDArray[np.uint8], category_id: int) -> NDArray[np.uint8]:
    """Return a mask (H, W) in which every other category is 0; ignore stays ignore."""
    return np.where((mask == category_id) | (mask == IGNORE), mask, np.uint8(0))


def _orient(array: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return one of the eight quarter turns and mirror images of a square (S, S) or (S, S, 3)."""
    turned = np.rot90(array, orientation % 4)
    return np.ascontiguousarray(turned[:, ::-1] if orientation >= 4 else turned)


def _resize(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if picture.shape[:2] == (size, size):
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC))
