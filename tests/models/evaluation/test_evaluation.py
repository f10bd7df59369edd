"""The whole command on toy tiles with the shipped nano at 64 px, and what its report says."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from models.catalog import nano_card
from models.evaluation.__main__ import main
from models.evaluation.arms import Arm, Source
from models.evaluation.crops import cut_crops
from models.evaluation.report import as_markdown, compare, resolution
from models.evaluation.usefulness import Filter, synthetic_sources
from models.nano.tiles import load_tiles
from models.rfilter.rules import Policy
from models.rfilter.scorers import Scorers
from models.synthesis.pipeline import load_pipeline

# diffusers' UniPC hands a tensor to numpy in the old way; its warning is not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dubai")
    rng = np.random.default_rng(0)
    for split, names in (("train", "abcd"), ("val", "xy")):
        for part in ("images", "masks"):
            (folder / split / part).mkdir(parents=True)
        for name in names:
            coarse = rng.choice(np.array([1, 4, 6], np.uint8), size=(4, 6))
            mask = np.kron(coarse, np.ones((32, 32), np.uint8))
            image = np.clip(mask[..., None] * 30.0 + rng.normal(0, 9, (128, 192, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / split / "images" / f"{name}.png"), image)
            cv2.imwrite(str(folder / split / "masks" / f"{name}.png"), mask)
    return folder


def run(data: Path, out: Path, *more: str) -> dict[str, object]:
    sizes = ["--seeds", "2", "--steps", "2", "--pictures", "4", "--real-share", "0.75", "0.25"]
    sizes += ["--side", "64", "--window", "32", "--batch", "4", "--policy", "off", "--device", "cpu"]
    main(["--data", str(data), "--out", str(out), *sizes, *more])
    result: dict[str, object] = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    return result


def test_the_command_measures_every_arm_and_repeats_nothing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    some = run(data, out, "--arms", "real_small", "synthetic")
    assert list(some["real_shares"]["0.25"]["arms"]) == ["real_small", "synthetic"]
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*-*.*") if path.is_file()}
    assert len(kept) == 2 * 4 + 2 * 2 * 2

    whole = run(data, out)
    assert (whole["train_crops"], whole["mask_crops"]) == (24, 18)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for share, crops in (("0.75", 18), ("0.25", 6)):
        found = whole["real_shares"][share]
        assert found["crops"] == crops
        assert list(found["arms"]) == list(Arm)
        assert found["arms"]["synthetic"] == some["real_shares"][share]["arms"]["synthetic"]
        assert all(len(arm["seeds"]) == 2 for arm in found["arms"].values())
    # Training on everything is the same run for both shares.
    assert len(list((out / "runs").iterdir())) == 2 * (2 * len(Arm) - 1)
    text = (out / "evaluation.md").read_text(encoding="utf-8")
    assert "### 25 % of the real crops" in text
    assert "| arm | bare land | road | water | mean |" in text
    assert (out / "evaluation.png").stat().st_size < 150_000
    with Image.open(out / "evaluation.png") as figure:
        assert figure.width > 400


def test_shuffled_masks_are_those_of_other_tiles_and_no_val_tile_is_used(data: Path, tmp_path: Path) -> None:
    crops = cut_crops(load_tiles(data / "train"), 64)
    chosen = Filter(Scorers(), None, Policy.OFF, max_tries=1)
    loaded = load_pipeline(nano_card(), device="cpu", threads=1)
    made, acceptance = synthetic_sources(crops, loaded, chosen, pictures=8, seed=0, folder=tmp_path)
    right, wrong = made[Source.SYNTHETIC], made[Source.SHUFFLED]
    assert acceptance.passed == (8,)
    np.testing.assert_array_equal(right.images, wrong.images)
    by_label = {label.tobytes(): group for label, group in zip(right.labels, right.groups, strict=True)}
    assert len(by_label) == 8
    assert sorted(by_label) == sorted(label.tobytes() for label in wrong.labels)
    for label, group in zip(wrong.labels, wrong.groups, strict=True):
        assert by_label[label.tobytes()] != group
    assert set(right.groups) <= set("abcd")


def test_val_tiles_among_train_are_refused(data: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    for split, source in (("train", "train"), ("val", "train")):
        (mixed / split).parent.mkdir(exist_ok=True)
        (mixed / split).symlink_to(data / source)
    with pytest.raises(ValueError, match="in train and in val"):
        run(mixed, tmp_path / "out", "--policy", "balanced")
    with pytest.raises(ValueError, match="shares must be"):
        run(data, tmp_path / "out", "--mask-share", "0.5")


def test_the_report_marks_what_is_told_from_zero() -> None:
    rng = np.random.default_rng(0)
    hits = rng.integers(400, 600, size=(3, 27))

    def counts(more: int) -> np.ndarray:
        """Confusions (3, 27, 2, 2): of 1,000 pixels of the first class `hits + more` are found."""
        made = np.zeros((3, 27, 2, 2), np.int64)
        made[..., 0, 0] = hits + more
        made[..., 0, 1] = 1000 - made[..., 0, 0]
        return made

    confusions = {Arm.REAL_SMALL: counts(0), Arm.REAL_REPEATED: counts(0), Arm.SYNTHETIC: counts(100)}
    findings = compare(confusions, (1, 4))
    by_pair = {(d.arm, d.reference): d for d in findings.differences}
    assert set(by_pair) == {
        (Arm.REAL_REPEATED, Arm.REAL_SMALL),
        (Arm.SYNTHETIC, Arm.REAL_SMALL),
        (Arm.SYNTHETIC, Arm.REAL_REPEATED),
    }
    gain = by_pair[Arm.SYNTHETIC, Arm.REAL_REPEATED].intervals[0]
    assert gain.value == pytest.approx(0.1)
    assert gain.half_width == pytest.approx(0, abs=1e-9)
    assert by_pair[Arm.REAL_REPEATED, Arm.REAL_SMALL].mean.value == 0
    table = as_markdown(findings)
    assert "**+10.0 [+10.0, +10.0]**" in table
    assert "| real_repeated − real_small | +0.0 [+0.0, +0.0] |" in table  # noqa: RUF001 - the table's minus
    assert findings.seed_means[Arm.REAL_SMALL][0] == pytest.approx(hits[0].sum() / 27_000 / 2)
    assert "can resolve one point" in resolution(findings)
