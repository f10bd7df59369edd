"""A small data set drawn by hand, whose numbers are counted here and nowhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.export.info import CategoryAcceptance, DatasetInfo
from models.export.sample import ExportSample
from tests.pictures import png

SIDE = 48
SPLITS = ("train", "train", "val", "train", "test", "train")

# of each label, by hand
TANK_RING = 10 * 10 - 4 * 4  # a storage tank with a hole
SHIP = 2 * 6 + 3  # a ship of two parts that touch at a corner
HOUSE, ROAD = 8 * 12, 4 * SIDE
IGNORED = 3 * 3
PIXELS = {"road": ROAD, "building": HOUSE, "ship": SHIP, "storage tank": TANK_RING, "ignore": IGNORED}
THINGS = {"ship": 1, "storage tank": 1}
ALL = {"road": 1, "building": 1, **THINGS}


def label(number: int) -> NDArray[np.uint8]:
    """Return label `number` (SIDE, SIDE): a road, a house, a tank with a hole, a ship, and a corner ignored."""
    ids = np.zeros((SIDE, SIDE), np.uint8)
    ids[20:24] = 4
    ids[30:38, 4:16] = 8
    ids[2 + number : 12 + number, 5:15] = 25
    ids[5 + number : 9 + number, 8:12] = 0
    ids[40:42, 30:36] = 17
    ids[42, 36:39] = 17  # touches at the corner only
    ids[-3:, -3:] = 255
    return ids


@lru_cache(64)
def picture(number: int) -> bytes:
    """Return a PNG (SIDE, SIDE, 3) that is different for every number."""
    rng = np.random.default_rng(number)
    return png(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


def sample(number: int, **changes: Any) -> ExportSample:
    content = picture(number)
    fields: dict[str, Any] = {
        "index": number,
        "group": f"group-{number}",
        "split": SPLITS[number % len(SPLITS)],
        "mask_id": f"mask_{number}",
        "prompt": "A satellite image of road, building, ship, storage tank",
        "seed": 100 + number,
        "width": SIDE,
        "height": SIDE,
        "image_sha256": hashlib.sha256(content).hexdigest(),
        "read_image": lambda: content,
        "read_label": lambda: label(number % len(SPLITS)),
        "provenance": {"scores": {"R1": 0.5}, "model_sha256": "ab" * 32},
    }
    return ExportSample(**fields | changes)


def samples() -> Iterator[ExportSample]:
    return (sample(number) for number in range(len(SPLITS)))


def no_samples() -> Iterator[ExportSample]:
    return iter(())


INFO = DatasetInfo(
    name="Tanks & ships",
    description="Six pictures drawn by hand.",
    licence="CC-BY-4.0",
    created_at="2026-11-23T20:00:00Z",
    seed=7,
    model_name="nano",
    model_version="1",
    model_sha256="ab" * 32,
    filter_policy="balanced",
    acceptance=(
        CategoryAcceptance("ship", tried=60, accepted=6, requested=10, rejected_by={"R4": 54}),
        CategoryAcceptance("storage tank", tried=10, accepted=8),
    ),
    counts={"requested": 6, "accepted": 6},
    versions={"earthsynth": "0.1.0"},
    parameters={"samples_per_mask": 1},
)
