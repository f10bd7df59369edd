"""Which pictures of the evaluation the filter accepts, tried again as the service tries again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.crops import Crops
from models.evaluation.pictures import Drawn
from models.labels import with_ignored
from models.rfilter.calibration import Calibration
from models.rfilter.duplicates import Seen
from models.rfilter.rules import Policy, Verdict, accepted, judge
from models.rfilter.scorers import Scorers

# (conditions to make, number of the try) to their pictures
Make = Callable[[Sequence[Drawn], int], Sequence[NDArray[np.uint8]]]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The accepted pictures with their labels, and how it came to them.

    `tried` and `passed` count pictures by try; `rejections` counts the rejected ones by rule (one picture may
    fail several); `given_up` conditions had no accepted try.
    """

    crops: Crops
    tried: tuple[int, ...]
    passed: tuple[int, ...]
    rejections: dict[str, int]
    given_up: int


def accept(
    drawn: Sequence[Drawn],
    groups: Sequence[str],
    make: Make,
    *,
    scorers: Scorers,
    calibration: Calibration | None,
    policy: Policy,
    max_tries: int,
) -> Acceptance:
    """Return the first accepted try of each condition, in the order of conditions.

    `groups`: the tile of each mask that conditions were drawn from. The label is the conditioning mask with 255
    where the filter says ignore (R6).
    """
    seen = Seen(calibration, policy)
    found: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
    tried, passed, rejections = [], [], Counter[str]()
    pending = list(drawn)
    for attempt in range(max_tries):
        if not pending:
            break
        tried.append(len(pending))
        left = []
        for one, image in zip(pending, make(pending, attempt), strict=True):
            condition = one.condition
            scored = scorers.score(image, condition.mask, condition.prompt, calibration=calibration)
            mask = f"{groups[one.parent]}/{one.parent}"
            verdicts: tuple[Verdict, ...] = (
                *judge(scored.scores, calibration, policy),
                seen.check(scored.scores, mask),
            )
            if not accepted(verdicts):
                rejections.update(verdict.rule for verdict in verdicts if verdict.passed is False)
                left.append(one)
                continue
            seen.add(scored.scores, mask)
            label = condition.mask
            if scored.ignore is not None:
                label = with_ignored(label, scored.ignore)
            found[condition.index] = (image, label)
        passed.append(len(pending) - len(left))
        pending = left
    if not found:
        raise ValueError("the filter accepted no picture: see its calibration, or evaluate with --policy off")
    kept = [one for one in drawn if one.condition.index in found]
    return Acceptance(
        crops=Crops(
            np.stack([found[one.condition.index][0] for one in kept]),
            np.stack([found[one.condition.index][1] for one in kept]),
            tuple(groups[one.parent] for one in kept),
        ),
        tried=tuple(tried),
        passed=tuple(passed),
        rejections=dict(sorted(rejections.items())),
        given_up=len(pending),
    )
