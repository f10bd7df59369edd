"""The front half of the queue: what may be queued, and how an entry gets in.

An entry is a job id and a task's name in JSON, nothing else. Its own id says which step of the job it is: the job's
id alone begins it, `…-002-000015` is shard 15 of round 2, `…-end-002` closes round 2, `…-cancel` ends it early.

Where an entry waits, and when its turn comes, is decided in `worker/turns.py`.

RQ resolves a job's function by import path, so whoever
can write to Redis could name `os.system`; our Job class looks the name up in a table instead and imports nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import ClassVar

from redis import Redis
from rq.job import Job as RqJob
from rq.job import JobStatus as RqStatus
from rq.utils import now as rq_now

from worker import turns
from worker.jobs import Job, JobKind
from worker.redis_client import ScriptCall, call_all, reachable

QUEUE_NAME = "generation"
TRAINING_QUEUE = "training"  # of its own, so that a training of hours keeps no picture waiting
TASKS: Mapping[JobKind, str] = {
    JobKind.GENERATION: "worker.tasks.generate",
    JobKind.DATASET: "worker.tasks.conduct",
    JobKind.EXPORT: "worker.tasks.export",
    JobKind.TRAINING: "worker.training.train_model",
}
SHARD_TASK = "worker.tasks.make_shard"

KEEP_SECONDS = 86_400  # RQ's own hash of an ended entry: long enough that a late duplicate is refused


class AllowListJob(RqJob):  # type: ignore[misc]  # rq is not typed
    """An RQ job that runs only what `tasks` holds; the worker process fills it, the API leaves it empty."""

    tasks: ClassVar[Mapping[str, Callable[..., None]]] = {}

    @property
    def func(self) -> Callable[..., None]:
        """The task; raises PermissionError for any other name."""
        name = str(self.func_name)
        if name not in self.tasks:
            raise PermissionError(f"{name!r} is not a task of this worker")
        return self.tasks[name]


def queue_of(kind: JobKind) -> str:
    """The queue on which jobs of that kind wait."""
    return TRAINING_QUEUE if kind is JobKind.TRAINING else QUEUE_NAME


def enqueue(redis: Redis, job: Job) -> bool:
    """Queues the job once; False when it is queued or running already. Atomic, so a lost reply may be repeated."""
    return enqueue_entry(redis, job, job.id, TASKS[job.kind])


def enqueuing(redis: Redis, job: Job) -> ScriptCall:
    """What `enqueue` calls."""
    return _addition(redis, job, job.id, TASKS[job.kind])


def enqueue_entry(redis: Redis, job: Job, entry_id: str, task: str, *, first: bool = False) -> bool:
    """Queues one step of the job once, in its tenant's line; `first`: before everything that waits."""
    with reachable():
        (added,) = call_all(redis, _addition(redis, job, entry_id, task, first=first))
    return bool(added)


def _addition(redis: Redis, job: Job, entry_id: str, task: str, *, first: bool = False) -> ScriptCall:
    queue = queue_of(job.kind)
    entry = AllowListJob.create(
        task,
        args=(job.id,),
        id=entry_id,
        connection=redis,
        serializer="json",
        origin=queue,
        status=RqStatus.QUEUED,
        timeout=-1,  # no SIGALRM inside torch; the supervisor watches progress instead
        result_ttl=KEEP_SECONDS,
        failure_ttl=KEEP_SECONDS,
        description=entry_id,
    )
    entry.enqueued_at = rq_now()
    return turns.addition(redis, queue, entry_id, job.tenant, entry.to_dict(), first=first)


def queue_again(redis: Redis, job: Job, entry_id: str, task: str) -> bool:
    """Queues one step of the job if it neither waits nor is leased; says whether it did."""
    with reachable():
        joined = turns.rejoin(redis, queue_of(job.kind), entry_id, job.tenant)
    return enqueue_entry(redis, job, entry_id, task) if joined is None else joined


def withdraw(redis: Redis, entry_id: str, queue: str = QUEUE_NAME) -> bool:
    """Takes a waiting entry out of the queue; False when no entry is waiting."""
    with reachable():
        return turns.remove(redis, queue, entry_id)


def depth(redis: Redis, queue: str = QUEUE_NAME) -> int:
    """How many entries wait."""
    return depths(redis, "", queue)[0]


def oldest_age_seconds(redis: Redis, queue: str = QUEUE_NAME) -> float:
    """How long the entry that has waited longest has waited; 0 where none waits."""
    with reachable():
        firsts = turns.firsts(redis, queue)
    since = min((datetime.fromisoformat(one) for one in firsts), default=None)
    return 0.0 if since is None else max(0.0, (rq_now() - since).total_seconds())


def depths(redis: Redis, tenant: str, queue: str = QUEUE_NAME) -> tuple[int, int]:
    """How many entries wait, and how many of them are the tenant's."""
    with reachable():
        return turns.lengths(redis, queue, tenant)


def position(redis: Redis, job_id: str, queue: str = QUEUE_NAME) -> int | None:
    """How many entries go before this one (0: next), or None when it is not waiting.

    Counted by turns among the entries that wait now: a tenant that comes later may get a turn before it too.
    """
    with reachable():
        return turns.place(redis, queue, job_id)


def job_of(entry_id: str) -> str:
    return entry_id.partition("-")[0]


def shard_entry(job_id: str, round_number: int, shard: int) -> str:
    return f"{job_id}-{round_number:03d}-{shard:06d}"


def end_entry(job_id: str, round_number: int) -> str:
    return f"{job_id}-end-{round_number:03d}"


def cancel_entry(job_id: str) -> str:
    return f"{job_id}-cancel"


def shard_of(entry_id: str) -> tuple[int, int] | None:
    """The round and shard that the entry is for, or None for another step."""
    _, _, rest = entry_id.partition("-")
    round_number, _, shard = rest.partition("-")
    return (int(round_number), int(shard)) if round_number.isdecimal() and shard.isdecimal() else None
