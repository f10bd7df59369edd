"""The sender takes deliveries that are due, calls receivers, and says how each ended: one event loop, many receivers.

A delivery's end is told Redis first (it will not be called again), then storage (it survives Redis), and only then
forgotten; whatever dies in between, the next sender goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

from redis.exceptions import RedisError

from models.errors import EarthSynthError, NotFound
from worker.deliveries import Delivery, DeliveryStatus, Fault
from worker.delivery_outcomes import has_outcome, keep_outcome
from worker.delivery_queue import DeliveryQueue, Taken
from worker.jobs import now
from worker.logs import get_logger
from worker.remembered import Remembered
from worker.settings import Settings
from worker.storage import Storage
from worker.webhook_endpoints import Endpoint, change, disabled, find_endpoint
from worker.webhook_sending import Answer, Courier, Message

log = get_logger(__name__)

_T = TypeVar("_T")
_POLL_SECONDS = 0.2
_REST_SECONDS = 1.0  # while Redis does not answer
_AGAIN_SECONDS = 10.0  # while storage does not
_STORAGE_THREADS = 16
_ENDPOINT_SECONDS = 2.0  # for so long a rotation or a deletion may go unnoticed


class WebhookSender:
    """Delivers until told to stop."""

    def __init__(self, settings: Settings, queue: DeliveryQueue, storage: Storage, courier: Courier) -> None:
        self._settings, self._queue, self._storage, self._courier = settings, queue, storage, courier
        self._endpoints: Remembered[tuple[str, str], Endpoint | None] = Remembered(_ENDPOINT_SECONDS)
        self._threads = asyncio.Semaphore(_STORAGE_THREADS)
        self._under_way: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()  # one that has ended makes room for the next

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    async def run(self, stopping: asyncio.Event, pulse: Callable[[], None] = lambda: None) -> None:
        """Takes and delivers until `stopping`; then waits for what is under way, as long as the settings say."""
        stopped = asyncio.create_task(stopping.wait())
        stopped.add_done_callback(lambda _: self._wake.set())
        while not stopping.is_set():
            pulse()
            self._wake.clear()
            room = self._settings.webhook_concurrency - self.under_way
            try:
                taken = await self._queue.take(room) if room > 0 else []
            except RedisError as error:
                log.warning("no deliveries taken", error=str(error))
                await self._pause(_REST_SECONDS)
                continue
            for one in taken:
                self._begin(one)
            if not taken:
                await self._pause(_POLL_SECONDS)
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=self._settings.drain_seconds)
        for task in self._under_way:  # their leases run out, and another sender goes on
            task.cancel()

    def _begin(self, taken: Taken) -> None:
        task = asyncio.create_task(self._deliver(taken))
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._wake.set()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _deliver(self, taken: Taken) -> None:
        delivery = taken.delivery
        try:
            if delivery.status is DeliveryStatus.PENDING:
                if await self._in_thread(lambda: has_outcome(self._storage, delivery)):
                    await self._queue.drop(taken)  # Redis had forgotten that
                    return
                delivery = await self._attempt(taken)
                if delivery.status is DeliveryStatus.PENDING:
                    return
            await self._in_thread(lambda: keep_outcome(self._storage, delivery))
            await self._queue.drop(taken)
        except EarthSynthError as error:
            log.warning("delivery put back", delivery=delivery.id, code=error.code, detail=error.message)
            await self._put_back(taken, delivery, _AGAIN_SECONDS)
        except RedisError as error:
            log.warning(
                "delivery not settled, its lease will run out", delivery=delivery.id, error=str(error)
            )
        except Exception:
            log.exception("delivery failed unexpectedly", delivery=delivery.id)
            await self._put_back(taken, delivery, _AGAIN_SECONDS)

    async def _attempt(self, taken: Taken) -> Delivery:
        """The delivery after one more try; it waits for the next one, or its end is noted."""
        delivery = taken.delivery
        endpoint = await self._endpoint(delivery)
        if endpoint is None or not endpoint.enabled:
            fault = Fault.ENDPOINT_DELETED if endpoint is None else Fault.ENDPOINT_DISABLED
            return await self._noted(taken, delivery.ended(DeliveryStatus.FAILED, fault))
        message = Message(delivery.webhook_id, delivery.body, endpoint.valid_secrets(now()))
        answer = await self._courier.send(delivery.url, message)
        tried = delivery.model_copy(update={"attempts": (*delivery.attempts, answer.attempt)})
        _log(tried, answer)
        if answer.delivered:
            return await self._noted(taken, tried.ended(DeliveryStatus.DELIVERED))
        if answer.attempt.error is Fault.GONE:
            await self._disable(tried)
            return await self._noted(taken, tried.ended(DeliveryStatus.FAILED, Fault.GONE))
        wait = next_wait(len(tried.attempts), self._settings.webhook_retries, answer.retry_after_seconds)
        if wait is None:
            return await self._noted(taken, tried.ended(DeliveryStatus.FAILED, answer.attempt.error))
        tried = tried.model_copy(update={"next_try_at": now() + timedelta(seconds=wait)})
        await self._queue.put_back(taken, tried, seconds=wait)
        return tried

    async def _noted(self, taken: Taken, ended: Delivery) -> Delivery:
        await self._queue.note(taken, ended)
        return ended

    async def _put_back(self, taken: Taken, delivery: Delivery, seconds: float) -> None:
        try:
            await self._queue.put_back(taken, delivery, seconds=seconds)
        except RedisError as error:
            log.warning(
                "delivery not put back, its lease will run out", delivery=delivery.id, error=str(error)
            )

    async def _endpoint(self, delivery: Delivery) -> Endpoint | None:
        key = (delivery.tenant, delivery.endpoint_id)

        def read() -> Endpoint | None:
            try:
                return find_endpoint(self._storage, *key)
            except NotFound:
                return None

        found = await self._in_thread(lambda: self._endpoints.get(key, read))
        if found is None or not found.enabled:  # so that enabling it is noticed at once
            self._endpoints.forget(key)
        return found

    async def _disable(self, delivery: Delivery) -> None:
        reason = (
            f"The receiver answered 410 Gone to {delivery.event} of {delivery.job_id} at "
            f"{delivery.attempts[-1].at.isoformat().replace('+00:00', 'Z')}."
        )
        key = (delivery.tenant, delivery.endpoint_id)

        def switch_off() -> None:
            try:
                change(self._storage, *key, lambda known: disabled(known, reason))
            except NotFound:  # deleted meanwhile
                return

        await self._in_thread(switch_off)
        self._endpoints.forget(key)
        log.warning("webhook endpoint disabled", endpoint=delivery.endpoint_id, reason=reason)

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        async with self._threads:
            return await asyncio.to_thread(call)


def next_wait(attempts: int, schedule: list[float], retry_after_seconds: float | None) -> float | None:
    """Seconds until the next try after so many; None when that was the last one."""
    if attempts > len(schedule):
        return None
    return retry_after_seconds or schedule[attempts - 1]


def _log(delivery: Delivery, answer: Answer) -> None:
    attempt = answer.attempt
    log.info(
        "webhook called",
        delivery=delivery.id,
        job=delivery.job_id,
        webhook_event=delivery.event,
        host=delivery.lane.rpartition(" ")[2],  # not the URL: its query may be a secret
        attempt=len(delivery.attempts),
        status=attempt.status,
        error=attempt.error,
        detail=attempt.detail,
        seconds=attempt.seconds,
    )
