"""How many jobs of a tenant come in, on a real Redis and a real S3 server."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from models.errors import Overloaded, Unavailable
from tests.worker.records import make_job
from worker.intake import Intake
from worker.jobs import Job, JobKind, JobStatus, ModelRef, Progress
from worker.settings import Settings
from worker.specs import GenerationSpec
from worker.storage import Storage
from worker.store import Store

MODEL = ModelRef(name="nano", version="1", sha256=None)
SPEC = GenerationSpec.model_validate(
    {
        "model": "nano@1",
        "seed": 1,
        "num_inference_steps": 1,
        "guidance_scale": 1,
        "controlnet_conditioning_scale": 1,
        "scheduler": "ddim",
        "width": 8,
        "height": 8,
        "mask_id": "msk_" + "0" * 64,
        "prompt": "p",
        "categories": (),
    }
)


def intake_of(settings: Settings, store: Store, storage: Storage, **limits: int) -> Intake:
    return Intake(settings.model_copy(update=limits), store, storage)


def submit(intake: Intake, tenant: str) -> Job:
    return intake.submit(tenant, SPEC, MODEL, ())


def refusal(intake: Intake, tenant: str) -> Overloaded:
    with pytest.raises(Overloaded) as caught:
        submit(intake, tenant)
    return caught.value


def test_a_tenants_line_is_limited_for_him_alone(settings: Settings, store: Store, storage: Storage) -> None:
    intake = intake_of(settings, store, storage, max_tenant_queue_depth=2, max_queue_depth=4)
    for tenant in "aab":
        submit(intake, tenant)
    assert refusal(intake, "a").code == "tenant_queue_full"
    submit(intake, "b")
    full = refusal(intake, "c")
    assert (full.code, full.retryable) == ("queue_full", True)
    intake.check_room("c", JobKind.TRAINING)


def test_as_many_jobs_are_open_as_are_allowed_however_many_come_at_once(
    settings: Settings, store: Store, storage: Storage
) -> None:
    intake = intake_of(settings, store, storage, max_concurrent_jobs=3)

    def accepted(_: int) -> Job | None:
        try:
            return submit(intake, "a")
        except Overloaded:
            return None

    with ThreadPoolExecutor(8) as threads:
        jobs = [job for job in threads.map(accepted, range(24)) if job]
    assert len(jobs) == 3
    submit(intake, "b")
    intake.cancel("a", jobs[0].id)
    submit(intake, "a")
    assert refusal(intake, "a").code == "too_many_jobs"


def test_places_heal(settings: Settings, store: Store, storage: Storage, redis: Redis) -> None:
    """A record that was deleted, one that ended unseen, and a job that was never stored keep no place."""
    intake = intake_of(settings, store, storage, max_concurrent_jobs=3)
    deleted, ended = submit(intake, "a"), submit(intake, "a")
    redis.delete(f"es:job:{deleted.id}")
    store.update(ended.id, lambda job: job.advance(JobStatus.CANCELED))
    redis.zadd("es:open:a", {ended.id: 0, deleted.id: time.time() - 100, "job_never": time.time() - 100})
    for _ in range(3):
        submit(intake, "a")
    assert refusal(intake, "a").code == "too_many_jobs"


def test_a_job_that_could_not_be_stored_keeps_no_place(
    settings: Settings, store: Store, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = intake_of(settings, store, storage, max_concurrent_jobs=1)

    def away(*_: object) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr("worker.intake.store_request", away)
        with pytest.raises(Unavailable):
            submit(intake, "a")
    submit(intake, "a")


def test_places_come_back_with_the_records_of_a_lost_redis(
    settings: Settings, store: Store, storage: Storage, redis: Redis
) -> None:
    intake = intake_of(settings, store, storage, max_concurrent_jobs=1)
    job = submit(intake, "a")
    redis.flushall()
    assert intake.find("a", job.id).id == job.id  # restored from storage
    assert refusal(intake, "a").code == "too_many_jobs"


@pytest.mark.parametrize(("etas", "seconds"), [((None,), 10), ((40.4, 7.2), 7), ((0.2,), 1), ((900.0,), 60)])
def test_retry_after_is_when_the_first_job_ends(
    settings: Settings, store: Store, storage: Storage, etas: tuple[float | None, ...], seconds: int
) -> None:
    for eta in etas:
        store.create(make_job(tenant="a", progress=Progress(total=2, eta_seconds=eta)))
    intake = intake_of(settings, store, storage, max_concurrent_jobs=len(etas))
    assert refusal(intake, "a").retry_after_seconds == seconds
