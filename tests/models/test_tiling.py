"""Where tiles lie, and how much each counts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from models.catalog import earthsynth_card, nano_card
from models.tiling import count_tiles, hill, plan_canvas, starts

SIZES = [(256, 256), (257, 256), (448, 256), (449, 256), (1000, 300), (64, 40), (2048, 2048), (4096, 16)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_tiles_cover_the_canvas_and_overlap(width: int, height: int) -> None:
    canvas = plan_canvas(nano_card(), width, height, tiled=True)
    assert canvas.width % 8 == canvas.height % 8 == 0
    assert 0 <= canvas.width - width < 8
    assert 0 <= canvas.height - height < 8
    assert (canvas.tile_width, canvas.tile_height) == (min(256, canvas.width), min(256, canvas.height))
    seen = np.zeros((canvas.height, canvas.width), int)
    for left, top in canvas.tiles:
        assert left % 8 == top % 8 == 0
        seen[canvas.window(left, top)] += 1
        assert seen[canvas.window(left, top)].shape == (canvas.tile_height, canvas.tile_width)
    assert seen.min() >= 1
    for places, tile in ((canvas.lefts, canvas.tile_width), (canvas.tops, canvas.tile_height)):
        for one, following in pairwise(places):
            assert following - one <= tile - tile // 4 + 8, "a quarter is seen by both, less one step of 8"


def test_how_many_tiles() -> None:
    # By hand: (side - 64) / 192 of nano's 256-pixel tiles, (side - 128) / 384 of EarthSynth's 512, rounded up.
    assert [count_tiles(nano_card(), side, 256) for side in (64, 256, 257, 448, 449, 640)] == [
        1,
        1,
        2,
        2,
        3,
        3,
    ]
    assert count_tiles(nano_card(), 2048, 2048) == 11 * 11
    assert count_tiles(earthsynth_card(), 4096, 4096) == 11 * 11
    assert len(plan_canvas(nano_card(), 500, 500, tiled=False).tiles) == 1


def test_filling_repeats_the_border() -> None:
    canvas = plan_canvas(nano_card(), 18, 17, tiled=True)
    pixels = np.arange(17 * 18, dtype=np.int64).reshape(17, 18).astype(np.uint8)
    filled = canvas.filled(pixels)
    assert filled.shape == (24, 24)
    np.testing.assert_array_equal(filled[:17, :18], pixels)
    assert (filled[17:, :18] == pixels[16]).all()
    assert (filled[:17, 18:] == pixels[:, 17:]).all()
    assert canvas.filled(np.stack([pixels] * 3, axis=-1)).shape == (24, 24, 3)


def test_every_cell_has_weight_and_halves_add_up() -> None:
    weights = hill(32)
    assert weights.min() > 0
    np.testing.assert_allclose(weights[16:] + weights[:16], 1, atol=0.01)  # sin² + cos²
    assert starts(10, 20) == (0,)
    assert starts(100, 40) == (0, 30, 60)
