"""The result in three forms: evaluation.json, evaluation.md (tables) and evaluation.png (intervals)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE
from models.evaluation.arms import COMPARISONS, Arm
from models.evaluation.bootstrap import Interval, bootstrap_iou, draw_samples, intervals, mean_iou
from models.evaluation.usefulness import Measured

# Half-widths are judged against this: published gains of synthetic data are 0.7 to 4 points (points: 100 x IoU).
ONE_POINT = 0.01


@dataclass(frozen=True, slots=True)
class Difference:
    """IoU of `arm` minus IoU of `reference`: one interval for each category, then the mean's."""

    arm: Arm
    reference: Arm
    intervals: tuple[Interval, ...]

    @property
    def mean(self) -> Interval:
        return self.intervals[-1]


@dataclass(frozen=True, slots=True)
class Findings:
    """IoU of each arm (each category, then the mean), of each seed's mean, and the differences."""

    names: tuple[str, ...]
    arms: dict[Arm, tuple[Interval, ...]]
    seed_means: dict[Arm, tuple[float, ...]]
    differences: tuple[Difference, ...]


def compare(confusions: Mapping[Arm, NDArray[np.int64]], categories: Sequence[int]) -> Findings:
    """Return IoU and differences with 95 % intervals from confusions (seeds, tiles, true, found).

    Every arm gets the same bootstrap samples, so what two arms share cancels in their difference.
    """
    seeds, tiles = next(iter(confusions.values())).shape[:2]
    draws = draw_samples(seeds=seeds, tiles=tiles)
    values = {arm: mean_iou(counts) for arm, counts in confusions.items()}
    samples = {arm: bootstrap_iou(counts, draws) for arm, counts in confusions.items()}
    return Findings(
        names=(*(CATEGORIES[k].name for k in categories), "mean"),
        arms={arm: tuple(intervals(values[arm], samples[arm])) for arm in values},
        seed_means={
            arm: tuple(float(mean_iou(counts[s : s + 1])[-1]) for s in range(seeds))
            for arm, counts in confusions.items()
        },
        differences=tuple(
            Difference(
                arm,
                reference,
                tuple(intervals(values[arm] - values[reference], samples[arm] - samples[reference])),
            )
            for arm, reference in COMPARISONS
            if arm in values and reference in values
        ),
    )


def as_json(
    findings: Mapping[float, Findings], measured: Measured, settings: dict[str, Any]
) -> dict[str, Any]:
    """Return evaluation.json's content: settings, counts, and by real share IoU and differences as fractions.

    An interval is [value, low, high].
    """
    return {
        "settings": settings,
        "train_crops": measured.train_crops,
        "mask_crops": measured.mask_crops,
        "filter": [
            {
                "accepted": len(one.crops),
                "given_up": one.given_up,
                "tried": one.tried,
                "passed": one.passed,
                "rejections": one.rejections,
                "ignored_pixels": round(float((one.crops.labels == IGNORE).mean()), 4),
            }
            for one in measured.acceptances
        ],
        "real_shares": {
            str(share): {"crops": measured.small_crops[share], **_share_json(found)}
            for share, found in findings.items()
        },
    }


def _share_json(findings: Findings) -> dict[str, Any]:
    return {
        "arms": {
            arm: {"seeds": [round(v, 4) for v in findings.seed_means[arm]], "iou": _named(findings, rows)}
            for arm, rows in findings.arms.items()
        },
        "differences": [
            {
                "arm": difference.arm,
                "reference": difference.reference,
                "half_width": round(difference.mean.half_width, 4),
                "iou": _named(findings, difference.intervals),
            }
            for difference in findings.differences
        ],
    }


def as_markdown(findings: Findings) -> str:
    """Return two tables in points (100 x IoU), intervals in brackets; bold where one does not hold 0."""
    head = "| " + " | ".join(findings.names) + " |\n" + "|---" * (len(findings.names) + 1) + "|"
    lines = ["| arm " + head]
    for arm, rows in findings.arms.items():
        cells = [f"{100 * row.value:.1f}" for row in rows]
        cells[-1] += f" [{100 * rows[-1].low:.1f}, {100 * rows[-1].high:.1f}]"
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    lines += ["", "| difference " + head]
    for difference in findings.differences:
        shown = " | ".join(_shown(row) for row in difference.intervals)
        lines.append(f"| {difference.arm} − {difference.reference} | {shown} |")  # noqa: RUF001 - a minus
    return "\n".join(lines) + "\n"


def resolution(findings: Findings) -> str:
    """Return one sentence: what difference of the mean this evaluation can and cannot tell from none."""
    widths = [difference.mean.half_width for difference in findings.differences]
    if not widths:
        return "One arm alone: there is nothing to compare."
    verdict = "can" if max(widths) <= ONE_POINT else "cannot"
    return (
        f"Half-widths of the mean's intervals: {100 * min(widths):.1f} to {100 * max(widths):.1f} points; "
        f"this evaluation {verdict} resolve one point in every comparison."
    )


def _named(findings: Findings, rows: Sequence[Interval]) -> dict[str, list[float]]:
    return {
        name: [round(row.value, 4), round(row.low, 4), round(row.high, 4)]
        for name, row in zip(findings.names, rows, strict=True)
    }


def _shown(row: Interval) -> str:
    text = f"{100 * row.value:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
    return f"**{text}**" if row.low > 0 or row.high < 0 else text
