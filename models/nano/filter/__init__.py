"""R-Filter's scorer and thresholds for nano: a small segmenter and what real pairs score with it."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def nano_filter() -> tuple[Path, Path]:
    """Return the segmenter's folder and the calibration file."""
    return HERE, HERE / "calibration.json"
