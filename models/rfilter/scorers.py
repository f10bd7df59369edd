"""Every score of a picture against its condition, as a small JSON object that the rules judge."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE
from models.labels import image_categories
from models.rfilter.agreement import (
    Belief,
    agreements,
    category_indices,
    leaks,
    pixel_loss,
)
from models.rfilter.calibration import Calibration
from models.rfilter.clip import Clip, Region, rank_and_margin
from models.rfilter.large_pictures import believe
from models.rfilter.measures import region_verdicts
from models.rfilter.placement import placement
from models.rfilter.segmenters import Segmenter, load_segmenter
from models.rfilter.technical import as_uint8, perceptual_hash, technical_scores

VERSION = 1  # of the scores' meaning: raised when old and new ones cannot be compared
DECIMALS = 4
LOSS_FACTOR = 1.25  # FreeMask: pixels above this multiple of the category's mean loss are not believed


@dataclass(frozen=True, slots=True)
class Scored:
    """`scores` for the manifest, below 2 kB; `ignore` (H, W): pixels that become 255 in the label, or None."""

    scores: dict[str, Any]
    ignore: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Scorers:
    """The models that score; those that are None leave their scores out, and the rules then say unknown."""

    segmenter: Segmenter | None = None
    clip: Clip | None = None

    def score(
        self,
        image: NDArray[Any],
        mask: NDArray[np.uint8],
        prompt: str,
        *,
        calibration: Calibration | None = None,
        region: NDArray[np.bool_] | None = None,
    ) -> Scored:
        """Return the scores of a picture against its conditioning mask.

        `image` (H, W, 3) is uint8, or float in [0, 1] where NaN may be found; `mask` (H, W) uint8 category ids.
        Categories that only the `prompt` names are no labels, and may be seen: they count neither for nor against.
        With a calibration of the same segmenter pixels to ignore are marked (R3, R5, R6).
        `region` (H, W): the part that was made, where the rest of the picture was given. What was given is neither
        blamed nor doubted: R1 alone looks at it, no pixel of it is ignored, and R2 and placement, which look at the
        whole picture, have no score.
        """
        scores = {"version": VERSION, **technical_scores(image, mask.shape), "categories": {}}
        scores |= {"segmenter": self.segmenter.digest if self.segmenter else None}
        scores |= {"clip": self.clip.digest if self.clip else None}
        if not scores["finite"] or not scores["size_matches"]:
            return Scored(scores, None)
        picture = as_uint8(image)
        ignore = np.zeros(mask.shape, np.bool_)
        scores["hash"] = perceptual_hash(picture)
        if region is None:
            scores["placement"] = _rounded(placement(picture, mask))
        else:
            mask = np.where(region, mask, np.uint8(IGNORE))
        if self.segmenter:
            belief = believe(self.segmenter, picture)
            scores["feature"] = _pack(belief.feature)
            matches = calibration is not None and calibration.segmenter == self.segmenter.digest
            _add_agreement(scores, belief, mask, calibration if matches else None, ignore, region)
        if self.clip:
            matches = calibration is not None and calibration.clip == self.clip.digest
            _add_clip(
                scores,
                self.clip,
                picture,
                mask,
                prompt,
                calibration if matches else None,
                ignore,
                whole=region is None,
            )
        return Scored(scores, ignore if ignore.any() else None)

    def fingerprint(self, image: NDArray[np.uint8]) -> dict[str, Any]:
        """Return `hash` and `feature` alone, which is what R7 compares."""
        found = {"hash": perceptual_hash(image)}
        if self.clip:
            found["feature"] = _pack(self.clip.embed([image])[0])
        elif self.segmenter:
            found["feature"] = _pack(believe(self.segmenter, image).feature)
        return found


def load_scorers(*, segmenter: Path | str | None, clip: Path | str | None, device: str) -> Scorers:
    """Return the scorers behind folders or hub ids; None leaves one out.

    Raises:
        ModelUnavailable: one of them cannot be loaded.
    """
    return Scorers(
        segmenter=load_segmenter(segmenter, device) if segmenter else None,
        clip=Clip(clip, device) if clip else None,
    )


def _add_agreement(
    scores: dict[str, Any],
    belief: Belief,
    mask: NDArray[np.uint8],
    calibration: Calibration | None,
    ignore: NDArray[np.bool_],
    region: NDArray[np.bool_] | None,
) -> None:
    """Add R4, R5, R6 and R8's scores, and mark pixels that are leaked or not believed."""
    indices = category_indices(mask, belief.category_ids)
    known = indices != IGNORE
    if not known.any():
        return
    found = agreements(belief, indices)
    for category, agreement in found.items():
        scores["categories"][str(category)] = {
            "share": _rounded(agreement.share),
            "recall": _rounded(agreement.recall),
            "iou": _rounded(agreement.iou),
            "contrast": _rounded(agreement.contrast),
            "loss": _rounded(agreement.loss),
        }
    loss = pixel_loss(belief, indices)
    scores["hardness"] = _rounded(float(loss[known].mean(dtype=np.float64)))
    leaked, likelier = leaks(belief, mask, indices)
    if region is not None:
        leaked, likelier = {category: where & region for category, where in leaked.items()}, likelier & region
    for category, where in leaked.items():
        if str(category) in scores["categories"]:
            area = np.count_nonzero(mask == category)
            scores["categories"][str(category)]["leakage"] = _rounded(np.count_nonzero(where) / area)
    if calibration is not None:
        limits = np.full(256, np.inf, np.float32)
        for index, category in enumerate(belief.category_ids):
            known_limits = calibration.categories.get(category)
            if known_limits and known_limits.mean_loss is not None:
                limits[index] = LOSS_FACTOR * known_limits.mean_loss
        doubted = loss > limits[indices]
        scores["ignored"] = _rounded(np.count_nonzero(doubted) / np.count_nonzero(known))
        ignore |= doubted | likelier


