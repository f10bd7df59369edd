"""The window of a round: which of its shards are in the queue, and what the finished ones made, counted in Redis.

A shard is done when its bit is set; setting it counts what it made, and shows which shards come next. Everything here
is rebuilt from the shards' result documents when Redis was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from redis import Redis

from models.model_card import ModelCard
from worker.jobs import Job, JobError, Made
from worker.queue import (
    QUEUE_NAME,
    SHARD_TASK,
    TASKS,
    cancel_entry,
    end_entry,
    enqueue_entry,
    job_of,
    shard_entry,
    shard_of,
    withdraw,
)
from worker.redis_client import reachable
from worker.redis_keys import cancel_key, progress_key, round_key, shards_key
from worker.rounds import Round, ShardResult, commit_shard, read_round, samples_of, shard_results
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.worker_list import WORKERS, live_workers

_ADVANCE = """
-- KEYS: round, shards, progress, workers, cancel
-- ARGV: round, shard or -1, its entry, then names and amounts to add -> {shards done, shards in all, next ones …}
if redis.call('HGET', KEYS[1], 'number') ~= ARGV[1] then return {} end
local shard = tonumber(ARGV[2])
if shard >= 0 and redis.call('SETBIT', KEYS[2], shard, 1) == 0 then
  for i = 4, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
  redis.call('HDEL', KEYS[3], ARGV[3])
end
redis.call('EXPIRE', KEYS[1], 2592000); redis.call('EXPIRE', KEYS[2], 2592000)
local total = tonumber(redis.call('HGET', KEYS[1], 'total'))
local next = tonumber(redis.call('HGET', KEYS[1], 'next'))
local done = redis.call('BITCOUNT', KEYS[2])
local window = math.max(1, redis.call('ZCOUNT', KEYS[4], redis.call('TIME')[1], '+inf'))
local answer = {done, total}
if redis.call('EXISTS', KEYS[5]) == 1 then return answer end
while next < total and next - done < window do
  if redis.call('GETBIT', KEYS[2], next) == 0 then table.insert(answer, next) end
  next = next + 1
