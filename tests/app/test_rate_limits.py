"""How often a key may ask and how much a tenant may have open, over HTTP with a real Redis."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr, ValidationError
from redis import Redis

from app.main import create_app
from tests.app.served import served
from tests.conftest import checked_client
from tests.pictures import png, road_and_buildings
from worker.api_keys import Scope, create_key
from worker.settings import Settings
from worker.storage import Storage

MASK = {"mask": ("mask.png", png(road_and_buildings(256)))}


@contextmanager
def limited(settings: Settings, **changes: Any) -> Iterator[httpx.Client]:
    with served(settings.model_copy(update=changes)) as url, checked_client(url) as client:
        yield client


def test_requests_of_a_key_are_counted_and_told(settings: Settings, storage: Storage, redis: Redis) -> None:
    keys = [
        create_key(storage, tenant=tenant, name="k", scopes=[Scope.READ])[0] for tenant in ("a", "a", "b")
    ]
    with limited(settings, rate_limit="3/hour") as client:

        def get(key: str, path: str = "/v1/jobs") -> httpx.Response:
            return client.get(path, headers={"Authorization": f"Bearer {key}"})

        assert [get(keys[0]).headers["ratelimit"].split(";")[1] for _ in range(3)] == ["r=2", "r=1", "r=0"]
        refused = get(keys[0])
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert refused.json()["retryable"]
        assert refused.headers["ratelimit-policy"] == '"requests-3600s";q=3;w=3600'
        told = re.fullmatch(r'"requests-3600s";r=0;t=(\d+)', refused.headers["ratelimit"])
        assert told is not None
        assert 3590 <= int(told[1]) <= 3600
        assert refused.headers["retry-after"] == told[1]
        assert get(keys[0], "/v1/categories").status_code == 429
        assert get(keys[1]).status_code == 200, "another key of the tenant"
        assert get(keys[2]).status_code == 200
        missing = get(keys[2], "/v1/jobs/none")
        assert (missing.status_code, missing.headers["ratelimit"].split(";")[1]) == (404, "r=1")
        for _ in range(5):
            alive = client.get("/livez")
            assert alive.status_code == 200
            assert "ratelimit" not in alive.headers
            nobody = client.get("/v1/jobs")
            assert nobody.status_code == 401
            assert "ratelimit" not in nobody.headers


def test_ids_cannot_be_guessed_for_long(settings: Settings, storage: Storage, redis: Redis) -> None:
    """I65: what is not there counts like what is."""
    key = create_key(storage, tenant="a", name="k", scopes=[Scope.READ])[0]
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    random = np.random.default_rng(0)
    with limited(settings, rate_limit="20/hour") as client:

        def guess() -> int:
            job_id = "job_0" + "".join(random.choice(list(alphabet), 25))
            return client.get(f"/v1/jobs/{job_id}", headers={"Authorization": f"Bearer {key}"}).status_code

        assert [guess() for _ in range(40)] == [404] * 20 + [429] * 20


def test_after_retry_after_it_goes_on(settings: Settings, storage: Storage, redis: Redis) -> None:
    with limited(settings, rate_limit="2/second;50/minute") as client:
        asked = (client.get("/v1/jobs") for _ in range(40))
        refused = next(answer for answer in asked if answer.status_code == 429)
        assert refused.headers["ratelimit-policy"] == '"requests-1s";q=2;w=1, "requests-60s";q=50;w=60'
        time.sleep(int(refused.headers["retry-after"]))
        assert client.get("/v1/jobs").status_code == 200


def test_what_makes_something_has_a_limit_of_its_own(
    settings: Settings, storage: Storage, redis: Redis
) -> None:
    with limited(settings, create_rate_limit="2/hour") as client:
        made = client.post("/v1/generations", files=MASK)
        assert made.status_code == 202
        assert made.headers["ratelimit"].startswith('"creates-3600s";r=1;')
        assert client.post("/v1/generations", json={}).status_code == 422, "a refused one counts too"
        refused = client.post("/v1/masks", files={"file": MASK["mask"]})
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        for answer in (client.get("/v1/jobs"), client.post(f"/v1/jobs/{made.json()['id']}/cancel")):
            assert answer.status_code == 200, "reading and canceling go on"
            assert "ratelimit" not in answer.headers


def test_without_redis_nobody_is_refused_for_it(settings: Settings, storage: Storage) -> None:
    away = SecretStr("redis://127.0.0.1:1/0")
    with limited(settings, rate_limit="1/hour", create_rate_limit="1/hour", redis_url=away) as client:
        for _ in range(3):
            answer = client.get("/v1/categories")
            assert answer.status_code == 200
            assert "ratelimit" not in answer.headers
        refused = client.post("/v1/generations", files=MASK)
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        assert int(refused.headers["retry-after"]) >= 1


def test_a_tenants_jobs_are_limited_for_him_alone(settings: Settings, storage: Storage, redis: Redis) -> None:
    keys = {
        tenant: {
            "Authorization": "Bearer "
            + create_key(storage, tenant=tenant, name="k", scopes=[Scope.WRITE, Scope.READ])[0]
        }
        for tenant in ("a", "b")
    }
    with limited(settings, max_concurrent_jobs=2, max_tenant_queue_depth=3) as client:
        jobs = [client.post("/v1/generations", files=MASK, headers=keys["a"]).json()["id"] for _ in range(2)]
        refused = client.post("/v1/generations", files=MASK, headers=keys["a"])
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_jobs")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        other = client.post("/v1/generations", files=MASK, headers=keys["b"])
        assert other.status_code == 202
        assert other.json()["queue"]["position"] == 1, "after one of a's two"
        assert client.post(f"/v1/jobs/{jobs[0]}/cancel", headers=keys["a"]).json()["status"] == "canceled"
        assert client.post("/v1/generations", files=MASK, headers=keys["a"]).status_code == 202


def test_a_notation_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match="rate_limit"):
        Settings(rate_limit="many")
    with pytest.raises(ValidationError, match="create_rate_limit"):
        Settings(create_rate_limit="600 a minute, please")


def test_every_limited_operation_says_so() -> None:
    for path, operations in create_app(Settings()).openapi()["paths"].items():
        for operation in operations.values():
            assert ("429" in operation["responses"]) == ("security" in operation), path
            if "requestBody" in operation:
                assert {"408", "413", "415"} <= operation["responses"].keys(), path
