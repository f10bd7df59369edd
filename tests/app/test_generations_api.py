"""POST /v1/generations and the jobs it makes, through a real server, queue, store and worker."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.pictures import OFF, png, road_and_buildings
from tests.waiting import job_end

IDS = road_and_buildings(256)
FILE = {"mask": ("mask.png", png(IDS))}
COUNTS = {"requested", "accepted", "exhausted", "failed", "pending", "generated", "rejected"}
STEPS = {"num_inference_steps": "2", "filter": OFF}


def download(url: str) -> bytes:
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 200
    return answer.content


def test_one_call_gives_pictures_masks_and_labels(client: httpx.Client) -> None:
    form = {"categories": "road", "num_images": "2", "seed": "7"} | STEPS
    answer = client.post("/v1/generations", params={"wait": 60}, files=FILE, data=form)
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert job["status"] == "succeeded"
    assert job["request"]["prompt"] == "A satellite image of road"
    assert (job["request"]["seed"], job["request"]["scheduler"]) == (7, "unipc")
    samples = client.get(job["links"]["results"]).json()["items"]
    assert [sample["index"] for sample in samples] == [0, 1]
    for sample in samples:
        picture = download(sample["image"]["url"])
        assert hashlib.sha256(picture).hexdigest() == sample["image"]["sha256"]
        pixels = np.asarray(Image.open(io.BytesIO(picture)))
        assert pixels.shape == (256, 256, 3)
        assert pixels.std() > 1
        mask = download(sample["mask"]["url"])
        assert hashlib.sha256(mask).hexdigest() == sample["mask_sha256"]
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(mask))), IDS)
        assert set(sample["labels"]["categories"]) == {"bare land", "road", "building"}
    again = client.post("/v1/generations", params={"wait": 60}, files=FILE, data=form).json()
    assert again["id"] != job["id"]
    assert [s["image"]["sha256"] for s in again["samples"]] == [s["image"]["sha256"] for s in samples]


def test_a_picture_is_the_same_alone_and_among_others(client: httpx.Client) -> None:
    form = {"num_images": "3", "seed": "11"} | STEPS
    three = client.post("/v1/generations", params={"wait": 60}, files=FILE, data=form).json()["samples"]
    seed = str(three[2]["seed"])
    alone = client.post("/v1/generations", params={"wait": 60}, files=FILE, data={"seed": seed} | STEPS)
    pictures = [
        np.asarray(Image.open(io.BytesIO(download(sample["image"]["url"])))).astype(int)
        for sample in (three[2], alone.json()["samples"][0])
    ]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_an_asynchronous_job_progresses(client: httpx.Client) -> None:
    form = {"num_images": "2", "num_inference_steps": "12", "filter": OFF}
    answer = client.post("/v1/generations", files=FILE, data=form, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "respond-async"
    assert int(answer.headers["retry-after"]) >= 1
    job = answer.json()
    assert answer.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert "samples" not in job
    assert job["status"] == "running" or job["queue"]["position"] >= 0
    assert job["counts"].keys() == COUNTS
    seen = []
    while True:
        job = client.get(answer.headers["location"]).json()
        counts = job["counts"]
        parts = ("accepted", "exhausted", "failed", "pending")
        assert counts["requested"] == sum(counts[part] for part in parts)
        assert counts["generated"] == counts["accepted"] + counts["rejected"]
        seen.append((job["progress"]["done"], job["progress"]["step"]))
        if job["status"] not in {"queued", "running"}:
            break
        time.sleep(0.05)
    assert job["status"] == "succeeded"
    assert seen == sorted(seen)
    assert len(set(seen)) > 3, "progress by denoising step must be visible"
    assert job["progress"]["done"] == 2


def test_wait_that_is_too_short_answers_202(client: httpx.Client) -> None:
    answer = client.post(
        "/v1/generations",
        files=FILE,
        data={"num_images": "4", "num_inference_steps": "50", "filter": OFF},
        headers={"Prefer": "wait=1"},
    )
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=1"
    assert answer.json()["status"] == "running", "the answer is the job as it is now, not as it was accepted"
    assert answer.json()["counts"].keys() == COUNTS
    progress = answer.json()["progress"]
    assert progress.keys() == {"done", "total", "unit", "step", "steps", "eta_seconds", "metrics"}
    assert progress["metrics"] == {}, "only a training has some"
    assert client.post(f"/v1/jobs/{answer.json()['id']}/cancel").status_code == 200


def test_json_with_a_stored_mask_or_base64(client: httpx.Client) -> None:
    mask_id = client.post("/v1/masks", files={"file": FILE["mask"]}).json()["id"]
    by_id = {"mask_id": mask_id, "num_inference_steps": 1, "filter": {"policy": "off"}, "seed": 1}
    by_file = {
        "mask": base64.b64encode(png(IDS)).decode(),
        "num_inference_steps": 1,
        "filter": {"policy": "off"},
        "seed": 1,
    }
    jobs = [
        client.post("/v1/generations", params={"wait": 60}, json=body).json() for body in (by_id, by_file)
    ]
    assert jobs[0]["samples"][0]["mask_id"] == jobs[1]["samples"][0]["mask_id"] == mask_id
    assert jobs[0]["samples"][0]["image"]["sha256"] == jobs[1]["samples"][0]["image"]["sha256"]


def test_a_running_job_is_canceled_within_a_step_and_others_go_on(client: httpx.Client) -> None:
    long = {"num_images": "1", "num_inference_steps": "100", "filter": OFF}
    job = client.post("/v1/generations", files=FILE, data=long).json()
    while client.get(f"/v1/jobs/{job['id']}").json()["progress"]["step"] < 2:
        time.sleep(0.05)
    other = client.post("/v1/generations", files=FILE, data=STEPS).json()
    assert client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 200
    ended = job_end(client, job["id"])
    assert ended["status"] == "canceled"
    assert ended["progress"]["step"] < 100
    assert client.post(f"/v1/jobs/{job['id']}/cancel").json()["status"] == "canceled"
    results = client.get(f"/v1/jobs/{job['id']}/results")
    assert results.json()["items"] == [], results.text
    assert job_end(client, other["id"])["status"] == "succeeded"
    late = client.post(f"/v1/jobs/{other['id']}/cancel")
    assert (late.status_code, late.json()["code"]) == (409, "job_ended")


def test_a_waiting_job_is_canceled_at_once(client: httpx.Client) -> None:
    first = client.post(
        "/v1/generations", files=FILE, data={"num_inference_steps": "60", "filter": OFF}
    ).json()
    second = client.post("/v1/generations", files=FILE, data=STEPS).json()
    assert client.get(f"/v1/jobs/{second['id']}").json()["queue"]["position"] >= 0
    assert client.post(f"/v1/jobs/{second['id']}/cancel").json()["status"] == "canceled"
    client.post(f"/v1/jobs/{first['id']}/cancel")
    assert job_end(client, first["id"])["status"] == "canceled"


def test_other_sizes_and_policies(client: httpx.Client) -> None:
    tall = np.ones((64, 32), np.uint8)
    tall[10:20] = 4
    form = {"width": "128", "height": "128", "size_policy": "pad"} | STEPS
    files = {"mask": ("mask.png", png(tall))}
    job = client.post("/v1/generations", params={"wait": 60}, files=files, data=form).json()
    mask = np.asarray(Image.open(io.BytesIO(download(job["samples"][0]["mask"]["url"]))))
    assert mask.shape == (128, 128)
    assert set(np.unique(mask[:, :32])) == {0}
    assert set(np.unique(mask)) == {0, 1, 4}
    refused = client.post("/v1/generations", files=files, data={"size_policy": "reject"})
    assert (refused.status_code, refused.json()["code"]) == (422, "wrong_size")


def test_ignore_reaches_the_label_and_not_the_model(client: httpx.Client) -> None:
    ids = IDS.copy()
    ids[:64] = 255
    mask = client.post("/v1/masks", files={"file": ("m.png", png(ids))}, data={"ignore": "true"}).json()
    body = {"mask_id": mask["id"], "num_inference_steps": 1, "filter": {"policy": "off"}}
    sample = client.post("/v1/generations", params={"wait": 60}, json=body).json()["samples"][0]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(download(sample["mask"]["url"])))), ids)
    assert "ignore" not in sample["prompt"]


BAD_FORMS: list[tuple[dict[str, str], str]] = [
    ({"num_images": "0"}, "out_of_range"),
    ({"num_images": "17"}, "out_of_range"),
    ({"categories": "unicorn"}, "unknown_category"),
    ({"categories": " , "}, "unknown_category"),
    ({"categories": "water"}, "category_not_in_mask"),
    ({"prompt": "x", "categories": "road"}, "prompt_and_categories"),
    ({"mask_id": "msk_" + "0" * 64}, "mask_and_mask_id"),
    ({"model": "../x"}, "unknown_model"),
    ({"model": "NANO"}, "unknown_model"),
    ({"seed": "-1"}, "out_of_range"),
    ({"seed": "4294967296"}, "out_of_range"),
    ({"num_inference_steps": "101"}, "out_of_range"),
    ({"guidance_scale": "nan"}, "out_of_range"),
    ({"guidance_scale": "21"}, "out_of_range"),
    ({"controlnet_conditioning_scale": "2.5"}, "out_of_range"),
    ({"scheduler": "lcm"}, "invalid_request"),
    ({"width": "100"}, "unsupported_size"),
    ({"width": "8192"}, "unsupported_size"),
    ({"prompt": "x" * 501}, "invalid_request"),
    ({"prompt": ""}, "invalid_request"),
    ({"prompt": "a\x00b"}, "invalid_text"),
    ({"surprise": "1"}, "unknown_field"),
]


@pytest.mark.parametrize(("form", "code"), BAD_FORMS, ids=lambda value: str(value)[:40])
def test_bad_forms_are_refused(client: httpx.Client, form: dict[str, str], code: str) -> None:
    answer = client.post("/v1/generations", files=FILE, data=form)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


def test_neither_mask_nor_mask_id(client: httpx.Client) -> None:
    answer = client.post("/v1/generations", json={"num_images": 1})
    assert (answer.status_code, answer.json()["code"]) == (422, "mask_missing")


def test_a_category_the_model_does_not_know(client: httpx.Client) -> None:
    tanks = np.zeros((64, 64), np.uint8)
    tanks[8:24, 8:24] = 25
    answer = client.post("/v1/generations", files={"mask": ("m.png", png(tanks))})
    assert (answer.status_code, answer.json()["code"]) == (422, "category_not_in_model")
    for name in ("bare land", "road", "tree", "water", "building"):
        assert name in answer.json()["detail"]


def test_on_mismatch_warn_keeps_the_word(client: httpx.Client) -> None:
    form = {"categories": "road,water", "on_mismatch": "warn"} | STEPS
    job = client.post("/v1/generations", params={"wait": 60}, files=FILE, data=form).json()
    assert job["request"]["prompt"] == "A satellite image of road, water"
    assert "water" in job["warnings"][0]


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("application/json", b'{"mask_id": ', 400, "malformed_json"),
        ("application/json", b"[1, 2]", 422, "invalid_request"),
        ("application/json", b'{"seed": 1e400}', 422, "invalid_request"),
        ("application/json", b'{"seed": "7"}', 422, "invalid_request"),
        ("application/json", b'{"guidance_scale": Infinity}', 422, "out_of_range"),
        ("application/json", b'{"prompt": "\\ud800"}', 422, "invalid_text"),
        ("text/plain", b"hello", 415, "unsupported_media_type"),
        ("multipart/form-data", b"hello", 400, "malformed_request"),
    ],
)
def test_bad_bodies(client: httpx.Client, content_type: str, body: bytes, status: int, code: str) -> None:
    answer = client.post("/v1/generations", content=body, headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_body_over_the_limit(client: httpx.Client) -> None:
    answer = client.post("/v1/generations", files={"mask": ("m.png", b"\0" * 34_000_000)})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("path", ["/v1/jobs/{}", "/v1/jobs/{}/results"])
@pytest.mark.parametrize("job_id", ["job_" + "0" * 26, "rq:job:abc", "job_x", "%00", "JOB_" + "0" * 26])
def test_unknown_jobs(client: httpx.Client, path: str, job_id: str) -> None:
    answer = client.get(path.format(job_id))
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


def test_results_page(client: httpx.Client) -> None:
    form = {"num_images": "3", "num_inference_steps": "1", "filter": OFF}
    job = client.post("/v1/generations", params={"wait": 60}, files=FILE, data=form).json()
    url = job["links"]["results"]
    first = client.get(url, params={"limit": 2}).json()
    rest = client.get(url, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [item["index"] for item in first["items"] + rest["items"]] == [0, 1, 2]
    assert rest["next_cursor"] is None
    assert client.get(url, params={"cursor": "x"}).status_code == 422


def test_jobs_page(client: httpx.Client) -> None:
    made = [client.post("/v1/generations", files=FILE, data=STEPS).json()["id"] for _ in range(3)]
    first = client.get("/v1/jobs", params={"limit": 2}).json()
    second = client.get("/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [job["id"] for job in first["items"] + second["items"]][:3] == made[::-1]
    for job_id in made:
        job_end(client, job_id)


def test_a_prompt_longer_than_the_model_reads_is_said(client: httpx.Client) -> None:
    form = {"prompt": "road and building " * 27, "num_inference_steps": "1", "filter": OFF}
    job = client.post("/v1/generations", params={"wait": 60}, files=FILE, data=form).json()
    assert job["status"] == "succeeded"
    assert any("cut off" in warning for warning in job["warnings"])


def test_every_picture_is_judged_by_named_rules(client: httpx.Client) -> None:
    rules = {"policy": "balanced", "max_tries": 1, "keep_rejected": True}
    form = {"num_images": "1", "num_inference_steps": "2", "filter": json.dumps(rules)}
    job = client.post("/v1/generations", params={"wait": 60}, files=FILE, data=form).json()
    (sample,) = job["samples"]
    by_name = {rule["name"]: rule for rule in sample["filter"]["rules"]}
    assert by_name["technical"]["passed"] is True
    assert by_name["mask_agreement"]["passed"] is not None
    assert by_name["image_text"]["passed"] is None
    assert "no clip is configured" in by_name["image_text"]["detail"].lower()
    assert sample["filter"]["accepted"] == all(rule["passed"] is not False for rule in by_name.values())
    assert sample["image"] is not None, "keep_rejected"


def test_a_sample_that_no_try_satisfies_is_exhausted(client: httpx.Client) -> None:
    impossible = {
        "max_tries": 2,
        "thresholds": {"technical": 9},
    }  # an 8-bit picture has at most 8 bits of entropy
    body = {
        "mask": base64.b64encode(png(IDS)).decode(),
        "num_images": 2,
        "num_inference_steps": 1,
        "filter": impossible,
    }
    job = client.post("/v1/generations", params={"wait": 60}, json=body).json()
    assert job["status"] == "succeeded"
    counts = job["counts"]
    assert (counts["accepted"], counts["exhausted"], counts["generated"], counts["rejected"]) == (0, 2, 4, 4)
    assert [sample["status"] for sample in job["samples"]] == ["exhausted", "exhausted"]
    assert [sample["image"] for sample in job["samples"]] == [None, None]
    assert [sample["try_number"] for sample in job["samples"]] == [1, 1]
