"""The conductor of a data set: opens its rounds, and ends it when the last shard is done.

It holds nothing that is not in storage, so it may be killed at any point and begun again by any worker.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

from models.errors import Unavailable
from models.rfilter.calibration import Calibration
from worker.acceptance import GoalTally, Tally
from worker.closing import after_end, fail_dataset, finish_dataset
from worker.dataset_specs import DatasetSpec, wanted_of
from worker.goals import Budget, next_samples, tries_allowed
from worker.gpu import calibration_of
from worker.jobs import Counts, JobError, JobStatus, Phase, now
from worker.layout import attempt_prefix
from worker.lease import Lease, LeaseLost
from worker.logs import get_logger
from worker.mask_set_manifest import LABEL_SHARE, find_mask_set, iterate
from worker.pages import write_pages
from worker.queue import job_of
from worker.redis_client import reachable
from worker.redis_keys import progress_key
from worker.retrying import retry_plan
from worker.rounds import Planned, Round, last_round, open_round
from worker.run import Resources, Run
from worker.runtime import begin, job_error, open_job
from worker.samples import SampleRecord
from worker.selection import (
    Chooser,
    keep_calibration,
    read_calibration,
    tries_of,
)
from worker.turns import LEASES
from worker.window import begin_counting, unfinished

log = get_logger(__name__)

_CANCEL_WAIT_SECONDS = 60.0


def conduct(resources: Resources, lease: Lease) -> None:
    """Takes the data set one step further: opens a round, closes it, or ends the job."""
    job = open_job(resources, lease)
    if job is None:
        after_end(resources, lease)
        return
    if job.status is JobStatus.QUEUED:
        job = begin(resources, lease)
    prefix = attempt_prefix(job.tenant, job.id, lease.token, secrets.token_hex(4), "conductor")
    run = Run(job, lease, resources, prefix, attempt=lease.token, requested=0)
    try:
        _conduct(run)
    except LeaseLost:
        run.discard()
        raise
    except Unavailable as error:
        run.discard()
        if run.attempt < resources.settings.max_attempts:
            raise
        fail_dataset(run, JobError(code=error.code, detail=error.message, retryable=True))
    except Exception as error:
        run.discard()
        fail_dataset(run, job_error(error, job))
    finally:
        with reachable():
            resources.store.redis.hdel(progress_key(job.id), lease.entry_id)
    after_end(resources, lease)


def _conduct(run: Run) -> None:
    storage, job = run.resources.storage, run.job
    redis = run.resources.store.redis
    run.report(job.progress)
    if run.lease.canceled.is_set():
        _await_others(run)
        _end(run, JobStatus.CANCELED)
        return
    this = last_round(storage, job)
    if this is None:
        this = _first_round(run)
    state = unfinished(redis, job.id)
    if state is None or state[0] != this.number:
        begin_counting(redis, storage, job, this, run.resources.pulse)
        state = unfinished(redis, job.id)
    if state is not None and state[2]:
        _close(run, this)


def _first_round(run: Run) -> Round:
    spec, counts = DatasetSpec.model_validate(run.job.request), run.job.counts
    calibration = _calibration(run, spec)  # kept from here on, so that every shard judges by the same
    if spec.retry_samples is not None:
        planned = retry_plan(run.resources.storage, run.job, spec.first_try)
        return _open(run, 0, planned, counts, spec, Chooser(spec.filter, calibration).tally)
    if spec.goal is None:
        fresh = Round(
            number=0,
            samples=spec.samples,
            shard_images=spec.shard_images,
            samples_per_mask=spec.samples_per_mask or 1,
            base=counts,
            unfiltered_of=spec.samples,
        )
        return open_round(run.resources.storage, run.job, fresh)
    chooser = Chooser(spec.filter, calibration)
    planned, _ = _for_goal(run, spec, chooser, first_index=0)
    return _open(run, 0, planned, Counts(requested=len(planned), pending=len(planned)), spec, chooser.tally)


def _open(
    run: Run, number: int, planned: list[Planned], base: Counts, spec: DatasetSpec, tally: Tally
) -> Round:
    """Makes a round of these samples durable, with the job's counts that it starts from."""
    wanted = spec.samples if spec.goal is None else sum(wanted_of(spec.goal).values())
    fresh = Round(
        number=number,
        samples=len(planned),
        shard_images=spec.shard_images,
        base=base,
        base_by_category=tally.by_category(),
        unfiltered_of=wanted,
    )
    return open_round(run.resources.storage, run.job, fresh, planned)


