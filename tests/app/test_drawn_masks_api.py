"""Polygons as masks, through a real server. Test ids start with the row of the catalogue of hostile inputs."""

from __future__ import annotations

import asyncio
import io
import json
import time
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app.bodies import parse_body
from models.errors import TooLarge
from worker.drawing import Drawing

SHIP = {"category": "ship", "points": [[8, 8], [40, 8], [40, 24], [8, 24]]}
BODY = {"polygons": [SHIP], "width": 64, "height": 48}
FEATURE = {
    "type": "Feature",
    "properties": {"category": "water"},
    "geometry": {
        "type": "Polygon",
        "coordinates": [[[500010, 4999990], [500030, 4999990], [500030, 4999960]]],
    },
}
WORLD = {
    "polygons": {"type": "FeatureCollection", "features": [FEATURE]},
    "width": 64,
    "height": 48,
    "transform": [1.0, 0, 500_000, 0, -1.0, 5_000_000],
    "crs": "EPSG:32633",
}


def test_polygons_make_a_mask_once(client: httpx.Client) -> None:
    body = BODY | {"polygons": [SHIP, {"category": "ship", "points": [[41, 30], [60, 30], [60, 41]]}]}
    first, second = client.post("/v1/masks", json=body), client.post("/v1/masks", json=body)
    assert (first.status_code, second.status_code) == (201, 200), first.text
    mask = first.json()
    assert mask == second.json() == client.get(first.headers["location"]).json()
    assert (mask["encoding"], mask["width"], mask["height"]) == ("polygons", 64, 48)
    assert mask["instances"] == 2
    assert [found["name"] for found in mask["categories"]] == ["background", "ship"]
    preview = client.get(mask["preview_url"])
    assert Image.open(io.BytesIO(preview.content)).size == (64, 48)


def test_the_same_pixels_drawn_as_one_and_as_two_objects_are_two_masks(client: httpx.Client) -> None:
    halves = [[[8, 8], [24, 8], [24, 24], [8, 24]], [[24, 8], [40, 8], [40, 24], [24, 24]]]
    body = BODY | {"polygons": [{"category": "ship", "points": half} for half in halves]}
    one, two = (client.post("/v1/masks", json=sent).json() for sent in (BODY, body))
    assert one["categories"] == two["categories"]
    assert (one["instances"], two["instances"]) == (1, 2)
    assert one["id"] != two["id"]


def test_world_coordinates_and_where_the_mask_lies(client: httpx.Client) -> None:
    mask = client.post("/v1/masks", json=WORLD).json()
    assert {found["name"] for found in mask["categories"]} == {"background", "water"}
    assert mask["georeference"]["crs"] == "EPSG:32633"
    assert mask["georeference"]["transform"] == WORLD["transform"]
    assert mask["georeference"]["bounds"] == [500_000, 4_999_952, 500_064, 5_000_000]
    assert any(warning.startswith("mapped_from_world") for warning in mask["warnings"])
    moved = client.post("/v1/masks", json=WORLD | {"crs": 32634}).json()
    assert moved["id"] != mask["id"]
    assert client.get(f"/v1/masks/{mask['id']}").json()["georeference"]["crs"] == "EPSG:32633"


def test_a_generation_from_polygons(client: httpx.Client) -> None:
    drawn = {"polygons": [{"category": "building", "points": SHIP["points"]}], "width": 64, "height": 64}
    body = {"drawn_mask": drawn, "num_inference_steps": 1, "filter": {"policy": "off"}}
    answer = client.post("/v1/generations", params={"wait": 60}, json=body)
    assert answer.status_code == 200, answer.text
    stored = httpx.get(answer.json()["samples"][0]["mask"]["url"], trust_env=False).content
    ids = np.asarray(Image.open(io.BytesIO(stored)))
    expected = np.zeros((64, 64), np.uint8)
    expected[8:24, 8:40] = 8
    assert np.array_equal(ids, np.kron(expected, np.ones((4, 4), np.uint8)))
    for wrong, code, pointer in (
        ({"drawn_mask": drawn, "mask_id": "msk_x"}, "mask_and_mask_id", "/mask"),
        ({"drawn_mask": {"width": 64, "height": 64}}, "mask_missing", "/drawn_mask/polygons"),
        ({"drawn_mask": drawn | {"polygons": [{}]}}, "category_required", "/drawn_mask/polygons/0"),
        ({"drawn_mask": drawn | {"width": None}}, "missing_field", "/drawn_mask/width"),
        ({"drawn_mask": drawn | {"colour": 1}}, "unknown_field", "/drawn_mask/colour"),
    ):
        refused = client.post("/v1/generations", json=wrong)
        found = refused.status_code, refused.json()["code"], refused.json()["errors"][0]["pointer"]
        assert found == (422, code, pointer)


