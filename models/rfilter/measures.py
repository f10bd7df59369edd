"""What R1 to R6 and R8 measure on stored scores: one comparison each, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models.categories import CATEGORIES
from models.rfilter.calibration import Calibration, CategoryLimits, Limits

SMALLEST_ENTROPY = 1.0  # bits
LARGEST_CLIPPED = 0.5  # share of pixels
LARGEST_FAILED_REGIONS = 0.5  # share of the regions that R3 could judge
SMALLEST_JUDGED = (
    0.05  # of the picture: on smaller categories a segmenter's answer is too noisy to reject for
)


@dataclass(frozen=True, slots=True)
class Measure:
    """One comparison: `margin` is how far the score lies on the good side of its threshold; below 0 fails."""

    score: float
    threshold: float
    margin: float
    sentence: str


def technical(
    scores: Mapping[str, Any], _calibration: Calibration | None, _strict: bool, number: float | None
) -> Measure | str:
    least = SMALLEST_ENTROPY if number is None else number
    entropy = scores["entropy"]
    if not scores["finite"]:
        return Measure(0.0, least, -1.0, "The picture holds NaN or infinity.")
    if not scores["size_matches"]:
        return Measure(entropy, least, -1.0, "The picture has another size than its mask.")
    if scores["constant"]:
        return Measure(entropy, least, -1.0, "The picture is one single colour.")
    if scores["clipped"] > LARGEST_CLIPPED:
        share = scores["clipped"]
        return Measure(
            share, LARGEST_CLIPPED, -1.0, f"{share:.0%} of the pixels are pure black or pure white."
        )
    sentence = f"Its grey levels hold {entropy:.2f} bits, at least {least:g} are needed."
    return Measure(entropy, least, entropy - least, sentence)


def _worst(measures: Iterable[Measure], nothing: str) -> Measure | str:
    return min(measures, key=lambda measure: measure.margin, default=None) or nothing


def _at(limits: Limits, strict: bool) -> float:
    return limits.strict if strict else limits.balanced


def _least(score: float, limit: float, what: str) -> Measure:
    return Measure(score, limit, score - limit, f"{what} is {score:.3f}, at least {limit:.3f} is needed.")


def _most(score: float, limit: float, what: str) -> Measure:
    return Measure(score, limit, limit - score, f"{what} is {score:.3f}, at most {limit:.3f} is allowed.")


def _uncalibrated(scores: Mapping[str, Any], calibration: Calibration | None, scorer: str) -> str | None:
    """Why no calibrated threshold applies to the scores of "segmenter" or "clip"; None if they do."""
    if scores.get(scorer) is None:
        return f"Unknown: no {scorer} is configured."
    if calibration is None:
        return "Unknown: there is no calibration."
    if getattr(calibration, scorer) != scores[scorer]:
        return f"Unknown: the calibration was made with another {scorer}."
    return None


def _name(category: str) -> str:
    return CATEGORIES[int(category)].name


def _known(
    scores: Mapping[str, Any], key: str, calibration: Calibration | None
) -> Iterator[tuple[str, Mapping[str, Any], CategoryLimits | None]]:
    """The categories that have this score, with their limits where there are any."""
    limits = calibration.categories if calibration else {}
    for category, values in scores["categories"].items():
        if key in values:
            yield category, values, limits.get(int(category))


def _judged(
    scores: Mapping[str, Any], key: str, calibration: Calibration | None
) -> Iterator[tuple[str, Mapping[str, Any], CategoryLimits | None]]:
    """Those of `_known` that are large enough for a segmenter's answer to count."""
    return (item for item in _known(scores, key, calibration) if item[1]["share"] >= SMALLEST_JUDGED)


def image_text(
    scores: Mapping[str, Any], calibration: Calibration | None, strict: bool, number: float | None
) -> Measure | str:
    reason = _uncalibrated(scores, calibration, "clip")
    if reason and (number is None or scores.get("clip") is None):
        return reason
    found: list[Measure] = []
    for category, values, limits in _known(scores, "margin", calibration):
        margin, rank = values["margin"], values["rank"]
        what = f"The margin of {_name(category)} (rank {rank}) over the best absent category"
        if number is not None:
            found.append(_least(margin, number, what))
        elif limits and limits.image_margin and limits.image_rank:
            found.append(_least(margin, _at(limits.image_margin, strict), what))
            found.append(_most(rank, _at(limits.image_rank, strict), f"The rank of {_name(category)}"))
    return _worst(found, "Unknown: no category of this picture is calibrated for this CLIP.")


