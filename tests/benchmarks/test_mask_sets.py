"""A zip of 1,000 masks of 256 pixels: checked and stored in less than a minute on two cores."""

from __future__ import annotations

import io
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.models.zips import packed
from tests.pictures import png
from worker.intake import Intake
from worker.mask_sets import MaskSetRequest, keep_mask_set
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store

MASKS = 1000
SIDE = 256


def rolled(assets: Path) -> dict[str, bytes]:
    """Real masks of 256 pixels, each shifted around by another offset, so that no two are equal."""
    tiles = [np.asarray(Image.open(path)) for path in sorted(assets.glob("dubai_*.png"))]
    return {
        f"{number}.png": png(np.roll(tiles[number % len(tiles)], (7 * number, number // SIDE), axis=(0, 1)))
        for number in range(MASKS)
    }


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_1000_masks_in_less_than_a_minute(
    settings: Settings, store: Store, storage: Storage, assets: Path
) -> None:
    data = packed(rolled(assets))
    intake = Intake(settings, store, storage)
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    kept = keep_mask_set(intake, "local", MaskSetRequest(), io.BytesIO(data))
    seconds = time.perf_counter() - started
    again = time.perf_counter()
    assert not keep_mask_set(intake, "local", MaskSetRequest(), io.BytesIO(data)).created
    again = time.perf_counter() - again
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sys.stdout.write(
        f"\n{kept.record.masks} masks of {SIDE} px ({len(data) >> 10} KiB): {seconds:.1f} s, again {again:.1f} s, "
        f"CPU of both {cpu:.1f} s, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n"
    )
    assert kept.record.masks == MASKS
    assert sum(key.endswith(".png") for key in storage.keys("local/masks/")) == MASKS
    assert seconds < 60
