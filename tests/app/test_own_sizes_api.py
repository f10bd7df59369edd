"""Given pictures and tiles through a real server, queue, store and worker."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deploy.localstack import LocalStack
from tests.app.test_datasets_api import ended
from tests.app.test_generations_api import download
from tests.conftest import settings_of
from tests.pictures import OFF, png
from tests.waiting import job_end
from worker.layout import LOCAL_TENANT, init_image_key
from worker.storage import Storage

HEIGHT, WIDTH = 60, 84  # no multiples of 8
STEPS = {"num_inference_steps": "2", "filter": OFF, "seed": "7"}


def labels() -> NDArray[np.uint8]:
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[10:30, 12:40] = 8
    ids[40:50, 50:80] = 4
    return ids


def photograph() -> NDArray[np.uint8]:
    random = np.random.default_rng(2)
    coarse = random.uniform(60, 200, (8, 11, 3)).repeat(8, 0).repeat(8, 1)[:HEIGHT, :WIDTH]
    return (coarse + random.normal(0, 9, coarse.shape)).clip(0, 255).astype(np.uint8)


def parts(**more: bytes) -> dict[str, tuple[str, bytes]]:
    files = {"mask": png(labels()), "init_image": png(photograph())} | more
    return {name: (f"{name}.png", body) for name, body in files.items()}


def made(client: httpx.Client, **form: str) -> dict[str, Any]:
    answer = client.post("/v1/generations", params={"wait": 60}, files=parts(), data=STEPS | form)
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    assert job["status"] == "succeeded", job
    return job


def picture_of(sample: dict[str, Any]) -> NDArray[np.uint8]:
    body = download(sample["image"]["url"])
    assert hashlib.sha256(body).hexdigest() == sample["image"]["sha256"]
    return np.asarray(Image.open(io.BytesIO(body)))


def test_outside_the_labels_the_given_picture_stays(client: httpx.Client, service: LocalStack) -> None:
    job = made(client, num_images="2")
    for sample in job["samples"]:
        picture = picture_of(sample)
        kept = labels() == 0
        np.testing.assert_array_equal(picture[kept], photograph()[kept])
        assert (picture != photograph()).any(-1)[~kept].mean() > 0.9
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(download(sample["mask"]["url"])))), labels())
        assert set(sample["labels"]["categories"]) == {"building", "road"}
        assert sample["init_image_sha256"] == job["request"]["init_image_sha256"]
        xmp = Image.open(io.BytesIO(download(sample["image"]["url"]))).info["xmp"].decode()
        assert "digitalsourcetype/compositeWithTrainedAlgorithmicMedia" in xmp
    assert (job["request"]["width"], job["request"]["height"]) == (WIDTH, HEIGHT)
    assert job["request"]["strength"] == 1.0
    storage = Storage(settings_of(service))
    stored = storage.read(init_image_key(LOCAL_TENANT, job["request"]["init_image_sha256"]))
    assert hashlib.sha256(stored).hexdigest() == job["request"]["init_image_sha256"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(stored))), photograph())


def test_the_given_picture_is_stored_before_202(client: httpx.Client, service: LocalStack) -> None:
    answer = client.post(
        "/v1/generations", files=parts(init_image=png(photograph()[::-1].copy())), data=STEPS
    )
    assert answer.status_code == 202
    sha256 = answer.json()["request"]["init_image_sha256"]
    assert Storage(settings_of(service)).read(init_image_key(LOCAL_TENANT, sha256))
    job_end(client, answer.json()["id"])


def test_only_the_categories_asked_for_are_painted_and_the_same_request_gives_the_same(
    client: httpx.Client,
) -> None:
    form = made(client, categories="building", strength="0.6", feather_pixels="2")
    picture = picture_of(form["samples"][0])
    np.testing.assert_array_equal(picture[36:], photograph()[36:], "the road is labelled, and stays")
    assert set(form["samples"][0]["labels"]["categories"]) == {"building", "road"}
    body = {
        "mask": base64.b64encode(png(labels())).decode(),
        "init_image": base64.b64encode(png(photograph())).decode(),
        "categories": ["building"],
        "strength": 0.6,
        "feather_pixels": 2,
        "num_inference_steps": 2,
        "filter": {"policy": "off"},
        "seed": 7,
    }
    again = client.post("/v1/generations", params={"wait": 60}, json=body).json()
    assert again["samples"][0]["image"]["sha256"] == form["samples"][0]["image"]["sha256"]


def test_r_filter_judges_what_was_painted(client: httpx.Client) -> None:
    rules = json.dumps({"policy": "balanced", "max_tries": 1, "keep_rejected": True})
    sample = made(client, filter=rules)["samples"][0]
    by_name = {rule["name"]: rule for rule in sample["filter"]["rules"]}
    assert by_name["technical"]["passed"] is True
    assert by_name["image_text"]["passed"] is None
    if sample["image"]:
        label = np.asarray(Image.open(io.BytesIO(download(sample["label"]["url"]))))
        assert np.array_equal(label[labels() == 0], labels()[labels() == 0])


GREY = png(photograph()[..., 0])
REFUSED: list[tuple[dict[str, str], dict[str, bytes], int, str]] = [
    ({"strength": "0"}, {}, 422, "out_of_range"),
    ({"strength": "1.5"}, {}, 422, "out_of_range"),
    ({"strength": "0.1"}, {}, 422, "strength_too_small"),
    ({"feather_pixels": "65"}, {}, 422, "out_of_range"),
    ({"width": "64"}, {}, 422, "wrong_size"),
    ({}, {"init_image": png(photograph()[:-1])}, 422, "sizes_differ"),
    ({}, {"mask": png(np.zeros((HEIGHT, WIDTH), np.uint8))}, 422, "nothing_to_paint"),
    ({}, {"init_image": GREY}, 422, "not_an_rgb_picture"),
    ({}, {"init_image": png(photograph())[:-90]}, 422, "damaged_file"),
    ({}, {"init_image": b""}, 422, "empty_file"),
    ({}, {"init_image": b"GIF89a" + bytes(40)}, 415, "unsupported_format"),
    ({}, {"picture": png(photograph())}, 422, "unexpected_file"),
    ({"init_image": "aGk="}, {}, 422, "file_expected"),
]


@pytest.mark.parametrize(("form", "files", "status", "code"), REFUSED, ids=lambda value: str(value)[:40])
def test_refusals(
    client: httpx.Client, form: dict[str, str], files: dict[str, bytes], status: int, code: str
) -> None:
    sent = parts(**files)
    if "picture" in files:
        sent.pop("init_image")
    if "init_image" in form:
        answer = client.post("/v1/generations", files={"mask": sent["mask"]}, data=STEPS | form)
    else:
        answer = client.post("/v1/generations", files=sent, data=STEPS | form)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_json_refusals(client: httpx.Client) -> None:
    mask = base64.b64encode(png(labels())).decode()
    for fields, code in (
        ({"strength": 0.5}, "init_image_missing"),
        ({"init_image": "data:image/png;base64,xx"}, "invalid_base64"),
        ({"init_image": ""}, "empty_file"),
    ):
        answer = client.post("/v1/generations", json={"mask": mask} | fields)
        assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


def test_a_large_mask_is_made_in_tiles_and_is_its_own_label(client: httpx.Client) -> None:
    ids = np.ones((100, 330), np.uint8)
    ids[40:60] = 4
    form = STEPS | {"size_policy": "tile", "num_images": "2"}
    answer = client.post(
        "/v1/generations", params={"wait": 60}, files={"mask": ("m.png", png(ids))}, data=form
    )
    job = answer.json()
    assert job["status"] == "succeeded", job
    # Two tiles of 256 of each picture: nano's batch of four holds both pictures' in one call a step.
    assert (job["progress"]["steps"], job["progress"]["done"]) == (2, 2)
    for sample in job["samples"]:
        assert picture_of(sample).shape == (100, 330, 3)
        assert (sample["image"]["width"], sample["image"]["height"]) == (330, 100)
        body = download(sample["mask"]["url"])
        assert hashlib.sha256(body).hexdigest() == sample["mask_sha256"]
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(body))), ids)
    assert sample["init_image_sha256"] is None
    one = client.post(
        "/v1/generations",
        params={"wait": 60},
        files={"mask": ("m.png", png(ids))},
        data=form | {"num_images": "1", "seed": str(job["samples"][1]["seed"])},
    ).json()
    alone, among = picture_of(one["samples"][0]).astype(int), picture_of(job["samples"][1])
    assert np.abs(alone - among).max() <= 1


def test_too_many_tiles(client: httpx.Client) -> None:
    ids = np.ones((2048, 2048), np.uint8)
    answer = client.post(
        "/v1/generations",
        files={"mask": ("m.png", png(ids))},
        data={"size_policy": "tile", "num_images": "3"},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_tiles")


def test_a_data_set_of_tiles_has_pictures_of_several_sizes(client: httpx.Client) -> None:
    ids = []
    for width in (64, 264):  # one tile, and two
        mask = np.ones((48, width), np.uint8)
        mask[16:32, 8:40] = 8
        ids.append(client.post("/v1/masks", files={"file": ("m.png", png(mask))}).json()["id"])
    body = {
        "masks": {"mask_ids": ids},
        "samples_per_mask": 2,
        "num_inference_steps": 1,
        "seed": 3,
        "size_policy": "tile",
        "filter": {"policy": "off"},
        "conditions": {"flip": True},
        "formats": ["coco"],
        "splits": {"train": 1.0},
    }
    answer = client.post("/v1/datasets", json=body)
    assert answer.status_code == 202, answer.text
    assert (answer.json()["request"]["width"], answer.json()["request"]["shard_images"]) == (None, 4)
    job = ended(client, answer.json()["id"])
    assert (job["status"], job["counts"]["accepted"]) == ("succeeded", 4), job
    samples = client.get(f"/v1/datasets/{job['id']}/samples").json()["items"]
    assert [sample["image"]["width"] for sample in samples] == [64, 64, 264, 264]
    (export,) = client.get(f"/v1/datasets/{job['id']}/exports").json()["items"]
    exported = job_end(client, export["id"])
    assert exported["status"] == "succeeded", exported["error"]


def test_a_key_is_for_one_given_picture(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "painted-once"}
    first = client.post("/v1/generations", files=parts(), data=STEPS, headers=headers)
    again = client.post("/v1/generations", files=parts(), data=STEPS, headers=headers)
    assert (again.json()["id"], again.headers["Idempotent-Replayed"]) == (first.json()["id"], "true")
    other = parts(init_image=png(photograph()[:, ::-1].copy()))
    refused = client.post("/v1/generations", files=other, data=STEPS, headers=headers)
    assert refused.status_code == 422, refused.text
    job_end(client, first.json()["id"])


def test_looking_only_keeps_nothing(client: httpx.Client, service: LocalStack) -> None:
    unseen = parts(init_image=png((photograph() // 2)[::-1].copy()))
    answer = client.post("/v1/generations", files=unseen, data=STEPS | {"validate_only": "true"})
    assert answer.status_code == 200, answer.text
    key = init_image_key(LOCAL_TENANT, answer.json()["request"]["init_image_sha256"])
    assert not Storage(settings_of(service)).exists(key)
    ids = []
    for width in (64, 264):
        mask = np.full((48, width), 4, np.uint8)
        ids.append(client.post("/v1/masks", files={"file": ("m.png", png(mask))}).json()["id"])
    body = {"masks": {"mask_ids": ids}, "samples_per_mask": 1, "size_policy": "tile", "validate_only": True}
    checked = client.post("/v1/datasets", json=body)
    assert (checked.status_code, checked.json()["request"]["width"]) == (200, None), checked.text
