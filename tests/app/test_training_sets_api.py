"""POST /v1/training-sets and /v1/trainings/preview through a real server."""

from __future__ import annotations

import hashlib
import io
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from deploy.localstack import LocalStack
from tests.conftest import settings_of
from tests.models.zips import Forged, forge, packed
from tests.pictures import png
from tests.training_pairs import pair_files, picture_of, shard_files, tile_of
from worker.storage import Storage

NAMES = iter(f"{number:06}" for number in range(10**6))


def fresh(count: int = 4) -> dict[str, bytes]:
    """Pairs of which one bears a name that no other test has used, so that the set is new."""
    word = next(NAMES)
    ids = tile_of(20)
    new = {f"images/{word}.png": png(picture_of(ids)), f"masks/{word}.png": png(ids)}
    return pair_files(count - 1) | new


def post(client: httpx.Client, data: bytes, **fields: str) -> httpx.Response:
    return client.post("/v1/training-sets", files={"file": ("pairs.zip", data)}, data=fields)


def test_a_set_is_new_once(client: httpx.Client) -> None:
    data = packed(fresh() | {".DS_Store": b"x"})
    first, second = post(client, data), post(client, data)
    assert (first.status_code, second.status_code) == (201, 200), first.text
    found = first.json()
    assert second.json() == found
    assert first.headers["location"] == second.headers["location"] == f"/v1/training-sets/{found['id']}"
    assert (found["layout"], found["pairs"], found["refused_pairs"]) == ("pairs", 4, 0)
    assert (found["refused"], found["ignored"]) == ([], [".DS_Store"])
    masks = [tile_of(number) for number in (0, 1, 2, 20)]
    for one in found["categories"]:
        assert one["pairs"] == sum((ids == one["id"]).any() for ids in masks)
        assert one["pixels"] == sum(int((ids == one["id"]).sum()) for ids in masks)
        assert one["share"] == pytest.approx(one["pixels"] / (4 * 96 * 96))
    assert {one["name"] for one in found["categories"]} >= {"road", "building"}
    assert len(found["warnings"]) == len(found["categories"])  # four pairs: each category is in too few
    later = client.get(first.headers["location"]).json()
    assert later == {name: value for name, value in found.items() if name not in {"refused", "ignored"}}


