"""A POST that is sent again does what it did, once."""

from __future__ import annotations

import base64
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from redis import Redis

from deploy.localstack import LocalStack
from tests.conftest import QUICK, GuardedService, checked_client, settings_of
from tests.waiting import until
from worker.idempotency import Begun, begin, forget
from worker.jobs import now
from worker.layout import jobs_prefix
from worker.redis_client import connect
from worker.settings import Settings
from worker.storage import Storage


@pytest.fixture
def mask(tmp_path: Path) -> bytes:
    """A mask that no other test sends: 64 x 64 pixels of tree, with some water."""
    pixels = np.full((64, 64), 5, np.uint8)
    pixels[:20, :31] = 6
    path = tmp_path / "mask.png"
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


def create(client: httpx.Client, mask: bytes, key: str, **fields: object) -> httpx.Response:
    body = {"mask": base64.b64encode(mask).decode(), **fields}
    return client.post("/v1/generations", json=body, headers={"Idempotency-Key": key})


def jobs_in_storage(guarded: GuardedService, tenant: str) -> list[str]:
    return list(guarded.storage.folders(jobs_prefix(tenant)))


def test_the_same_request_again_is_the_same_job(guarded: GuardedService, mask: bytes) -> None:
    with guarded.client("acme") as client:
        first = create(client, mask, "a-1", num_images=2)
        assert first.status_code == 202
        assert "idempotent-replayed" not in first.headers
        before = jobs_in_storage(guarded, "acme")
        again = create(client, mask, "a-1", num_images=2)
        assert again.status_code == 202
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["location"] == first.headers["location"]
        assert again.json()["id"] == first.json()["id"]
        assert again.json()["request"] == first.json()["request"]  # the seed that was chosen too
        quoted = create(client, mask, '"a-1"', num_images=2)
        assert quoted.json()["id"] == first.json()["id"]
        # as a form, in another order, with another boundary: the same request
        form = client.post(
            "/v1/generations",
            files={"mask": ("other-name.png", mask)},
            data={"num_images": "2"},
            headers={"Idempotency-Key": "form-1"},
        )
        form_again = client.post(
            "/v1/generations",
            data={"num_images": "2"},
            files={"mask": ("m.png", mask)},
            headers={"Idempotency-Key": "form-1"},
        )
        assert form.json()["id"] == form_again.json()["id"] != first.json()["id"]
        assert len(jobs_in_storage(guarded, "acme")) == len(before) + 1


def test_another_request_with_the_key_is_refused(guarded: GuardedService, mask: bytes) -> None:
    with guarded.client("acme") as client:
        create(client, mask, "b-1")
        for answer in (
            create(client, mask, "b-1", num_images=3),
            client.post(
                "/v1/masks",
                json={"file": base64.b64encode(mask).decode()},
                headers={"Idempotency-Key": "b-1"},
            ),
        ):
            assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    with guarded.client("zenith") as other:  # a key is its caller's own
        answer = create(other, mask, "b-1", num_images=3)
        assert answer.status_code == 202
        assert "idempotent-replayed" not in answer.headers


def test_a_refused_request_leaves_its_key_free(guarded: GuardedService, mask: bytes) -> None:
    with guarded.client("acme") as client:
        wrong = create(client, mask, "c-1", categories=["airport"])
        assert wrong.status_code == 422
        right = create(client, mask, "c-1", categories=["tree"])
        assert right.status_code == 202
        assert create(client, mask, "c-1", categories=["tree"]).json()["id"] == right.json()["id"]


@pytest.mark.parametrize("key", ["", " ", "a" * 256, "a\tb", "ä", " a"])
def test_what_is_no_key(guarded: GuardedService, mask: bytes, key: str) -> None:
    body = {"mask": base64.b64encode(mask).decode()}
    before = jobs_in_storage(guarded, "acme")
    with guarded.client("acme") as client:
        headers = {"Idempotency-Key": key.encode("latin-1")} if key.strip() == key else None
        if (
            headers is None
        ):  # httpx and servers take spaces at the ends away, which leaves nothing, or the key
            assert key.strip() in ("", "a")
            return
        answer = client.post("/v1/generations", json=body, headers=headers)
        two = client.post(
            "/v1/generations", json=body, headers=[("Idempotency-Key", "x"), ("Idempotency-Key", "x")]
        )
    for refused in (answer, two):
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_idempotency_key")
    assert jobs_in_storage(guarded, "acme") == before


