"""Mask files that were read before, with a real S3 server."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import Conflict
from models.masks import DecodedMask
from tests.pictures import png, road_and_buildings
from tests.worker.records import make_job
from worker import intake as intake_module
from worker.deletion import delete_mask
from worker.intake import Intake, read_mask
from worker.known_masks import KnownMasks
from worker.layout import mask_key, mask_record_key
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each file that is decoded."""
    found: list[int] = []
    decode = intake_module.decode_mask

    def counted(data: bytes, **options: int) -> DecodedMask:
        found.append(len(data))
        return decode(data, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(intake_module, "decode_mask", counted)
    return found


def test_the_same_file_is_read_once_and_stored_again_when_it_was_deleted(
    settings: Settings, store: Store, storage: Storage, readings: list[int]
) -> None:
    intake, ids = Intake(settings, store, storage), road_and_buildings()
    file = png(ids)
    record = intake.keep_mask_file("local", file)
    assert intake.keep_mask_file("local", file) == record
    assert len(readings) == 1
    assert intake.keep_mask_file("other", file) == record, "another tenant's copy is its own"
    assert storage.exists(mask_key("other", record.id.removeprefix("msk_")))
    delete_mask(intake, "local", record.id)
    assert intake.keep_mask_file("local", file) == record
    assert np.array_equal(read_mask(storage, "local", record.id), ids)
    assert intake.find_mask("local", record.id) == record
    assert Intake(settings, store, storage).keep_mask_file("local", file) == record


def test_what_was_seen_is_believed_until_a_mask_of_the_tenant_is_deleted_anywhere(
    settings: Settings, store: Store, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = Intake(settings, store, storage), Intake(settings, store, storage)
    ids = road_and_buildings()
    file, others = png(ids), [png(ids[::-1].copy()), png(ids[:, ::-1].copy())]
    record = here.keep_mask_file("local", file)
    doomed = [
        elsewhere.keep_mask_file(tenant, one) for tenant, one in zip(("local", "zenith"), others, strict=True)
    ]
    looks, exists = [], storage.exists

    def counted(key: str) -> bool:
        looks.append(key)
        return exists(key)

    monkeypatch.setattr(storage, "exists", counted)

    def looked() -> bool:
        before = len(looks)
        assert here.keep_mask_file("local", file) == record
        return len(looks) > before

    assert [looked(), looked(), looked()] == [True, False, False]
    delete_mask(elsewhere, "zenith", doomed[1].id)
    assert not looked(), "another tenant's"
    delete_mask(elsewhere, "local", doomed[0].id)
    assert [looked(), looked()] == [True, False]
    store.redis.flushall()
    assert [looked(), looked()] == [True, False], "what was told is lost"
    delete_mask(elsewhere, "local", record.id)
    assert here.keep_mask_file("local", file) == record
    assert np.array_equal(read_mask(storage, "local", record.id), ids), "stored anew"


def test_what_was_asked_for_longest_ago_goes() -> None:
    known: KnownMasks[int] = KnownMasks(most=2)
    known.note(b"a", 1)
    known.note(b"b", 2)
    assert known.get(b"a") == 1
    known.note(b"c", 3)
    assert (known.get(b"a"), known.get(b"b"), known.get(b"c")) == (1, None, 3)


def test_a_mask_that_a_job_takes_while_it_is_being_deleted_stays(
    settings: Settings, store: Store, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that saw the mask a moment ago accepts a job with it, after its record is gone."""
    intake = Intake(settings, store, storage)
    record = intake.keep_mask_file("local", png(road_and_buildings()))

    def accept_meanwhile(_seconds: float) -> None:
        assert not storage.exists(mask_record_key("local", record.id.removeprefix("msk_")))
        store.create(make_job(request={"mask_id": record.id}))

    monkeypatch.setattr("worker.deletion.time.sleep", accept_meanwhile)
    with pytest.raises(Conflict) as caught:
        delete_mask(intake, "local", record.id)
    assert caught.value.code == "mask_in_use"
    assert intake.find_mask("local", record.id) == record
    assert read_mask(storage, "local", record.id).shape == road_and_buildings().shape
