"""Options have bounds, and what the API and the generating worker import is light."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from models.export.options import ExportFormat, ExportOptions

HEAVY = (
    "('torch', 'cv2', 'matplotlib', 'datasets', 'supervision', 'webdataset', 'mlcroissant', 'pycocotools')"
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "shapefile"},
        {"format": "coco", "min_area": 0},
        {"format": "coco", "shard_samples": 0},
        {"format": "coco", "color": 1},
    ],
)
def test_options_outside_their_bounds_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ExportOptions.model_validate(wrong)


def test_the_formats_are_those_of_the_contract() -> None:
    assert {str(name) for name in ExportFormat} == {
        "coco",
        "yolo-detect",
        "yolo-segment",
        "yolo-obb",
        "voc",
        "semantic",
        "imagefolder",
        "webdataset",
        "hf",
    }


def test_options_splits_notice_and_archive_import_nothing_heavy() -> None:
    modules = "models.export.options, models.export.splits, models.export.notice, models.export.archive"
    code = f"import sys, {modules}; sys.exit(any(name in sys.modules for name in {HEAVY}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