def _add_clip(
    scores: dict[str, Any],
    clip: Clip,
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    prompt: str,
    calibration: Calibration | None,
    ignore: NDArray[np.bool_],
    *,
    whole: bool,
) -> None:
    """Add R2 and R3's scores, and mark the regions that R3 does not recognise. R2 is for pictures made as a whole."""
    vectors = clip.embed([image])
    scores["feature"] = _pack(vectors[0])
    cosines = clip.similarities(vectors)[0]
    present = {category.id for category in image_categories(mask)}
    named = {
        category.id for category in CATEGORIES if category.name in prompt.split(" of ", 1)[-1].split(", ")
    }
    for category in sorted(present) if whole else ():
        rank, margin = rank_and_margin(cosines, category, present | named)
        entry = scores["categories"].setdefault(str(category), {})
        entry |= {"rank": rank, "margin": _rounded(margin)}
    regions = clip.regions(image, mask)
    scores["regions"] = [_region_scores(region) for region in regions]
    verdicts = region_verdicts(scores, calibration, strict=False)
    for region, passed in zip(regions, verdicts, strict=True):
        if passed is False:
            part = region.component
            box = ignore[part.top : part.top + part.height, part.left : part.left + part.width]
            box |= part.mask


def _region_scores(region: Region) -> dict[str, Any]:
    part = region.component
    return {
        "category": region.category,
        "box": [part.left, part.top, part.width, part.height],
        "rank": region.rank,
        "margin": _rounded(region.margin),
    }


def _rounded(value: float) -> float:
    return round(float(value), DECIMALS)


def _pack(feature: NDArray[np.float32]) -> str:
    """Return a vector as base64 of int8, scaled so that its largest entry is 127."""
    largest = float(np.abs(feature).max(initial=0.0))
    scaled = feature * (127 / largest) if largest else feature
    return base64.b64encode(scaled.round().astype(np.int8).tobytes()).decode("ascii")
