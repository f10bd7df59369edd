"""POST /v1/masks through a real server."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import zlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.pictures import png, road_and_buildings

IDS = road_and_buildings()


def post(client: httpx.Client, data: bytes, **fields: str) -> httpx.Response:
    return client.post("/v1/masks", files={"file": ("mask.png", data)}, data=fields)


def test_a_mask_is_new_once(client: httpx.Client) -> None:
    ids = IDS.copy()
    ids[0, 0] = 5
    first, second = post(client, png(ids)), post(client, png(ids))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    mask = first.json()
    assert first.headers["location"] == f"/v1/masks/{mask['id']}"
    assert (mask["width"], mask["height"], mask["encoding"]) == (64, 64, "class_id")
    shares = {found["id"]: found["pixels"] for found in mask["categories"]}
    values, counts = np.unique(ids, return_counts=True)
    assert shares == dict(zip(values.tolist(), counts.tolist(), strict=True))
    assert client.get(f"/v1/masks/{mask['id']}").json() == mask


def test_json_with_base64(client: httpx.Client) -> None:
    answer = client.post("/v1/masks", json={"file": base64.b64encode(png(IDS)).decode()})
    assert answer.status_code in {200, 201}
    assert answer.json()["id"] == post(client, png(IDS)).json()["id"]


def test_the_preview_shows_the_categories_colours(client: httpx.Client) -> None:
    mask_id = post(client, png(IDS)).json()["id"]
    answer = client.get(f"/v1/masks/{mask_id}/preview")
    assert answer.headers["content-type"] == "image/png"
    preview = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))
    colours = {found["id"]: found["color"] for found in client.get("/v1/categories").json()["items"]}
    for (y, x), value in {(0, 0): 1, (32, 5): 4, (5, 5): 8}.items():
        assert "#{:02x}{:02x}{:02x}".format(*preview[y, x]) == colours[value]


def test_a_binary_mask_needs_its_category(client: httpx.Client) -> None:
    data = png(np.where(IDS == 8, 255, 0).astype(np.uint8))
    refused = post(client, data)
    assert refused.status_code == 422
    assert "binary" in refused.json()["detail"]
    accepted = post(client, data, encoding="binary", category="building")
    assert accepted.status_code in {200, 201}
    assert {found["id"] for found in accepted.json()["categories"]} == {0, 8}


def test_a_label_map_names_colours(client: httpx.Client) -> None:
    colours = np.zeros((32, 32, 3), np.uint8)
    colours[:16] = (10, 20, 30)
    colours[16:] = (200, 0, 0)
    label_map = '{"#0a141e": "road", "#c80000": 8}'
    answer = post(client, png(colours), encoding="color", label_map=label_map)
    assert answer.status_code in {200, 201}, answer.text
    assert {found["name"] for found in answer.json()["categories"]} == {"road", "building"}


def test_a_flair_mask_needs_its_ontology(client: httpx.Client, assets: Path) -> None:
    data = next(assets.glob("*flair*.png")).read_bytes()
    refused = post(client, data)
    assert refused.status_code == 422
    assert "flair" in refused.json()["detail"]
    assert post(client, data, ontology="flair").status_code in {200, 201}


def huge_header() -> bytes:
    """A PNG whose header says 20,000 by 15,000 pixels, and nothing more: 300 megapixels in 57 bytes."""
    body = struct.pack(">IIBBBBB", 20_000, 15_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
    return b"\x89PNG\r\n\x1a\n" + chunk


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(IDS).save(buffer, "JPEG")
    return buffer.getvalue()


BAD = {
    "jpeg": (jpeg(), 415, "unsupported_format"),
    "empty": (b"", 422, "empty_file"),
    "truncated": (png(IDS)[:-40], 422, "damaged_file"),
    "one_pixel": (png(np.ones((1, 1), np.uint8)), 422, "mask_too_small"),
    "300_megapixels": (huge_header(), 422, "too_many_pixels"),
    "unknown_id": (png(np.full((32, 32), 90, np.uint8)), 422, "unknown_label"),
}


def _newest(client: httpx.Client) -> list[str]:
    """By its id: another test's job may still be running, so that it looks different every time."""
    return [job["id"] for job in client.get("/v1/jobs", params={"limit": 1}).json()["items"]]


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("path", ["/v1/masks", "/v1/generations"])
def test_bad_files_are_refused_with_their_own_code(client: httpx.Client, name: str, path: str) -> None:
    data, status, code = BAD[name]
    field = "file" if path == "/v1/masks" else "mask"
    before = _newest(client)
    answer = client.post(path, files={field: ("mask.png", data)})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert _newest(client) == before
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "mask_missing"),
        ({"file": "not base64!"}, "invalid_base64"),
        ({"file": base64.b64encode(png(IDS)).decode(), "encoding": "guess"}, "invalid_request"),
        ({"file": base64.b64encode(png(IDS)).decode(), "ontology": "mars"}, "unknown_ontology"),
        ({"file": base64.b64encode(png(IDS)).decode(), "tenant": "b"}, "unknown_field"),
    ],
)
def test_bad_json_bodies(client: httpx.Client, body: dict[str, str], code: str) -> None:
    answer = client.post("/v1/masks", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_unknown_masks_are_not_found(client: httpx.Client) -> None:
    absent = f"/v1/masks/msk_{'0' * 64}"
    for path in (absent, absent + "/preview", "/v1/masks/nonsense", "/v1/masks/msk_..%2f..%2fx"):
        assert client.get(path).status_code == 404


def test_the_id_is_the_sha256_of_the_stored_file(client: httpx.Client) -> None:
    """The stored form is an 8-bit grey PNG; here it is read back through a generation's mask URL."""
    ids = np.asarray(Image.open(io.BytesIO(png(IDS))).resize((256, 256), Image.Resampling.NEAREST))
    mask_id = post(client, png(ids)).json()["id"]
    job = client.post(
        "/v1/generations",
        params={"wait": 60},
        json={"mask_id": mask_id, "num_inference_steps": 1, "filter": {"policy": "off"}},
    ).json()
    stored = httpx.get(job["samples"][0]["mask"]["url"], trust_env=False).content
    assert "msk_" + hashlib.sha256(stored).hexdigest() == mask_id
    picture = Image.open(io.BytesIO(stored))
    assert picture.mode == "L"
    assert np.array_equal(np.asarray(picture), ids)
