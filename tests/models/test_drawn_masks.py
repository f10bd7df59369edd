"""Masks drawn as polygons. Test ids start with the row of the catalogue of hostile inputs."""

from __future__ import annotations

import contextlib
import json
import math
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco
from rasterio.features import rasterize
from rasterio.transform import Affine as RasterioAffine

from models.categories import find_category
from models.crs import geokeys_of
from models.drawn_masks import Coordinates, draw_mask
from models.errors import EarthSynthError, InvalidInput
from models.georeference import Georeference
from models.masks import DecodedMask

SHIP, BUILDING, WATER = (find_category(name).id for name in ("ship", "building", "water"))
SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]


def draw(polygons: Any, **options: Any) -> DecodedMask:
    return draw_mask(polygons, **({"width": 64, "height": 48} | options))


def ship(points: Any) -> dict[str, Any]:
    return {"category": "ship", "points": points}


def refused(polygons: Any, **options: Any) -> tuple[str, str]:
    """The code and the place of the refusal."""
    with pytest.raises(InvalidInput) as caught:
        draw(polygons, **options)
    assert len(caught.value.errors) == 1
    assert len(caught.value.message) < 700
    return caught.value.code, caught.value.errors[0].pointer


def by_gdal(*shapes: tuple[dict[str, Any], int], **options: Any) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = rasterize(shapes, out_shape=(48, 64), dtype="uint8", **options)
    return found


def geometry(*rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]] for ring in rings]}


def test_every_form_of_one_polygon_is_the_same_mask() -> None:
    outline = [[3.2, 4.1], [50.7, 6.3], [44.4, 40.2], [9.9, 33.3]]
    flat = [number for point in outline for number in point]
    expected = by_gdal((geometry(outline), SHIP))
    feature = {
        "type": "Feature",
        "geometry": geometry(outline),
        "properties": {"category": "ship", "name": "x"},
    }
    runs = coco.encode(np.asfortranarray((expected == SHIP).astype(np.uint8)))
    runs = {"size": [48, 64], "counts": runs["counts"].decode()}
    forms: list[Any] = [
        [ship(outline)],
        [
            {
                "category_id": SHIP,
                "segmentation": [flat],
                "id": 7,
                "image_id": 1,
                "bbox": [1, 2, 3, 4],
                "iscrowd": 0,
            }
        ],
        [{"label": "ship", "points": outline, "shape_type": "polygon", "flags": {}, "group_id": None}],
        [{"category": "boat", "segmentation": runs}],
        [{"category": "Ships"} | runs],
        [feature],
        {"type": "FeatureCollection", "features": [feature]},
        [geometry(outline) | {"category": "ship"}],
        [{"type": "MultiPolygon", "category_id": SHIP, "coordinates": [geometry(outline)["coordinates"]]}],
    ]
    for form in forms:
        drawn = draw(json.loads(json.dumps(form)))
        assert np.array_equal(drawn.ids, expected), form
        assert (drawn.encoding, drawn.ontology, drawn.warnings) == ("polygons", "earthsynth", ())


def test_j44_j45_closing_and_winding_do_not_matter() -> None:
    expected = draw([ship(SQUARE)]).ids
    assert np.count_nonzero(expected) == 400
    for same in (
        [*SQUARE, SQUARE[0]],
        [*SQUARE, SQUARE[0], SQUARE[0]],
        SQUARE[::-1],
        SQUARE[2:] + SQUARE[:2],
    ):
        assert np.array_equal(draw([ship(same)]).ids, expected)


def test_j50_later_polygons_win_and_background_erases() -> None:
    polygons = [
        {"category": "water", "points": [[0, 0], [64, 0], [64, 48], [0, 48]]},
        ship(SQUARE),
        {"category": "building", "points": [[20, 20], [40, 20], [40, 40], [20, 40]]},
        {"category_id": 0, "points": [[35, 35], [40, 35], [40, 40], [35, 40]]},
    ]
    ids = draw(polygons).ids
    assert {n: int((ids == n).sum()) for n in (WATER, SHIP, BUILDING, 0)} == {
        WATER: 48 * 64 - 400 - 400 + 100,
        SHIP: 300,
        BUILDING: 375,
        0: 25,
    }