end
redis.call('HSET', KEYS[1], 'next', next)
return answer
"""


def begin_counting(
    redis: Redis, storage: Storage, job: Job, this: Round, pulse: Callable[[], None] = lambda: None
) -> None:
    """Tells Redis which round is under way and which of its shards are finished, and fills the window."""
    done: list[int] = []
    totals = dict(_category_amounts(this.base_by_category))
    for result in shard_results(storage, job, this.number, pulse):
        done.append(result.shard)
        for name, amount in _amounts(result):
            totals[name] = totals.get(name, 0) + amount
    undone = next((shard for shard, known in enumerate(done) if shard != known), len(done))
    fields: dict[Any, Any] = {"number": f"{this.number}", "total": this.shards, "next": undone} | totals
    fields["base"] = this.base.model_dump_json()  # in one step with what is counted from it
    with reachable():
        pipe = redis.pipeline()
        pipe.delete(round_key(job.id), shards_key(job.id), progress_key(job.id))
        for shard in done:
            pipe.setbit(shards_key(job.id), shard, 1)
        pipe.hset(round_key(job.id), mapping=fields)
        pipe.execute()
    advance(redis, job, this.number)


def advance(redis: Redis, job: Job, round_number: int, result: ShardResult | None = None) -> None:
    """Counts a finished shard, and queues the next ones; after the last one, the step that closes the round."""
    shard = -1 if result is None else result.shard
    entry = "" if result is None else shard_entry(job.id, round_number, shard)
    amounts: list[Any] = [] if result is None else [part for pair in _amounts(result) for part in pair]
    keys = [round_key(job.id), shards_key(job.id), progress_key(job.id), WORKERS, cancel_key(job.id)]
    with reachable():
        answer: Any = redis.register_script(_ADVANCE)(keys=keys, args=[round_number, shard, entry, *amounts])
    if not answer:
        return
    done, total, *following = (int(number) for number in answer)
    for number in following:
        enqueue_entry(redis, job, shard_entry(job.id, round_number, number), SHARD_TASK)
    if done == total:
        enqueue_entry(redis, job, end_entry(job.id, round_number), TASKS[job.kind], first=True)


def unfinished(redis: Redis, job_id: str) -> tuple[int, list[int], bool] | None:
    """The round under way, its shards that were queued and are not done, and whether all are done; None: no round."""
    with reachable():
        fields: Any = redis.hmget(round_key(job_id), "number", "total", "next")
        number, total, following = fields
        if number is None:
            return None
        bits: Any = redis.get(shards_key(job_id)) or b""
    done = {8 * at + bit for at, byte in enumerate(bits) for bit in range(8) if byte >> (7 - bit) & 1}
    return (
        int(number),
        [shard for shard in range(int(following)) if shard not in done],
        len(done) == int(total),
    )


def by_category(redis: Redis, job_id: str) -> dict[int, tuple[int, int]]:
    """Pictures generated and samples accepted of each category id, over the shards that are done."""
    with reachable():
        fields: Any = redis.hgetall(round_key(job_id))
    found: dict[int, tuple[int, int]] = {}
    for name, amount in fields.items():
        kind, _, category_id = name.decode().partition(":")
        if kind == "generated" and category_id:
            good = fields.get(f"accepted:{category_id}".encode(), 0)
            found[int(category_id)] = (int(amount), int(good))
    return found


def withdraw_shards(redis: Redis, job: Job) -> None:
    """Takes every waiting step of a canceled data set out of the queue, and queues the one that ends it."""
    state = unfinished(redis, job.id)
    if state is not None:
        number, shards, _ = state
        for shard in shards:
            withdraw(redis, shard_entry(job.id, number, shard))
    enqueue_entry(redis, job, cancel_entry(job.id), TASKS[job.kind], first=True)


def finished_shards(redis: Redis, job_id: str) -> tuple[int, int]:
    """How many shards of the round are done, and how many pictures they made."""
    with reachable():
        shards: Any = redis.bitcount(shards_key(job_id))
        generated: Any = redis.hget(round_key(job_id), "generated")
    return int(shards), int(generated or 0)


def _amounts(result: ShardResult) -> Iterator[tuple[str, int]]:
    yield from result.made.model_dump().items()
    yield from _category_amounts(result.by_category)


def _category_amounts(by_category: Mapping[int, tuple[int, int]]) -> Iterator[tuple[str, int]]:
    for category_id, (generated, accepted) in by_category.items():
        yield f"generated:{category_id}", generated
        yield f"accepted:{category_id}", accepted


def give_up_shard(store: Store, storage: Storage, entry_id: str, attempts: int) -> None:
    """Settles a shard whose every attempt lost its worker: its samples have failed, the data set goes on."""
    job, place = store.load(job_of(entry_id)), shard_of(entry_id)
    if job is None or job.ended or place is None:
        return
    number, shard = place
    this = read_round(storage, job, number)
    if this is None:
        return
    lost = ShardResult(
        round=number,
        shard=shard,
        attempt=attempts,
        worker="",
        made=Made(failed=len(samples_of(storage, job, this, shard))),
        error=JobError(
            code="worker_lost",
            detail=f"The worker died in each of {attempts} attempts at samples of shard {shard}.",
            retryable=True,
        ),
    )
    advance(store.redis, job, number, commit_shard(storage, job, lost))


def shard_images(settings: Settings, store: Store, card: ModelCard) -> int:
    """Samples of one shard for new data sets, by the devices that are at work now.

    A few batches: between two shards a GPU waits for about a tenth of a second, and a single picture for a shard.
    """
    if settings.shard_images:
        return settings.shard_images
    generating = [worker for worker in live_workers(store.redis) if worker.queue == QUEUE_NAME]
    on_cuda = any((worker.device or "").startswith("cuda") for worker in generating)
    return 4 * card.batch_size_cuda if on_cuda else 2 * card.batch_size_cpu