def test_bad_pairs_are_named(client: httpx.Client) -> None:
    word = next(NAMES)
    bad = {f"images/{word}.png": png(picture_of(tile_of(0))[:50]), f"masks/{word}.png": png(tile_of(0))}
    bad[f"images/{word}b.png"] = b"hello"
    data = packed(pair_files(4) | bad)
    problem = post(client, data).json()
    assert (problem["status"], problem["code"]) == (422, "too_many_bad_pairs")
    assert {fault["pointer"]: fault["message"].partition(":")[0] for fault in problem["errors"]} == {
        f"/images~1{word}.png": "sizes_differ",
        f"/images~1{word}b.png": "missing_mask",
    }
    found = post(client, data, max_bad_share="0.5").json()
    assert [(one["name"], one["code"]) for one in found["refused"]] == [
        (f"images/{word}.png", "sizes_differ"),
        (f"images/{word}b.png", "missing_mask"),
    ]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (packed({}), 422, "empty_archive"),
        (b"", 422, "empty_file"),
        (packed({"images/a.png": png(picture_of(tile_of(0)))}), 422, "no_pairs"),
        (forge(Forged(b"../images/a.png"), Forged(b"masks/a.png")), 422, "no_pairs"),
        (forge(Forged(), Forged(b"b.png", offset=0)), 422, "overlapping_entries"),
        (png(tile_of(0)), 415, "unsupported_format"),
    ],
)
def test_uploads_that_are_refused(client: httpx.Client, data: bytes, status: int, code: str) -> None:
    answer = post(client, data)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"max_bad_share": "2"}, "out_of_range"),
        ({"max_bad_share": "nan"}, "out_of_range"),
        ({"ontology": "mars"}, "unknown_ontology"),
        ({"encoding": "jpeg"}, "invalid_request"),
        ({"tenant": "b"}, "unknown_field"),
        ({"prefix": "imports/abc/"}, "pairs_missing"),
    ],
)
def test_bad_fields(client: httpx.Client, fields: dict[str, str], code: str) -> None:
    answer = post(client, packed(pair_files(1)), **fields)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "pairs_missing"),
        ({"prefix": "imports/none/"}, "empty_import"),
        ({"prefix": "imports/../masks/"}, "invalid_request"),
        ({"prefix": "imports/", "max_bad_share": "0.1"}, "invalid_request"),
    ],
)
def test_bad_json(client: httpx.Client, body: dict[str, object], code: str) -> None:
    answer = client.post("/v1/training-sets", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


def test_other_bodies_and_unknown_sets(client: httpx.Client) -> None:
    answer = client.post("/v1/training-sets", content=b"PK", headers={"content-type": "application/zip"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    for set_id in (f"tset_{'0' * 64}", "nonsense"):
        answer = client.get(f"/v1/training-sets/{set_id}")
        assert (answer.status_code, answer.json()["code"]) == (404, "training_set_not_found")


def test_one_byte_more_than_the_limit(service: LocalStack) -> None:
    """It is refused by its declared length, before it is sent; 40 MB would be no reason to."""
    url = urlsplit(service.api_url)
    with socket.create_connection((url.hostname, url.port), timeout=20) as wire:
        wire.sendall(
            f"POST /v1/training-sets HTTP/1.1\r\nHost: {url.netloc}\r\n"
            f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {(512 << 20) + 1}\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: wire.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"too_large"' in answer


@pytest.fixture
def imports(service: LocalStack) -> Iterator[str]:
    """A prefix with two shards of four pairs each."""
    storage = Storage(settings_of(service))
    prefix = f"imports/{next(NAMES)}/"
    for name, body in shard_files().items():
        storage.create(f"local/{prefix}{name}", body, "application/x-tar")
    yield prefix
    storage.delete(f"local/{prefix}")


def preview(client: httpx.Client, set_id: str, **asked: object) -> httpx.Response:
    body = {"training_set_id": set_id, "resolution": 64, "seed": 3, "cf_comp": {"probability": 1}, **asked}
    return client.post("/v1/trainings/preview", json=body)


def check_preview(client: httpx.Client, set_id: str) -> None:
    answer = preview(client, set_id, count=3, batch_size=8)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["pairs"] == len(found["composed"]) == 3
    assert found["composed"][0].keys() == {
        *("step", "first", "second", "category", "overlap", "distance", "score")
    }
    sheet = httpx.get(found["sheet"]["url"], trust_env=False)
    assert sheet.headers["content-type"] == "image/png"
    assert hashlib.sha256(sheet.content).hexdigest() == found["sheet"]["sha256"]
    with Image.open(io.BytesIO(sheet.content)) as picture:
        assert picture.height == 3 * 202 + 6
        assert np.asarray(picture).std() > 1
    assert preview(client, set_id, count=3, batch_size=8).json()["composed"] == found["composed"]
    other = preview(client, set_id, count=3, batch_size=8, seed=4).json()
    assert other["sheet"]["sha256"] != found["sheet"]["sha256"]


def test_a_preview_of_a_zip(client: httpx.Client) -> None:
    set_id = post(client, packed(fresh(8))).json()["id"]
    check_preview(client, set_id)
    body = {"training_set_id": set_id, "resolution": 64, "count": 2, "cf_comp": {"probability": 1}}
    picture = client.post("/v1/trainings/preview", json=body, headers={"accept": "image/png"})
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    assert picture.content.startswith(b"\x89PNG")


def test_shards_and_a_preview_of_them(client: httpx.Client, imports: str) -> None:
    answer = client.post("/v1/training-sets", json={"prefix": imports})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["layout"], answer.json()["pairs"]) == ("shards", 8)
    check_preview(client, answer.json()["id"])


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"resolution": 100}, "invalid_request"),
        ({"resolution": 32}, "out_of_range"),
        ({"resolution": 2048}, "out_of_range"),
        ({"resolution": 1024}, "unsupported_size"),
        ({"base_model": "nobody"}, "unknown_model"),
        ({"count": 25}, "out_of_range"),
        ({"batch_size": 65}, "out_of_range"),
        ({"batch_size": 1}, "out_of_range"),
        ({"seed": -1}, "out_of_range"),
        ({"seed": 2**32}, "out_of_range"),
        ({"cf_comp": {"probability": 1.5}}, "out_of_range"),
        ({"cf_comp": {"probabilty": 1}}, "unknown_field"),
        ({"learning_rate": 1}, "unknown_field"),
    ],
)
def test_bad_previews(client: httpx.Client, asked: dict[str, object], code: str) -> None:
    answer = preview(client, f"tset_{'0' * 64}", **asked)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


def test_previews_of_nothing(client: httpx.Client) -> None:
    answer = preview(client, f"tset_{'0' * 64}")
    assert (answer.status_code, answer.json()["code"]) == (404, "training_set_not_found")
    set_id = post(client, packed(pair_files(2))).json()["id"]
    answer = preview(client, set_id, cf_comp={"probability": 0})
    assert (answer.status_code, answer.json()["code"]) == (422, "no_partners")
    answer = client.post("/v1/trainings/preview", content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")


def test_the_contract_names_them(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    paths, schemas = document["paths"], document["components"]["schemas"]
    upload = paths["/v1/training-sets"]["post"]
    assert {"200", "201", "413", "415", "422", "503"} <= upload["responses"].keys()
    assert "TrainingSetForm" in json.dumps(upload["requestBody"])
    assert {"file", "encoding", "max_bad_share"} <= schemas["TrainingSetForm"]["properties"].keys()
    drawn = paths["/v1/trainings/preview"]["post"]
    assert drawn["responses"]["200"]["content"].keys() == {"application/json", "image/png"}
    assert "PreviewRequest" in json.dumps(drawn["requestBody"])
    assert "cf_comp" in schemas["PreviewRequest"]["properties"]
