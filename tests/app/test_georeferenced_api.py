"""GeoTIFF and instance masks through the whole service; rasterio and pycocotools are the second sources."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import rasterio
import tifffile
from numpy.typing import NDArray
from pycocotools import mask as coco
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from tests.pictures import png, road_and_buildings
from tests.waiting import job_end

PLACE = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
SMALL = {"num_inference_steps": 1, "filter": {"policy": "off"}, "width": 64, "height": 64, "seed": 5}


def geotiff(ids: NDArray[np.uint8], transform: Affine = PLACE, crs: str = "EPSG:32633") -> bytes:
    height, width = ids.shape
    with MemoryFile() as memory:
        options: dict[str, Any] = {"crs": crs, "transform": transform, "dtype": ids.dtype, "count": 1}
        with memory.open(driver="GTiff", width=width, height=height, **options) as file:
            file.write(ids, 1)
        return bytes(memory.read())


def download(url: str) -> bytes:
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 200
    return answer.content


def kept(client: httpx.Client, data: bytes, **fields: str) -> dict[str, Any]:
    answer = client.post("/v1/masks", files={"file": ("mask.tif", data)}, data=fields)
    assert answer.status_code in {200, 201}, answer.text
    found: dict[str, Any] = answer.json()
    assert client.get(f"/v1/masks/{found['id']}").json() == found
    return found


def generated(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/generations", params={"wait": 60}, json=SMALL | body)
    assert answer.status_code == 200, answer.text
    sample: dict[str, Any] = answer.json()["samples"][0]
    return sample


def test_equal_pixels_at_two_places_are_two_masks_and_neither_is_lost(client: httpx.Client) -> None:
    ids = road_and_buildings(64)
    here, there = kept(client, geotiff(ids)), kept(client, geotiff(ids, crs="EPSG:32634"))
    nowhere = kept(client, png(ids))
    assert len({here["id"], there["id"], nowhere["id"]}) == 3
    assert [mask["georeference"] and mask["georeference"]["crs"] for mask in (here, there, nowhere)] == [
        *("EPSG:32633", "EPSG:32634", None)
    ]
    assert here["georeference"]["bounds"] == [500_000, 4_999_968, 500_032, 5_000_000]
    assert kept(client, geotiff(ids))["id"] == here["id"]


def test_a_generation_lies_where_its_mask_does(client: httpx.Client, tmp_path: Path) -> None:
    ids = road_and_buildings(32)
    sample = generated(client, mask_id=kept(client, geotiff(ids))["id"])
    files = {name: download(found["url"]) for name, found in sample["files"].items()}
    for name, found in sample["files"].items():
        assert hashlib.sha256(files[name]).hexdigest() == found["sha256"]
    assert files.keys() == {"geotiff", "mask_geotiff", "world_file", "projection", "auxiliary"}
    picture = download(sample["image"]["url"])
    (tmp_path / "a.png").write_bytes(picture)
    (tmp_path / "a.png.aux.xml").write_bytes(files["auxiliary"])
    halved = PLACE @ Affine.scale(0.5)  # 32 pixels became 64
    with (
        MemoryFile(files["geotiff"]) as memory,
        memory.open() as file,
        rasterio.open(tmp_path / "a.png") as plain,
    ):
        assert file.crs.to_epsg() == plain.crs.to_epsg() == 32633
        assert file.transform == plain.transform == halved
        assert tuple(file.bounds) == (500_000, 4_999_984, 500_016, 5_000_000)
        assert np.array_equal(file.read(), plain.read())
        assert file.tags()["SYNTHETIC"] == "YES"
    with MemoryFile(files["mask_geotiff"]) as memory, memory.open() as file:
        assert (file.transform, file.nodata) == (halved, 255)
        assert np.array_equal(file.read(1), np.kron(ids, np.ones((2, 2), np.uint8)))
    assert [float(line) for line in files["world_file"].split()] == [
        0.25,
        0,
        0,
        -0.25,
        500_000.125,
        4_999_999.875,
    ]
    assert sample["georeference"]["crs"] == "EPSG:32633"
    assert generated(client, mask_id=kept(client, png(ids))["id"])["files"] == {}


def test_tiles_of_a_set_carry_the_shifted_transform_into_a_data_set_and_its_export(
    client: httpx.Client,
) -> None:
    ids = np.roll(road_and_buildings(128), 3, axis=1)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("scene.tif", geotiff(ids))
    answer = client.post(
        "/v1/mask-sets", files={"file": ("a.zip", archive.getvalue())}, data={"tile_size": "64"}
    )
    assert answer.status_code in {200, 201}, answer.text
    asked = SMALL | {
        "masks": {"mask_set_id": answer.json()["id"]},
        "samples_per_mask": 1,
        "formats": ["semantic"],
    }
    asked |= {"conditions": {"flip": True, "rotate90": True}, "splits": {"train": 1.0}}
    job = job_end(client, client.post("/v1/datasets", json=asked).json()["id"], 120)
    assert job["status"] == "succeeded", job
    samples = client.get(job["links"]["results"]).json()["items"]
    assert len(samples) == 4
    world: dict[int, bytes] = {}
    turned = 0
    for sample in samples:
        mask = download(sample["files"]["mask_geotiff"]["url"])
        with MemoryFile(mask) as memory, memory.open() as file:
            world[sample["index"]] = file.read(1).tobytes()
            found, transform = file.read(1), file.transform
        turned += transform.b != 0 or transform.a < 0 or transform.e > 0
        for row, column in ((0, 0), (5, 60), (40, 20), (63, 63)):
            x, y = transform @ (column + 0.5, row + 0.5)
            assert found[row, column] == ids[int((5_000_000 - y) / 0.5), int((x - 500_000) / 0.5)]
    assert turned, "of four conditions one is flipped or turned"
    export = client.get(f"/v1/datasets/{job['id']}/exports").json()["items"][0]
    done = job_end(client, export["id"], 120)
    assert done["status"] == "succeeded", done
    export = client.get(f"/v1/datasets/{job['id']}/exports").json()["items"][0]
    with zipfile.ZipFile(io.BytesIO(download(export["archive"]["url"]))) as found_zip:
        names = set(found_zip.namelist())
        lines = [json.loads(line) for line in found_zip.read("manifest.jsonl").splitlines()]
    for line, sample in zip(lines, samples, strict=True):
        assert line["georeference"] == {"crs": "EPSG:32633", "transform": sample["georeference"]["transform"]}
    for suffix in (".png", ".pgw", ".prj", ".png.aux.xml"):
        assert {f"images/train/000000{suffix}", f"masks/train/000000{suffix}"} <= names


def two_ships() -> NDArray[np.uint8]:
    numbers = np.zeros((64, 64), np.uint8)
    numbers[10:20, 8:24], numbers[10:20, 24:40], numbers[40:60, 10:30] = 1, 2, 3
    return numbers


def test_touching_objects_stay_apart_in_results_and_exports(client: httpx.Client) -> None:
    """With nano's categories: buildings, which exports annotate when land cover is asked for."""
    numbers = two_ships()
    mapped = json.dumps({"1": "building", "2": "building", "3": "water"})
    mask = kept(client, png(numbers), encoding="instance", instances=mapped)
    assert (mask["encoding"], mask["instances"]) == ("instance", 3)
    assert {found["name"]: found["components"] for found in mask["categories"]} == {
        "background": 1,
        "water": 1,
        "building": 1,
    }
    asked = SMALL | {"masks": {"mask_ids": [mask["id"]]}, "samples_per_mask": 1, "splits": {"train": 1.0}}
    asked |= {
        "formats": [
            {"format": "coco", "include_stuff": True},
            {"format": "yolo-segment", "include_stuff": True},
        ]
    }
    job = job_end(client, client.post("/v1/datasets", json=asked).json()["id"], 120)
    assert job["status"] == "succeeded", job
    (sample,) = client.get(job["links"]["results"]).json()["items"]
    kept_apart = tifffile.imread(io.BytesIO(download(sample["files"]["instances"]["url"])))
    assert np.array_equal(kept_apart, numbers)
    exports = client.get(f"/v1/datasets/{job['id']}/exports").json()["items"]
    assert [job_end(client, export["id"], 120)["status"] for export in exports] == ["succeeded"] * 2
    exports = client.get(f"/v1/datasets/{job['id']}/exports").json()["items"]
    by_format = {export["format"]: export for export in exports}
    assert {export["annotations"] for export in exports} == {3}
    with zipfile.ZipFile(io.BytesIO(download(by_format["coco"]["archive"]["url"]))) as found:
        written = json.loads(found.read("annotations/instances_train.json"))
    areas = []
    for one in written["annotations"]:
        packed = coco.merge(coco.frPyObjects(one["segmentation"], 64, 64))
        assert int(coco.area(packed)) == one["area"]
        areas.append(one["area"])
    assert sorted(areas) == sorted(int((numbers == number).sum()) for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"encoding": "instance"}, "instances_required"),
        ({"instances": '{"1": "building"}'}, "instances_required"),
        ({"encoding": "instance", "instances": "not JSON"}, "invalid_request"),
        ({"encoding": "instance", "instances": '{"1": "building"}'}, "unknown_instance"),
        ({"encoding": "polygons"}, "ambiguous_encoding"),
    ],
)
def test_instance_masks_that_are_refused(client: httpx.Client, fields: dict[str, str], code: str) -> None:
    answer = client.post("/v1/masks", files={"file": ("m.png", png(two_ships()))}, data=fields)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


def test_sets_and_training_sets_read_no_instances(client: httpx.Client) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("a.png", png(two_ships()))
    answer = client.post(
        "/v1/mask-sets", files={"file": ("a.zip", archive.getvalue())}, data={"encoding": "instance"}
    )
    assert answer.status_code == 422
    assert "instances_required" in answer.text
