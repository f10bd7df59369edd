"""Every event arrives, whatever receivers, senders and Redis do; on a real Redis and a real S3 server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from models.errors import Conflict
from tests.receivers import Call, answer, receiver
from tests.waiting import until
from tests.worker.sending import accepted, finished, open_settings, queue_of, sender, started
from worker import delivery_log
from worker.deliveries import Delivery, DeliveryStatus, Fault, delivery_id, webhook_id
from worker.delivery_log import deliveries_of_job, redeliver
from worker.delivery_outcomes import keep_outcome, outcomes
from worker.delivery_queue import Taken, backlog
from worker.intake import Intake
from worker.jobs import Job, JobKind, JobStatus, now
from worker.layout import deliveries_prefix
from worker.reconcile import reconcile
from worker.results import Result, result_key
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.webhook_endpoints import change, delete_endpoint, enabled, endpoint_id, find_endpoint, rotated
from worker.webhook_sender import next_wait
from worker.webhook_specs import WebhookEvent

SCHEDULE = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]  # api.md, in seconds


@pytest.fixture
def config(settings: Settings) -> Settings:
    return open_settings(settings)


@pytest.fixture
def sending(config: Settings, storage: Storage, redis: Redis) -> Iterator[None]:
    with sender(config, storage):
        yield


def ended_deliveries(storage: Storage, *jobs: Job) -> list[Delivery]:
    return [one for job in jobs for one in outcomes(storage, job.tenant, job.id)]


def wait_for(storage: Storage, count: int, *jobs: Job) -> list[Delivery]:
    """The jobs' deliveries once so many of them have ended."""
    return until(
        lambda: found if len(found := ended_deliveries(storage, *jobs)) >= count else None, seconds=30
    )


def secret_of(storage: Storage, url: str) -> str:
    return find_endpoint(storage, "local", endpoint_id("local", url)).secret


def test_a_job_tells_how_it_begins_and_ends(sending: None, store: Store, storage: Storage) -> None:
    with receiver(answer(200)) as found:
        job = accepted(store, storage, found.url, custom_id="c1", metadata={"k": "v"})
        ended = finished(store, storage, job)
        deliveries = wait_for(storage, 2, job)
    secret = secret_of(storage, found.url)
    told = {call.verified(secret)["type"]: call for call in found.calls}
    assert told.keys() == {"job.started", "job.succeeded"}
    message = told["job.succeeded"].verified(secret)
    assert ended.finished_at is not None
    assert message["timestamp"] == ended.finished_at.isoformat().replace("+00:00", "Z")
    data = message["data"]
    assert (data["id"], data["status"], data["kind"]) == (job.id, "succeeded", "generation")
    assert (data["custom_id"], data["metadata"], data["error"]) == ("c1", {"k": "v"}, None)
    assert "request" not in data
    begin = told["job.started"].verified(secret)["data"]
    assert (begin["status"], begin["finished_at"]) == ("running", None)
    assert {one.status for one in deliveries} == {DeliveryStatus.DELIVERED}
    for one in deliveries:
        assert one.webhook_id == webhook_id(job.id, one.event) == told[one.event].webhook_id
        assert one.body.encode() == told[one.event].body


@pytest.mark.parametrize(
    ("kind", "status", "events"),
    [
        (JobKind.GENERATION, JobStatus.FAILED, {"job.started", "job.failed"}),
        (JobKind.DATASET, JobStatus.CANCELED, {"job.started", "job.canceled"}),
        (JobKind.EXPORT, JobStatus.SUCCEEDED, {"job.started", "job.succeeded", "dataset.export.ready"}),
        (JobKind.EXPORT, JobStatus.FAILED, {"job.started", "job.failed"}),
        (JobKind.TRAINING, JobStatus.SUCCEEDED, {"job.started", "job.succeeded"}),
    ],
)
def test_which_events_a_job_has(
    redis: Redis, store: Store, storage: Storage, kind: JobKind, status: JobStatus, events: set[str]
) -> None:
    request = {"dataset_id": "job_d", "options": {"format": "coco"}} if kind is JobKind.EXPORT else {}
    job = accepted(store, storage, "https://hooks.example.com/", kind=kind, request=request)
    finished(store, storage, job, status)
    intake = Intake(Settings(), store, storage)
    waiting = deliveries_of_job(intake, job)
    assert {one.event.value for one in waiting} == events
    assert all(one.status is DeliveryStatus.PENDING for one in waiting)
    ready = [one for one in waiting if one.event is WebhookEvent.EXPORT_READY]
    assert all('"format":"coco"' in one.body and '"dataset_id":"job_d"' in one.body for one in ready)


