"""What expires, what is deleted, and what is left of both, in a real bucket and a real Redis."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from redis import Redis

from models.errors import Conflict, Gone, NotFound
from models.masks import decode_mask
from tests.pictures import png, road_and_buildings
from tests.worker.records import make_job
from worker.deletion import delete_job, delete_mask
from worker.intake import Intake
from worker.jobs import Job, JobStatus, now
from worker.layout import attempt_prefix, gone_key, job_prefix
from worker.reconcile import reconcile
from worker.results import end, read_result, store_request
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.sweeping import sweep
from worker.tombstones import Ending, read_tombstone


@pytest.fixture
def intake(settings: Settings, store: Store, storage: Storage) -> Intake:
    return Intake(settings, store, storage)


def accepted(intake: Intake, **changes: Any) -> Job:
    job = make_job(**changes)
    store_request(intake.storage, job)
    intake.store.create(job)
    return job


def ended(intake: Intake, job: Job, **objects: str) -> Job:
    return end(
        intake.store, intake.storage, job.advance(JobStatus.RUNNING), JobStatus.SUCCEEDED, objects=objects
    )


def keys(intake: Intake, job: Job) -> list[str]:
    return list(intake.storage.keys(job_prefix(job.tenant, job.id)))


def test_a_deleted_job_is_gone_and_stays_gone(intake: Intake, redis: Redis, settings: Settings) -> None:
    job, other = accepted(intake), accepted(intake)
    ended(intake, job)
    delete_job(intake, "local", job.id)
    for _ in range(2):
        with pytest.raises(Gone) as caught:
            intake.find("local", job.id)
        assert caught.value.code == "job_deleted"
        with pytest.raises(Gone):
            delete_job(intake, "local", job.id)
        with pytest.raises(NotFound):
            intake.find("zenith", job.id)  # to others it never was
        redis.flushall()  # Redis lost whole
        reconcile(redis, intake.store, intake.storage, settings)
        assert intake.store.load(job.id) is None
    assert keys(intake, job) == []
    assert intake.find("local", other.id).status is JobStatus.QUEUED


def test_a_worker_that_ends_a_deleted_job_leaves_nothing(intake: Intake) -> None:
    job = accepted(intake)
    running = intake.store.update(job.id, lambda j: j.advance(JobStatus.RUNNING))
    assert running is not None
    delete_job(intake, "local", job.id)
    intake.storage.create(job_prefix("local", job.id) + "attempt-1-ab/000000-0.png", b"late", "image/png")
    end(intake.store, intake.storage, running, JobStatus.SUCCEEDED)
    assert keys(intake, job) == []
    assert intake.store.load(job.id) is None


def test_what_a_dead_process_did_not_delete_is_swept(intake: Intake) -> None:
    job = accepted(intake)
    ended(intake, job)
    stone = b'{"kind": "generation", "ending": "deleted", "at": "2026-11-26T12:00:00Z"}'
    intake.storage.create(gone_key("local", job.id), stone, "application/json")  # and there it died
    assert keys(intake, job) != []
    assert sweep(intake)["buried"] == 1
    assert keys(intake, job) == []


def test_only_ended_jobs_expire_and_each_at_its_time(intake: Intake) -> None:
    retention = timedelta(seconds=intake.settings.retention_seconds)
    old = now() - 2 * retention
    gone, kept, running = (
        accepted(intake, created_at=old, expires_at=old + retention, id=_id(old, number))
        for number in range(3)
    )
    ended(intake, kept)  # just now: it is kept as long again
    past = gone.advance(JobStatus.CANCELED).model_copy(
        update={"finished_at": old, "expires_at": old + retention}
    )
    intake.storage.create(f"local/jobs/{gone.id}/result.json", _result(past), "application/json")
    intake.store.update(gone.id, lambda _: past)
    with pytest.raises(Gone) as caught:  # also before the sweeper comes
        intake.find("local", gone.id)
    assert caught.value.code == "job_expired"
    assert sweep(intake)["expired"] == 1
    assert keys(intake, gone) == []
    stone = read_tombstone(intake.storage, "local", gone.id)
    assert stone is not None
    assert stone.ending is Ending.EXPIRED
    assert intake.find("local", kept.id).expires_at is not None
    assert intake.find("local", running.id).status is JobStatus.QUEUED
    assert sweep(intake)["expired"] == 0


def _id(at: Any, number: int) -> str:
    from worker.jobs import new_job_id

    return new_job_id(at + timedelta(seconds=number))


def _result(job: Job) -> bytes:
    from worker.results import Result

    return Result(job=job).model_dump_json().encode()


def test_objects_of_lost_attempts_go_and_no_others(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    job = accepted(intake)
    won, lost = (attempt_prefix("local", job.id, number, "abcd1234") for number in (2, 1))
    for prefix in (won, lost):
        intake.storage.create(f"{prefix}000000-0.png", prefix.encode(), "image/png")
    intake.storage.create(f"{job_prefix('local', job.id)}tensorboard/attempt-1/events", b"", "text/plain")
    ended(intake, job, **{f"{won}000000-0.png": "0" * 64})
    assert sweep(intake)["leftovers"] == 0  # a frozen worker may still come back
    later = now() + timedelta(hours=2)
    monkeypatch.setattr("worker.sweeping.now", lambda: later)
    assert sweep(intake)["leftovers"] == 1
    names = {key.removeprefix(job_prefix("local", job.id)) for key in keys(intake, job)}
    assert names == {
        "attempt-2-abcd1234/000000-0.png",
        "tensorboard/attempt-1/events",
        "request.json",
        "result.json",
    }
    assert read_result(intake.storage, "local", job.id) is not None


def test_old_keys_and_previews_go(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("local/idempotency/ab/0000/begun.json", "local/training-previews/ab.png"):
        intake.storage.create(key, b"{}", "application/json")
    assert sweep(intake)["keys"] == 0
    later = now() + timedelta(hours=26)
    monkeypatch.setattr("worker.sweeping.now", lambda: later)
    counted = sweep(intake)
    assert (counted["keys"], counted["previews"]) == (1, 0)
    far = now() + timedelta(hours=49)
    monkeypatch.setattr("worker.sweeping.now", lambda: far)
    assert sweep(intake)["previews"] == 1


def test_a_mask_goes_when_no_open_job_needs_it(intake: Intake) -> None:
    mask, _ = intake.keep_mask("local", decode_mask(png(road_and_buildings(64))))
    job = accepted(intake, request={"mask_id": mask.id})
    with pytest.raises(Conflict) as caught:
        delete_mask(intake, "local", mask.id)
    assert caught.value.code == "mask_in_use"
    ended(intake, job)
    with pytest.raises(NotFound):
        delete_mask(intake, "zenith", mask.id)
    delete_mask(intake, "local", mask.id)
    with pytest.raises(NotFound):
        delete_mask(intake, "local", mask.id)
    assert list(intake.storage.keys("local/masks/")) == []
