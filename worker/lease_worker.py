"""RQ's worker and queue, with a lease around every job.

RQ 3.0 alone loses a job whose worker dies between pop and start, and finds a dead SimpleWorker only after the job's
time-out plus 60 s (measured; see ARCHITECTURE.md).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from redis import Redis
from rq import Queue
from rq.exceptions import DequeueTimeout
from rq.job import Job as RqJob
from rq.job import JobStatus as RqStatus
from rq.timeouts import BaseDeathPenalty
from rq.utils import now as rq_now
from rq.worker import SimpleWorker

from worker.lease import GivenBack, Lease, LeaseLost, let_run_out, release, take
from worker.logs import get_logger
from worker.queue import KEEP_SECONDS, AllowListJob

log = get_logger(__name__)


class LeaseQueue(Queue):  # type: ignore[misc]  # rq is not typed
    """A queue whose entries are taken together with a lease. `owner`, `lease_seconds`, `idle`: set once a process."""

    job_class = AllowListJob
    owner = ""
    lease_seconds = 15.0
    poll_seconds = 0.1
    idle: Callable[[], None] = staticmethod(lambda: None)

    def acquire_maintenance_lock(self) -> bool:
        """RQ's registry maintenance requeues without a lock; `give_back` replaces it."""
        return False

    @classmethod
    def dequeue_any(
        cls, queues: list[Queue], timeout: int | None, connection: Redis, **options: Any
    ) -> tuple[RqJob, Queue] | None:
        (queue,) = queues  # one queue a process: turns come from the shard window, not from priorities
        ends = time.monotonic() + (timeout or 0)
        while True:
            cls.idle()
            taken = take(connection, queue.key, owner=cls.owner, seconds=cls.lease_seconds)
            if taken is not None:
                entry_id, token = taken
                fetched = cls._fetch_dequeued_job(connection, queue.key, entry_id, **options)
                if fetched is not None:
                    fetched[0].lease_token = token
                    return fetched  # type: ignore[no-any-return]
            elif timeout is None:
                return None
            elif time.monotonic() >= ends:
                raise DequeueTimeout(timeout, [queue.key])
            else:
                time.sleep(cls.poll_seconds)


class NoAlarm(BaseDeathPenalty):  # type: ignore[misc]  # rq is not typed
    """No SIGALRM in the middle of torch code: the supervisor kills a process that makes no progress."""

    def setup_death_penalty(self) -> None:
        return None

    def cancel_death_penalty(self) -> None:
        return None


class LeaseWorker(SimpleWorker):  # type: ignore[misc]  # rq is not typed
    """RQ's same-process worker (the pipeline stays warm) with a lease around every job."""

    queue_class = LeaseQueue
    job_class = AllowListJob
    death_penalty_class = NoAlarm

    def __init__(self, *args: Any, beat: Redis, **options: Any) -> None:
        super().__init__(*args, serializer="json", **options)
        LeaseQueue.owner = self.name
        self.lease: Lease | None = None
        self.stopping = threading.Event()
        self._beat = beat

    def get_heartbeat_ttl(self, job: RqJob, working_time: float = 0.0) -> int:  # noqa: ARG002
        """A day, so that RQ's own reaper never fires."""
        return 86_400

    def run_maintenance_tasks(self) -> None:
        self.last_cleaned_at = rq_now()

    def request_stop(self, signum: int, frame: Any) -> None:
        self.stopping.set()
        super().request_stop(signum, frame)

    def kill_horse(self, sig: Any = None) -> None:  # noqa: ARG002
        """Makes RQ's own stop command work, by our cancellation."""
        if self.lease:
            self.lease.canceled.set()

    def prepare_execution(self, job: RqJob) -> Any:
        execution = super().prepare_execution(job)
        self.connection.hset(f"es:lease:{job.id}", "execution", execution.id)
        return execution

    def execute_job(self, job: RqJob, queue: Queue) -> None:
        self.lease = Lease(self._beat, job.id, job.lease_token, LeaseQueue.lease_seconds)
        try:
            super().execute_job(job, queue)
        finally:
            self.lease = None

    def _finalize_success(self, job: RqJob, queue: Queue, execution: Any, return_value: Any) -> None:  # noqa: ARG002
        """RQ's own would keep 4 kB of results a day for each entry, and its name in a set for ever."""
        with self.connection.pipeline() as pipe:
            self.cleanup_execution(job, pipe, execution)
            job.set_status(RqStatus.FINISHED, pipeline=pipe)
            pipe.expire(job.key, KEEP_SECONDS)
            pipe.execute()
        release(self.connection, job.id, job.lease_token)

    def _finalize_failure(self, job: RqJob, queue: Queue, execution: Any, exc_info: Any) -> None:  # noqa: ARG002
        """Our tasks end their own jobs and raise only when this attempt must not: the entry then goes back."""
        if not isinstance(exc_info[1], LeaseLost | GivenBack):
            log.error("attempt abandoned", job=job.id, exc_info=exc_info)
        with self.connection.pipeline() as pipe:
            self.cleanup_execution(job, pipe, execution)
            pipe.execute()
        let_run_out(self.connection, job.id, job.lease_token)