def test_a_job_canceled_while_it_waits_never_began(redis: Redis, store: Store, storage: Storage) -> None:
    job = accepted(store, storage, "https://hooks.example.com/")
    Intake(Settings(), store, storage).cancel("local", job.id)
    assert (
        redis.exists(f"es:hook:{delivery_id(job.id, WebhookEvent.JOB_STARTED, job.webhooks[0].endpoint_id)}")
        == 0
    )


def test_half_of_the_calls_fail_and_every_event_arrives_under_one_id(
    sending: None, store: Store, storage: Storage
) -> None:
    """A receiver that fails, is slow, redirects, is busy: each event is acknowledged once, under one webhook-id."""
    tries: Counter[str] = Counter()
    lock = threading.Lock()
    acknowledged: list[str] = []
    failures = [answer(500), answer(301, "Location: https://example.com/"), answer(429, "Retry-After: -1")]

    def moody(connection: object, call: Call) -> None:
        with lock:
            tries[call.webhook_id] += 1
            number = tries[call.webhook_id]
        if number == 2:
            time.sleep(0.05)
        if number <= 3 and hash(call.webhook_id) % 2:
            failures[number - 1](connection, call)  # type: ignore[arg-type]
            return
        with lock:
            acknowledged.append(call.webhook_id)
        answer(200)(connection, call)  # type: ignore[arg-type]

    with receiver(moody) as found:
        jobs = [finished(store, storage, accepted(store, storage, found.url)) for _ in range(10)]
        deliveries = wait_for(storage, 20, *jobs)
    secret = secret_of(storage, found.url)
    assert sorted(acknowledged) == sorted(one.webhook_id for one in deliveries)
    assert len(set(acknowledged)) == 20
    for call in found.calls:
        call.verified(secret)
    by_id = {one.webhook_id: one for one in deliveries}
    assert all(len(by_id[one].attempts) == count for one, count in tries.items())
    assert {len(one.attempts) for one in deliveries} == {1, 4}
    unlucky = next(one for one in deliveries if len(one.attempts) == 4)
    errors = [attempt.error for attempt in unlucky.attempts]
    assert errors == [Fault.STATUS, Fault.REDIRECT, Fault.STATUS, None]


def test_the_schedule_is_that_of_the_contract() -> None:
    schedule = Settings().webhook_retries
    assert [next_wait(tried, schedule, None) for tried in range(1, 11)] == [*SCHEDULE, None]
    assert next_wait(1, schedule, 120) == 120
    assert next_wait(10, schedule, 120) is None


def test_what_is_never_acknowledged_is_given_up(sending: None, store: Store, storage: Storage) -> None:
    with receiver(answer(500)) as found:
        job = accepted(store, storage, found.url)
        started(store, job)
        (one,) = wait_for(storage, 1, job)
    assert (one.status, one.error, len(one.attempts)) == (DeliveryStatus.FAILED, Fault.STATUS, 10)
    assert len({call.webhook_id for call in found.calls}) == 1
    assert len({call.body for call in found.calls}) == 1


def test_a_waiting_delivery_says_when_it_is_tried_next(
    settings: Settings, redis: Redis, store: Store, storage: Storage
) -> None:
    config = open_settings(settings, webhook_retry_seconds="5,300")
    intake = Intake(config, store, storage)
    with receiver(answer(503, "Retry-After: 7200")) as found, sender(config, storage):
        job = accepted(store, storage, found.url)
        started(store, job)
        one = until(lambda: next((d for d in deliveries_of_job(intake, job) if d.attempts), None))
        assert one.next_try_at is not None
        assert timedelta(seconds=7100) < one.next_try_at - now() <= timedelta(seconds=7200)
        found.behaviour = answer(200)
        until(lambda: not redis.hexists(f"es:hook:{one.id}", "taken"))
        assert redeliver(intake, job, one.id).status is DeliveryStatus.PENDING, "what waits is tried at once"
        (told,) = wait_for(storage, 1, job)
    assert told.status is DeliveryStatus.DELIVERED
    assert [attempt.status for attempt in told.attempts] == [503, 200]


