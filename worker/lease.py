"""Leases: an entry of the queue belongs to one worker, and survives its death.

Each move of an entry (taken, renewed, released, given back) is one Lua script, so that no crash can fall between two
halves of it. Every start of an entry gets a larger token ("fence"); only the newest token holds the lease.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from worker.events import APPEND, Event, held_key, log_key, publish
from worker.logs import get_logger
from worker.queue import job_of
from worker.redis_client import reachable
from worker.redis_keys import cancel_key, progress_key, record_key, round_key
from worker.turns import LEASES, LINES, entry_key

log = get_logger(__name__)

_NOW = "local t = redis.call('TIME'); local now = tonumber(t[1]) + tonumber(t[2]) / 1e6\n"
_TAKE = (
    _NOW
    + LINES
    + """
-- KEYS: leases, queue ; ARGV: owner, lease seconds -> {entry id, token}; entries that need no run are dropped
local queue = string.sub(KEYS[2], 10)
while true do
  local id, tenant, number = redis.call('LPOP', KEYS[2]), nil, nil
  if not id then id, tenant, number = pop(queue) end
  if not id then return false end
  local status = redis.call('HGET', 'es:job:' .. (string.match(id, '^[^-]+') or ''), 'status')
  if redis.call('EXISTS', 'rq:job:' .. id) == 1 and (status == 'queued' or status == 'running')
     and not redis.call('ZSCORE', KEYS[1], id) then
    if tenant then served(queue, tenant, number) end
    local token = redis.call('INCR', 'es:fence:' .. id)
    redis.call('EXPIRE', 'es:fence:' .. id, 2592000)
    redis.call('HSET', 'es:lease:' .. id, 'owner', ARGV[1], 'token', token, 'queue', KEYS[2])
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), id)
    return {id, token}
  end
  if tenant then go(queue, tenant) end
end
"""
)
_RENEW = (
    APPEND
    + _NOW
    + """
-- KEYS: leases, fence, cancel, progress, record, log, held, round
-- ARGV: entry id, token, lease seconds, report or '', job id, event or '', 1: at once, begin of the job or 0
-- -> {held, canceled}
if redis.call('GET', KEYS[2]) ~= ARGV[2] or not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {0, 0} end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[4], ARGV[1], ARGV[4]); redis.call('EXPIRE', KEYS[4], 86400) end
if redis.call('HGET', KEYS[5], 'status') == 'running' then
  if ARGV[6] ~= '' then
    redis.call('HSET', KEYS[7], 'data', ARGV[6], 'began', ARGV[8]); redis.call('EXPIRE', KEYS[7], 86400)
  end
  if ARGV[7] == '1' or now - tonumber(redis.call('HGET', KEYS[7], 'at') or 0) >= 0.25 then
    if release(KEYS[6], ARGV[5], KEYS[7], KEYS[8], KEYS[4]) then redis.call('HSET', KEYS[7], 'at', now) end
  end
end
return {1, redis.call('EXISTS', KEYS[3])}
"""
)
_RELEASE = """
-- KEYS: leases, lease, fence ; ARGV: entry id, token
if redis.call('GET', KEYS[3]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1]); redis.call('DEL', KEYS[2])
return 1
"""
_YIELD = """
-- KEYS: leases, fence ; ARGV: entry id, token: lets our own lease run out now
if redis.call('GET', KEYS[2]) == ARGV[2] and redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  redis.call('ZADD', KEYS[1], 0, ARGV[1])
end
"""
_GIVE_BACK = (
    _NOW
    + """
-- KEYS: leases, lease, entry, spared, record ; ARGV: entry id, owner or '' (then: only when run out), max attempts
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not ends then return 'free' end
if ARGV[2] == '' then if tonumber(ends) > now then return 'held' end
elseif redis.call('HGET', KEYS[2], 'owner') ~= ARGV[2] then return 'held' end
local ex = redis.call('HGET', KEYS[2], 'execution')
local queue = redis.call('HGET', KEYS[2], 'queue')
if ex then
  redis.call('ZREM', 'rq:wip:' .. string.sub(queue, 10), ARGV[1] .. ':' .. ex)
  redis.call('DEL', 'rq:execution:' .. ARGV[1] .. ':' .. ex)
  redis.call('ZREM', 'rq:executions:' .. ARGV[1], ex)
end
redis.call('ZREM', KEYS[1], ARGV[1]); redis.call('DEL', KEYS[2])
local status = redis.call('HGET', KEYS[5], 'status')
if status ~= 'queued' and status ~= 'running' then return 'ended' end
if redis.call('EXISTS', KEYS[3]) == 0 then return 'gone' end
local starts = tonumber(redis.call('GET', 'es:fence:' .. ARGV[1]) or '0')
if starts - tonumber(redis.call('GET', KEYS[4]) or '0') >= tonumber(ARGV[3]) then return 'exhausted' end
redis.call('HSET', KEYS[3], 'status', 'queued'); redis.call('HDEL', KEYS[3], 'worker_name')
redis.call('LPUSH', queue, ARGV[1])
return 'requeued'
"""
)


class LeaseLost(BaseException):
    """Another worker has this entry now. Not an Exception: no library's `except Exception` may swallow it."""


