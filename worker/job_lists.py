"""A tenant's jobs, newest first: an index by id in Redis, gone through from any place on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from worker.jobs import Job, JobKind, JobStatus
from worker.redis_client import reachable
from worker.redis_keys import index_key, record_key
from worker.store import Store

_CHUNK = 500
_MOST_SCANNED = 20_000  # of one request; a page that ends there may be short, and says where to go on


def list_jobs(
    store: Store,
    tenant: str,
    *,
    limit: int,
    before: str | None = None,
    kind: JobKind | None = None,
    status: JobStatus | None = None,
    custom_id: str | None = None,
) -> tuple[list[Job], str | None]:
    """Up to `limit` jobs older than the id `before`, and the id to go on before; None where no more can follow."""
    found: list[str] = []
    last = before
    scan = _scan(store, index_key(tenant, custom_id), before, kind, status)
    for scanned, (job_id, is_wanted) in enumerate(scan):
        if len(found) == limit or scanned == _MOST_SCANNED:
            return store.load_all(found), last
        last = job_id
        if is_wanted:
            found.append(job_id)
    return store.load_all(found), None


def _scan(
    store: Store, index: str, before: str | None, kind: JobKind | None, status: JobStatus | None
) -> Iterator[tuple[str, bool]]:
    """Every id of the index, newest first, and whether its job is of that kind and has that status."""
    while True:
        with reachable():
            top = f"({before}" if before else "+"
            raw: Any = store.redis.zrevrangebylex(index, top, "-", start=0, num=_CHUNK)
            ids = [job_id.decode() for job_id in raw]
            if not ids:
                return
            pipe = store.redis.pipeline(transaction=False)
            for job_id in ids:
                pipe.hmget(record_key(job_id), "kind", "status")
            facts = pipe.execute()
        for job_id, (its_kind, its_status) in zip(ids, facts, strict=True):
            yield (
                job_id,
                its_status is not None
                and (kind is None or its_kind == kind.encode())
                and (status is None or its_status == status.encode()),
            )
        before = ids[-1]