def test_holes_are_interior_rings_and_segmentation_rings_are_parts() -> None:
    hole = [[15, 15], [25, 15], [25, 25], [15, 25]]
    feature = geometry(SQUARE, hole, [[26, 26], [28.2, 26], [28.2, 28.7]]) | {"category": "ship"}
    assert np.array_equal(draw([feature]).ids, by_gdal((feature, SHIP)))
    flat = [[n for point in ring for n in point] for ring in (SQUARE, hole)]
    assert np.array_equal(draw([{"category": "ship", "segmentation": flat}]).ids, draw([ship(SQUARE)]).ids)


def test_each_shape_is_an_instance_by_its_place() -> None:
    drawn = draw(
        [
            {"category": "background", "points": [[0, 0], [64, 0], [64, 48], [0, 48]]},
            ship(SQUARE),
            ship([[30, 10], [50, 10], [50, 30], [30, 30]]),
        ]
    )
    assert drawn.instances is not None
    numbers, counts = np.unique(drawn.instances, return_counts=True)
    assert dict(zip(numbers.tolist(), counts.tolist(), strict=True)) == {0: 48 * 64 - 800, 2: 400, 3: 400}
    assert draw([{"category": "background", "points": SQUARE}]).instances is None


def test_world_coordinates_go_through_the_inverse_transform() -> None:
    transform = (0.5, 0.1, 500_000.0, 0.2, -0.5, 5_000_000.0)
    rng = np.random.default_rng(3)
    for _ in range(20):
        pixels = rng.uniform(-10, 60, (8, 2))
        a, b, c, d, e, f = transform
        world = [[a * x + b * y + c, d * x + e * y + f] for x, y in pixels.tolist()]
        place = Georeference(transform, 32633, geokeys_of(32633))
        feature = geometry(world) | {"category": "ship"}
        drawn = draw([feature], georeference=place, coordinates=Coordinates.WORLD)
        assert np.array_equal(drawn.ids, by_gdal((feature, SHIP), transform=RasterioAffine(*transform)))
        assert drawn.georeference == place
        assert any(warning.startswith("mapped_from_world:") for warning in drawn.warnings)
    pixel = draw([ship(SQUARE)], georeference=place)
    assert np.array_equal(pixel.ids, draw([ship(SQUARE)]).ids)


def test_names_and_numbers_of_other_ontologies() -> None:
    assert draw([{"category_id": 2, "points": SQUARE}], ontology="loveda").ids[15, 15] == BUILDING
    assert draw([{"category": "forest", "points": SQUARE}], ontology="loveda").ids[15, 15] == 9
    assert draw([{"category_id": 900, "points": SQUARE}], label_map={"900": "ship"}).ids[15, 15] == SHIP
    assert draw([{"points": SQUARE}], category="ship").ids[15, 15] == SHIP
    assert draw([{"category_id": 255, "points": SQUARE}], ignore=True).ids[15, 15] == 255
    assert draw([{"category": "ignore", "points": SQUARE}], ignore=True).ids[15, 15] == 255


def rle(counts: Any, size: Any = (48, 64)) -> dict[str, Any]:
    return {"category": "ship", "segmentation": {"size": list(size), "counts": counts}}


def holed(hole: list[list[float]]) -> dict[str, Any]:
    return geometry(SQUARE, hole) | {"category": "ship"}


NESTED: Any = [1, 2]
for _ in range(100):
    NESTED = [NESTED]

