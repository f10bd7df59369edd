"""The log of a job's events, on a real Redis: what must be told is, what comes too often is not."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from tests.waiting import until
from tests.worker.datasets import Steps
from tests.worker.records import make_job
from tests.worker.test_runtime import add_sample
from worker.events import KEPT_EVENTS, Event, bell_of, log_key, publish
from worker.jobs import Attempt, Job, JobStatus, Phase, Progress, now
from worker.lease import Lease
from worker.redis_client import connect
from worker.redis_keys import progress_key
from worker.run import Resources, Run
from worker.runtime import perform
from worker.samples import SampleStatus
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store

Told = list[tuple[str, dict[str, Any]]]


def told(redis: Redis, job_id: str) -> Told:
    entries: Any = redis.xrange(log_key(job_id))
    return [(fields[b"event"].decode(), json.loads(fields[b"data"])) for _, fields in entries]


def of_kind(redis: Redis, job_id: str, kind: Event) -> list[dict[str, Any]]:
    return [data for event, data in told(redis, job_id) if event == kind]


def test_every_change_of_status_phase_or_attempts_is_told_and_no_other(store: Store, redis: Redis) -> None:
    job = make_job()
    store.create(job)
    store.create(job)
    first = Attempt(number=1, worker="w1", started_at=now())
    changes: list[Callable[[Job], Job]] = [
        lambda j: j.model_copy(update={"warnings": ("w",)}),
        lambda j: j.advance(JobStatus.RUNNING, phase=Phase.CONDITIONS, attempts=(first,)),
        lambda j: j.model_copy(update={"progress": Progress(total=2, done=1)}),
        lambda j: j,
        lambda j: j.advance(JobStatus.RUNNING, attempts=(*j.attempts, first)),
        lambda j: j.advance(JobStatus.RUNNING, phase=Phase.UPLOAD),
        lambda j: j.advance(JobStatus.SUCCEEDED),
        lambda j: j.model_copy(update={"warnings": ()}),
    ]
    for change in changes:
        store.update(job.id, change)
    assert [event for event, _ in told(redis, job.id)] == ["status"] * 5
    seen = [(data["status"], data["phase"], data["attempts"]) for _, data in told(redis, job.id)]
    assert seen == [
        ("queued", None, 0),
        ("running", "conditions", 1),
        ("running", "conditions", 2),
        ("running", "upload", 2),
        ("succeeded", None, 2),
    ]


def test_a_lost_race_for_a_record_is_told_once(store: Store, redis: Redis) -> None:
    job = make_job()
    store.create(job)
    other = Store(redis)

    def overtaken(found: Job) -> Job:
        other.update(job.id, lambda j: j if j.warnings else j.model_copy(update={"warnings": ("x",)}))
        return found if found.ended else found.advance(JobStatus.CANCELED)

    store.update(job.id, overtaken)
    assert [data["status"] for _, data in told(redis, job.id)] == ["queued", "canceled"]


def test_each_event_rings_the_bell(store: Store, redis: Redis) -> None:
    with redis.pubsub(ignore_subscribe_messages=True) as bell:
        job = make_job()
        channel = bell_of(job.id)
        bell.subscribe(channel)
        until(lambda: bell.subscribed and redis.pubsub_numsub(channel)[0][1] == 1, 5)
        store.create(job)
        publish(redis, job.id, Event.LOG, {"message": "ü"})
        rung: list[Any] = []
        until(lambda: rung.append(bell.get_message(timeout=1)) or len([r for r in rung if r]) == 2, 5)
    assert [message["channel"].decode() for message in rung if message] == [channel, channel]


def test_progress_is_told_four_times_a_second_with_the_first_and_the_last(
    resources: Resources, lease: Lease, redis: Redis
) -> None:
    steps, seconds = 300, 0.0

    def many(run: Run) -> None:
        nonlocal seconds
        began = time.monotonic()
        run.enter(Phase.SYNTHESIS)
        for step in range(1, steps + 1):
            run.step(0, step, steps)
        add_sample(run, 0)
        add_sample(run, 1)
        run.step(1, steps, steps)
        seconds = time.monotonic() - began

    perform(resources, lease, many)
    progress = of_kind(redis, lease.job_id, Event.PROGRESS)
    assert 2 <= len(progress) <= 3 + seconds / 0.25, (len(progress), seconds)
    assert (progress[0]["phase"], progress[0]["progress"]["step"]) == ("synthesis", 0)
    assert progress[-1]["counts"]["accepted"] == 2
    assert (progress[-1]["progress"]["done"], progress[-1]["progress"]["step"]) == (2, steps)
    assert [event for event, _ in told(redis, lease.job_id)][-2:] == ["progress", "status"]
    seen = [(data["progress"]["done"], data["progress"]["step"]) for data in progress]
    assert seen == sorted(seen)


def test_every_phase_is_told_however_short(resources: Resources, lease: Lease, redis: Redis) -> None:
    phases = [Phase.CONDITIONS, Phase.SYNTHESIS, Phase.FILTER, Phase.UPLOAD]

    def quick(run: Run) -> None:
        for phase in phases:
            run.enter(phase)

    perform(resources, lease, quick)
    assert [data["phase"] for data in of_kind(redis, lease.job_id, Event.PROGRESS)] == phases


def test_progress_that_was_held_back_comes_with_the_next_heartbeat(
    resources: Resources, lease: Lease, redis: Redis
) -> None:
    def stands_still(run: Run) -> None:
        run.enter(Phase.SYNTHESIS)
        run.step(0, 1, 9)
        run.step(0, 2, 9)
        assert len(of_kind(redis, lease.job_id, Event.PROGRESS)) == 1
        until(lambda: (lease.renew(), len(of_kind(redis, lease.job_id, Event.PROGRESS)) == 2)[1], 5)
        lease.renew()

    perform(resources, lease, stands_still)
    steps = [data["progress"]["step"] for data in of_kind(redis, lease.job_id, Event.PROGRESS)]
    assert steps == [0, 2]


def test_metrics_are_told_and_what_is_not_finite_is_null(
    resources: Resources, lease: Lease, redis: Redis
) -> None:
    def train(run: Run) -> None:
        run.report(Progress(total=2, done=1, metrics={"loss_global": 0.25, "loss_local": math.nan}))

    perform(resources, lease, train)
    (progress,) = of_kind(redis, lease.job_id, Event.PROGRESS)
    assert progress["progress"]["metrics"] == {"loss_global": 0.25, "loss_local": None}


def test_logs_and_settled_samples_are_told(resources: Resources, lease: Lease, redis: Redis) -> None:
    def talk(run: Run) -> None:
        run.log("checkpoint saved", step=7, loss=math.inf)
        run.warn(("the prompt was cut off",))
        add_sample(run, 1)
        rejected = run.records[1, 0].model_copy(update={"index": 0, "status": SampleStatus.REJECTED})
        run.add(rejected)
        run.add(rejected.model_copy(update={"try_number": 1, "status": SampleStatus.EXHAUSTED}))

    perform(resources, lease, talk)
    saved, warning = of_kind(redis, lease.job_id, Event.LOG)
    assert (saved["level"], saved["message"]) == ("info", "checkpoint saved")
    assert (saved["fields"], saved["attempt"]) == ({"step": 7, "loss": None}, 1)
    assert (warning["level"], warning["message"]) == ("warning", "the prompt was cut off")
    samples = of_kind(redis, lease.job_id, Event.SAMPLE)
    assert [(data["index"], data["status"]) for data in samples] == [(1, "accepted"), (0, "exhausted")]


def test_nothing_follows_the_end(resources: Resources, lease: Lease, redis: Redis, store: Store) -> None:
    def late(run: Run) -> None:
        run.enter(Phase.SYNTHESIS)
        store.update(run.job.id, lambda job: job.advance(JobStatus.CANCELED))
        run.log("too late")
        add_sample(run, 0)
        run.enter(Phase.UPLOAD)

    perform(resources, lease, late)
    events = told(redis, lease.job_id)
    assert events[-1][1]["status"] == "canceled"
    assert [event for event, _ in events].count("status") == 3


def test_an_attempt_that_lost_its_lease_is_not_heard(
    resources: Resources, lease: Lease, redis: Redis
) -> None:
    def overtaken(run: Run) -> None:
        run.enter(Phase.SYNTHESIS)
        redis.incr(f"es:fence:{run.job.id}")
        run.report(run.progress)
        before = told(redis, run.job.id)
        run.log("nobody hears this")
        add_sample(run, 0)
        run.enter(Phase.UPLOAD)
        assert told(redis, run.job.id) == before

    perform(resources, lease, overtaken)


def test_a_redis_that_is_away_fails_nothing(
    resources: Resources, lease: Lease, settings: Settings, store: Store
) -> None:
    url = type(settings.redis_url)("redis://127.0.0.1:1/0")
    away = connect(settings.model_copy(update={"redis_url": url}))

    def cut_off(run: Run) -> None:
        run.lease = Lease(away, lease.entry_id, lease.token, lease.seconds)
        run.log("nobody hears this")
        add_sample(run, 0)
        run.step(1, 1, 1)

    perform(resources, lease, cut_off)
    job = store.load(lease.job_id)
    assert job is not None
    assert job.status is JobStatus.SUCCEEDED


def test_the_log_is_a_window_of_a_day(store: Store, redis: Redis) -> None:
    job = make_job()
    store.create(job)
    for number in range(KEPT_EVENTS + 1000):
        publish(redis, job.id, Event.LOG, {"message": number})
    kept = redis.xlen(log_key(job.id))
    assert KEPT_EVENTS <= kept < KEPT_EVENTS + 500
    assert told(redis, job.id)[-1][1]["message"] == KEPT_EVENTS + 999
    assert 86_000 < redis.ttl(log_key(job.id)) <= 86_400


def test_a_data_set_is_told_as_a_whole(
    settings: Settings, redis: Redis, store: Store, storage: Storage
) -> None:
    """The script's sums are those of the record with its reports, which Python adds up."""
    steps = Steps(settings, redis, store, storage)
    job = steps.submit({4}, {5}, {4, 5}, samples_per_mask=2)
    compared = 0

    def look(run: Run) -> None:
        nonlocal compared
        elsewhere = {
            "made": {"accepted": 1, "exhausted": 1, "failed": 0, "generated": 4},
            "progress": {"total": 6},
            "phase": "synthesis",
            "started_at": "2026-01-01T00:00:00+00:00",
        }
        redis.hset(progress_key(job.id), "elsewhere", json.dumps(elsewhere))
        before = len(of_kind(redis, job.id, Event.PROGRESS))
        run.enter(Phase.SYNTHESIS)
        until(lambda: (run.lease.renew(), len(of_kind(redis, job.id, Event.PROGRESS)) > before)[1], seconds=2)
        told_last = of_kind(redis, job.id, Event.PROGRESS)[-1]
        record = store.load(job.id)
        assert record is not None
        assert told_last["phase"] == record.phase == "synthesis"
        assert told_last["counts"] == record.counts.model_dump()
        for name in ("done", "total", "unit", "step", "steps", "metrics"):
            assert told_last["progress"][name] == getattr(record.progress, name), name
        settled = compared > 0  # no shard had ended before the first one
        if settled:
            assert told_last["progress"]["eta_seconds"] == pytest.approx(record.progress.eta_seconds, abs=2)
        redis.hdel(progress_key(job.id), "elsewhere")
        compared += 1

    steps.before_shard = look
    steps.all()
    assert compared == 3
    assert of_kind(redis, job.id, Event.SAMPLE) == []
    last_event, last = told(redis, job.id)[-1]
    assert (last_event, last["status"], last["counts"]["accepted"]) == ("status", "succeeded", 6)
