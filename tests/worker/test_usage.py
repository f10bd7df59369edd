"""Usage is counted when a job ends, once, whoever says it again."""

from __future__ import annotations

from datetime import timedelta

from redis import Redis

from tests.worker.records import make_job
from worker.jobs import Counts, JobKind, JobStatus, now
from worker.results import adopt
from worker.store import Store
from worker.usage import total, usage_of_days


def test_usage_adds_up(store: Store, redis: Redis) -> None:
    today = now().date()
    done = []
    for number, kind in enumerate((JobKind.GENERATION, JobKind.GENERATION, JobKind.EXPORT)):
        job = make_job(kind=kind, counts=Counts(requested=2, pending=2))
        store.create(job)
        began = now() - timedelta(seconds=10 * (number + 1))
        running = store.update(job.id, lambda j, at=began: j.advance(JobStatus.RUNNING, started_at=at))  # type: ignore[misc]
        assert running is not None
        counts = Counts(requested=2, accepted=1, exhausted=1, pending=0, generated=5, rejected=4)
        ended = running.advance(JobStatus.SUCCEEDED, counts=counts)
        for _ in range(2):  # two workers, or a repeated call
            adopt(store, ended)
        done.append(ended)
    canceled = make_job(tenant="other")
    store.create(canceled)
    store.update(canceled.id, lambda j: j.advance(JobStatus.CANCELED))

    def check() -> None:
        (day,) = usage_of_days(redis, "local", today - timedelta(days=1), today)
        assert day.date == today
        assert day.jobs == {"generation": {"succeeded": 2}, "export": {"succeeded": 1}}
        assert (day.images_generated, day.images_accepted) == (10, 2)
        assert 30 <= day.worker_seconds[JobKind.GENERATION] < 40
        assert 30 <= day.worker_seconds[JobKind.EXPORT] < 40
        assert total([day, day]).images_generated == 20
        assert total([day, day]).jobs["generation"]["succeeded"] == 4  # type: ignore[index]

    check()
    redis.flushall()  # lost: what storage brings back is counted again
    for ended in done:
        adopt(store, ended)
    check()
    (other,) = usage_of_days(redis, "other", today, today) or [None]
    assert other is None