def test_a_hundred_equal_requests_at_once_make_one_job(guarded: GuardedService, mask: bytes) -> None:
    before = set(jobs_in_storage(guarded, "zenith"))
    with guarded.client("zenith") as client:

        def send(_: int) -> tuple[int, str]:
            answer = create(client, mask, "hundred", num_images=4)
            return answer.status_code, answer.json().get("id") or answer.json()["code"]

        with ThreadPoolExecutor(20) as threads:
            answers = Counter(threads.map(send, range(100)))
        (job_id,) = set(jobs_in_storage(guarded, "zenith")) - before
        assert answers.keys() <= {(202, job_id), (409, "idempotency_in_progress")}
        assert answers[202, job_id] >= 1
        assert create(client, mask, "hundred", num_images=4).json()["id"] == job_id


def test_it_outlives_a_restart_of_everything(tmp_path: Path, mask: bytes) -> None:
    found = []
    for _ in range(2):
        with LocalStack(tmp_path / "stack", parts={"redis", "s3", "api"}, workers=0, env=QUICK) as stack:
            with checked_client(stack.api_url) as client:
                answer = create(client, mask, "restart")
                assert answer.status_code == 202
                found.append((answer.json()["id"], answer.headers.get("idempotent-replayed")))
            if len(found) == 1:
                connect(settings_of(stack)).flushall()
    assert found == [(found[0][0], None), (found[0][0], "true")]


def test_answers_without_a_job_are_repeated_byte_for_byte(guarded: GuardedService, mask: bytes) -> None:
    with guarded.client("acme") as client:
        body = {"file": base64.b64encode(mask).decode(), "encoding": "class_id"}
        sent = [client.post("/v1/masks", json=body, headers={"Idempotency-Key": "m-1"}) for _ in range(2)]
        assert sent[0].content == sent[1].content
        assert sent[0].status_code == sent[1].status_code  # 201 twice: it is the first answer
        assert sent[0].headers["location"] == sent[1].headers["location"]
        assert [answer.headers.get("idempotent-replayed") for answer in sent] == [None, "true"]
        again = client.post("/v1/masks", json=body)
        assert again.status_code == 200


def test_a_key_is_free_again_after_24_hours(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begin(storage, "t", "key_1", "k", "f1")
    assert begin(storage, "t", "key_1", "k", "f1").begun == first.begun
    assert first.begun.expires_at - first.begun.begun_at == timedelta(hours=24)
    later = now() + timedelta(hours=24, seconds=1)
    monkeypatch.setattr("worker.idempotency.now", lambda: later)
    second = begin(storage, "t", "key_1", "k", "f2")
    assert not second.known
    assert second.begun.job_id != first.begun.job_id
    forget(storage, second)
    assert not begin(storage, "t", "key_1", "k", "f3").known


def test_one_that_died_while_it_was_accepted_goes_on_with_its_job_id(
    service: LocalStack, client: httpx.Client, mask: bytes
) -> None:
    """The process that began it is gone: its lock runs out, and whoever sends it again makes that very job."""
    settings: Settings = settings_of(service)
    redis: Redis = connect(settings)
    wrong = create(
        client, mask, "died", num_images=1, categories=["airport"]
    )  # to learn nothing but the way in
    assert wrong.status_code == 422
    answer = create(client, mask, "died", num_images=1, filter={"policy": "off"})
    storage = Storage(settings)
    (key,) = [
        key
        for key in storage.keys("local/idempotency/")
        if key.endswith("begun.json")
        and Begun.model_validate_json(storage.read(key)).job_id == answer.json()["id"]
    ]
    # what a process leaves that dies just after it began: no job, and its lock
    job_id = answer.json()["id"]
    until(lambda: client.get(f"/v1/jobs/{job_id}").json()["status"] == "succeeded", seconds=60)
    storage.delete(f"{jobs_prefix('local')}{job_id}/")
    for name in redis.scan_iter(f"*{job_id}*"):
        redis.delete(name)
    redis.set(f"es:repeat:{key.removesuffix('begun.json')}", "dead", px=400)
    during = create(client, mask, "died", num_images=1, filter={"policy": "off"})
    assert (during.status_code, during.json()["code"]) == (409, "idempotency_in_progress")
    assert during.headers["retry-after"] == "1"
    assert during.json()["retryable"]
    after = until(
        lambda: (
            found
            if (found := create(client, mask, "died", num_images=1, filter={"policy": "off"})).status_code
            == 202
            else None
        )
    )
    assert after.json()["id"] == job_id
