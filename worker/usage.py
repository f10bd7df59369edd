"""What a tenant's jobs have used, by day (UTC): counted when a job ends, once.

The counters are in Redis. When it is lost, they are counted again from the jobs that storage still has: what was
deleted or has expired is missing then.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from pydantic import Field
from redis import Redis

from worker.jobs import Frozen, Job, JobKind, JobStatus
from worker.redis_client import reachable


class Usage(Frozen):
    """`jobs`: how many ended, by kind and status. `worker_seconds`: from start to end, lost attempts included."""

    jobs: dict[JobKind, dict[JobStatus, int]] = Field(default_factory=dict)
    worker_seconds: dict[JobKind, float] = Field(default_factory=dict)
    images_generated: int = 0
    images_accepted: int = 0


class DayUsage(Usage):
    date: date


def usage_of_days(redis: Redis, tenant: str, first: date, last: date) -> list[DayUsage]:
    """The days from `first` to `last` on which a job ended, in order."""
    days = list(_days(first, last))
    with reachable():
        pipe = redis.pipeline(transaction=False)
        for day in days:
            pipe.hgetall(usage_day_key(tenant, day))
        found: Any = pipe.execute()
    return [
        DayUsage(date=day, **dict(_usage(counters)))
        for day, counters in zip(days, found, strict=True)
        if counters
    ]


def total(days: list[DayUsage]) -> Usage:
    """The sum over the days."""
    jobs: dict[JobKind, dict[JobStatus, int]] = {}
    seconds: dict[JobKind, float] = {}
    for day in days:
        for kind, by_status in day.jobs.items():
            for status, number in by_status.items():
                counted = jobs.setdefault(kind, {})
                counted[status] = counted.get(status, 0) + number
        for kind, spent in day.worker_seconds.items():
            seconds[kind] = round(seconds.get(kind, 0.0) + spent, 3)
    return Usage(
        jobs=jobs,
        worker_seconds=seconds,
        images_generated=sum(day.images_generated for day in days),
        images_accepted=sum(day.images_accepted for day in days),
    )


def _usage(counters: dict[bytes, bytes]) -> Usage:
    jobs: dict[JobKind, dict[JobStatus, int]] = {}
    seconds: dict[JobKind, float] = {}
    images = {"images_generated": 0, "images_accepted": 0}
    for raw, amount in counters.items():
        name, _, rest = raw.decode().partition(":")
        if name == "jobs":
            kind, _, status = rest.partition(":")
            jobs.setdefault(JobKind(kind), {})[JobStatus(status)] = int(float(amount))
        elif name == "seconds":
            seconds[JobKind(rest)] = round(float(amount), 3)
        else:
            images[name] = int(float(amount))
    return Usage(jobs=jobs, worker_seconds=seconds, **images)


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def usage_of(job: Job) -> list[str | float]:
    """Names and amounts that an ended job adds to its tenant's usage of the day."""
    if not job.ended or job.finished_at is None:
        return []
    seconds = (job.finished_at - job.started_at).total_seconds() if job.started_at else 0.0
    found: list[str | float] = [f"jobs:{job.kind}:{job.status}", 1, f"seconds:{job.kind}", seconds]
    if job.kind in {JobKind.GENERATION, JobKind.DATASET}:
        found += ["images_generated", job.counts.generated, "images_accepted", job.counts.accepted]
    return found


def usage_key(job: Job) -> str:
    """What the tenant's jobs that ended on the same day used."""
    return usage_day_key(job.tenant, (job.finished_at or job.created_at).date())


def usage_day_key(tenant: str, day: date) -> str:
    return f"es:usage:{tenant}:{day.isoformat()}"
