"""Jobs: one resource for every kind of work, and the handle that waits for one."""

# Made by make_sync.py from _async/jobs.py; change it there.

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Self

from earthsynth._answers import parse
from earthsynth._requests import delete, get, post, segment
from earthsynth._sync.events import follow
from earthsynth._sync.handles import Handle
from earthsynth._sync.pages import Pager
from earthsynth._sync.pauses import sleep
from earthsynth._sync.saving import save_sample
from earthsynth.errors import JobCanceled, JobFailed, WaitTimeout
from earthsynth.types.events import Event, JobNow, ProgressEvent
from earthsynth.types.jobs import JobData, JobKind, JobStatus
from earthsynth.types.samples import Sample
from earthsynth.types.webhooks import Delivery

if TYPE_CHECKING:
    from earthsynth._sync.client import EarthSynth

_POLLED_SECONDS = 20.0  # before a deadline: a stream says something every 15 s, which would be too late
_FIRST_POLL_SECONDS, _SLOWEST_POLL_SECONDS = 0.1, 2.0


class Job(JobData, Handle):
    """A job of any kind. Its fields are as of the last answer; `reload`, `wait` and `events` renew them."""

    @property
    def _path(self) -> str:
        return f"/v1/jobs/{segment(self.id, 'the job id')}"

    def reload(self) -> Self:
        """Asks how the job is now."""
        self._take(self.of(self._client, self._client._json(get(self._view_path), patient=True)))
        return self

    @property
    def _view_path(self) -> str:
        return self._path

    def wait(
        self, timeout: float | None = None, *, check: bool = True, poll_seconds: float | None = None
    ) -> Self:
        """Returns when the job has ended, itself brought up to date.

        Follows the job's events; with `poll_seconds` it asks so often instead, as suits a proxy that holds events
        back. `check`: raise JobFailed or JobCanceled where it did not succeed. Raises WaitTimeout after `timeout`
        seconds; the job goes on.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        if poll_seconds is None and not self.ended:
            self._follow_until(ends)
        self.reload()
        pause = poll_seconds or _FIRST_POLL_SECONDS
        while not self.ended:
            left = None if ends is None else ends - time.monotonic()
            if left is not None and left <= 0:
                raise WaitTimeout(self, timeout or 0.0)
            sleep(pause if left is None else min(pause, left))
            pause = poll_seconds or min(1.2 * pause, _SLOWEST_POLL_SECONDS)
            self.reload()
        self._loaded()
        return self._checked() if check else self

    def _follow_until(self, ends: float | None) -> None:
        """Until the job has ended, or the end is so near that only asking is quick enough."""
        if ends is not None and ends - time.monotonic() <= _POLLED_SECONDS:
            return
        with closing(follow(self._client._transport, self.id)) as events:
            for event in events:
                if event is not None:
                    self._hear(event)
                near = ends is not None and ends - time.monotonic() <= _POLLED_SECONDS
                if near or (event is not None and event.ends):
                    return

    def _loaded(self) -> None:
        """What a kind of job fetches once it has ended."""

    def _checked(self) -> Self:
        if self.status == "failed":
            raise JobFailed(self, self.error)
        if self.status == "canceled":
            raise JobCanceled(self)
        return self

    def events(self, last_event_id: str | None = None) -> Generator[Event, None, None]:
        """What happens to the job until it has ended: status, progress, sample, log and resync events.

        Broken connections are opened again after the last event that came; `last_event_id` goes on after one of an
        earlier process. The job's own fields move with the events. The first one says how the job is now.
        """
        with closing(follow(self._client._transport, self.id, last_event_id)) as found:
            for event in found:
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

    def results(self, *, page_size: int = 200) -> Pager[Sample]:
        """The samples of the ended job, exhausted ones too, by index, with fresh URLs."""
        return Pager(self._client._transport, f"{self._path}/results", Sample.model_validate, limit=page_size)

    def save(self, folder: str | Path) -> list[Path]:
        """Writes every picture to the folder, with its mask (`.mask.png`) and labels (`.json`); the pictures' paths.

        The bytes are checked against their sha256; exhausted samples without a picture are left out.
        """
        paths: list[Path] = []
        for sample in self.results():
            path = save_sample(self._client._transport, sample, Path(folder))
            if path is not None:
                paths.append(path)
        return paths

    def cancel(self) -> Self:
        """Cancels the job: at once while it waits, within one step while it runs. What is finished is kept."""
        self._take(Job.of(self._client, self._client._json(post(f"{self._path}/cancel"))))
        return self

    def retry(self) -> Job:
        """A new job for the samples that failed or were exhausted; `retried_from` names this one."""
        return Job.of(self._client, self._client._json(post(f"{self._path}/retry")))

    def delete(self) -> None:
        """Deletes the job and all that belongs to it; cancels it first where it has not ended."""
        self._client._transport.send(delete(self._path))

    def deliveries(self) -> Pager[Delivery]:
        """The webhooks about this job, newest first, and how their sending went."""
        return Pager(self._client._transport, f"{self._path}/deliveries", Delivery.model_validate)

    def redeliver(self, delivery_id: str) -> Delivery:
        """Sends a webhook about this job again, with the same webhook-id; a waiting one now."""
        path = f"{self._path}/deliveries/{segment(delivery_id, 'the delivery id')}/redeliver"
        return parse(Delivery, self._client._transport.send(post(path)))


class Jobs:
    """`client.jobs`"""

    def __init__(self, client: EarthSynth) -> None:
        self._client = client

    def list(
        self,
        *,
        kind: JobKind | None = None,
        status: JobStatus | None = None,
        custom_id: str | None = None,
        page_size: int = 50,
    ) -> Pager[Job]:
        """Your jobs, newest first, page after page as they are read."""
        client = self._client
        return Pager(
            client._transport,
            "/v1/jobs",
            lambda item: Job.of(client, item),
            kind=kind,
            status=status,
            custom_id=custom_id,
            limit=page_size,
        )

    def get(self, job_id: str) -> Job:
        """The job as it is now."""
        path = f"/v1/jobs/{segment(job_id, 'the job id')}"
        return Job.of(self._client, self._client._json(get(path)))

    def ref(self, job_id: str) -> Job:
        """A handle of a job whose id is known, without asking for it."""
        job = Job(id=job_id, kind="unknown", status="unknown")
        job._bind(self._client)
        return job

    def cancel(self, job_id: str) -> Job:
        """Cancels the job; the job as it is then."""
        return self.ref(job_id).cancel()

    def retry(self, job_id: str) -> Job:
        """A new job for the samples that failed or were exhausted."""
        return self.ref(job_id).retry()

    def delete(self, job_id: str) -> None:
        """Deletes the job and all that belongs to it."""
        self.ref(job_id).delete()
