"""Jobs: one resource for every kind of work, and the handle that waits for one."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Self

from earthsynth._answers import parse
from earthsynth._async.events import follow
from earthsynth._async.handles import AsyncHandle
from earthsynth._async.pages import AsyncPager
from earthsynth._async.pauses import sleep
from earthsynth._async.saving import save_sample
from earthsynth._requests import delete, get, post, segment
from earthsynth.errors import JobCanceled, JobFailed, WaitTimeout
from earthsynth.types.events import Event, JobNow, ProgressEvent
from earthsynth.types.jobs import JobData, JobKind, JobStatus
from earthsynth.types.samples import Sample
from earthsynth.types.webhooks import Delivery

if TYPE_CHECKING:
    from earthsynth._async.client import AsyncEarthSynth

_POLLED_SECONDS = 20.0  # before a deadline: a stream says something every 15 s, which would be too late
_FIRST_POLL_SECONDS, _SLOWEST_POLL_SECONDS = 0.1, 2.0


class AsyncJob(JobData, AsyncHandle):
    """A job of any kind. Its fields are as of the last answer; `reload`, `wait` and `events` renew them."""

    @property
    def _path(self) -> str:
        return f"/v1/jobs/{segment(self.id, 'the job id')}"

    async def reload(self) -> Self:
        """Asks how the job is now."""
        self._take(self.of(self._client, await self._client._json(get(self._view_path), patient=True)))
        return self

    @property
    def _view_path(self) -> str:
        return self._path

    async def wait(
        self, timeout: float | None = None, *, check: bool = True, poll_seconds: float | None = None
    ) -> Self:
        """Returns when the job has ended, itself brought up to date.

        Follows the job's events; with `poll_seconds` it asks so often instead, as suits a proxy that holds events
        back. `check`: raise JobFailed or JobCanceled where it did not succeed. Raises WaitTimeout after `timeout`
        seconds; the job goes on.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        if poll_seconds is None and not self.ended:
            await self._follow_until(ends)
        await self.reload()
        pause = poll_seconds or _FIRST_POLL_SECONDS
        while not self.ended:
            left = None if ends is None else ends - time.monotonic()
            if left is not None and left <= 0:
                raise WaitTimeout(self, timeout or 0.0)
            await sleep(pause if left is None else min(pause, left))
            pause = poll_seconds or min(1.2 * pause, _SLOWEST_POLL_SECONDS)
            await self.reload()
        await self._loaded()
        return self._checked() if check else self

    async def _follow_until(self, ends: float | None) -> None:
        """Until the job has ended, or the end is so near that only asking is quick enough."""
        if ends is not None and ends - time.monotonic() <= _POLLED_SECONDS:
            return
        async with aclosing(follow(self._client._transport, self.id)) as events:
            async for event in events:
                if event is not None:
                    self._hear(event)
                near = ends is not None and ends - time.monotonic() <= _POLLED_SECONDS
                if near or (event is not None and event.ends):
                    return

    async def _loaded(self) -> None:
        """What a kind of job fetches once it has ended."""

    def _checked(self) -> Self:
        if self.status == "failed":
            raise JobFailed(self, self.error)
        if self.status == "canceled":
            raise JobCanceled(self)
        return self

    async def events(self, last_event_id: str | None = None) -> AsyncGenerator[Event, None]:
        """What happens to the job until it has ended: status, progress, sample, log and resync events.

        Broken connections are opened again after the last event that came; `last_event_id` goes on after one of an
        earlier process. The job's own fields move with the events. The first one says how the job is now.
        """
        async with aclosing(follow(self._client._transport, self.id, last_event_id)) as found:
            async for event in found:
                if event is not None:
                    self._hear(event)
                    yield event

    def _hear(self, event: Event) -> None:
        if isinstance(event, JobNow):
            if event.job is not None:
                self._take(event.job)
            else:
                self.status, self.phase = event.status, event.phase
                self.counts = event.counts or self.counts
        elif isinstance(event, ProgressEvent):
            self.phase, self.progress = event.phase, event.progress
            self.counts = event.counts or self.counts

    def results(self, *, page_size: int = 200) -> AsyncPager[Sample]:
        """The samples of the ended job, exhausted ones too, by index, with fresh URLs."""
        return AsyncPager(
            self._client._transport, f"{self._path}/results", Sample.model_validate, limit=page_size
        )

    async def save(self, folder: str | Path) -> list[Path]:
        """Writes every picture to the folder, with its mask (`.mask.png`) and labels (`.json`); the pictures' paths.

        The bytes are checked against their sha256; exhausted samples without a picture are left out.
        """
        paths: list[Path] = []
        async for sample in self.results():
            path = await save_sample(self._client._transport, sample, Path(folder))
            if path is not None:
                paths.append(path)
        return paths

    async def cancel(self) -> Self:
        """Cancels the job: at once while it waits, within one step while it runs. What is finished is kept."""
        self._take(AsyncJob.of(self._client, await self._client._json(post(f"{self._path}/cancel"))))
        return self

    async def retry(self) -> AsyncJob:
        """A new job for the samples that failed or were exhausted; `retried_from` names this one."""
        return AsyncJob.of(self._client, await self._client._json(post(f"{self._path}/retry")))

    async def delete(self) -> None:
        """Deletes the job and all that belongs to it; cancels it first where it has not ended."""
        await self._client._transport.send(delete(self._path))

    def deliveries(self) -> AsyncPager[Delivery]:
        """The webhooks about this job, newest first, and how their sending went."""
        return AsyncPager(self._client._transport, f"{self._path}/deliveries", Delivery.model_validate)

    async def redeliver(self, delivery_id: str) -> Delivery:
        """Sends a webhook about this job again, with the same webhook-id; a waiting one now."""
        path = f"{self._path}/deliveries/{segment(delivery_id, 'the delivery id')}/redeliver"
        return parse(Delivery, await self._client._transport.send(post(path)))


class AsyncJobs:
    """`client.jobs`"""

    def __init__(self, client: AsyncEarthSynth) -> None:
        self._client = client

    def list(
        self,
        *,
        kind: JobKind | None = None,
        status: JobStatus | None = None,
        custom_id: str | None = None,
        page_size: int = 50,
    ) -> AsyncPager[AsyncJob]:
        """Your jobs, newest first, page after page as they are read."""
        client = self._client
        return AsyncPager(
            client._transport,
            "/v1/jobs",
            lambda item: AsyncJob.of(client, item),
            kind=kind,
            status=status,
            custom_id=custom_id,
            limit=page_size,
        )

    async def get(self, job_id: str) -> AsyncJob:
        """The job as it is now."""
        path = f"/v1/jobs/{segment(job_id, 'the job id')}"
        return AsyncJob.of(self._client, await self._client._json(get(path)))

    def ref(self, job_id: str) -> AsyncJob:
        """A handle of a job whose id is known, without asking for it."""
        job = AsyncJob(id=job_id, kind="unknown", status="unknown")
        job._bind(self._client)
        return job

    async def cancel(self, job_id: str) -> AsyncJob:
        """Cancels the job; the job as it is then."""
        return await self.ref(job_id).cancel()

    async def retry(self, job_id: str) -> AsyncJob:
        """A new job for the samples that failed or were exhausted."""
        return await self.ref(job_id).retry()

    async def delete(self, job_id: str) -> None:
        """Deletes the job and all that belongs to it."""
        await self.ref(job_id).delete()
