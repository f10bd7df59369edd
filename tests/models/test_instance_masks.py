"""Instance masks and the labels that come of them, against pycocotools and a naive count."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from models.categories import find_category
from models.components import find_components, find_objects
from models.condition_sampling import ConditionOptions, moved_alike, sample_condition
from models.errors import InvalidInput
from models.export.outlines import one_outline
from models.export.parts import find_parts
from models.labels import annotations, with_ignored
from models.masks import DecodedMask, Encoding, decode_mask, resize_ids
from tests.pictures import png

SHIP, WATER, TANK = (find_category(name).id for name in ("ship", "water", "storage tank"))
INSTANCES = {"1": "ship", "2": "ship", "300": 6, "70000": "storage tank"}
CATEGORY = {1: SHIP, 2: SHIP, 300: WATER, 70000: TANK}


def raster(dtype: Any = np.uint32) -> NDArray[Any]:
    """Two ships side by side, of which one is in two pieces; water below; a tank."""
    numbers = np.zeros((40, 50), dtype)
    numbers[5:12, 5:20], numbers[5:12, 20:30] = 1, 2
    numbers[20:24, 2:6] = 1
    if np.iinfo(dtype).max > 255:
        numbers[30:, :] = 300
    if np.iinfo(dtype).max > 70_000:
        numbers[15:25, 30:45] = 70_000
    return numbers


def panoptic(numbers: NDArray[Any]) -> bytes:
    """COCO's RGB form, by hand."""
    return png(np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], axis=2).astype(np.uint8))


def tiff(numbers: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, numbers, photometric="minisblack", metadata=None)
    return out.getvalue()


def npy(numbers: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, numbers)
    return out.getvalue()


def png16(numbers: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(numbers.astype(np.uint16)).save(out, "PNG")
    return out.getvalue()


def read(data: bytes, instances: Any = None, **options: Any) -> DecodedMask:
    return decode_mask(data, encoding=Encoding.INSTANCE, instances=instances or INSTANCES, **options)


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        (tiff(raster()), raster()),
        (npy(raster(np.int64)), raster()),
        (panoptic(raster()), raster()),
        (png16(raster(np.uint16)), raster(np.uint16)),
        (png(raster(np.uint8)), raster(np.uint8)),
    ],
    ids=["tiff32", "npy64", "panoptic", "png16", "png8"],
)
def test_every_file_keeps_its_numbers(data: bytes, numbers: NDArray[Any]) -> None:
    found = read(data)
    assert found.instances is not None
    assert found.instances.dtype == np.uint32
    assert np.array_equal(found.instances, numbers)
    for number in np.unique(numbers):
        assert (found.ids[numbers == number] == CATEGORY.get(int(number), 0)).all()
    absent = CATEGORY.keys() - set(np.unique(numbers).tolist())
    assert bool(absent) == any(warning.startswith("absent_instances:") for warning in found.warnings)


def test_cocos_segments_and_other_ontologies() -> None:
    segments = [
        {"id": 1, "category_id": SHIP, "area": 3, "bbox": [0, 0, 1, 1], "iscrowd": 0, "isthing": 1},
        {"id": 2, "category": "Boats"},
        {"id": 300, "category_id": WATER},
        {"id": 70000, "category": "oil tank"},
    ]
    assert np.array_equal(read(panoptic(raster()), segments).ids, read(tiff(raster())).ids)
    loveda = read(png(raster(np.uint8)), {"1": 2, "2": "road"}, ontology="loveda")
    assert [loveda.ids[5, 5], loveda.ids[5, 25]] == [8, 4]


