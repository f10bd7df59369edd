"""Given pictures in a real bucket: stored once, found by their sha256, kept as long as a job may need them."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from models.errors import NotFound, Unavailable
from tests.pictures import png
from worker.init_images import find_given, keep_given, keep_longer, read_given
from worker.intake import Intake
from worker.jobs import now
from worker.layout import init_image_key, init_images_prefix
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.sweeping import sweep

PIXELS = np.random.default_rng(4).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def test_a_picture_is_stored_once_and_found_by_its_hash(storage: Storage) -> None:
    given = read_given(png(PIXELS), max_side=4096)
    assert (given.width, given.height, given.warnings) == (32, 24, ())
    for _ in range(2):
        keep_given(storage, "local", given)
    assert len(list(storage.keys(init_images_prefix("local")))) == 1
    np.testing.assert_array_equal(find_given(storage, "local", given.sha256), PIXELS)
    with pytest.raises(NotFound):
        find_given(storage, "zenith", given.sha256)


def test_a_damaged_picture_is_never_painted_in(storage: Storage) -> None:
    given = read_given(png(PIXELS), max_side=4096)
    storage.create(init_image_key("local", given.sha256), png(PIXELS[::-1].copy()), "image/png")
    with pytest.raises(Unavailable) as caught:
        find_given(storage, "local", given.sha256)
    assert caught.value.code == "object_damaged"


def test_old_pictures_go_and_those_of_a_new_job_stay(
    settings: Settings, store: Store, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = Intake(settings, store, storage)
    given = read_given(png(PIXELS), max_side=4096)
    keep_given(storage, "local", given)
    keep_longer(storage, "local", given.sha256)
    written = now()
    retention = timedelta(seconds=settings.retention_seconds)
    for age, gone in ((retention + timedelta(hours=40), 0), (retention + timedelta(hours=49), 1)):
        monkeypatch.setattr("worker.sweeping.now", lambda age=age: written + age)
        assert sweep(intake)["init_images"] == gone
    with pytest.raises(NotFound):
        find_given(storage, "local", given.sha256)
