"""A sheet of composed pairs, for people to look at before a training starts."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from models.categories import CATEGORIES
from models.cfcomp.composition import Pair, compose_batch
from models.cfcomp.options import CfCompOptions
from models.cfcomp.recipe import MATCH_WITHIN
from models.cfcomp.selection import select_pairs, step_rng
from models.cfcomp.triple import Triple
from models.errors import InvalidInput
from models.overlay import draw_overlay

MOST = 24  # pairs on a sheet
_CELL = 160  # pixels, the side of a small picture
_GAP = 6
_LINE = 18
_COLUMNS = 4  # first, second, and the composite of each


@dataclass(frozen=True, slots=True)
class ComposedPair:
    """Two samples of a training's `step` that exchange objects; `pair` names their places in that step's batch.

    `samples` are the two real ones and their composites, in the same order.
    """

    step: int
    pair: Pair
    samples: tuple[Triple, Triple, Triple, Triple]


def first_pairs(
    samples: Iterator[Triple],
    options: CfCompOptions,
    frequencies: Mapping[int, float],
    *,
    seed: int,
    count: int,
    batch_size: int,
    max_batches: int,
) -> list[ComposedPair]:
    """Return up to `count` pairs that the first steps of a training compose, `max_batches` steps at most.

    `samples` are those of the training, in order from its first step on, without end; of `batch_size` of them, as in
    training, each `MATCH_WITHIN` find partners among themselves.
    """
    found: list[ComposedPair] = []
    for step in range(max_batches):
        for group, start in enumerate(range(0, batch_size, MATCH_WITHIN)):
            members = list(islice(samples, min(MATCH_WITHIN, batch_size - start)))
            pairs = select_pairs(members, options, step_rng(seed, step, group), frequencies)
            composed = compose_batch(members, pairs)
            found += [
                ComposedPair(
                    step,
                    replace(pair, first=start + pair.first, second=start + pair.second),
                    (members[pair.first], members[pair.second], composed[pair.first], composed[pair.second]),
                )
                for pair in pairs
            ]
            if len(found) >= count:
                return found[:count]
    return found


def preview_sheet(
    samples: Iterator[Triple],
    options: CfCompOptions,
    frequencies: Mapping[int, float],
    *,
    seed: int,
    count: int = 8,
    batch_size: int = 16,
    max_batches: int = 8,
) -> tuple[NDArray[np.uint8], list[ComposedPair]]:
    """Return a sheet of up to `count` composed pairs, (H, W, 3) uint8 RGB, and the pairs; see `first_pairs`.

    Raises:
        InvalidInput: no_partners: no two samples of these steps exchange anything.
    """
    shown = first_pairs(
        samples,
        options,
        frequencies,
        seed=seed,
        count=min(count, MOST),
        batch_size=batch_size,
        max_batches=max_batches,
    )
    if not shown:
        raise InvalidInput(
            "No two samples could exchange objects. Allow more overlap, take cross_class, or add pairs that share a "
            "category.",
            code="no_partners",
        )
    return draw_sheet([(one.pair, one.samples) for one in shown]), shown


def draw_sheet(rows: Sequence[tuple[Pair, Sequence[Triple]]]) -> NDArray[np.uint8]:
    """Return the sheet, (H, W, 3) uint8 RGB: a row for each pair, every sample plain and under its mask's colours.

    A row's samples are the two real ones and their composites, in the same order.
    """
    wide = 2 * _CELL + 2 + _GAP
    high = _CELL + 2 * _LINE + _GAP
    paper = Image.new("RGB", (_COLUMNS * wide + _GAP, max(1, len(rows)) * high + _GAP), (255, 255, 255))
    draw = ImageDraw.Draw(paper)
    font = ImageFont.load_default(size=12)
    for row, (pair, samples) in enumerate(rows):
        y = _GAP + row * high
        said = f"{CATEGORIES[pair.category_id].name}: overlap {pair.overlap:.2f}, "
        said += f"background distance {pair.distance:.1f}, score {pair.score:.2f}"
        draw.text((_GAP, y), said, fill=(0, 0, 0), font=font)
        for column, sample in enumerate(samples):
            x = _GAP + column * wide
            text = f"{'composite' if column >= 2 else 'real'}: {sample.text.removeprefix('A satellite image of ')}"
            while draw.textlength(text, font=font) > 2 * _CELL:
                text = text[:-2].rstrip("…") + "…"
            draw.text((x, y + _LINE), text, fill=(90, 90, 90), font=font)
            paper.paste(_small(sample.picture), (x, y + 2 * _LINE))
            paper.paste(_small(draw_overlay(sample.picture, sample.mask)), (x + _CELL + 2, y + 2 * _LINE))
    return np.asarray(paper)


def sheet_png(sheet: NDArray[np.uint8]) -> bytes:
    """Return the sheet as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG")
    return buffer.getvalue()


def _small(picture: NDArray[np.uint8]) -> Image.Image:
    return ImageOps.contain(Image.fromarray(picture), (_CELL, _CELL))
