"""One shard of a data set: begun under a lease, decided by its result document, counted once."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from models.categories import IGNORE
from models.errors import Unavailable
from worker.jobs import Attempt, Job, JobError, JobStatus, now
from worker.layout import attempt_prefix, shard_name
from worker.lease import Canceled, Lease, LeaseLost
from worker.logs import get_logger
from worker.queue import shard_of
from worker.redis_client import reachable
from worker.redis_keys import progress_key
from worker.results import closed, end
from worker.rounds import (
    Planned,
    Round,
    ShardResult,
    commit_shard,
    read_round,
    read_shard,
    samples_of,
)
from worker.run import Resources, Run, patiently
from worker.runtime import job_error, open_job
from worker.samples import SampleStatus
from worker.window import advance, finished_shards

log = get_logger(__name__)

_HOPELESS_SHARDS = 3  # so many failed ones and not one picture: the next ones would fail the same way


def perform_shard(
    resources: Resources, lease: Lease, task: Callable[[Run, Round, list[Planned]], None]
) -> None:
    """Runs the task on the leased shard, unless the job is over or the shard's result is there already."""
    job, place = open_job(resources, lease), shard_of(lease.entry_id)
    if job is None or place is None:
        return
    number, shard = place
    this = read_round(resources.storage, job, number)
    if this is None:
        log.warning("shard of an unknown round dropped", entry=lease.entry_id)
        return
    known = read_shard(resources.storage, job, number, shard)
    if known is not None:
        count(resources, job, known)
        return
    planned = samples_of(resources.storage, job, this, shard)
    with _sharding(resources, lease, job, (number, shard), requested=len(planned)) as run:
        run.report(run.job.progress)
        lease.check()
        task(run, this, planned)


@contextmanager
def _sharding(
    resources: Resources, lease: Lease, job: Job, place: tuple[int, int], *, requested: int
) -> Iterator[Run]:
    """Begins an attempt at the shard, and commits it by what happens inside.

    Canceled: what is finished is committed. LeaseLost: this attempt's objects are deleted. Unavailable: the entry
    goes back to the queue. Any other error: the shard's open samples have failed, and the data set goes on.
    """
    prefix = attempt_prefix(job.tenant, job.id, lease.token, secrets.token_hex(4), shard_name(*place))
    run = Run(job, lease, resources, prefix, attempt=lease.token, requested=requested)
    if lease.token > 1:
        run.job = _note_lost_worker(run)
    try:
        yield run
    except LeaseLost:
        log.warning("lease lost, shard dropped", entry=lease.entry_id, attempt=run.attempt)
        run.discard()
        raise
    except Canceled:
        commit(run, place)
    except Unavailable as error:
        log.warning("shard put back", entry=lease.entry_id, code=error.code, detail=error.message)
        if run.attempt < resources.settings.max_attempts:
            run.report(run.progress, outcome=error.code)
            run.discard()
            raise
        commit(run, place, JobError(code=error.code, detail=error.message, retryable=True))
    except Exception as error:
        commit(run, place, job_error(error, job))
    else:
        commit(run, place)


def commit(run: Run, place: tuple[int, int], error: JobError | None = None) -> None:
    """Makes the shard's result durable and counts it; the loser of a race deletes its objects."""
    made = run.made
    if error is not None:
        made = made.model_copy(update={"failed": run.requested - made.accepted - made.exhausted})
    number, shard = place
    mine = ShardResult(
        round=number,
        shard=shard,
        attempt=run.attempt,
        worker=run.resources.name,
        made=made,
        by_category=_by_category(run),
        records_key=run.put_records(),
        objects=run.objects,
        model=run.resources.gpu.resident,
        warnings=run.warnings,
        error=error,
    )
    first = patiently(lambda: commit_shard(run.resources.storage, run.job, mine))
    if first != mine:
        log.warning("another attempt finished the shard first", entry=run.lease.entry_id)
        run.discard()
    count(run.resources, run.job, first)


def count(resources: Resources, job: Job, result: ShardResult) -> None:
    """Counts the finished shard, and gives the job up when nothing but failures has come of its first ones."""
    patiently(lambda: advance(resources.store.redis, job, result.round, result))
    if result.error is None:
        return
    shards, generated = finished_shards(resources.store.redis, job.id)
    if shards >= _HOPELESS_SHARDS and not generated:
        attempts = closed(job.attempts, JobStatus.FAILED.value)
        changes: dict[str, Any] = {"error": result.error, "attempts": attempts}
        patiently(lambda: end(resources.store, resources.storage, job, JobStatus.FAILED, **changes))


def _note_lost_worker(run: Run) -> Job:
    """The job with the attempt before this one, which ended without a word, in its record."""
    with reachable():
        said: Any = run.resources.store.redis.hget(progress_key(run.job.id), run.lease.entry_id)
    unheard = {"worker": "unknown", "started_at": run.started_at.isoformat(), "outcome": "worker_lost"}
    report = json.loads(said) if said else unheard
    lost = Attempt(
        number=run.attempt - 1,
        worker=report["worker"],
        started_at=datetime.fromisoformat(report["started_at"]),
        ended_at=now(),
        outcome=report["outcome"],
    )

    def add(job: Job) -> Job:  # before the one that is under way
        return job.model_copy(update={"attempts": (*job.attempts[:-1], lost, *job.attempts[-1:])})

    return run.resources.store.update(run.job.id, add) or run.job


def _by_category(run: Run) -> dict[int, tuple[int, int]]:
    counted: dict[int, tuple[int, int]] = {}
    for record in run.in_order():
        for category_id in record.pixels.keys() - {0, IGNORE}:
            generated, accepted = counted.get(category_id, (0, 0))
            good = record.status is SampleStatus.ACCEPTED
            counted[category_id] = (generated + 1, accepted + good)
    return counted
