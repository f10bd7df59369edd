"""The findings as ablation.json and as the tables of ablation.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.cfcomp.ablation.arms import CONTRASTS
from models.cfcomp.ablation.estimates import Estimate, contrast
from models.cfcomp.ablation.findings import Findings
from models.evaluation.bootstrap import Interval


def as_markdown(findings: Findings) -> str:
    """Return two tables, the arms and their contrasts; a contrast is bold where its interval does not hold 0.

    IoU in points (x 100), KID as it is, loss x 1000; brackets hold 95 %.
    """
    columns = [*findings.names[:-1], "mIoU", "KID", "loss"]
    head, rule = f"{' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"
    lines = [f"| arm | {head}", rule]
    for name, iou in findings.iou.items():
        wide = [_plain(iou.intervals[-1], 100), _plain(findings.kid[name].intervals[0], 1, digits=2)]
        wide.append(_plain(findings.loss[name].intervals[0], 1000))
        lines.append(f"| {name} | {' | '.join([*_values(iou)[:-1], *wide])} |")
    lines.append(f"| ceiling: real pictures | {' | '.join(_values(findings.ceiling))} | | |")
    lines += [f"| floor: {name} | {' | '.join(_values(one))} | | |" for name, one in findings.floor.items()]
    lines += [
        "",
        f"KID between random halves of the real crops: {_plain(findings.split, 1, digits=2)}; "
        f"between real crops of the training tiles and of the held-out ones: {findings.elsewhere:.2f}.",
        "",
        f"| contrast | {head}",
        rule,
    ]
    for name, weights in CONTRASTS.items():
        cells = [
            *(_signed(one, 100) for one in contrast(findings.iou, weights).intervals),
            *(_signed(one, 1, digits=2) for one in contrast(findings.kid, weights).intervals),
            *(_signed(one, 1000) for one in contrast(findings.loss, weights).intervals),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def as_json(findings: Findings, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return ablation.json's content, fractions throughout; an interval is [value, low, high]."""
    return {
        "settings": dict(settings),
        "categories": list(findings.names),
        "iou": _document(findings.iou),
        "floor": {name: _rounded(floor.intervals) for name, floor in findings.floor.items()},
        "ceiling": _rounded(findings.ceiling.intervals),
        "kid": _document(findings.kid),
        "kid_of_real_halves": _rounded([findings.split])[0],
        "kid_of_other_places": round(findings.elsewhere, 6),
        "loss": _document(findings.loss),
        "composed": {name: round(share, 4) for name, share in findings.composed.items()},
        "training_seconds": {name: round(seconds, 1) for name, seconds in findings.seconds.items()},
    }


def _document(measure: Mapping[str, Estimate]) -> dict[str, Any]:
    return {
        "arms": {name: _rounded(one.intervals) for name, one in measure.items()},
        "by_seed": {name: one.by_seed.round(6).tolist() for name, one in measure.items()},
        "contrasts": {
            name: _rounded(contrast(measure, weights).intervals) for name, weights in CONTRASTS.items()
        },
    }


def _rounded(found: Sequence[Interval]) -> list[list[float]]:
    return [[round(one.value, 6), round(one.low, 6), round(one.high, 6)] for one in found]


def _values(iou: Estimate) -> list[str]:
    return [f"{100 * value:.1f}" for value in iou.value]


def _plain(one: Interval, scale: int, *, digits: int = 1) -> str:
    value, low, high = (f"{scale * number:.{digits}f}" for number in (one.value, one.low, one.high))
    return f"{value} [{low}, {high}]"


def _signed(one: Interval, scale: int, *, digits: int = 1) -> str:
    value, low, high = (f"{scale * number:+.{digits}f}" for number in (one.value, one.low, one.high))
    text = f"{value} [{low}, {high}]"
    return f"**{text}**" if one.low > 0 or one.high < 0 else text