def test_u71_410_disables_the_endpoint_and_says_why_until_it_is_enabled_again(
    sending: None, config: Settings, store: Store, storage: Storage
) -> None:
    intake = Intake(config, store, storage)
    with receiver(answer(410)) as found:
        job = accepted(store, storage, found.url)
        started(store, job)
        (gone,) = wait_for(storage, 1, job)
        endpoint = find_endpoint(storage, "local", job.webhooks[0].endpoint_id)
        assert (gone.status, gone.error) == (DeliveryStatus.FAILED, Fault.GONE)
        assert not endpoint.enabled
        assert f"410 Gone to job.started of {job.id}" in (endpoint.disabled_reason or "")
        finished(store, storage, job)
        missed = next(one for one in wait_for(storage, 2, job) if one.id != gone.id)
        assert (missed.error, missed.attempts) == (Fault.ENDPOINT_DISABLED, ())
        assert len(found.calls) == 1, "it is not called any more"
        with pytest.raises(Conflict, match="410 Gone"):
            redeliver(intake, job, missed.id)

        change(storage, "local", endpoint.id, enabled)
        found.behaviour = answer(200)
        redeliver(intake, job, missed.id)
        again = until(lambda: next((one for one in ended_deliveries(storage, job) if one.number == 1), None))
    assert (again.id, again.status, again.body) == (missed.id, DeliveryStatus.DELIVERED, missed.body)
    assert found.calls[-1].webhook_id == missed.webhook_id
    assert found.calls[-1].verified(endpoint.secret)["type"] == "job.succeeded"


def test_a_rotated_secret_signs_beside_the_old_one_for_a_day(
    sending: None, store: Store, storage: Storage
) -> None:
    with receiver(answer(200)) as found:
        job = accepted(store, storage, found.url)
        old = secret_of(storage, found.url)
        made = change(storage, "local", job.webhooks[0].endpoint_id, rotated)
        started(store, job)
        until(lambda: found.calls)
    assert made.secret != old
    assert found.calls[0].verified(old) == found.calls[0].verified(made.secret)
    assert len(found.calls[0].headers["webhook-signature"].split(" ")) == 2
    assert made.valid_secrets(now() + timedelta(hours=23, minutes=59)) == [made.secret, old]
    assert made.valid_secrets(now() + timedelta(hours=24, minutes=1)) == [made.secret]


def test_a_deleted_endpoint_is_not_called(sending: None, store: Store, storage: Storage) -> None:
    with receiver(answer(200)) as found:
        job = accepted(store, storage, found.url)
        delete_endpoint(storage, "local", job.webhooks[0].endpoint_id)
        started(store, job)
        (one,) = wait_for(storage, 1, job)
    assert (one.status, one.error, found.calls) == (DeliveryStatus.FAILED, Fault.ENDPOINT_DELETED, [])


def test_a_deleted_jobs_deliveries_leave_nothing_behind(
    sending: None, redis: Redis, store: Store, storage: Storage
) -> None:
    with receiver(answer(200)) as found:
        job = accepted(store, storage, found.url)
        storage.delete(f"local/jobs/{job.id}/")
        started(store, job)
        until(lambda: found.calls and not redis.keys("es:hook:*"))
    assert list(storage.keys(f"local/jobs/{job.id}/")) == []