# what is sent, the code, and the place
BAD: dict[str, tuple[Any, str, str]] = {
    "j42-0 points": ([ship([])], "degenerate_polygon", "/polygons/0/points"),
    "j42-1 point": ([ship([[1, 1]])], "degenerate_polygon", "/polygons/0/points"),
    "j42-2 points": ([ship(SQUARE), ship(SQUARE[:2])], "degenerate_polygon", "/polygons/1/points"),
    "j42-empty geojson": (
        [{"type": "Polygon", "coordinates": [], "category": "ship"}],
        "degenerate_polygon",
        "/polygons/0/coordinates",
    ),
    "j43-a line": ([ship([[0, 0], [0.1, 0.1], [0.3, 0.3]])], "degenerate_polygon", "/polygons/0/points"),
    "j43-one point thrice": ([ship([[2, 2]] * 3)], "degenerate_polygon", "/polygons/0/points"),
    "j47-outside": ([ship([[-9, 0], [-1, 0], [-1, 9]])], "polygon_outside_mask", "/polygons/0"),
    "j47-outside, boxes overlap": (
        [ship([[-40, 20], [20, -40], [-40, -40]])],
        "polygon_outside_mask",
        "/polygons/0",
    ),
    "j48-1e9": ([ship([[0, 0], [1e9, 0], [0, 9]])], "out_of_range", "/polygons/0/points/1/0"),
    "j48-minus 1e9": ([ship([[0, -(10**9)], [9, 0], [0, 9]])], "out_of_range", "/polygons/0/points/0/1"),
    "j30-nan": ([ship([[0, 0], [9, 0], [0, math.nan]])], "out_of_range", "/polygons/0/points/2/1"),
    "j30-infinity": (
        [{"category": "ship", "segmentation": [[0, 0, math.inf, 0, 0, 9]]}],
        "out_of_range",
        "/polygons/0/segmentation/0/2",
    ),
    "j29-4,000 digits": ([ship([[0, 0], [10**4000, 0], [0, 9]])], "out_of_range", "/polygons/0/points/1/0"),
    "j49-hole outside": (
        [holed([[40, 40], [44, 40], [44, 44]])],
        "hole_outside_ring",
        "/polygons/0/coordinates/1",
    ),
    "j49-hole across": (
        [holed([[20, 20], [44, 20], [44, 24]])],
        "hole_outside_ring",
        "/polygons/0/coordinates/1",
    ),
    "j49-nested": ([ship(NESTED)], "invalid_polygon", "/polygons/0/points/0"),
    "j51": ([ship(SQUARE)] * 10_001, "too_many_polygons", "/polygons"),
    "j52": ([ship(SQUARE), ship([[0, 1]] * 99_997)], "too_many_points", "/polygons/1/points"),
    "j54-object": ([ship([{"x": 1, "y": 2}, *SQUARE])], "invalid_polygon", "/polygons/0/points/0"),
    "j54-three": ([ship([*SQUARE, [1, 2, 3]])], "invalid_polygon", "/polygons/0/points/4"),
    "j54-one": ([ship([[1], *SQUARE])], "invalid_polygon", "/polygons/0/points/0"),
    "j54-text": ([ship([*SQUARE, "1,2"])], "invalid_polygon", "/polygons/0/points/4"),
    "j54-texts": ([ship([*SQUARE, ["1", 2]])], "invalid_polygon", "/polygons/0/points/4/0"),
    "j54-true": ([ship([*SQUARE, [1, True]])], "invalid_polygon", "/polygons/0/points/4/1"),
    "j54-odd": (
        [{"category": "ship", "segmentation": [[0, 0, 1, 0, 1]]}],
        "invalid_polygon",
        "/polygons/0/segmentation/0",
    ),
    "j54-flat": (
        [{"category": "ship", "segmentation": [0, 0, 1, 0, 1, 1]}],
        "invalid_polygon",
        "/polygons/0/segmentation/0",
    ),
    "j55-sum": ([rle([3000, 73])], "invalid_rle", "/polygons/0/segmentation/counts"),
    "j55-negative": ([rle([-1, 3073])], "invalid_rle", "/polygons/0/segmentation/counts"),
    "j55-10**12": ([rle([10**12])], "invalid_rle", "/polygons/0/segmentation/counts"),
    "j55-text": ([rle("oooooooooooo")], "invalid_rle", "/polygons/0/segmentation/counts"),
    "j55-size": ([rle([10**12], (10**6, 10**6))], "wrong_size", "/polygons/0/segmentation/size"),
    "j40-text": ([{"category_id": "1", "points": SQUARE}], "unknown_category", "/polygons/0/category_id"),
    "j40-1.0": ([{"category_id": 1.0, "points": SQUARE}], "unknown_category", "/polygons/0/category_id"),
    "j40-minus 1": ([{"category_id": -1, "points": SQUARE}], "unknown_label", "/polygons/0/category_id"),
    "j40-256": ([{"category_id": 256, "points": SQUARE}], "unknown_label", "/polygons/0/category_id"),
    "j38-1,000 characters": (
        [{"category": "x" * 1000, "points": SQUARE}],
        "unknown_category",
        "/polygons/0/category",
    ),
    "j38-empty": ([{"category": "", "points": SQUARE}], "unknown_category", "/polygons/0/category"),
    "j37-no category": ([{"points": SQUARE}], "category_required", "/polygons/0"),
    "two categories": (
        [{"category": "ship", "category_id": 17, "points": SQUARE}],
        "category_required",
        "/polygons/0",
    ),
    "no outline": ([{"category": "ship"}], "invalid_polygon", "/polygons/0"),
    "two outlines": ([ship(SQUARE) | {"segmentation": []}], "invalid_polygon", "/polygons/0"),
    "misspelt": ([ship(SQUARE) | {"catgory": 1}], "unknown_field", "/polygons/0/catgory"),
    "a name with a slash": ([ship(SQUARE) | {"a/b": 1}], "unknown_field", "/polygons/0/a~1b"),
    "line string": (
        [{"type": "LineString", "coordinates": SQUARE, "category": "ship"}],
        "unsupported_geometry",
        "/polygons/0/type",
    ),
    "null geometry": (
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": None, "properties": {}}]},
        "unsupported_geometry",
        "/polygons/features/0/geometry/type",
    ),
    "rectangle": (
        [ship(SQUARE) | {"shape_type": "rectangle"}],
        "unsupported_geometry",
        "/polygons/0/shape_type",
    ),
    "no list": (7, "invalid_polygon", "/polygons"),
    "text": ("[]", "invalid_polygon", "/polygons"),
    "empty": ([], "mask_missing", "/polygons"),
    "numbers": ([1], "invalid_polygon", "/polygons/0"),
    "ignore": ([{"category_id": 255, "points": SQUARE}], "unknown_label", "/polygons/0/category_id"),
    "ignore by name": (
        [{"category": "ignore", "points": SQUARE}],
        "ignore_not_allowed",
        "/polygons/0/category",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_polygons_are_refused_at_their_very_place(name: str) -> None:
    polygons, code, pointer = BAD[name]
    assert refused(polygons) == (code, pointer)


def test_j47_half_outside_is_cut_with_a_warning() -> None:
    outline = [[-10.2, 5.1], [20.3, 5.2], [20.4, 70.1], [-10.1, 70.3]]
    drawn = draw([ship(SQUARE), ship(outline)])
    assert np.array_equal(draw([ship(outline)]).ids, by_gdal((geometry(outline), SHIP)))
    (warning,) = drawn.warnings
    assert warning.startswith("clipped: polygons 1 ")


def test_small_and_hidden_polygons_are_told_of() -> None:
    drawn = draw(
        [{"category": "building", "points": SQUARE}, ship(SQUARE), ship([[0, 0], [0.4, 0], [0.4, 0.4]])]
    )
    assert [warning.partition(":")[0] for warning in drawn.warnings] == ["no_pixels", "covered"]
    assert "building" in drawn.warnings[1]


def test_sizes_are_checked_before_anything_is_painted() -> None:
    assert refused([ship(SQUARE)], width=10**9) == ("too_many_pixels", "/width")
    assert refused([ship(SQUARE)], height=2) == ("mask_too_small", "/height")


def test_j52_100_000_points_are_drawn_and_costly_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    rng = np.random.default_rng(1)
    many = [
        ship((rng.uniform(0, 2000, 2) + 20 * np.stack([np.cos(angles), np.sin(angles)], axis=1)).tolist())
        for _ in range(10_000)
    ]
    began = time.process_time()
    assert len(np.unique(draw(many, width=2000, height=2000).instances)) > 3000
    assert time.process_time() - began < 10
    zigzag = [[x % 4096, (x % 2) * 4096] for x in range(100_000)]
    began = time.process_time()
    code, _ = refused([ship(zigzag)], width=4096, height=4096)
    assert code == "polygons_too_complex"
    whole = [[0, 0], [4096, 0], [4096, 4096], [0, 4096]]
    monkeypatch.setattr("models.drawn_masks._MAX_PAINTED", 50_000_000)
    assert refused([ship(whole)] * 10_000, width=4096, height=4096)[0] == "polygons_too_complex"
    assert time.process_time() - began < 5


def test_anything_at_all_is_drawn_or_refused() -> None:
    """Shapes with a random part replaced by something odd never raise anything but our own errors."""
    rng = np.random.default_rng(8)
    odd: list[Any] = [
        None,
        [],
        {},
        "x",
        1e300,
        -1,
        True,
        [[]],
        {"type": "Feature"},
        [None],
        10**400,
        ["a", 1],
    ]
    good = [
        *(form[0] for form in BAD.values() if isinstance(form[0], list) and len(form[0]) < 5),
        [ship(SQUARE)],
    ]

    def spoilt(node: Any) -> Any:
        if rng.random() < 0.2:
            return odd[int(rng.integers(len(odd)))]
        if isinstance(node, dict):
            return {key: spoilt(value) for key, value in node.items()}
        return [spoilt(value) for value in node] if isinstance(node, list) else node

    for _ in range(400):
        with contextlib.suppress(EarthSynthError):
            draw(spoilt(good[int(rng.integers(len(good)))]))
