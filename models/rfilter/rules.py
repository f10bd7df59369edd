"""R-Filter's rules: verdicts as a pure function of stored scores, so that a data set can be filtered again at once.

| rule | off | balanced | strict |
|---|---|---|---|
| R1 technical | shown | enforced | enforced |
| R2 image_text, R3 region_text, R4 mask_agreement, R5 leakage | shown | enforced | enforced, tighter percentile |
| R6 pixel_ignore | shown | marks pixels | enforced: too many marked pixels reject |
| R7 near_duplicate (`duplicates.py`) | shown | enforced | enforced, wider |
| R8 informativeness | shown | selects only | selects only |

Of R4's measures balanced enforces the two that carry over to places never seen, the fit of the mask here rather than
elsewhere and each category's contrast; strict adds recall and IoU.

A number given for a rule replaces its calibrated thresholds and makes it enforced under balanced and strict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from models.rfilter import measures
from models.rfilter.calibration import Calibration
from models.rfilter.measures import Measure


class Policy(StrEnum):
    OFF = "off"  # scores are stored and shown, nothing is rejected
    BALANCED = "balanced"  # at least nine of ten real pairs would pass all rules together
    STRICT = "strict"  # tighter percentiles; real pairs that are unusual fail too


class RuleName(StrEnum):
    TECHNICAL = "technical"  # R1: finite, not blank, not clipped, of the right size
    IMAGE_TEXT = "image_text"  # R2: the picture looks like the categories it shows, to a CLIP
    REGION_TEXT = "region_text"  # R3: so does each region of its mask
    MASK_AGREEMENT = "mask_agreement"  # R4: a segmenter finds the mask again, here and not elsewhere
    LEAKAGE = "leakage"  # R5: no object outside its mask
    PIXEL_IGNORE = "pixel_ignore"  # R6: pixels the segmenter does not believe become 255 in the label
    NEAR_DUPLICATE = "near_duplicate"  # R7: neither accepted before nor a training tile
    INFORMATIVENESS = "informativeness"  # R8: neither trivial nor hopeless for a segmenter


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says: `passed` is None where it cannot or need not say, and `detail` tells why, in a sentence.

    `score` and `threshold` are those of the worst category where a rule judges each.
    """

    rule: str
    score: float | None
    threshold: float | None
    passed: bool | None
    detail: str


def judge(
    scores: Mapping[str, Any],
    calibration: Calibration | None,
    policy: Policy,
    thresholds: Mapping[str, float | None] | None = None,
) -> tuple[Verdict, ...]:
    """Return the verdicts of R1 to R6 and R8, in this order, on scores of `scorers.py`.

    `thresholds`, by rule name: a number replaces the calibrated ones (technical: least entropy in bits; image_text:
    least margin; region_text: largest share of failed regions; mask_agreement: least IoU of each category; leakage:
    largest leaked area over mask area; pixel_ignore: largest share of ignored pixels; informativeness: least mean
    loss); None switches the rule off.
    """
    asked = thresholds or {}
    return tuple(_judge_one(rule, scores, calibration, policy, asked) for rule in _RULES)


def accepted(verdicts: Iterable[Verdict]) -> bool:
    """Return whether no rule rejects; unknown never does."""
    return all(verdict.passed is not False for verdict in verdicts)


def _judge_one(
    rule: RuleName,
    scores: Mapping[str, Any],
    calibration: Calibration | None,
    policy: Policy,
    asked: Mapping[str, float | None],
) -> Verdict:
    if policy is not Policy.OFF and rule in asked and asked[rule] is None:
        return Verdict(rule, None, None, None, "Switched off by the request.")
    if rule is not RuleName.TECHNICAL and not (scores["finite"] and scores["size_matches"]):
        return Verdict(
            rule, None, None, None, "Unknown: a picture that is not finite or of another size has no score."
        )
    number = None if policy is Policy.OFF else asked.get(rule)
    # Under `off` the scores are held against the balanced thresholds for show.
    measured = _RULES[rule](scores, calibration, policy is Policy.STRICT, number)
    if isinstance(measured, str):
        return Verdict(rule, None, number, None, measured)
    passed: bool | None = measured.margin >= 0
    sentence = measured.sentence
    if policy is Policy.OFF:
        return Verdict(
            rule, measured.score, measured.threshold, None, f"Policy off, not enforced. {sentence}"
        )
    if not passed and number is None and not _enforced(rule, policy):
        passed, sentence = None, f"{sentence} It does not reject under {policy.value}."
    return Verdict(rule, measured.score, measured.threshold, passed, sentence)


def _enforced(rule: RuleName, policy: Policy) -> bool:
    if rule is RuleName.INFORMATIVENESS:
        return False
    return rule is not RuleName.PIXEL_IGNORE or policy is Policy.STRICT


_Rule = Callable[[Mapping[str, Any], Calibration | None, bool, float | None], Measure | str]
_RULES: dict[RuleName, _Rule] = {
    RuleName.TECHNICAL: measures.technical,
    RuleName.IMAGE_TEXT: measures.image_text,
    RuleName.REGION_TEXT: measures.region_text,
    RuleName.MASK_AGREEMENT: measures.mask_agreement,
    RuleName.LEAKAGE: measures.leakage,
    RuleName.PIXEL_IGNORE: measures.pixel_ignore,
    RuleName.INFORMATIVENESS: measures.informativeness,
}
