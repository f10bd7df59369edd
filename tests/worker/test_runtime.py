"""How an attempt ends, on a real Redis and a real S3 server, with tasks that succeed, raise, and are overtaken."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from redis import Redis

from models.errors import ModelUnavailable, Unavailable
from tests.worker.datasets import MODEL
from tests.worker.records import make_job
from tests.worker.test_lease import take
from worker.jobs import Attempt, Job, JobStatus, Phase, now
from worker.layout import request_key, result_key
from worker.lease import Lease, LeaseLost
from worker.queue import depth, enqueue
from worker.reconcile import give_back_lost, reconcile
from worker.redis_keys import cancel_key
from worker.results import end, read_result, read_samples, store_request
from worker.run import Resources, Run
from worker.runtime import perform
from worker.samples import ImageObject, Labels, SampleRecord, SampleStatus
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store


def add_sample(run: Run, index: int) -> None:
    key, sha256 = run.put(f"{index:06d}.png", b"picture %d" % index, "image/png")
    mask_key, mask_sha256 = run.put(f"mask-{index}.png", b"mask", "image/png")
    image = ImageObject(key=key, sha256=sha256, width=8, height=8)
    record = SampleRecord(
        index=index,
        status=SampleStatus.ACCEPTED,
        seed=index,
        prompt="p",
        mask_id="msk_" + "0" * 64,
        mask_sha256=mask_sha256,
        mask_key=mask_key,
        image=image,
        labels=Labels(categories=(), annotations=()),
        attempt=run.attempt,
    )
    run.add(record)


def both(run: Run) -> None:
    run.enter(Phase.SYNTHESIS)
    run.batches = 2
    run.step(0, 1, 1)
    add_sample(run, 1)
    add_sample(run, 0)
    run.step(1, 1, 1)


def loaded(store: Store, job_id: str) -> Job:
    job = store.load(job_id)
    assert job is not None
    return job


def test_a_success(resources: Resources, lease: Lease, store: Store, storage: Storage) -> None:
    perform(resources, lease, both)
    job = loaded(store, lease.job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert (job.counts.accepted, job.counts.generated, job.counts.pending, job.counts.failed) == (2, 2, 0, 0)
    assert job.progress.done == 2
    assert [attempt.outcome for attempt in job.attempts] == ["succeeded"]
    assert job.model == MODEL
    result = read_result(storage, "local", job.id)
    assert result is not None
    assert [sample.index for sample in read_samples(storage, result)] == [0, 1]
    for key, sha256 in result.objects.items():
        assert hashlib.sha256(storage.read(key)).hexdigest() == sha256


def test_progress_never_falls(resources: Resources, lease: Lease, store: Store) -> None:
    """A batch that ran out of memory begins again with step 1."""
    seen = []

    def halved(run: Run) -> None:
        run.enter(Phase.SYNTHESIS)
        for done, step in ((0, 1), (0, 2), (0, 1), (0, 2), (0, 3), (1, 1)):
            if done:
                add_sample(run, 0)
            run.step(done, step, 3)
            progress = loaded(store, run.job.id).progress
            seen.append((progress.done, progress.step))

    perform(resources, lease, halved)
    assert seen == [(0, 1), (0, 2), (0, 2), (0, 2), (0, 3), (1, 1)]


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (ModelUnavailable("no weights"), "model_unavailable", False),
        (RuntimeError("secret detail"), "internal_error", True),
    ],
)
def test_a_failure_has_a_reason(
    resources: Resources, lease: Lease, store: Store, error: Exception, code: str, retryable: bool
) -> None:
    def fail(run: Run) -> None:
        add_sample(run, 0)
        raise error

    perform(resources, lease, fail)
    job = loaded(store, lease.job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert (job.error.code, job.error.retryable) == (code, retryable)
    assert "secret" not in job.error.detail
    assert (job.counts.accepted, job.counts.failed, job.counts.pending) == (1, 1, 0)


def test_cancellation_keeps_what_is_finished(
    resources: Resources, lease: Lease, store: Store, storage: Storage, redis: Redis
) -> None:
    def canceled_midway(run: Run) -> None:
        add_sample(run, 0)
        redis.set(cancel_key(run.job.id), "1")
        run.step(1, 1, 8)
        pytest.fail("the step must raise")

    perform(resources, lease, canceled_midway)
    job = loaded(store, lease.job_id)
    assert job.status is JobStatus.CANCELED
    assert job.error is None
    result = read_result(storage, "local", job.id)
    assert result is not None
    assert [sample.index for sample in read_samples(storage, result)] == [0]


def test_a_lost_lease_leaves_nothing_behind(
    resources: Resources, lease: Lease, store: Store, storage: Storage, redis: Redis
) -> None:
    def overtaken(run: Run) -> None:
        add_sample(run, 0)
        redis.incr(f"es:fence:{run.job.id}")  # another worker has taken the entry
        run.step(1, 1, 8)
        pytest.fail("the step must raise")

    with pytest.raises(LeaseLost):
        perform(resources, lease, overtaken)
    assert list(storage.keys(f"local/jobs/{lease.job_id}/")) == [request_key("local", lease.job_id)]
    assert not loaded(store, lease.job_id).ended


def test_the_first_result_wins(resources: Resources, lease: Lease, store: Store, storage: Storage) -> None:
    """A zombie that comes back after its successor finished adopts the successor's result, and its files go."""

    def late(run: Run) -> None:
        add_sample(run, 0)
        other = Attempt(number=2, worker="w2", started_at=now(), ended_at=now(), outcome="succeeded")
        end(Store(store.redis), storage, run.job, JobStatus.SUCCEEDED, attempts=(other,))

    perform(resources, lease, late)
    job = loaded(store, lease.job_id)
    assert [attempt.worker for attempt in job.attempts] == ["w2"]
    left = set(storage.keys(f"local/jobs/{job.id}/"))
    assert left == {request_key("local", job.id), result_key("local", job.id)}


