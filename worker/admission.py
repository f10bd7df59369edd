"""Whether one more job of a tenant may come in.

Places of open jobs are counted where the records are: a record that is created or ends takes or frees its place in
the same script (worker/store.py). Whatever else became of a record, its place is found free when they run out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from models.errors import Overloaded
from worker.jobs import Job, JobKind
from worker.queue import depths, queue_of
from worker.redis_client import reachable
from worker.redis_keys import open_key
from worker.settings import Settings
from worker.store import Store

_ASKED_SECONDS = 60  # a job that is not known so long after its place was taken never came
_LOOKED_AT = 5

_TAKE_PLACE = """
-- KEYS: open jobs of the tenant ; ARGV: job id or '' (then: only look), limit, seconds -> 1 when there is a place
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 1 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  local now = tonumber(redis.call('TIME')[1])
  for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local status = redis.call('HGET', 'es:job:' .. id, 'status')
    local lost = not status and tonumber(redis.call('ZSCORE', KEYS[1], id)) < now - tonumber(ARGV[3])
    if lost or (status and status ~= 'queued' and status ~= 'running') then redis.call('ZREM', KEYS[1], id) end
  end
  if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
end
if ARGV[1] ~= '' then redis.call('ZADD', KEYS[1], redis.call('TIME')[1], ARGV[1]) end
return 1
"""


def check_depth(settings: Settings, store: Store, tenant: str, kind: JobKind) -> None:
    """Raises Overloaded: tenant_queue_full or queue_full, where so many wait that another would wait too long."""
    waiting, own = depths(store.redis, tenant, queue_of(kind))
    if own >= settings.max_tenant_queue_depth:
        detail = f"{own} of your jobs are waiting already. Wait until some have begun, or cancel some."
        raise Overloaded(detail, code="tenant_queue_full")
    if waiting >= settings.max_queue_depth:
        raise Overloaded(f"{waiting} jobs are waiting already. Try again later.")


@contextmanager
def one_of_the_open(settings: Settings, store: Store, job: Job) -> Iterator[None]:
    """Counts the job as open from now on, unless what is done inside fails. Raises Overloaded: too_many_jobs."""
    check_place(settings, store, job.tenant, job.id)
    try:
        yield
    except BaseException:
        _free(store.redis, job)
        raise


def check_place(settings: Settings, store: Store, tenant: str, job_id: str = "") -> None:
    """Takes one of the tenant's places for the job; without an id it only looks whether there is one.

    Raises Overloaded: too_many_jobs. A job that has a place keeps it.
    """
    limit = settings.max_concurrent_jobs
    if not limit:
        return
    with reachable():
        args: list[Any] = [job_id, limit, _ASKED_SECONDS]
        taken: Any = store.redis.register_script(_TAKE_PLACE)(keys=[open_key(tenant)], args=args)
    if not taken:
        raise Overloaded(
            f"{limit} of your jobs are queued or running, the limit. Wait until one has ended, or cancel one.",
            code="too_many_jobs",
            retry_after_seconds=_seconds_until_one_ends(store, tenant),
        )


def _free(redis: Redis, job: Job) -> None:
    """For a job that could not be accepted. Where Redis does not answer, its place is found free in a minute."""
    try:
        redis.zrem(open_key(job.tenant), job.id)
    except RedisError:
        return


def _seconds_until_one_ends(store: Store, tenant: str) -> int:
    """When the first of the tenant's oldest open jobs will have ended, 1 to 60; 10 where none says so yet."""
    with reachable():
        oldest: Any = store.redis.zrange(open_key(tenant), 0, _LOOKED_AT - 1)
    jobs = [store.load(job_id.decode()) for job_id in oldest]
    etas = [job.progress.eta_seconds for job in jobs if job and job.progress.eta_seconds is not None]
    return round(min(max(min(etas, default=10.0), 1.0), 60.0))
