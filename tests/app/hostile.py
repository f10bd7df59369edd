"""What hostile tests share: a tenant of their own without a worker, and proof that refusals left nothing behind."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.conftest import GuardedService, settings_of
from tests.pictures import png, road_and_buildings
from worker.api_keys import Scope, create_key
from worker.queue import QUEUE_NAME, TRAINING_QUEUE, depth
from worker.redis_client import connect

MASK = png(road_and_buildings())
BASE64 = base64.b64encode(MASK).decode()
ABSENT_JOB = "job_" + "0" * 26
PROBLEM = "application/problem+json"


@dataclass
class Guest:
    """A tenant of a test's own. `accepted`: the jobs that it was promised."""

    name: str
    guarded: GuardedService
    client: httpx.Client
    key: str
    mask_id: str = ""
    accepted: set[str] = field(default_factory=set)

    def body(self, **changes: Any) -> dict[str, Any]:
        """A good generation, with changes."""
        return {"mask_id": self.mask_id, "num_inference_steps": 1, "filter": {"policy": "off"}} | changes

    def post(self, path: str = "/v1/generations", **options: Any) -> httpx.Response:
        answer = self.client.post(path, **options)
        if answer.status_code == 202:
            self.accepted.add(answer.json()["id"])
        return answer

    def waiting(self) -> int:
        """How many entries wait on all queues."""
        redis = connect(settings_of(self.guarded.stack))
        try:
            return depth(redis, QUEUE_NAME) + depth(redis, TRAINING_QUEUE)
        finally:
            redis.close()

    def objects(self) -> set[str]:
        """What storage holds of the tenant, but for jobs, their tombstones, and keys of requests."""
        keys = self.guarded.storage.keys(f"{self.name}/")
        return {key for key in keys if key.split("/")[1] not in {"jobs", "gone", "idempotency"}}


@contextmanager
def guest_of(guarded: GuardedService, name: str) -> Iterator[Guest]:
    """Inside: a new tenant with one mask. At the end there are the jobs that were promised, and nothing else."""
    key, _ = create_key(guarded.storage, tenant=name, name="hostile", scopes=[Scope.ADMIN])
    with guarded.client(key=key) as client:
        guest = Guest(name, guarded, client, key)
        guest.mask_id = client.post("/v1/masks", files={"file": ("m.png", MASK)}).json()["id"]
        waiting, objects = guest.waiting(), guest.objects()
        yield guest
        assert guest.waiting() == waiting + len(guest.accepted)
        assert guest.objects() == objects
        assert {key.split("/")[2] for key in guarded.storage.keys(f"{name}/jobs/")} == guest.accepted
        for job_id in guest.accepted:
            assert client.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
