"""What happens to a job, as a log that can be followed: for each job a Redis stream, and a channel that is its bell.

The stream keeps about the last 5,000 events, for a day after the last one. Each rings the bell, which only those hear
who follow the job. No result depends on an event. When Redis loses them, whoever follows starts again from the
record.

The Lua functions here are parts of the scripts in `store` and `lease`, so that a change and its event are one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic_core import to_json
from redis import Redis

from worker.jobs import Job, now


class Event(StrEnum):
    STATUS = "status"  # the record has another status, phase or number of attempts
    PROGRESS = "progress"  # a worker has reported, and a quarter of a second has passed since the last one
    SAMPLE = "sample"  # a sample of a generation is settled
    LOG = "log"  # a worker says something for people
    RESYNC = "resync"  # events are lost, so that a follower needs the record as it is now; never in the log


BELL = "es:bell"  # channel on which every process that has followers listens; nothing is said on it
KEPT_EVENTS = 5000

APPEND = f"""
-- Errors are passed over: a full Redis must not keep a record or a lease from being written.
local function append(log, job, event, data)
  redis.pcall('XADD', log, 'MAXLEN', '~', {KEPT_EVENTS}, '*', 'event', event, 'data', data)
  redis.pcall('EXPIRE', log, 86400)
  redis.pcall('PUBLISH', '{BELL}:' .. job, '')
end

-- A progress event with the counts of the whole data set, where the job is one: its other shards report too.
local function whole(data, round, reports, began)
  local base = redis.call('HGET', round, 'base')
  if not base then return data end
  local said, counts, made = cjson.decode(data), cjson.decode(base), {{}}
  for _, name in ipairs({{'accepted', 'exhausted', 'failed', 'generated'}}) do
    made[name] = tonumber(redis.call('HGET', round, name) or 0)
  end
  for _, report in ipairs(redis.call('HVALS', reports)) do
    for name, number in pairs(cjson.decode(report).made) do made[name] = made[name] + number end
  end
  for name, number in pairs(made) do counts[name] = counts[name] + number end
  counts.pending = counts.pending - made.accepted - made.exhausted - made.failed
  counts.rejected = counts.rejected + made.generated - made.accepted
  local settled, time = counts.requested - counts.pending, redis.call('TIME')
  said.counts, said.progress.done, said.progress.total = counts, settled, counts.requested
  said.progress.eta_seconds = cjson.null
  if settled > 0 and began > 0 then
    said.progress.eta_seconds = math.floor((tonumber(time[1]) - began) / settled * counts.pending)
  end
  return cjson.encode(said)
end

-- Appends the progress that came too soon after another; returns whether there was any.
local function release(log, job, held, round, reports)
  local found = redis.call('HMGET', held, 'data', 'began')
  if not found[1] then return false end
  redis.call('HDEL', held, 'data')
  append(log, job, 'progress', whole(found[1], round, reports, tonumber(found[2])))
  return true
end
"""
_PUBLISH = (
    APPEND
    + """
-- KEYS: record, log ; ARGV: job id, event, data: nothing follows the end of a job
local status = redis.call('HGET', KEYS[1], 'status')
if status == 'queued' or status == 'running' then append(KEYS[2], ARGV[1], ARGV[2], ARGV[3]) end
"""
)


def publish(redis: Redis, job_id: str, event: Event, data: Mapping[str, Any]) -> None:
    """Appends an event to the log of a job that has not ended. Raises RedisError."""
    keys = [f"es:job:{job_id}", log_key(job_id)]
    redis.register_script(_PUBLISH)(keys=keys, args=[job_id, event.value, as_json(data)])


def status_of(job: Job) -> dict[str, Any]:
    """What a status event says of the job. `attempts` is their number; `error` the code of a failed job's."""
    return {
        "status": job.status,
        "phase": job.phase,
        "attempts": len(job.attempts),
        "counts": job.counts,
        "error": job.error.code if job.error else None,
        "at": now(),
    }


def progress_of(job: Job) -> dict[str, Any]:
    """What a progress event says of the job."""
    return {"phase": job.phase, "progress": job.progress, "counts": job.counts, "at": now()}


def as_json(data: Mapping[str, Any]) -> str:
    """JSON on one line. A loss that is not finite is null, which every client can read."""
    return to_json(data, inf_nan_mode="null", fallback=str).decode()


def bell_of(job_id: str) -> str:
    """The channel on which something is said when the job has a new event."""
    return f"{BELL}:{job_id}"


def log_key(job_id: str) -> str:
    return f"es:events:{job_id}"


def held_key(job_id: str) -> str:
    """Hash: when the last progress event was appended (at), and the one that came too soon (data, began)."""
    return f"es:held:{job_id}"
