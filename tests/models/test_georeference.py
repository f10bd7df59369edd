"""GeoTIFF masks: where they lie, read and written, as rasterio (GDAL) finds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from models.condition_sampling import Flip, condition_to_mask, moved
from models.crs import geokeys_of, read_epsg
from models.errors import InvalidInput
from models.export.georeferenced import files_beside, label_geotiff, picture_geotiff
from models.export.notice import NOTICE, SOURCE_TYPE, picture_png
from models.georeference import Georeference
from models.geotiff import write_tiff
from models.masks import SizePolicy, decode_mask, picture_to_mask, resize_ids

IDS = np.kron(np.arange(20).reshape(4, 5), np.ones((8, 8))).astype(np.uint8)  # (32, 40)
IMAGE = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
NORTH_UP = Affine(0.5, 0, 500_000.25, 0, -0.5, 5_000_000.75)
TURNED = Affine(0.3, 0.4, 12.5, 0.4, -0.3, -7.25)
LAEA = CRS.from_proj4("+proj=laea +lat_0=10 +lon_0=20 +x_0=3000 +y_0=4000 +ellps=GRS80 +units=m")


def saved(
    ids: NDArray[Any] = IDS, *, crs: Any = "EPSG:32633", transform: Affine = NORTH_UP, **more: Any
) -> bytes:
    """A GeoTIFF written by GDAL."""
    height, width = ids.shape
    options = {
        "crs": crs,
        "transform": transform,
        "dtype": ids.dtype,
        "count": 1,
        "compress": "deflate",
    } | more
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", width=width, height=height, **options) as file:
            file.write(ids, 1)
        return bytes(memory.read())


def place_of(data: bytes) -> Georeference:
    found = decode_mask(data, ignore=True).georeference
    assert found is not None
    return found


@contextmanager
def opened(data: bytes) -> Iterator[Any]:
    """The file as GDAL sees it; the memory must outlive it."""
    with MemoryFile(data) as memory, memory.open() as file:
        yield file


@pytest.mark.parametrize(
    "crs", ["EPSG:32633", "EPSG:4326", "EPSG:2154", LAEA], ids=["utm", "lonlat", "l93", "own"]
)
@pytest.mark.parametrize("transform", [NORTH_UP, TURNED], ids=["north up", "turned"])
def test_what_gdal_writes_comes_back_to_gdal(crs: Any, transform: Affine) -> None:
    source = saved(crs=crs, transform=transform)
    place = place_of(source)
    assert place.transform == pytest.approx(tuple(transform)[:6], abs=1e-12)
    with opened(source) as before, opened(picture_geotiff(IMAGE, place)) as after:
        assert after.crs == before.crs
        assert after.transform == before.transform
        assert np.array_equal(after.read().transpose(1, 2, 0), IMAGE)
        if transform is NORTH_UP:  # of turned ones rasterio asks affine in a way that warns
            assert after.bounds == before.bounds
            assert place.bounds(40, 32) == pytest.approx(tuple(before.bounds))
    assert place.epsg == (None if crs is LAEA else int(crs.removeprefix("EPSG:")))


def test_a_raster_of_points_is_shifted_by_half_a_pixel() -> None:
    with MemoryFile() as memory:
        options = {"crs": "EPSG:32633", "transform": NORTH_UP, "dtype": "uint8", "count": 1}
        with memory.open(driver="GTiff", width=40, height=32, **options) as file:
            file.update_tags(AREA_OR_POINT="Point")
            file.write(IDS, 1)
        source = bytes(memory.read())
    place = place_of(source)
    assert place.transform == tuple(NORTH_UP)[:6]
    with opened(label_geotiff(IDS, place)) as file:
        assert (file.transform, file.tags()["AREA_OR_POINT"]) == (NORTH_UP, "Area")


def test_the_label_is_bit_for_bit_and_ignore_is_no_data() -> None:
    with opened(label_geotiff(IDS, place_of(saved(nodata=255)))) as file:
        assert np.array_equal(file.read(1), IDS)
        assert file.nodata == 255
        assert "synthetic" in file.tags()["TIFFTAG_IMAGEDESCRIPTION"]
    assert place_of(saved(nodata=7)).nodata == 7


def test_the_picture_says_that_it_is_synthetic() -> None:
    data = picture_geotiff(IMAGE, place_of(saved()))
    assert data == picture_geotiff(IMAGE, place_of(saved())), "equal pixels, equal bytes"
    with opened(data) as file:
        tags = file.tags()
        assert tags["TIFFTAG_IMAGEDESCRIPTION"] == NOTICE
        assert (tags["TIFFTAG_SOFTWARE"], tags["SYNTHETIC"]) == ("EarthSynth", "YES")
        assert tags["DIGITAL_SOURCE_TYPE"] == SOURCE_TYPE
        assert SOURCE_TYPE in str(file.tags(ns="xml:XMP"))


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
@pytest.mark.parametrize("kept", [".pgw", ".png.aux.xml"])
def test_files_beside_a_png_place_it(tmp_path: Path, crs: str, kept: str) -> None:
    place = place_of(saved(crs=crs, transform=TURNED))
    (tmp_path / "a.png").write_bytes(picture_png(IMAGE))
    for suffix, content in files_beside(place).items():
        if suffix in {kept, ".prj"}:
            (tmp_path / f"a{suffix}").write_bytes(content)
    with rasterio.open(tmp_path / "a.png") as file:
        assert file.transform.almost_equals(TURNED)
        assert np.array_equal(file.read().transpose(1, 2, 0), IMAGE)
        if kept == ".png.aux.xml":
            assert file.crs == CRS.from_string(crs)
            assert file.tags()["SYNTHETIC"] == "YES"
    esri = CRS.from_wkt((tmp_path / "a.prj").read_text())
    assert esri.to_epsg(confidence_threshold=25) == int(crs.removeprefix("EPSG:"))


@pytest.mark.parametrize("size", [(64, 80), (16, 20), (40, 64), (33, 17)])
@pytest.mark.parametrize("policy", [SizePolicy.RESIZE, SizePolicy.PAD])
def test_the_transform_follows_the_size(size: tuple[int, int], policy: SizePolicy) -> None:
    """Ground under a picture's pixel is the ground under the mask's pixel that it was taken from."""
    numbers = np.arange(1, 32 * 40 + 1, dtype=np.uint32).reshape(32, 40)
    made = resize_ids(numbers, size[1], size[0], policy)
    to_mask = Affine(*picture_to_mask(numbers.shape, size, policy))
    for row, column in np.argwhere(made > 0):
        x, y = to_mask @ (column + 0.5, row + 0.5)
        assert numbers[int(y), int(x)] == made[row, column]


@pytest.mark.parametrize("flip", list(Flip))
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("scale", [1.0, 1.37, 0.71])
def test_the_transform_follows_flips_turns_scales_and_shifts(flip: Flip, turns: int, scale: float) -> None:
    for shape in ((24, 24), (20, 28)):
        if turns % 2 and shape[0] != shape[1]:
            continue
        numbers = np.arange(1, shape[0] * shape[1] + 1, dtype=np.uint32).reshape(shape)
        made = moved(numbers, flip=flip, quarter_turns=turns, scale=scale, shift_xy=(3, -5))
        said = {"flip": flip.value, "quarter_turns": turns, "scale": scale, "shift_xy": [3, -5]}
        to_mask = Affine(*condition_to_mask(said, shape[1], shape[0]))
        for row, column in np.argwhere(made > 0):
            x, y = to_mask @ (column + 0.5, row + 0.5)
            assert numbers[int(y), int(x)] == made[row, column]


def test_a_tie_point_that_is_not_the_corner() -> None:
    place = Georeference(tuple(NORTH_UP)[:6], 32633, geokeys_of(32633))  # type: ignore[arg-type]
    data = bytearray(write_tiff(IDS, georeference=place))
    values = np.array([4.0, 6.0, 0.0, 500_000.0, 5_000_000.0, 0.0])
    corner = np.array([0.0, 0.0, 0.0, NORTH_UP.c, NORTH_UP.f, 0.0]).tobytes()
    assert data.count(corner) == 1
    data = data.replace(corner, values.tobytes())
    with opened(bytes(data)) as file:
        assert place_of(bytes(data)).transform == tuple(file.transform)[:6]


def test_ground_control_points_are_told_of_and_not_guessed_from() -> None:
    points = [GroundControlPoint(y, x, 10.0 * x, -10.0 * y) for x, y in ((0, 0), (40, 0), (0, 32), (40, 32))]
    with MemoryFile() as memory:
        options = {"gcps": points, "crs": "EPSG:32633", "dtype": "uint8", "count": 1}
        with memory.open(driver="GTiff", width=40, height=32, **options) as file:
            file.write(IDS, 1)
        decoded = decode_mask(bytes(memory.read()))
    assert decoded.georeference is None
    assert decoded.warnings[0].startswith("georeference_ignored: it has ground control points")


def test_plain_tiffs_lie_nowhere_and_damaged_places_cost_no_labels() -> None:
    decoded = decode_mask(write_tiff(IDS))
    assert (decoded.georeference, decoded.warnings) == (None, ())
    flat = Georeference((0.0, 0.0, 1.0, 0.0, 0.0, 1.0))
    decoded = decode_mask(write_tiff(IDS, georeference=flat))
    assert decoded.georeference is None
    assert np.array_equal(decoded.ids, IDS)
    assert decoded.warnings[0].startswith("georeference_ignored:")
    keys = geokeys_of(32633)
    for cut in (keys.directory[:5], (2, *keys.directory[1:]), (*keys.directory[:-3], 34736, 5, 9)):
        broken = Georeference(tuple(NORTH_UP)[:6], geokeys=type(keys)(cut))  # type: ignore[arg-type]
        decoded = decode_mask(write_tiff(IDS, georeference=broken))
        assert decoded.georeference is not None
        assert decoded.georeference.geokeys is None
        assert decoded.warnings[0].startswith("crs_ignored:")


def test_flipped_bytes_of_a_geotiff_never_fail_otherwise_than_as_refusals() -> None:
    from models import tiff_child
    from models.geokeys import read_georeference

    source = saved(crs=LAEA)
    rng = np.random.default_rng(2)
    for _ in range(600):
        data = bytearray(source)
        for place in rng.integers(8, len(data), 3):
            data[place] = rng.integers(256)
        try:
            described, _ = tiff_child.read(bytes(data), 1, 4096)
        except tiff_child.Refused:
            continue
        place, _ = read_georeference(described["geo"], nodata=described["nodata"])
        if place is not None:
            with opened(label_geotiff(IDS, place)):
                pass


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("EPSG:32633", 32633),
        (4326, 4326),
        ("4326", 4326),
        ("urn:ogc:def:crs:EPSG::3857", 3857),
        ("http://www.opengis.net/def/crs/EPSG/0/2154", 2154),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", 4326),
    ],
)
def test_crs_by_name(name: str | int, code: int) -> None:
    assert read_epsg(name, pointer="/crs") == code


@pytest.mark.parametrize(
    "name", ["", "mars", "EPSG:99999", "EPSG:5773", "EPSG:4979", "EPSG:-1", 10**9, "EPSG:4326; x"]
)
def test_crs_that_are_none(name: str | int) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_epsg(name, pointer="/crs")
    assert caught.value.code == "unknown_crs"
