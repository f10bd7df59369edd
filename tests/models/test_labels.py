"""Labels against naive formulas and COCO's own tools."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco
from scipy import ndimage

from models.categories import CATEGORIES, IGNORE, find_category
from models.labels import annotations, image_categories
from models.masks import decode_mask
from models.polygons import outer_rings

ASSETS = Path(__file__).parents[1] / "assets"
FOUR = ndimage.generate_binary_structure(2, 1)

# pycocotools 2.0.11's decode() speaks numpy 1's protocol; its answers are right.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ids_arrays = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14),
    elements=st.sampled_from([0, 4, 25, 25, 25, 17, IGNORE]),
)


def flood(ids: NDArray[np.uint8], number: int) -> list[set[tuple[int, int]]]:
    """The 8-connected components of one id by a naive flood fill, each a set of (x, y)."""
    left = {(int(x), int(y)) for y, x in np.argwhere(ids == number)}
    components = []
    while left:
        todo, component = [left.pop()], set()
        while todo:
            x, y = todo.pop()
            component.add((x, y))
            near = {(x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)} & left
            left -= near
            todo += near
        components.append(component)
    return components


def pixels(rle: dict[str, object]) -> set[tuple[int, int]]:
    return {(int(x), int(y)) for y, x in np.argwhere(coco.decode(rle))}


@given(ids_arrays)
@settings(max_examples=150, deadline=None)
def test_annotations_are_the_naive_components(ids: NDArray[np.uint8]) -> None:
    found = annotations(ids)
    expected = [(number, part) for number in (17, 25) for part in flood(ids, number)]
    assert sorted((a.category_id, sorted(pixels(a.rle))) for a in found) == sorted(
        (number, sorted(part)) for number, part in expected
    )
    for annotation in found:
        part = np.array(sorted(pixels(annotation.rle)))
        low, high = part.min(axis=0), part.max(axis=0)
        assert annotation.box_xywh == (*low, *(high - low + 1))
        assert annotation.area == len(part) == coco.area(annotation.rle)
        assert list(annotation.box_xywh) == coco.toBbox(annotation.rle).tolist()
        assert annotation.rle["size"] == list(ids.shape)
        assert isinstance(annotation.rle["counts"], str)
        assert annotation.category == CATEGORIES[annotation.category_id].name


@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14)))
@settings(max_examples=200, deadline=None)
def test_polygons_rasterise_to_the_filled_parts(mask: NDArray[np.bool_]) -> None:
    rings = outer_rings(mask)
    parts, count = ndimage.label(mask, FOUR)
    assert len(rings) == count
    filled = np.zeros_like(mask)
    for part in range(1, count + 1):
        filled |= ndimage.binary_fill_holes(parts == part, FOUR)
    drawn = np.zeros_like(mask)
    for ring in rings:
        drawn |= coco.decode(coco.frPyObjects([list(ring)], *mask.shape))[:, :, 0] == 1
        x, y = np.array(ring[::2]), np.array(ring[1::2])
        assert len(ring) >= 8
        area = (np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2  # the shoelace formula
        assert area == int(area) > 0  # whole pixels, and clockwise
        assert len(set(zip(x, y, strict=True))) == len(x)  # simple: no vertex twice
    assert np.array_equal(drawn, filled)


def test_a_polygon_runs_along_pixel_edges() -> None:
    ids = np.zeros((20, 20), np.uint8)
    ids[3:5, 10:14] = 25
    (annotation,) = annotations(ids)
    assert annotation.box_xywh == (10, 3, 4, 2)
    (ring,) = annotation.polygons
    corners = {(10.0, 3.0), (14.0, 3.0), (14.0, 5.0), (10.0, 5.0)}
    assert set(zip(ring[::2], ring[1::2], strict=True)) == corners


def test_a_hole_is_in_the_rle_and_not_in_the_polygon() -> None:
    ids = np.zeros((20, 20), np.uint8)
    ids[5:10, 5:10] = 25
    ids[7, 7] = 0
    (annotation,) = annotations(ids)
    assert annotation.area == 24
    assert (7, 7) not in pixels(annotation.rle)
    assert len(annotation.polygons) == 1


def test_corner_touching_pixels_are_one_annotation_of_two_rings() -> None:
    ids = np.zeros((10, 10), np.uint8)
    ids[4, 4] = ids[5, 5] = 17
    (annotation,) = annotations(ids)
    assert annotation.box_xywh == (4, 4, 2, 2)
    assert len(annotation.polygons) == 2


def test_stuff_background_and_ignore_have_no_annotations() -> None:
    ids = np.array([[*range(12), IGNORE]] * 3, np.uint8)
    assert annotations(ids) == []


def test_order_and_minimum_area() -> None:
    ids = np.zeros((30, 30), np.uint8)
    ids[20:23, 2:5] = 25  # 9 pixels
    ids[4:6, 20:22] = 25  # 4 pixels, higher up
    ids[0, 0] = 66
    ids[29, 29] = 17
    assert [(a.category_id, a.area) for a in annotations(ids)] == [(17, 1), (25, 4), (25, 9), (66, 1)]
    assert [(a.category_id, a.area) for a in annotations(ids, min_area=4)] == [(25, 4), (25, 9)]


def test_image_categories_need_their_share_of_all_pixels() -> None:
    ids = np.zeros((20, 20), np.uint8)  # 1 % is 4 pixels
    ids[0, :4] = 25
    ids[1, :3] = 17
    ids[2] = 4
    ids[3:10] = IGNORE
    assert [category.name for category in image_categories(ids)] == ["road", "storage tank"]
    assert [category.id for category in image_categories(ids, min_share=0.0)] == [4, 17, 25]


def test_labels_leave_the_mask_as_it_is() -> None:
    ids = np.zeros((20, 20), np.uint8)
    ids[5:8, 5:8] = 25
    ids.setflags(write=False)
    assert len(annotations(ids)) == 1


def test_a_real_flair_mask_has_its_swimming_pool() -> None:
    ids = decode_mask((ASSETS / "flair_076201.png").read_bytes(), ontology="flair").ids
    pool = find_category("swimming pool").id
    (annotation,) = annotations(ids)
    assert annotation.category_id == pool
    ys, xs = np.nonzero(ids == pool)
    assert annotation.box_xywh == (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)
    assert "building" in [category.name for category in image_categories(ids)]


@pytest.mark.parametrize("module", ["models.labels", "models.masks", "models.overlay"])
def test_importing_loads_neither_torch_nor_opencv(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
