"""Which pixels a ring and run lengths hold, against GDAL, shapely and pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from pycocotools import mask as coco
from rasterio.features import rasterize

from models.rasterize import count_crossings, fill, window_of
from models.run_lengths import NoRunLengths, read_counts, run_window

WIDTH, HEIGHT = 64, 48


def painted(ring: NDArray[np.float64]) -> NDArray[np.bool_]:
    out = np.zeros((HEIGHT, WIDTH), np.bool_)
    left, top, right, bottom = window_of(ring, WIDTH, HEIGHT)
    if right > left and bottom > top:
        out[top:bottom, left:right] = fill(ring, (left, top, right, bottom))
    return out


def test_random_rings_are_filled_as_gdal_fills_them() -> None:
    """They cross themselves and leave the picture; none has a centre on its outline."""
    rng = np.random.default_rng(4)
    for _ in range(200):
        ring = rng.uniform(-30, 90, (int(rng.integers(3, 25)), 2))
        closed = {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]}
        assert np.array_equal(painted(ring), rasterize([(closed, 1)], out_shape=(HEIGHT, WIDTH)) == 1)


def test_a_pixel_is_inside_where_shapely_finds_its_centre() -> None:
    rng = np.random.default_rng(5)
    centres = shapely.points(*np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5))
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radius = rng.uniform(5, 40, 12)
        ring = np.stack([30 + radius * np.cos(angles), 25 + radius * np.sin(angles)], axis=1)
        assert np.array_equal(painted(ring), shapely.contains(shapely.Polygon(ring), centres))


def test_centres_on_outlines_belong_to_one_side_only() -> None:
    """The top-left rule: squares whose edges run through pixel centres tile the plane."""
    total = np.zeros((HEIGHT, WIDTH), int)
    for x in (-9.5, 0.5, 10.5):
        for y in (-9.5, 0.5, 10.5):
            total += painted(np.array([[x, y], [x + 10, y], [x + 10, y + 10], [x, y + 10]]))
    assert (total[:20, :20] == 1).all()
    assert painted(np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 2.5], [0.5, 2.5]]))[:3, :3].tolist() == [
        [True, True, False],
        [True, True, False],
        [False, False, False],
    ]


def test_neighbours_of_any_shape_never_overlap() -> None:
    rng = np.random.default_rng(6)
    points = shapely.multipoints(rng.uniform(0, 50, (40, 2)))
    triangles = shapely.get_parts(shapely.delaunay_triangles(points))
    total = np.zeros((HEIGHT, WIDTH), int)
    for triangle in triangles:
        total += painted(np.array(triangle.exterior.coords)[::-1][:-1])
    assert total.max() == 1
    hull = painted(np.array(shapely.convex_hull(points).exterior.coords))
    assert np.array_equal(total == 1, hull)


def test_crossings_are_counted_before_they_are_made() -> None:
    zigzag = np.array([[x, (x % 2) * 100.0] for x in range(50)])
    assert count_crossings(zigzag, 100) == 50 * 100  # every edge, the last one back to the first too
    assert count_crossings(zigzag, 40) == 50 * 40


@pytest.mark.parametrize("compressed", [True, False])
def test_run_lengths_are_those_of_pycocotools(compressed: bool) -> None:
    rng = np.random.default_rng(7)
    for _ in range(100):
        mask = rng.random((13, 17)) < rng.random()
        packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        flat = mask.ravel(order="F")
        edges = np.flatnonzero(np.diff(flat)) + 1
        plain = np.diff([0, *([0] if flat[0] else []), *edges, flat.size]).tolist()
        window = run_window(read_counts(packed if compressed else plain, pixels=mask.size), 13)
        found = np.zeros_like(mask)
        if window is not None:
            found[window.place] = window.inside
        assert np.array_equal(found, mask)


@pytest.mark.parametrize(
    "counts",
    [
        [],
        [5, 5],
        [-1, 11],
        [10**12],
        [2**70],
        [3.0, 7],
        [True, 9],
        None,
        7,
        "",
        "é",
        "o",
        "\x00",
        "ooooooooooo0",
        "~",
    ],
    ids=repr,
)
def test_j55_run_lengths_that_cannot_be(counts: object) -> None:
    with pytest.raises(NoRunLengths):
        read_counts(counts, pixels=11)
