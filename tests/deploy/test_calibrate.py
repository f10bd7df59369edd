"""`run_calibrate`: folders of real pairs in, a calibration file out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.calibrate import run_calibrate
from models.errors import InvalidInput
from models.nano.filter import nano_filter
from models.rfilter.calibration import load_calibration


def write_pairs(folder: Path, count: int, side: int) -> None:
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        mask = np.kron(rng.choice([1, 4, 6], (side // 32, side // 32)), np.ones((32, 32))).astype(np.uint8)
        picture = np.stack([mask * 25, 200 - mask * 10, rng.integers(0, 60, mask.shape)], -1)
        cv2.imwrite(str(folder / "masks" / f"place{index % 2}_{index}.png"), mask)
        cv2.imwrite(str(folder / "images" / f"place{index % 2}_{index}.png"), picture.astype(np.uint8))


def test_real_pairs_of_the_wanted_places_are_calibrated_on(tmp_path: Path) -> None:
    write_pairs(tmp_path, 12, 128)
    path = run_calibrate(tmp_path, tmp_path, only=("place1",), training=tmp_path, size=64)
    assert path == tmp_path / "calibration.json"
    made = load_calibration(path)
    assert made.pairs == 6 * 4
    assert "place1_1" in made.source
    assert "place0" not in made.source
    assert made.training_tiles is not None
    assert made.training_tiles.count == 12 * 4


def test_the_shipped_calibration_is_of_the_shipped_segmenter() -> None:
    from models.rfilter.segmenters import load_segmenter

    folder, calibration = nano_filter()
    assert load_calibration(calibration).segmenter == load_segmenter(folder, "cpu").digest
    assert sum(path.stat().st_size for path in folder.glob("segmenter.*")) < 8_000_000


@pytest.mark.parametrize("size", [64, 256])
def test_no_pairs_or_only_smaller_ones_are_refused(tmp_path: Path, size: int) -> None:
    if size == 256:
        write_pairs(tmp_path, 2, 128)
    with pytest.raises(InvalidInput) as refused:
        run_calibrate(tmp_path, tmp_path, size=size)
    assert refused.value.code == "no_real_pairs"
