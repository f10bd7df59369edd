"""A sheet of composed pairs, for people to look at before a training starts."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from models.categories import CATEGORIES
from models.cfcomp.composition import Pair, compose_batch
from models.cfcomp.dataset import TrainingSet
from models.cfcomp.options import CfCompOptions
from models.cfcomp.selection import select_pairs, step_rng
from models.cfcomp.triple import Triple
from models.overlay import draw_overlay

MOST = 24  # pairs on a sheet
_CELL = 160  # pixels, the side of a small picture
_GAP = 6
_LINE = 18
_COLUMNS = 4  # first, second, and the composite of each


def preview_sheet(
    training_set: TrainingSet,
    options: CfCompOptions,
    frequencies: Mapping[int, float],
    *,
    seed: int,
    count: int = 8,
    batch_size: int = 16,
    max_batches: int = 8,
) -> tuple[NDArray[np.uint8], int]:
    """Return a sheet of up to `count` composed pairs, (H, W, 3) uint8 RGB, and how many it shows.

    They come from the first steps of a training with this seed and `batch_size`, `max_batches` at most: of a training
    set whose samples have no partners none do.
    """
    rows: list[tuple[Pair, tuple[Triple, ...]]] = []
    for step in range(max_batches):
        samples = training_set.batch(step, batch_size)
        pairs = select_pairs(samples, options, step_rng(seed, step), frequencies)
        batch = compose_batch(samples, pairs)
        rows += [
            (pair, (samples[pair.first], samples[pair.second], batch[pair.first], batch[pair.second]))
            for pair in pairs
        ]
        if len(rows) >= count:
            break
    shown = rows[: min(count, MOST)]
    return draw_sheet(shown), len(shown)


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