def test_all_of_redis_is_lost_and_what_was_not_told_is_told(
    config: Settings, redis: Redis, store: Store, storage: Storage
) -> None:
    with receiver(answer(200)) as found:
        told = finished(store, storage, accepted(store, storage, found.url))
        with sender(config, storage):
            wait_for(storage, 2, told)
        assert len(found.calls) == 2
        untold = finished(store, storage, accepted(store, storage, found.url), JobStatus.FAILED)
        redis.flushall()
        reconcile(redis, store, storage, config)
        with sender(config, storage):
            wait_for(storage, 4, told, untold)
            until(lambda: not redis.keys("es:hook:*"))
    ids = [call.webhook_id for call in found.calls]
    expected = [(told, "job.succeeded"), (untold, "job.failed")]
    assert sorted(ids) == sorted(
        webhook_id(job.id, WebhookEvent(event)) for job, end in expected for event in ("job.started", end)
    ), "what was told before is not told again"


def test_a_worker_that_dies_between_result_and_record_loses_no_event(
    config: Settings, redis: Redis, store: Store, storage: Storage
) -> None:
    with receiver(answer(200)) as found:
        job = started(store, accepted(store, storage, found.url))
        result = Result(job=job.advance(JobStatus.SUCCEEDED))
        storage.create(result_key("local", job.id), result.model_dump_json().encode(), "application/json")
        reconcile(redis, store, storage, config)
        with sender(config, storage):
            wait_for(storage, 2, job)
    assert {call.webhook_id for call in found.calls} == {
        webhook_id(job.id, WebhookEvent.JOB_STARTED),
        webhook_id(job.id, WebhookEvent.JOB_SUCCEEDED),
    }


def take_and_die(config: Settings, *, noting: bool = False) -> Taken:
    """A sender that takes one delivery, perhaps hears that it arrived, and is never seen again."""

    async def work() -> Taken:
        async with AsyncRedis.from_url(config.redis_url.get_secret_value()) as redis:
            queue = queue_of(config, redis)
            (taken,) = await queue.take(1)
            if noting:
                assert await queue.note(taken, taken.delivery.ended(DeliveryStatus.DELIVERED))
            return taken

    return asyncio.run(work())


def test_a_dead_senders_delivery_is_tried_by_another(
    config: Settings, redis: Redis, store: Store, storage: Storage
) -> None:
    with receiver(answer(200)) as found:
        job = started(store, accepted(store, storage, found.url))
        taken = take_and_die(config)
        with sender(config, storage):
            (one,) = wait_for(storage, 1, job)
    assert one.id == taken.delivery.id
    assert len(found.calls) == 1

    async def settle_late() -> bool:
        async with AsyncRedis.from_url(config.redis_url.get_secret_value()) as other:
            return await queue_of(config, other).put_back(taken, taken.delivery, seconds=0)

    assert not asyncio.run(settle_late()), "whoever comes back from the dead has lost its lease"


def test_a_sender_that_dies_before_the_outcome_is_kept_does_not_call_twice(
    config: Settings, redis: Redis, store: Store, storage: Storage
) -> None:
    with receiver(answer(200)) as found:
        job = started(store, accepted(store, storage, found.url))
        take_and_die(config, noting=True)
        with sender(config, storage):
            (one,) = wait_for(storage, 1, job)
    assert one.status is DeliveryStatus.DELIVERED
    assert found.calls == []


@pytest.mark.parametrize("last_read", ["waiting", "outcomes"])
def test_a_delivery_that_ends_while_it_is_listed_is_listed_all_the_same(
    config: Settings,
    redis: Redis,
    store: Store,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    last_read: str,
) -> None:
    """It goes from Redis to storage right after one of the two was read."""
    job = started(store, accepted(store, storage, "http://127.0.0.1:9/"))
    taken = take_and_die(config, noting=True)
    read: Any = getattr(delivery_log, last_read)

    def read_and_end(*args: Any) -> list[Delivery]:
        found = list(read(*args))
        settle(config, storage, taken)
        return found

    monkeypatch.setattr(delivery_log, last_read, read_and_end)
    (one,) = deliveries_of_job(Intake(config, store, storage), job)
    assert (one.id, one.status) == (taken.delivery.id, DeliveryStatus.DELIVERED)
    assert not redis.exists(f"es:hook:{one.id}")


