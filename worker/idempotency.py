"""Requests that may be repeated: what a caller's Idempotency-Key began, and what it was answered, in S3.

`begun.json` is created once and fixes the job's id before anything else is done, so that a repeated request, after a
lost answer or a restart of everything, makes the same job or finds it made. A lock in Redis keeps two that come at
the same time apart; where it is lost, two may run, with one job id, and the first stored request wins.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import Base64Bytes
from redis import Redis

from models.errors import InProgress, InvalidInput, NotFound
from worker.jobs import Frozen, new_job_id, now
from worker.layout import idempotency_prefix
from worker.redis_client import reachable
from worker.storage import Storage

KEPT = timedelta(hours=24)
LOCK_SECONDS = 60  # of one that died; whoever is alive renews it
_UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('EXPIRE', KEYS[1], ARGV[2]) end"


class Begun(Frozen):
    """`fingerprint`: sha256 over what is asked; `job_id`: of the job that it makes, if it makes one."""

    fingerprint: str
    job_id: str
    begun_at: datetime
    expires_at: datetime


class KeptAnswer(Frozen):
    """An answer as it was sent, byte for byte."""

    status: int
    headers: Mapping[str, str]
    media_type: str
    body: Base64Bytes


@dataclass(frozen=True, slots=True)
class Repeatable:
    """One key of one caller. `known`: the key was used before, for the same request."""

    prefix: str
    begun: Begun
    known: bool


def begin(storage: Storage, tenant: str, key_id: str, key: str, fingerprint: str) -> Repeatable:
    """What the key began, now or within the last 24 h.

    Raises InvalidInput (idempotency_key_reused) where it began something else.
    """
    digest = hashlib.sha256(f"{key_id}\0{key}".encode()).hexdigest()
    use = 0
    while True:
        prefix = idempotency_prefix(tenant, digest, use)
        at = now()
        fresh = Begun(fingerprint=fingerprint, job_id=new_job_id(at), begun_at=at, expires_at=at + KEPT)
        if storage.create(f"{prefix}begun.json", fresh.model_dump_json().encode(), "application/json"):
            return Repeatable(prefix, fresh, known=False)
        begun = _read_begun(storage, prefix)
        if begun is None:  # refused just now, and forgotten: this one is the first
            continue
        if at >= begun.expires_at:
            use += 1
            continue
        if begun.fingerprint != fingerprint:
            raise InvalidInput(
                "This Idempotency-Key was used for another request within the last 24 hours. Take a new one.",
                code="idempotency_key_reused",
            )
        return Repeatable(prefix, begun, known=True)


def kept_answer(storage: Storage, found: Repeatable) -> KeptAnswer | None:
    """What the request was answered, or None while it was not."""
    try:
        return KeptAnswer.model_validate_json(storage.read(f"{found.prefix}answer.json"))
    except NotFound:
        return None


def keep_answer(storage: Storage, found: Repeatable, answer: KeptAnswer) -> None:
    storage.create(f"{found.prefix}answer.json", answer.model_dump_json().encode(), "application/json")


def forget(storage: Storage, found: Repeatable) -> None:
    """After a refusal, which started nothing: the key may be used for the mended request."""
    storage.delete(found.prefix)


class Lock:
    """Held by the one request that works on the key. Raises InProgress where another one holds it."""

    def __init__(self, redis: Redis, storage: Storage, found: Repeatable) -> None:
        self._redis, self._key, self._token = redis, f"es:repeat:{found.prefix}", secrets.token_hex(8)
        in_progress = InProgress("A request with this Idempotency-Key is under way. Ask again in a second.")
        with reachable():
            if not redis.set(self._key, self._token, nx=True, ex=LOCK_SECONDS):
                raise in_progress
        try:
            current = _read_begun(storage, found.prefix)
        except BaseException:
            self.release()
            raise
        if current != found.begun:  # refused and forgotten since it was read
            self.release()
            raise in_progress

    def renew(self) -> None:
        with reachable():
            self._redis.eval(_RENEW, 1, self._key, self._token, LOCK_SECONDS)

    def release(self) -> None:
        with reachable():
            self._redis.eval(_UNLOCK, 1, self._key, self._token)


def _read_begun(storage: Storage, prefix: str) -> Begun | None:
    try:
        return Begun.model_validate_json(storage.read(f"{prefix}begun.json"))
    except NotFound:
        return None