BAD: dict[str, tuple[Any, str, str]] = {
    "no entry": ({"1": "ship"}, "unknown_instance", ""),
    "a number": (7, "invalid_instances", "/instances"),
    "no number": ({"one": "ship"}, "invalid_instances", "/instances/one"),
    "zero": ({"0": "ship"}, "invalid_instances", "/instances/0"),
    "too large": ({"99999999999": "ship"}, "invalid_instances", "/instances/99999999999"),
    "twice": ({"1": "ship", "01": "ship"}, "invalid_instances", "/instances/01"),
    "a list in it": ({"1": ["ship"]}, "invalid_instances", "/instances/1"),
    "unknown category": ({"1": "spaceship"}, "unknown_category", "/instances/1"),
    "unknown id": ({"1": 90}, "unknown_label", "/instances/1"),
    "ignore": ({"1": 255}, "unknown_label", "/instances/1"),
    "no id": ([{"category": "ship"}], "invalid_instances", "/instances/0"),
    "true": ([{"id": True, "category": "ship"}], "invalid_instances", "/instances/0"),
    "two names": ([{"id": 1, "category": "ship", "category_id": 17}], "invalid_instances", "/instances/0"),
    "odd field": ([{"id": 1, "category": "ship", "colour": 1}], "invalid_instances", "/instances/0"),
    "too many": ({str(number): "ship" for number in range(1, 10_002)}, "too_many_instances", "/instances"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_maps_are_refused_at_their_place(name: str) -> None:
    instances, code, pointer = BAD[name]
    with pytest.raises(InvalidInput) as caught:
        read(png(raster(np.uint8)), instances)
    assert caught.value.code == code
    assert [error.pointer for error in caught.value.errors] == ([pointer] if pointer else [])


def test_an_unknown_number_is_named_with_its_pixel() -> None:
    with pytest.raises(InvalidInput, match=r"Pixel \(20, 5\) is 2, of which instances says nothing"):
        read(png(raster(np.uint8)), {"1": "ship"})


def test_numbers_out_of_range_and_too_many_objects() -> None:
    for value in (-1, 2**32):
        numbers = raster(np.int64)
        numbers[0, 0] = value
        with pytest.raises(InvalidInput) as caught:
            read(npy(numbers))
        assert caught.value.code == "label_out_of_range"
    with pytest.raises(InvalidInput) as caught:
        read(npy(np.arange(200 * 200).reshape(200, 200)))
    assert caught.value.code == "too_many_instances"


@pytest.mark.parametrize(
    ("encoding", "instances"),
    [(Encoding.INSTANCE, None), (Encoding.CLASS_ID, INSTANCES), (Encoding.AUTO, INSTANCES)],
)
def test_the_map_and_the_encoding_go_together(encoding: Encoding, instances: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_mask(png(raster(np.uint8)), encoding=encoding, instances=instances)
    assert caught.value.code == "instances_required"


def test_an_annotation_is_an_instance_with_the_area_that_pycocotools_counts() -> None:
    mask = read(tiff(raster()))
    found = annotations(mask.ids, instances=mask.instances)
    assert [(one.instance_id, one.category) for one in found] == [
        (1, "ship"),
        (2, "ship"),
        (70000, "storage tank"),
    ]
    for one in found:
        own = np.asfortranarray(raster() == one.instance_id).astype(np.uint8)
        expected = coco.encode(own)
        assert coco.area(one.rle) == one.area == own.sum()
        assert coco.toBbox(one.rle).tolist() == list(one.box_xywh)
        assert one.rle["counts"].encode() == expected["counts"]
        rings = coco.merge(coco.frPyObjects([list(ring) for ring in one.polygons], 40, 50))
        assert coco.area(rings) == own.sum()
    assert len(found[0].polygons) == 2, "two pieces, one object"
    plain = annotations(mask.ids)
    assert [one.area for one in plain] == [7 * 25, 16, 10 * 15], "without instances: what is connected"
    assert [one.instance_id for one in plain] == [None] * 3


def test_what_has_no_instance_is_told_by_what_is_connected() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = rng.random((12, 14)) < 0.6
        numbers = rng.integers(0, 4, mask.shape).astype(np.uint32)
        found = find_objects(mask, numbers, min_area=2)
        areas = {number: int(((numbers == number) & mask).sum()) for number in (1, 2, 3)}
        assert {o.instance_id: o.area for o in found if o.instance_id} == {
            n: a for n, a in areas.items() if a > 1
        }
        rest = [o.area for o in found if o.instance_id is None]
        assert sorted(rest) == sorted(o.area for o in find_components(mask & (numbers == 0), min_area=2))
        assert [(o.top, o.left) for o in found] == sorted((o.top, o.left) for o in found)
        for one in found:
            assert one.mask.sum() == one.area
            assert one.mask.any(axis=0)[[0, -1]].all()
            assert one.mask.any(axis=1)[[0, -1]].all()


def test_the_filter_ignores_one_object_and_not_its_neighbour() -> None:
    mask = read(tiff(raster()))
    ignore = np.zeros(mask.ids.shape, np.bool_)
    ignore[5:12, 20:27] = True  # most of ship 2, and little of both ships together
    label = with_ignored(mask.ids, ignore, mask.instances)
    assert np.array_equal(label == 255, raster() == 2)
    assert not (with_ignored(mask.ids, ignore) == 255).any()


def test_instances_follow_sizes_flips_turns_and_single_categories() -> None:
    mask = read(tiff(raster()[:, :40]))
    assert mask.instances is not None
    category = np.zeros(70_001, np.uint8)
    for number, category_id in CATEGORY.items():
        category[number] = category_id
    larger = resize_ids(mask.instances, 96, 80)
    assert np.array_equal(category[larger], resize_ids(mask.ids, 96, 80))
    options = ConditionOptions(flip=True, rotate90=True, translate=0.3, scale=(0.5, 2.0), single_category=0.5)
    for index in range(40):
        drawn = sample_condition(mask.ids, options, seed=4, index=index, allowed=[SHIP, WATER, TANK])
        instances = moved_alike(mask.instances, drawn.transform, drawn.mask)
        assert np.array_equal(category[instances], drawn.mask)


def test_exports_annotate_instances_land_cover_too() -> None:
    mask = read(tiff(raster()))
    parts = find_parts(mask.ids, min_area=1, include_stuff=True, instances=mask.instances)
    found = {part.component.instance_id: (part.category_id, part.component.area) for part in parts}
    areas = {number: int((raster() == number).sum()) for number in CATEGORY}
    assert found == {number: (CATEGORY[number], areas[number]) for number in CATEGORY}


def test_an_outline_of_several_pieces_holds_them_all() -> None:
    import cv2

    rng = np.random.default_rng(1)
    for _ in range(30):
        mask = np.zeros((40, 40), np.bool_)
        for x, y in rng.integers(0, 34, (4, 2)):
            mask[y : y + 5, x : x + 6] = True
        numbers = mask.astype(np.uint32)
        (one,) = find_objects(mask, numbers)
        canvas = np.zeros((40, 40), np.uint8)
        cv2.fillPoly(canvas, [one_outline(one).astype(np.int32)], 1)
        assert (canvas[mask] == 1).all()
        pieces = len(find_components(mask))
        assert np.count_nonzero((canvas == 1) & ~mask) <= (pieces - 1) * 60, "seams are thin"
