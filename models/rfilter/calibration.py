"""What real pairs score: the numbers that R-Filter's thresholds are, one file for each segmenter and CLIP."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import ModelUnavailable


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Frozen):
    """A score's threshold under each policy that enforces it."""

    balanced: float
    strict: float


class CategoryLimits(_Frozen):
    """One category's thresholds, and on how many real pairs they stand.

    `recall`, `iou` and `contrast` are the least allowed (contrast is a difference of log probabilities in nats),
    `leakage` the most (leaked pixels over mask pixels), `mean_loss` the cross-entropy (nats) of its pixels in real
    pictures. `image_margin` and `region_margin` are the least margins of the CLIP scores, `image_rank` and
    `region_rank` the worst ranks. Absent: its scorer was not there, or had fewer than 20 pairs to go by.
    """

    pairs: int
    mean_loss: float | None = None
    recall: Limits | None = None
    iou: Limits | None = None
    contrast: Limits | None = None
    leakage: Limits | None = None
    image_margin: Limits | None = None
    image_rank: Limits | None = None
    region_margin: Limits | None = None
    region_rank: Limits | None = None


class TrainingTiles(_Frozen):
    """Windows of the generator's training tiles: base64 of hashes (N,) uint64 and features (N, D) int8."""

    count: int
    hashes: str
    features: str

    def arrays(self) -> tuple[NDArray[np.uint64], NDArray[np.int8]]:
        """Return hashes (N,) and features (N, D)."""
        hashes = np.frombuffer(base64.b64decode(self.hashes), dtype="<u8").astype(np.uint64)
        features = np.frombuffer(base64.b64decode(self.features), dtype=np.int8)
        return hashes, features.reshape(self.count, -1)


class Calibration(_Frozen):
    """Thresholds of R2 to R8 from real pairs, and what they were made with.

    `segmenter` and `clip` are the first 12 hex digits of the scorers' SHA-256; scores of other scorers are not
    comparable. `levels`: at which percentile of real pairs the thresholds lie under each policy; `pass_rates`: the
    share of the real pairs that passes all rules together there.
    `hardness` is (q20, q95) of the mean loss of real pictures.
    """

    version: Literal[1] = 1
    source: str
    pairs: int
    segmenter: str | None = None
    clip: str | None = None
    levels: Limits
    pass_rates: Limits
    categories: dict[int, CategoryLimits]
    placement: Limits | None = None
    ignored: Limits | None = None
    hardness: tuple[float, float] | None = None
    training_tiles: TrainingTiles | None = None


def load_calibration(path: Path) -> Calibration:
    """Return the calibration in a JSON file.

    Raises:
        ModelUnavailable: code "calibration_unreadable": no such file, or not one of ours.
    """
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ModelUnavailable(
            f"The calibration file {path.name} cannot be read; make one with earthsynth calibrate.",
            code="calibration_unreadable",
        ) from error