def test_storage_away_puts_the_entry_back_and_at_last_fails(
    resources: Resources, lease: Lease, store: Store, redis: Redis, settings: Settings, storage: Storage
) -> None:
    def away(_: Run) -> None:
        raise Unavailable("no storage", code="storage_unavailable")

    current: Lease | None = lease
    for _ in range(settings.max_attempts - 1):
        assert current is not None
        with pytest.raises(Unavailable):
            perform(resources, current, away)
        give_back_lost(redis, store, storage, settings, owner="w1")
        current = take(redis, "w1")
    assert current is not None
    perform(resources, current, away)
    job = loaded(store, lease.job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.code == "storage_unavailable"
    assert len(job.attempts) == settings.max_attempts


def test_a_worker_that_always_dies_ends_the_job(
    lease: Lease, resources: Resources, store: Store, redis: Redis, settings: Settings, storage: Storage
) -> None:
    current: Lease | None = lease
    for _ in range(settings.max_attempts):
        assert current is not None
        with pytest.raises(SystemExit):
            perform(resources, current, _die)
        give_back_lost(redis, store, storage, settings, owner="w1")
        current = take(redis, "w1")
    assert current is None
    job = loaded(store, lease.job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.code == "worker_lost"
    assert [attempt.outcome for attempt in job.attempts] == ["worker_lost"] * settings.max_attempts


def _die(_: Run) -> None:
    raise SystemExit(1)


def test_a_redis_lost_whole_is_rebuilt(
    resources: Resources, store: Store, redis: Redis, settings: Settings, storage: Storage
) -> None:
    jobs = [make_job() for _ in range(12)]
    for job in jobs:
        store_request(storage, job)
        store.create(job)
        enqueue(redis, job)
    for _ in range(4):
        done = take(redis, "w1")
        assert done is not None
        perform(resources, done, both)
    redis.flushall()
    assert reconcile(redis, store, storage, settings) == 8
    assert reconcile(redis, store, storage, settings) == 0
    assert depth(redis) == 8
    statuses = [loaded(store, job.id).status for job in jobs]
    assert statuses.count(JobStatus.SUCCEEDED) == 4
    assert statuses.count(JobStatus.QUEUED) == 8


def test_a_stranded_entry_is_queued_again(
    lease: Lease, store: Store, redis: Redis, settings: Settings, storage: Storage
) -> None:
    redis.zrem("es:leases", lease.entry_id)
    assert reconcile(redis, store, storage, settings) == 1
    assert depth(redis) == 1


def test_a_request_that_was_never_queued_is_found(
    store: Store, redis: Redis, settings: Settings, storage: Storage
) -> None:
    """The API died between storing the request and queueing it."""
    reconcile(redis, store, storage, settings)
    job = make_job()
    store_request(storage, job)
    assert reconcile(redis, store, storage, settings) == 1
    assert loaded(store, job.id).status is JobStatus.QUEUED


def test_a_record_behind_its_result_catches_up(
    store: Store, redis: Redis, settings: Settings, storage: Storage, lease: Lease
) -> None:
    """The worker died between creating result.json and telling Redis."""
    job = loaded(store, lease.job_id).advance(JobStatus.RUNNING)
    end(Store(redis), storage, job, JobStatus.SUCCEEDED)
    store.update(job.id, _reopened(job))
    redis.zadd("es:open", {job.id: 0})
    reconcile(redis, store, storage, settings)
    assert loaded(store, job.id).status is JobStatus.SUCCEEDED


def _reopened(job: Job) -> Callable[[Job], Job]:
    return lambda _: job