def test_a_drawn_mask_is_checked_without_being_kept(client: httpx.Client) -> None:
    points = [[3, 5], [50, 5], [50, 31], [3, 31]]
    drawn = {"polygons": [{"category": "building", "points": points}], "width": 64, "height": 64}
    checked = client.post("/v1/generations", json={"drawn_mask": drawn, "validate_only": True})
    assert checked.status_code == 200, checked.text
    mask = client.post("/v1/masks", json=drawn)
    assert mask.status_code == 201, "it was not there before"
    assert mask.json()["id"] == checked.json()["request"]["mask_id"]
    assert client.delete(f"/v1/masks/{mask.json()['id']}").status_code == 204
    assert client.get(f"/v1/masks/{mask.json()['id']}").status_code == 404
    assert client.post("/v1/masks", json=drawn).status_code == 201, "nothing of it was left"


def test_a_repeated_drawing_is_answered_once_whatever_it_holds(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "drawing-1", "Content-Type": "application/json"}
    sent = json.dumps(BODY | {"polygons": [SHIP | {"id": 7, "area": 1.5}]})
    first, again = (client.post("/v1/masks", content=sent, headers=headers) for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    for odd in ("NaN", "1e999", "9" * 4000, '"\\u0000"', '"\\ud800"', "9" * 5000, "[" * 1000 + "]" * 1000):
        text = sent.replace("1.5", odd)
        answer = client.post("/v1/masks", content=text, headers=headers | {"Idempotency-Key": "drawing-2"})
        assert answer.status_code in {200, 201, 400, 422}, (odd[:20], answer.text)


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no size": ({"polygons": [SHIP], "width": 64}, "missing_field", "/height"),
    "a size of text": (BODY | {"width": "64"}, "invalid_request", "/width"),
    "j35": (BODY | {"width": 0}, "out_of_range", "/width"),
    "too large": (BODY | {"width": 100_000}, "too_many_pixels", "/width"),
    "both": (BODY | {"file": "aGk="}, "file_and_polygons", "/polygons"),
    "a file with a size": ({"file": "aGk=", "width": 64}, "file_and_polygons", "/width"),
    "encoding": (BODY | {"encoding": "binary"}, "ambiguous_encoding", "/encoding"),
    "no transform": (BODY | {"crs": 4326}, "invalid_transform", "/transform"),
    "a flat transform": (BODY | {"transform": [1, 1, 0, 1, 1, 0]}, "invalid_transform", "/transform"),
    "a short transform": (BODY | {"transform": [1, 0, 0]}, "invalid_request", "/transform"),
    "an unknown crs": (WORLD | {"crs": "EPSG:99999"}, "unknown_crs", "/crs"),
    "a height is no place": (WORLD | {"crs": "EPSG:5773"}, "unknown_crs", "/crs"),
    "world without a way": (BODY | {"coordinates": "world"}, "invalid_transform", "/transform"),
    "j57-coco": ({"images": [], "annotations": [], "categories": []}, "whole_annotation_file", ""),
    "j57-labelme": ({"version": "5", "shapes": [], "imagePath": "x"}, "whole_annotation_file", ""),
    "j57-geojson": ({"type": "FeatureCollection", "features": [FEATURE]}, "whole_annotation_file", ""),
    "j47": (
        BODY | {"polygons": [SHIP, {"category": "ship", "points": [[70, 0], [80, 0], [80, 9]]}]},
        "polygon_outside_mask",
        "/polygons/1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_drawings(client: httpx.Client, name: str) -> None:
    body, code, pointer = BAD[name]
    answer = client.post("/v1/masks", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, code), answer.text
    assert problem["errors"][0]["pointer"] == pointer


def test_j30_infinity_and_nan_in_the_text(client: httpx.Client) -> None:
    for number in ("NaN", "Infinity", "-Infinity", "1e400"):
        text = json.dumps(BODY).replace("40", number)
        answer = client.post("/v1/masks", content=text, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (422, "out_of_range")
    text = json.dumps(BODY).replace("[8, 8]", "[-0.0, 1e-400]")
    answer = client.post("/v1/masks", content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code in {200, 201}


def test_a_collection_that_names_its_crs(client: httpx.Client) -> None:
    collection = WORLD["polygons"] | {  # type: ignore[operator]  # a dict
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    }
    body = {key: value for key, value in WORLD.items() if key != "crs"} | {"polygons": collection}
    assert client.post("/v1/masks", json=body).json()["georeference"]["crs"] == "EPSG:32633"
    other = client.post("/v1/masks", json=body | {"crs": "EPSG:4326"})
    assert (other.status_code, other.json()["code"]) == (422, "unknown_crs")
    nowhere = client.post("/v1/masks", json=BODY | {"polygons": collection})
    assert (nowhere.status_code, nowhere.json()["code"]) == (422, "invalid_transform")


def test_j53_three_million_points_are_refused_unparsed(client: httpx.Client) -> None:
    ring = "[" + ",".join(["[1.25,2.5]"] * 2_900_000) + "]"
    text = json.dumps(BODY).replace("[[8, 8], [40, 8], [40, 24], [8, 24]]", ring)
    assert len(text) > 31_000_000
    answer = client.post("/v1/masks", content=text, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")

    async def body() -> bytes:
        return text.encode()

    request: Any = SimpleNamespace(headers={"content-type": "application/json"}, body=body)
    began = time.process_time()
    with pytest.raises(TooLarge):
        asyncio.run(parse_body(request, Drawing, file="file"))
    assert time.process_time() - began < 1, "parsing it takes 6 s"