def _close(run: Run, this: Round) -> None:
    """Chooses among all tries of all rounds; opens another round for what is lacking, or ends the job."""
    spec = DatasetSpec.model_validate(run.job.request)
    run.enter(Phase.FILTER)
    chooser = Chooser(spec.filter, _calibration(run, spec))
    again: list[Planned] = []
    total = this.base.requested
    pages = write_pages(run.put, _decided(run, chooser, again, spec))
    goal: dict[str, GoalTally] | None = None
    if spec.goal is not None:
        planned, goal = _for_goal(run, spec, chooser, first_index=total)
        again += planned
        total += len(planned)
    if again:
        run.discard()
        run.objects.clear()
        tally = chooser.tally
        retried = sum(1 for one in again if one.first_try)
        base = Counts(
            requested=total,
            accepted=tally.accepted,
            exhausted=tally.exhausted - retried,
            failed=total - len(again) - (tally.accepted + tally.exhausted - retried),
            pending=len(again),
            generated=tally.generated,
            rejected=tally.generated - tally.accepted,
        )
        following = _open(run, this.number + 1, again, base, spec, tally)
        begin_counting(
            run.resources.store.redis, run.resources.storage, run.job, following, run.resources.pulse
        )
        return
    finish_dataset(run, JobStatus.SUCCEEDED, chooser, pages, goal, requested=this.base.requested)


def _decided(run: Run, chooser: Chooser, again: list[Planned], spec: DatasetSpec) -> Iterator[SampleRecord]:
    """The deciding try of each sample; those that only another sample's picture stands against are tried again."""
    for done, tries in enumerate(tries_of(run.resources.storage, run.job, run.resources.pulse)):
        chosen, last = chooser.choose(tries), tries[-1]
        following = last.try_number + 1
        if (
            not chosen.filter.accepted
            and last.filter.accepted
            and following < spec.first_try + spec.filter.max_tries
        ):
            again.append(Planned(index=last.index, mask=last.mask_number, first_try=following))
        if done % 100 == 0:
            run.resources.pulse()
            if run.lease.lost.is_set():
                raise LeaseLost(run.lease.entry_id)
        yield chosen


def _for_goal(
    run: Run, spec: DatasetSpec, chooser: Chooser, *, first_index: int
) -> tuple[list[Planned], dict[str, GoalTally]]:
    assert spec.goal is not None  # noqa: S101
    wanted, storage = wanted_of(spec.goal), run.resources.storage
    record = find_mask_set(storage, run.job.tenant, spec.mask_set_id)
    masks: dict[int, list[int]] = {category_id: [] for category_id in wanted}
    for entry in iterate(storage, run.job.tenant, record):
        for category_id, share in zip(entry.category_ids, entry.shares, strict=True):
            if category_id in masks and share >= LABEL_SHARE:
                masks[category_id].append(entry.number)
    began = run.job.started_at or now()
    limit = spec.goal.max_seconds
    budget = Budget(
        tries=tries_allowed(wanted, spec.goal.max_tries, spec.filter.max_tries) - chooser.tally.generated,
        tries_per_sample=spec.filter.max_tries,
        out_of_time=limit is not None and (now() - began).total_seconds() >= limit,
    )
    return next_samples(wanted, chooser.tally, masks, budget, first_index=first_index)


def _end(run: Run, status: JobStatus, error: JobError | None = None) -> None:
    """Ends the job early with what its shards have made."""
    spec = DatasetSpec.model_validate(run.job.request)
    chooser = Chooser(spec.filter, _calibration(run, spec))
    pages = write_pages(run.put, _decided(run, chooser, [], spec))
    this = last_round(run.resources.storage, run.job)
    requested = run.job.counts.requested if this is None else this.base.requested
    finish_dataset(run, status, chooser, pages, None, error, requested=requested)


def _await_others(run: Run) -> None:
    """Waits until no shard of the job is under way: each stops at its next denoising step, and keeps what it has."""
    ends = time.monotonic() + _CANCEL_WAIT_SECONDS
    while time.monotonic() < ends:
        with reachable():
            leased: Any = run.resources.store.redis.zrange(LEASES, 0, -1)
        if all(
            job_of(entry.decode()) != run.job.id or entry.decode() == run.lease.entry_id for entry in leased
        ):
            return
        run.resources.pulse()
        run.lease.renew()
        time.sleep(0.1)


def _calibration(run: Run, spec: DatasetSpec) -> Calibration | None:
    """The thresholds of this data set: those of its model when it was begun, kept beside it for refiltering."""
    storage, job = run.resources.storage, run.job
    kept = read_calibration(storage, job)
    if kept is not None:
        return kept
    card = run.resources.registry.find(job.tenant, spec.model)
    return keep_calibration(storage, job, calibration_of(card, run.resources.settings))
