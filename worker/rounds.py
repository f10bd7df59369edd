"""Rounds and shards: how the samples of a data set are cut into entries of the queue, and which are under way.

Round 0 makes every sample; a later round tries again what the data set still lacks. A round is cut into shards of
one or a few batches. Only a window of them is queued or under way at a time, as many as there are live workers, so
that jobs take turns. What a shard made is decided by its result document in storage, first writer wins; Redis only
counts, and is rebuilt from those documents when it was lost.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from pydantic import Field, TypeAdapter

from models.errors import NotFound
from worker.jobs import Counts, Frozen, Job, JobError, Made, ModelRef
from worker.layout import round_prefix, shard_result_key, shard_results_prefix
from worker.lookahead import in_order
from worker.storage import Storage

_READ_THREADS = 4  # they wait for S3
_PAGE_SHARDS = 128  # shards whose plan lies in one object


class Planned(Frozen):
    """A sample to make: its index, the number of its mask in the set, and its first try."""

    index: int
    mask: int
    first_try: int = 0


class Round(Frozen):
    """One pass over samples. Without a plan they are 0 … samples - 1 in order, `samples_per_mask` of each mask.

    `base` and `base_by_category`: the job's counts when it was opened. `unfiltered_of`: the size of the data set, of
    which a random sample of first tries is kept whatever the rules say.
    """

    number: int
    samples: int
    shard_images: int
    samples_per_mask: int = 1
    plan: str | None = None
    base: Counts
    base_by_category: dict[int, tuple[int, int]] = Field(default_factory=dict)
    unfiltered_of: int = 0

    @property
    def shards(self) -> int:
        return -(-self.samples // self.shard_images)


class ShardResult(Frozen):
    """What one shard made. `objects` maps every object of the winning attempt to its sha256.

    `by_category`: pictures generated and samples accepted of each category id.
    """

    round: int
    shard: int
    attempt: int
    worker: str
    made: Made
    by_category: dict[int, tuple[int, int]] = Field(default_factory=dict)
    records_key: str | None = None
    objects: dict[str, str] = Field(default_factory=dict)
    model: ModelRef | None = None
    warnings: tuple[str, ...] = ()
    error: JobError | None = None


_PAGE = TypeAdapter(list[tuple[int, int, int]])


def open_round(storage: Storage, job: Job, fresh: Round, planned: Iterable[Planned] | None = None) -> Round:
    """Makes the round durable, unless it is already; returns it as it is. `planned`: its samples, in a plan of pages.

    The plan has a name of its own in every call: one that died before its round was durable must not be met again.
    """
    prefix = round_prefix(job.tenant, job.id)
    if planned is not None:
        fresh = fresh.model_copy(update={"plan": secrets.token_hex(4)})
    rows, page = iter(planned or ()), 0
    while part := [(row.index, row.mask, row.first_try) for row in islice(rows, _page_rows(fresh))]:
        storage.create(_page_key(job, fresh, page), _PAGE.dump_json(part), "application/json")
        page += 1
    body = fresh.model_dump_json().encode()
    if storage.create(f"{prefix}{fresh.number:03d}.json", body, "application/json"):
        return fresh
    return Round.model_validate_json(storage.read(f"{prefix}{fresh.number:03d}.json"))


def read_round(storage: Storage, job: Job, number: int) -> Round | None:
    try:
        body = storage.read(f"{round_prefix(job.tenant, job.id)}{number:03d}.json")
    except NotFound:
        return None
    return Round.model_validate_json(body)


def last_round(storage: Storage, job: Job) -> Round | None:
    """The newest round that is durable."""
    found = None
    while (later := read_round(storage, job, 0 if found is None else found.number + 1)) is not None:
        found = later
    return found


def samples_of(storage: Storage, job: Job, this: Round, shard: int) -> list[Planned]:
    """What the shard has to make."""
    first = shard * this.shard_images
    if this.plan is None:
        return [
            Planned(index=index, mask=index // this.samples_per_mask)
            for index in range(first, min(first + this.shard_images, this.samples))
        ]
    page, within = divmod(shard, _PAGE_SHARDS)
    rows = _PAGE.validate_json(storage.read(_page_key(job, this, page)))
    at = within * this.shard_images
    return [
        Planned(index=index, mask=mask, first_try=first_try)
        for index, mask, first_try in rows[at : at + this.shard_images]
    ]


def read_shard(storage: Storage, job: Job, round_number: int, shard: int) -> ShardResult | None:
    try:
        body = storage.read(shard_result_key(job.tenant, job.id, round_number, shard))
    except NotFound:
        return None
    return ShardResult.model_validate_json(body)


def shard_results(
    storage: Storage, job: Job, round_number: int, pulse: Callable[[], None] = lambda: None
) -> Iterator[ShardResult]:
    """Every finished shard of the round, in order; `pulse` is called now and then."""

    def read(key: str) -> ShardResult:
        return ShardResult.model_validate_json(storage.read(key))

    with ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="read") as threads:
        keys = storage.keys(shard_results_prefix(job.tenant, job.id, round_number))
        for done, result in enumerate(in_order(threads, read, keys, ahead=2 * _READ_THREADS)):
            if done % 50 == 0:
                pulse()
            yield result


def commit_shard(storage: Storage, job: Job, result: ShardResult) -> ShardResult:
    """Makes the shard's result durable, unless it is already; returns the one that counts."""
    key = shard_result_key(job.tenant, job.id, result.round, result.shard)
    if storage.create(key, result.model_dump_json().encode(), "application/json"):
        return result
    return ShardResult.model_validate_json(storage.read(key))


def _page_rows(this: Round) -> int:
    return this.shard_images * _PAGE_SHARDS


def _page_key(job: Job, this: Round, page: int) -> str:
    return f"{round_prefix(job.tenant, job.id)}{this.number:03d}-{this.plan}-{page:06d}.json"