def region_text(
    scores: Mapping[str, Any], calibration: Calibration | None, strict: bool, number: float | None
) -> Measure | str:
    if reason := _uncalibrated(scores, calibration, "clip"):
        return reason
    judged = [ok for ok in region_verdicts(scores, calibration, strict=strict) if ok is not None]
    if not judged:
        return "Unknown: no region of 32 pixels or more has a calibrated category."
    share = judged.count(False) / len(judged)
    return _most(share, LARGEST_FAILED_REGIONS if number is None else number, "The share of failed regions")


def region_verdicts(
    scores: Mapping[str, Any], calibration: Calibration | None, *, strict: bool
) -> list[bool | None]:
    """Return for each of the scores' `regions` whether it looks like its category; None where that is unknown."""
    found: list[bool | None] = []
    for region in scores.get("regions", ()):
        limits = calibration.categories.get(region["category"]) if calibration else None
        if limits is None or limits.region_margin is None or limits.region_rank is None:
            found.append(None)
        else:
            enough = region["margin"] >= _at(limits.region_margin, strict)
            found.append(enough and region["rank"] <= _at(limits.region_rank, strict))
    return found


def mask_agreement(
    scores: Mapping[str, Any], calibration: Calibration | None, strict: bool, number: float | None
) -> Measure | str:
    found: list[Measure] = []
    if (
        number is None and calibration and calibration.placement and "placement" in scores
    ):  # wants no segmenter
        limit = _at(calibration.placement, strict)
        found.append(
            _least(scores["placement"], limit, "The fit of the mask here, less its best fit elsewhere,")
        )
    reason = _uncalibrated(scores, calibration, "segmenter")
    if reason and (number is None or scores.get("segmenter") is None):
        return _worst(found, reason)
    for category, values, limits in _judged(scores, "iou", calibration):
        name = _name(category)
        if number is not None:
            found.append(_least(values["iou"], number, f"The IoU of {name} with its mask"))
        elif limits and limits.iou and limits.recall and limits.contrast:
            contrast = f"The contrast of {name} inside its mask to outside"
            if strict:
                found.append(_least(values["contrast"], limits.contrast.strict, contrast))
                found.append(_least(values["iou"], limits.iou.strict, f"The IoU of {name} with its mask"))
                found.append(_least(values["recall"], limits.recall.strict, f"The recall of {name}"))
            else:
                # Below 0 the category is likelier outside its mask than inside. Recall and IoU depend on how a place
                # was labelled: balanced thresholds from one place reject a third of the real pairs of another.
                found.append(_least(values["contrast"], min(0.0, limits.contrast.balanced), contrast))
    return _worst(found, "Unknown: the segmenter knows no category of 5 % or more of this mask.")


def leakage(
    scores: Mapping[str, Any], calibration: Calibration | None, strict: bool, number: float | None
) -> Measure | str:
    reason = _uncalibrated(scores, calibration, "segmenter")
    if reason and (number is None or scores.get("segmenter") is None):
        return reason
    found: list[Measure] = []
    for category, values, limits in _judged(scores, "leakage", calibration):
        what = f"The area of {_name(category)} outside its mask over the mask's"
        if number is not None:
            found.append(_most(values["leakage"], number, what))
        elif limits and limits.leakage:
            # Leaked pixels become 255. Balanced rejects where more of the category lies outside its mask than in it.
            largest = limits.leakage.strict if strict else max(1.0, limits.leakage.balanced)
            found.append(_most(values["leakage"], largest, what))
    return _worst(found, "Unknown: the segmenter knows no category of 5 % or more of this mask.")


def pixel_ignore(
    scores: Mapping[str, Any], calibration: Calibration | None, strict: bool, number: float | None
) -> Measure | str:
    reason = _uncalibrated(scores, calibration, "segmenter")
    if "ignored" not in scores:
        return reason or "Unknown: scored without a calibration."
    if number is not None:
        return _most(scores["ignored"], number, "The share of ignored pixels")
    if reason or not calibration or not calibration.ignored:
        return reason or "Unknown: the calibration has no limit."
    return _most(scores["ignored"], _at(calibration.ignored, strict), "The share of ignored pixels")


def informativeness(
    scores: Mapping[str, Any], calibration: Calibration | None, _strict: bool, number: float | None
) -> Measure | str:
    reason = _uncalibrated(scores, calibration, "segmenter")
    if "hardness" not in scores:
        return reason or "Unknown: the segmenter knows no category of 5 % or more of this mask."
    hardness = scores["hardness"]
    if number is not None:
        return _least(hardness, number, "The mean loss")
    if reason or not calibration or not calibration.hardness:
        return reason or "Unknown: the calibration has no range."
    low, high = calibration.hardness
    if hardness > high:
        return _most(hardness, high, "The mean loss, harder than 95 % of real pictures,")
    return _least(hardness, low, "The mean loss")
