"""The sweeper: what has expired goes, and what nobody would ever delete."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from redis import Redis

from worker.deletion import end_for_good
from worker.idempotency import KEPT
from worker.intake import Intake
from worker.jobs import Job, JobKind, earliest_job_id, now
from worker.layout import (
    JOB_ID,
    TENANT,
    gone_prefix,
    idempotencies_prefix,
    init_images_prefix,
    job_prefix,
    jobs_prefix,
    training_previews_prefix,
)
from worker.logs import get_logger
from worker.redis_client import reachable
from worker.results import Result, read_result
from worker.rounds import last_round, shard_results
from worker.selection import selections
from worker.storage import Storage
from worker.tombstones import REMEMBERED, Ending

log = get_logger(__name__)

_LATE = timedelta(hours=1)  # so long a worker that lost its job may still write
_RECENT = timedelta(days=2)  # jobs created since then are looked through for leftovers
_SWEPT = "es:swept"


def sweep_if_due(redis: Redis, intake: Intake) -> None:
    """Sweeps, unless some process has done so within the settings' `sweep_seconds`."""
    with reachable():
        if not redis.set(_SWEPT, "1", nx=True, ex=int(intake.settings.sweep_seconds)):
            return
    counted = sweep(intake)
    if any(counted.values()):
        log.info("swept", **counted)


def sweep(intake: Intake) -> dict[str, int]:
    """Goes through every tenant's objects; returns how many of each kind went."""
    counted = dict.fromkeys(
        ("expired", "buried", "leftovers", "keys", "previews", "init_images", "tombstones"), 0
    )
    for tenant in intake.storage.folders(""):
        if not TENANT.fullmatch(tenant):
            continue
        counted["expired"] += _expire(intake, tenant)
        counted["buried"] += _bury(intake.storage, tenant)
        counted["leftovers"] += _delete_leftovers(intake, tenant)
        counted["keys"] += _delete_old(intake.storage, idempotencies_prefix(tenant), KEPT + _LATE)
        counted["previews"] += _delete_old(intake.storage, training_previews_prefix(tenant), _RECENT)
        kept = timedelta(seconds=intake.settings.retention_seconds) + _RECENT
        counted["init_images"] += _delete_old(intake.storage, init_images_prefix(tenant), kept)
        counted["tombstones"] += _delete_old(intake.storage, gone_prefix(tenant), REMEMBERED)
    return counted


def _expire(intake: Intake, tenant: str) -> int:
    """Jobs that ended, and whose time is over. Ids sort by creation, so that only old ones are looked at."""
    at = now()
    youngest = earliest_job_id(at - timedelta(seconds=intake.settings.retention_seconds))
    expired = 0
    for job_id in list(_until(intake.storage.folders(jobs_prefix(tenant)), youngest)):
        result = read_result(intake.storage, tenant, job_id) if JOB_ID.fullmatch(job_id) else None
        if result is None or result.job.expires_at is None or result.job.expires_at > at:
            continue
        end_for_good(intake, result.job, Ending.EXPIRED)
        expired += 1
    return expired


def _until(ids: Iterator[str], end: str) -> Iterator[str]:
    for one in ids:
        if one >= end:
            return
        yield one


def _bury(storage: Storage, tenant: str) -> int:
    """What workers wrote for jobs that had just been deleted, or what a dying process left of them."""
    stones = gone_prefix(tenant)
    gone = {key.removeprefix(stones).removesuffix(".json") for key in storage.keys(stones)}
    left = [job_id for job_id in storage.folders(jobs_prefix(tenant)) if job_id in gone] if gone else []
    for job_id in left:
        storage.delete(job_prefix(tenant, job_id))
    return len(left)


def _delete_leftovers(intake: Intake, tenant: str) -> int:
    """Objects of attempts that lost: their worker died, or froze and came back after its successor."""
    prefix, redis = jobs_prefix(tenant), intake.store.redis
    deleted = 0
    recent = prefix + earliest_job_id(now() - _RECENT)
    for job_id in list(intake.storage.folders(prefix, start_after=recent)):
        with reachable():
            is_done: Any = redis.exists(_done_key(job_id))
        result = None if is_done else read_result(intake.storage, tenant, job_id)
        if result is None or result.job.finished_at is None or now() - result.job.finished_at < _LATE:
            continue
        deleted += _delete_unnamed(intake.storage, result)
        with reachable():
            redis.set(_done_key(job_id), "1", ex=int(2 * _RECENT.total_seconds()))
    return deleted


def _delete_unnamed(storage: Storage, result: Result) -> int:
    """Every attempt of the job of which no document names an object."""
    job = result.job
    named = {_attempt_of(key) for key in _named(storage, result)}
    doomed = {_attempt_of(key) for key in storage.keys(job_prefix(job.tenant, job.id))} - named - {""}
    return sum(storage.delete(attempt) for attempt in sorted(doomed))


def _attempt_of(key: str) -> str:
    """The prefix of the attempt that the object belongs to; empty for one that belongs to none."""
    before, found, rest = key.partition("/attempt-")
    # a training's TensorBoard files are kept by attempt, and all of them are wanted
    return f"{before}{found}{rest.partition('/')[0]}/" if found and "/tensorboard" not in before else ""


def _named(storage: Storage, result: Result) -> Iterator[str]:
    job: Job = result.job
    yield from result.objects
    yield from (page.key for page in result.pages)
    if job.kind is not JobKind.DATASET:
        return
    last = last_round(storage, job)
    for number in range(0 if last is None else last.number + 1):
        for shard in shard_results(storage, job, number):
            yield from shard.objects
    for selection in selections(storage, job):
        yield from (page.key for page in selection.pages)


def _delete_old(storage: Storage, prefix: str, age: timedelta) -> int:
    """Objects under the prefix that were written longer ago than that."""
    at = now()
    doomed = [key for key, written_at in storage.listed(prefix) if at - written_at > age]
    return storage.delete_keys(doomed)


def _done_key(job_id: str) -> str:
    return f"es:swept:{job_id}"