class GivenBack(BaseException):
    """This process is to end: its attempt keeps what can be gone on from, and the entry is any worker's again."""


class Canceled(BaseException):
    """The client canceled the job. Not an Exception, for the same reason."""


class Lease:
    """One start of one entry by this process."""

    def __init__(self, redis: Redis, entry_id: str, token: int, seconds: float) -> None:
        self.entry_id = entry_id
        self.job_id = job_of(entry_id)
        self.token = token
        self.seconds = seconds
        self.lost = threading.Event()
        self.canceled = threading.Event()
        self._redis = redis
        self._renew = redis.register_script(_RENEW)

    def renew(
        self, report: str = "", event: str = "", *, at_once: bool = False, began: datetime | None = None
    ) -> None:
        """Extends the lease and stores the report; notes loss and cancellation for `check`.

        `event`: what followers hear of it, four times a second at most: what comes sooner waits for the next renewal
        or for the job's next status, and only the latest is kept. `at_once`: it does not wait. `began`: when the
        job did.

        A Redis that does not answer is no reason to throw away work in hand: who has the job is decided when
        `result.json` is created.
        """
        keys = [
            LEASES,
            f"es:fence:{self.entry_id}",
            cancel_key(self.job_id),
            progress_key(self.job_id),
            record_key(self.job_id),
            log_key(self.job_id),
            held_key(self.job_id),
            round_key(self.job_id),
        ]
        args: list[Any] = [self.entry_id, self.token, self.seconds, report]
        args += [self.job_id, event, int(at_once), began.timestamp() if began else 0]
        try:
            held, canceled = self._renew(keys=keys, args=args)
        except RedisError as error:
            log.warning("lease not renewed", job=self.job_id, error=str(error))
            return
        if not held:
            self.lost.set()
        if canceled:
            self.canceled.set()

    def tell(self, event: Event, data: Mapping[str, Any]) -> None:
        """Tells the job's followers something now. They miss it when Redis does not answer."""
        if self.lost.is_set():
            return
        try:
            publish(self._redis, self.job_id, event, data)
        except RedisError as error:
            log.warning("event not published", job=self.job_id, event_kind=event, error=str(error))

    def spare(self) -> None:
        """Something was made that a next attempt goes on from: the starts until now no longer count."""
        try:
            self._redis.set(spared_key(self.entry_id), self.token, ex=2_592_000)
        except RedisError as error:
            log.warning("progress not noted", job=self.job_id, error=str(error))

    def check(self) -> None:
        """Raises LeaseLost or Canceled; called at every denoising step."""
        if self.lost.is_set():
            raise LeaseLost(self.entry_id)
        if self.canceled.is_set():
            raise Canceled(self.job_id)


def take(redis: Redis, queue_key: str, *, owner: str, seconds: float) -> tuple[str, int] | None:
    """The next entry of the queue and its token, leased to that worker for so long; None where nothing waits."""
    taken: Any = redis.register_script(_TAKE)(keys=[LEASES, queue_key], args=[owner, seconds])
    return (taken[0].decode(), int(taken[1])) if taken else None


def release(redis: Redis, entry_id: str, token: int) -> None:
    """Ends the lease of an entry that is done, unless a newer token has it."""
    keys = [LEASES, f"es:lease:{entry_id}", f"es:fence:{entry_id}"]
    redis.register_script(_RELEASE)(keys=keys, args=[entry_id, token])


def let_run_out(redis: Redis, entry_id: str, token: int) -> None:
    """Ends the lease of an entry that is not done: whoever looks next gives it back."""
    redis.register_script(_YIELD)(keys=[LEASES, f"es:fence:{entry_id}"], args=[entry_id, token])


def spared_key(entry_id: str) -> str:
    """Holds how many starts of the entry do not count, because something that stays was made since."""
    return f"es:spared:{entry_id}"


def starts_that_count(redis: Redis, entry_id: str, starts: int) -> int:
    """How many of so many starts of the entry have left nothing that stays: those that are limited."""
    with reachable():
        spared: Any = redis.get(spared_key(entry_id))
    return starts - int(spared or 0)


def give_back(redis: Redis, *, owner: str = "", max_attempts: int) -> list[tuple[str, str]]:
    """Puts entries of dead workers back in the queue; returns (entry id, outcome) of each.

    Without `owner`: entries whose lease ran out. With it: every entry of that (dead) worker, at once. Any process may
    call it at any time; the script decides atomically, so exactly one caller wins. Outcome `exhausted` means that the
    last allowed attempt is over: the caller ends the job.
    """
    script = redis.register_script(_GIVE_BACK)
    ids: Any
    if owner:
        ids = redis.zrange(LEASES, 0, -1)
    else:
        seconds, micros = redis.time()
        ids = redis.zrangebyscore(LEASES, 0, seconds + micros / 1e6)
    outcomes = []
    for raw in ids:
        entry_id = raw.decode()
        keys = [
            LEASES,
            f"es:lease:{entry_id}",
            entry_key(entry_id),
            spared_key(entry_id),
            record_key(job_of(entry_id)),
        ]
        outcome = script(keys=keys, args=[entry_id, owner, max_attempts]).decode()
        if outcome not in {"held", "free"}:
            outcomes.append((entry_id, outcome))
    return outcomes
