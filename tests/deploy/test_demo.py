"""`earthsynth demo`, run once: what it writes is what it says."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ASSET = Path(__file__).parents[2] / "models" / "nano" / "sample_mask.png"


def read(picture: Path) -> np.ndarray:
    with Image.open(picture) as opened:
        return np.asarray(opened)


@pytest.mark.timeout(400)
def test_demo_writes_pictures_mask_overlays_labels_and_sheet(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "deploy.cli", "demo", "--out", str(out), "--num-images", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=360, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {file.name for file in out.iterdir()} == {
        "image-000.png",
        "image-001.png",
        "overlay-000.png",
        "overlay-001.png",
        "mask.png",
        "labels.json",
        "contact_sheet.png",
    }
    labels = json.loads((out / "labels.json").read_text())
    asked = read(ASSET)
    assert np.array_equal(read(out / "mask.png"), asked)
    assert hashlib.sha256((out / "mask.png").read_bytes()).hexdigest() == labels["mask"]["sha256"]

    pictures = []
    for entry in labels["images"]:
        picture = out / entry["file"]
        assert hashlib.sha256(picture.read_bytes()).hexdigest() == entry["sha256"]
        assert entry["sha256"][:16] in done.stdout
        pictures.append(read(picture))
        assert pictures[-1].shape == (256, 256, 3)
        assert pictures[-1].std() > 5, "a constant picture"
        assert np.abs(read(out / picture.name.replace("image", "overlay")) - pictures[-1]).any()
    assert (pictures[0] != pictures[1]).any()

    assert set(labels["labels"]["categories"]) == {"bare land", "road", "tree", "water", "building"}
    for box in labels[
        "drawn_boxes"
    ]:  # tight: building pixels on every side of the box, and the area within it
        x, y, width, height = box["box_xywh"]
        inside = asked[y : y + height, x : x + width] == 8
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()
        assert 64 <= box["area"] <= inside.sum()
    assert read(out / "contact_sheet.png").shape[1] > 3 * 256
