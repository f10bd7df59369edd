"""Real parts for every test: a Redis-compatible server, an S3 server, the API, a worker, as child processes."""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from deploy.localstack import LocalStack
from tests.conformance import conforms
from tests.waiting import until
from worker.api_keys import Scope, create_key
from worker.redis_client import connect
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store

os.environ.setdefault("OMP_NUM_THREADS", "1")
gc.disable()  # while torch and four thousand tests come in


def pytest_collection_finish() -> None:
    """What came in stays, so the collector need not look through it again and again."""
    gc.freeze()
    gc.enable()


QUICK = {
    "EARTHSYNTH_LEASE_SECONDS": "3",
    "EARTHSYNTH_HEARTBEAT_SECONDS": "0.5",
    "EARTHSYNTH_RECONCILE_SECONDS": "2",
    "EARTHSYNTH_LOG_FORMAT": "console",
}
LOCAL_WEBHOOKS = {  # receivers on loopback may be called, and are soon called again
    "EARTHSYNTH_WEBHOOK_ALLOW_HTTP": "true",
    "EARTHSYNTH_WEBHOOK_ALLOW_PRIVATE": "true",
    "EARTHSYNTH_WEBHOOK_PORTS": "any",
    "EARTHSYNTH_WEBHOOK_RETRY_SECONDS": "0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1",
    "EARTHSYNTH_WEBHOOK_TIMEOUT_SECONDS": "5",
    "EARTHSYNTH_WEBHOOK_LEASE_SECONDS": "6",
}


def settings_of(stack: LocalStack, **changes: object) -> Settings:
    """The settings that a process of this stack would read from its environment."""
    values = {name.removeprefix("EARTHSYNTH_").lower(): value for name, value in stack.environment.items()}
    return Settings(**(values | changes))  # type: ignore[arg-type]  # pydantic converts the text


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Redis and S3 alone."""
    data = tmp_path_factory.mktemp("servers")
    with LocalStack(data, parts={"redis", "s3"}, env=QUICK) as stack:
        yield stack


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The whole service with one worker, the nano checkpoint, and a process that delivers webhooks."""
    data = tmp_path_factory.mktemp("service")
    with LocalStack(data, workers=1, senders=1, env=QUICK | LOCAL_WEBHOOKS) as stack:
        yield stack


@dataclass(frozen=True)
class GuardedService:
    """A service that asks for keys, with two tenants; no worker."""

    stack: LocalStack
    keys: dict[str, str]  # by tenant, with every scope

    def client(self, tenant: str = "", *, key: str = "") -> httpx.Client:
        """A client with that tenant's key, or with that key, or without one."""
        secret = key or self.keys.get(tenant)
        return checked_client(
            self.stack.api_url, headers={"Authorization": f"Bearer {secret}"} if secret else {}
        )

    @property
    def storage(self) -> Storage:
        return Storage(settings_of(self.stack))


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedService]:
    """A service of the tenants `acme` and `zenith`."""
    with LocalStack(
        tmp_path_factory.mktemp("guarded"), parts={"redis", "s3", "api"}, workers=0, env=QUICK
    ) as stack:
        storage = Storage(settings_of(stack))
        keys = {
            tenant: create_key(storage, tenant=tenant, name="tests", scopes=[Scope.ADMIN])[0]
            for tenant in ("acme", "zenith")
        }
        found = GuardedService(stack, keys)
        with found.client() as nobody:  # from now on nobody comes in without a key
            until(lambda: nobody.get("/v1/jobs").status_code == 401, seconds=5)
        yield found


def checked_client(url: str, **options: Any) -> httpx.Client:
    """An HTTP client that checks every answer: the published document must know it, a refusal be a whole problem."""

    def check(response: httpx.Response) -> None:
        if response.status_code >= 400 and str(response.request.url).startswith(url):
            response.read()
            assert response.headers["content-type"] == "application/problem+json", response.text
            problem = response.json()
            assert {"type", "title", "status", "detail", "code", "request_id", "retryable"} <= problem.keys()
            assert problem["status"] == response.status_code
            assert "Traceback" not in response.text
            assert "/site-packages/" not in response.text
        if str(response.request.url).startswith(url):
            conforms(response)

    return httpx.Client(
        base_url=url, trust_env=False, timeout=90, event_hooks={"response": [check]}, **options
    )


@pytest.fixture
def client(service: LocalStack) -> Iterator[httpx.Client]:
    """A client of the service, by which every answer is checked."""
    with checked_client(service.api_url) as found:
        yield found


@pytest.fixture
def settings(servers: LocalStack) -> Settings:
    """Settings with a bucket of this test's own."""
    return settings_of(servers, s3_bucket=f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def redis(servers: LocalStack, settings: Settings) -> Iterator[Redis]:
    """The test server's Redis, empty."""
    found = connect(settings)
    found.flushall()
    yield found
    found.close()


@pytest.fixture
def store(redis: Redis) -> Store:
    return Store(redis)


@pytest.fixture
def storage(settings: Settings) -> Iterator[Storage]:
    """A bucket of this test's own; it goes with the test, because SeaweedFS has volumes for some 150 buckets."""
    found = Storage(settings)
    found.prepare()
    yield found
    found.delete("")
    found._client.delete_bucket(Bucket=found.bucket)


@pytest.fixture(scope="session")
def assets() -> Path:
    return Path(__file__).parent / "assets"
