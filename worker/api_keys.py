"""API keys: who may call, for which tenant, with which scopes. Stored in S3, as hashes only.

A key reads `es_<26 characters>_<secret>`; the 26 characters are its public id `key_…`, under which its record lies.
The secret has 40 characters of 62, which is 238 bits, so a plain sha256 of the key needs no salt and no slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum

from ulid import ULID

from models.errors import FieldError, InvalidInput, NotFound, Unauthorized
from worker.jobs import Frozen, now
from worker.layout import API_KEYS_PREFIX, TENANT, api_key_key, api_key_revocation_key
from worker.remembered import Remembered
from worker.storage import Storage

REVOKED_WITHIN_SECONDS = 2.0  # for so long an API process may believe what it saw of a key
_KEY = re.compile(r"es_([0-9a-hjkmnp-tv-z]{26})_[0-9A-Za-z]{40}")
_KEY_ID = re.compile(r"key_[0-9a-hjkmnp-tv-z]{26}")
_ALPHABET = string.ascii_letters + string.digits
_NOBODY = hashlib.sha256(
    secrets.token_bytes(32)
).hexdigest()  # what the key of an unknown id is compared with


class Scope(StrEnum):
    READ = "read"  # see jobs, masks, results, models, usage
    WRITE = "write"  # make pictures and data sets, keep masks, cancel, delete, set up webhooks
    TRAIN = "train"  # keep training sets, train models, promote them, set the default
    ADMIN = "admin"  # all of these


class KeyRecord(Frozen):
    """What is known of a key. It is good from `not_before` to `expires_at`, where they are given."""

    id: str
    tenant: str
    name: str
    scopes: tuple[Scope, ...]
    sha256: str
    created_at: datetime
    not_before: datetime | None = None
    expires_at: datetime | None = None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


class ListedKey(Frozen):
    """A key, and since when it is revoked; null while it is not."""

    record: KeyRecord
    revoked_at: datetime | None


class _Revocation(Frozen):
    revoked_at: datetime


def create_key(
    storage: Storage,
    *,
    tenant: str,
    name: str,
    scopes: Iterable[Scope],
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
) -> tuple[str, KeyRecord]:
    """A new key, which is told once, and its record. Raises InvalidInput for a tenant's name that is none."""
    if not TENANT.fullmatch(tenant):
        message = "must be 1 to 40 lower-case letters, digits and hyphens, and begin with no hyphen"
        raise InvalidInput(
            f"The tenant {message}.", code="invalid_tenant", errors=[FieldError("/tenant", message)]
        )
    public = str(ULID()).lower()
    key = f"es_{public}_" + "".join(secrets.choice(_ALPHABET) for _ in range(40))
    record = KeyRecord(
        id=f"key_{public}",
        tenant=tenant,
        name=name,
        scopes=tuple(sorted(set(scopes))),
        sha256=_hash(key),
        created_at=now(),
        not_before=not_before,
        expires_at=expires_at,
    )
    storage.create(api_key_key(record.id), record.model_dump_json().encode(), "application/json")
    return key, record


def revoke_key(storage: Storage, key_id: str) -> ListedKey:
    """The key, which no request is let in with any more; may be repeated. Raises NotFound."""
    record = _read(storage, key_id)
    if record is None:
        raise NotFound(f"There is no key {key_id!r}; see earthsynth keys list.", code="key_not_found")
    body = _Revocation(revoked_at=now()).model_dump_json().encode()
    storage.create(api_key_revocation_key(key_id), body, "application/json")
    return ListedKey(record=record, revoked_at=_revoked_at(storage, key_id))


def list_keys(storage: Storage, tenant: str | None = None) -> Iterator[ListedKey]:
    """Every key, revoked ones too, the oldest first."""
    for key_id in storage.folders(API_KEYS_PREFIX):
        record = _read(storage, key_id)
        if record is not None and tenant in (None, record.tenant):
            yield ListedKey(record=record, revoked_at=_revoked_at(storage, key_id))


class KeyRing:
    """Says whose a key is. What it saw in storage it believes for `seconds`, so that a revocation is soon felt."""

    def __init__(self, storage: Storage, *, seconds: float = REVOKED_WITHIN_SECONDS) -> None:
        self._storage = storage
        self._seen: Remembered[str, KeyRecord | None] = Remembered(seconds)
        self._any: Remembered[str, bool] = Remembered(seconds)
        self._locked = False

    def is_at_hand(self, key: str | None) -> bool:
        """Whether the answer on that key, or on having none, is known without a look at storage."""
        if key is None:
            return self._locked or self._any.is_fresh("any")
        found = _KEY.fullmatch(key)
        return found is None or self._seen.is_fresh(f"key_{found[1]}")

    def needs_key(self) -> bool:
        """Whether there is any key, a revoked one too: from the first key on nobody comes in without one. Blocks."""
        if not self._locked:
            self._locked = self._any.get("any", self._has_any)
        return self._locked

    def verify(self, key: str) -> KeyRecord:
        """The record of a good key. Blocks now and then. Raises Unauthorized, without saying what is wrong.

        Every wrong key costs the same: one look for its id at most, and one comparison in constant time.
        """
        found = _KEY.fullmatch(key)
        record = (
            None
            if found is None
            else self._seen.get(f"key_{found[1]}", lambda: self._good(f"key_{found[1]}"))
        )
        matches = hmac.compare_digest(_hash(key), record.sha256 if record else _NOBODY)
        at = now()
        if (
            record is None
            or not matches
            or (record.not_before is not None and at < record.not_before)
            or (record.expires_at is not None and at >= record.expires_at)
        ):
            raise Unauthorized(
                "This API key is not valid, or no longer. Ask whoever runs this service for one."
            )
        return record

    def _good(self, key_id: str) -> KeyRecord | None:
        record = _read(self._storage, key_id)
        return None if record is None or _revoked_at(self._storage, key_id) is not None else record

    def _has_any(self) -> bool:
        return next(iter(self._storage.folders(API_KEYS_PREFIX)), None) is not None


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _read(storage: Storage, key_id: str) -> KeyRecord | None:
    if not _KEY_ID.fullmatch(key_id):
        return None
    try:
        return KeyRecord.model_validate_json(storage.read(api_key_key(key_id)))
    except NotFound:
        return None


def _revoked_at(storage: Storage, key_id: str) -> datetime | None:
    try:
        return _Revocation.model_validate_json(storage.read(api_key_revocation_key(key_id))).revoked_at
    except NotFound:
        return None