def test_the_backlog_is_what_waits_and_how_late_it_is(
    config: Settings, redis: Redis, store: Store, storage: Storage
) -> None:
    assert backlog(redis) == (0, 0)
    jobs = [started(store, accepted(store, storage, f"http://127.0.0.{host}:9/")) for host in (1, 2, 2)]
    time.sleep(0.2)
    count, late_seconds = backlog(redis)
    assert count == len(jobs)
    assert 0.2 <= late_seconds < 20
    for _ in jobs:
        take_and_die(config)
    assert backlog(redis) == (3, 0), "what is under way is not late until its lease runs out"


def settle(config: Settings, storage: Storage, taken: Taken) -> bool:
    """What a sender does when a delivery has arrived; False when the lease was lost."""
    keep_outcome(storage, taken.delivery.ended(DeliveryStatus.DELIVERED))

    async def drop() -> bool:
        async with AsyncRedis.from_url(config.redis_url.get_secret_value()) as other:
            return await queue_of(config, other).drop(taken)

    return asyncio.run(drop())


def test_what_has_just_arrived_is_told_again_although_its_sender_still_holds_it(
    config: Settings, redis: Redis, store: Store, storage: Storage
) -> None:
    intake = Intake(config, store, storage)
    with receiver(answer(200)) as found:
        job = started(store, accepted(store, storage, found.url))
        taken = take_and_die(config, noting=True)
        asked = [redeliver(intake, job, taken.delivery.id) for _ in range(2)]
        assert {(one.number, one.status) for one in asked} == {(1, DeliveryStatus.PENDING)}
        assert not settle(config, storage, taken), "it is another delivery's lease now"
        with sender(config, storage):
            until(lambda: any(one.number == 1 for one in ended_deliveries(storage, job)))
    assert [call.webhook_id for call in found.calls] == [taken.delivery.webhook_id]
    keys = list(storage.keys(deliveries_prefix(job.tenant, job.id)))
    assert [key[-9:] for key in keys] == ["0000.json", "0001.json"], "how it ended before is kept"


def test_u79_one_slow_host_holds_nobody_else_up(
    settings: Settings, redis: Redis, store: Store, storage: Storage
) -> None:
    """1,000 deliveries of one tenant wait for a host that does not answer; those to other hosts go at once."""
    release = threading.Event()
    held: set[str] = set()
    at_once: list[int] = []

    def slow(connection: object, call: Call) -> None:
        held.add(call.webhook_id)
        at_once.append(len(held))
        release.wait(30)
        time.sleep(0.02)
        held.remove(call.webhook_id)  # before it answers: after that the sender may call again
        answer(200)(connection, call)  # type: ignore[arg-type]

    config = open_settings(settings, webhook_lease_seconds=60)
    with receiver(slow) as stuck, receiver(answer(200), host="127.0.0.2") as quick:
        job = accepted(store, storage, stuck.url)
        for number in range(1000):
            store.create(
                job.model_copy(
                    update={"id": f"job_{number:026d}", "started_at": now(), "status": JobStatus.RUNNING}
                )
            )
        with sender(config, storage):
            until(lambda: len(held) == config.webhook_host_concurrency)
            own = started(store, accepted(store, storage, quick.url))
            other = started(store, accepted(store, storage, quick.url, tenant="other"))
            told = wait_for(storage, 2, own, other)
            assert {one.status for one in told} == {DeliveryStatus.DELIVERED}
            assert len(stuck.calls) == len(held) == 4, "all of it while the slow host holds its four"
            release.set()
            until(lambda: len(stuck.calls) >= 20)
        assert max(at_once) == 4


def test_one_tenant_has_so_many_under_way_and_no_more(
    settings: Settings, redis: Redis, store: Store, storage: Storage
) -> None:
    config = open_settings(settings, webhook_lease_seconds=60)
    for number in range(6):
        for _ in range(3):
            started(store, accepted(store, storage, f"https://h{number}.example.com/"))
    started(store, accepted(store, storage, "https://h9.example.com/", tenant="other"))

    async def take_all() -> list[Taken]:
        async with AsyncRedis.from_url(config.redis_url.get_secret_value()) as other:
            queue, found = queue_of(config, other), []
            for _ in range(4):
                found += await queue.take(100)
            return found

    tenants = Counter(one.delivery.tenant for one in asyncio.run(take_all()))
    assert tenants == {"local": 8, "other": 1}
