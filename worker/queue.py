"""The front half of the queue: what may be queued, and how an entry gets in.

An entry is a job id and a task's name in JSON, nothing else. Its own id says which step of the job it is: the job's
id alone begins it, `…-002-000015` is shard 15 of round 2, `…-end-002` closes round 2, `…-cancel` ends it early.

RQ resolves a job's function by import path, so whoever
can write to Redis could name `os.system`; our Job class looks the name up in a table instead and imports nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from redis import Redis
from rq import Queue
from rq.exceptions import DuplicateJobError
from rq.job import Job as RqJob

from worker.jobs import Job, JobKind
from worker.store import reachable

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

_WITHDRAW = """
-- KEYS: queue, entry hash, leases ; ARGV: entry id -> 1 when it was still waiting and is gone now
if redis.call('ZSCORE', KEYS[3], ARGV[1]) then return 0 end
local n = redis.call('LREM', KEYS[1], 0, ARGV[1])
if n > 0 then redis.call('DEL', KEYS[2]) return 1 end
return 0
"""


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


def make_queue(redis: Redis, name: str = QUEUE_NAME) -> Queue:
    queue = Queue(name, connection=redis, job_class=AllowListJob, serializer="json")
    queue.redis_server_version = (6, 2, 0)  # what we ask for at least; RQ would ask Redis at every entry
    return queue


def enqueue(redis: Redis, job: Job) -> bool:
    """Queues the job once; False when it is queued or running already. Atomic, so a lost reply may be repeated."""
    return enqueue_entry(redis, job.id, TASKS[job.kind], queue=queue_of(job.kind))


def enqueue_entry(
    redis: Redis, entry_id: str, task: str, *, first: bool = False, queue: str = QUEUE_NAME
) -> bool:
    """Queues one step of a job once; `first`: before everything that waits."""
    with reachable():
        try:
            make_queue(redis, queue).enqueue_call(
                task,
                args=(job_of(entry_id),),
                job_id=entry_id,
                unique=True,
                at_front=first,
                timeout=-1,  # no SIGALRM inside torch; the supervisor watches progress instead
                result_ttl=KEEP_SECONDS,
                failure_ttl=KEEP_SECONDS,
                description=entry_id,
            )
        except DuplicateJobError:
            return False
    return True


def withdraw(redis: Redis, entry_id: str, queue: str = QUEUE_NAME) -> bool:
    """Takes a waiting entry out of the queue; False when no entry is waiting."""
    with reachable():
        return bool(redis.eval(_WITHDRAW, 3, queue_key(queue), entry_key(entry_id), LEASES, entry_id))


def depth(redis: Redis, queue: str = QUEUE_NAME) -> int:
    with reachable():
        length: Any = redis.llen(queue_key(queue))
    return int(length)


def position(redis: Redis, job_id: str, queue: str = QUEUE_NAME) -> int | None:
    """How many entries go before this one (0: next), or None when it is not waiting."""
    with reachable():
        # looked for from the end: most are asked about when they have just come
        found: Any = redis.lpos(queue_key(queue), job_id, rank=-1)
    return None if found is None else int(found)


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


LEASES = "es:leases"  # zset: entry id → when its lease runs out, by Redis' own clock


def queue_key(name: str = QUEUE_NAME) -> str:
    return f"rq:queue:{name}"


def entry_key(entry_id: str) -> str:
    return f"rq:job:{entry_id}"
