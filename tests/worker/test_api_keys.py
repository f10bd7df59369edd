"""API keys in a real bucket."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from models.errors import InvalidInput, NotFound, Unauthorized
from worker.api_keys import KeyRing, Scope, create_key, list_keys, revoke_key
from worker.jobs import now
from worker.storage import Storage


def test_only_a_hash_is_stored(storage: Storage) -> None:
    key, record = create_key(storage, tenant="acme", name="ci", scopes=[Scope.WRITE, Scope.READ])
    stored = b"".join(storage.read(name) for name in storage.keys(""))
    assert key.encode() not in stored
    assert key[30:].encode() not in stored
    assert hashlib.sha256(key.encode()).hexdigest().encode() in stored
    assert record.scopes == (Scope.READ, Scope.WRITE)
    assert KeyRing(storage).verify(key) == record


def test_nearly_the_key_is_not_the_key(storage: Storage) -> None:
    key, _ = create_key(storage, tenant="acme", name="", scopes=[Scope.READ])
    other, _ = create_key(storage, tenant="zenith", name="", scopes=[Scope.READ])
    last = "a" if key[-1] != "a" else "b"
    ring = KeyRing(storage)
    wrong = [
        key[:-1] + last,
        key[:-1],
        key + key,
        key.upper(),
        f"{key[:29]}_{other[30:]}",
        "",
        " " + key,
        "es_",
    ]
    sentences = set()
    for text in wrong:
        with pytest.raises(Unauthorized) as caught:
            ring.verify(text)
        sentences.add((caught.value.code, caught.value.message))
    assert len(sentences) == 1  # what is wrong with it is not told


def test_a_revoked_key_is_refused_once_what_was_seen_is_old(storage: Storage) -> None:
    key, record = create_key(storage, tenant="acme", name="", scopes=[Scope.READ])
    remembers, looks = KeyRing(storage, seconds=60), KeyRing(storage, seconds=0)
    assert remembers.verify(key) == looks.verify(key) == record
    first = revoke_key(storage, record.id)
    assert first.revoked_at is not None
    assert revoke_key(storage, record.id) == first  # repeated: as it was
    assert remembers.verify(key) == record
    with pytest.raises(Unauthorized):
        looks.verify(key)
    assert looks.needs_key()  # nobody comes in without one because the last is revoked
    assert [found.revoked_at for found in list_keys(storage)] == [first.revoked_at]


def test_a_key_has_its_time(storage: Storage) -> None:
    past, future = now() - timedelta(hours=1), now() + timedelta(hours=1)
    ring = KeyRing(storage)
    spans = {
        (None, past): False,
        (future, None): False,
        (past, future): True,
    }
    for (not_before, expires_at), good in spans.items():
        key, _ = create_key(
            storage, tenant="a", name="", scopes=[Scope.READ], not_before=not_before, expires_at=expires_at
        )
        if good:
            ring.verify(key)
        else:
            with pytest.raises(Unauthorized):
                ring.verify(key)


def test_needs_key_from_the_first_one_on(storage: Storage) -> None:
    ring = KeyRing(storage, seconds=0)
    assert not ring.needs_key()
    create_key(storage, tenant="acme", name="", scopes=[Scope.READ])
    assert ring.needs_key()


@pytest.mark.parametrize("tenant", ["", "Acme", "-a", "_keys", "a/b", "a" * 41, "ä", "a\n"])
def test_a_tenant_is_a_name_that_can_stand_in_a_key(storage: Storage, tenant: str) -> None:
    with pytest.raises(InvalidInput, match="tenant"):
        create_key(storage, tenant=tenant, name="", scopes=[Scope.READ])
    assert list(list_keys(storage)) == []


def test_an_unknown_key_cannot_be_revoked(storage: Storage) -> None:
    for key_id in ("key_01m85840ts00000000000000ab", "../x", ""):
        with pytest.raises(NotFound):
            revoke_key(storage, key_id)
