"""What a data set with a goal still lacks, and which samples to make for it next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.categories import CATEGORIES
from worker.acceptance import GoalTally, Tally
from worker.rounds import Planned

HOPELESS_SAMPLES = 16  # so many samples of a category and none accepted: it is given up
LARGEST_ROUND = 128  # samples; time and acceptance are looked at between rounds


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left: pictures that may still be generated, and whether the time is over."""

    tries: int
    tries_per_sample: int
    out_of_time: bool = False

    @property
    def samples(self) -> int:
        """Samples that fit into it if each needs all its tries."""
        return 0 if self.out_of_time else self.tries // self.tries_per_sample


def next_samples(
    wanted: Mapping[int, int],
    tally: Tally,
    masks: Mapping[int, Sequence[int]],
    budget: Budget,
    *,
    first_index: int,
) -> tuple[list[Planned], dict[str, GoalTally]]:
    """The samples of the next round, and where each category stands; no samples: the goal is reached or given up.

    `masks`: numbers of the masks that show each category. They are taken in turn, from where earlier rounds stopped.
    The category with the fewest masks goes first; a mask that shows several of them counts for each.
    """
    plan: list[Planned] = []
    coming = dict.fromkeys(wanted, 0.0)
    reasons: dict[int, str | None] = {}
    shows: dict[int, list[int]] = {}
    for category_id in wanted:
        for mask in masks.get(category_id, ()):
            shows.setdefault(mask, []).append(category_id)
    for category_id in sorted(wanted, key=lambda number: (len(masks.get(number, ())), number)):
        made, good = tally.requested_with(category_id), tally.accepted_with(category_id)
        rate = max(good, 1) / max(made, 1)
        reasons[category_id] = _why_not(made, good, budget)
        if reasons[category_id] is not None:
            continue
        own = masks[category_id]
        turn = made
        while good + coming[category_id] < wanted[category_id]:
            if len(plan) >= min(LARGEST_ROUND, budget.samples):
                break
            mask = own[turn % len(own)]
            turn += 1
            plan.append(Planned(index=first_index + len(plan), mask=mask))
            for shown in shows[mask]:
                coming[shown] += rate
    standing = {
        CATEGORIES[category_id].name: _standing(wanted[category_id], tally.accepted_with(category_id), reason)
        for category_id, reason in reasons.items()
    }
    return plan, standing


def _why_not(made: int, good: int, budget: Budget) -> str | None:
    """Why no more samples are made for the category; None where they are."""
    if made >= HOPELESS_SAMPLES and not good:
        return f"none of {made} samples was accepted"
    if budget.out_of_time:
        return f"max_seconds is over: {good} of {made} samples were accepted"
    if budget.samples < 1:
        return f"max_tries is used up: {good} of {made} samples were accepted"
    return None


def _standing(wanted: int, accepted: int, reason: str | None) -> GoalTally:
    reached = accepted >= wanted
    return GoalTally(wanted=wanted, accepted=accepted, reached=reached, reason=None if reached else reason)


def tries_allowed(wanted: Mapping[int, int], asked: int | None, tries_per_sample: int) -> int:
    """Pictures that the whole job may generate."""
    return asked or math.prod((sum(wanted.values()), tries_per_sample, 4))
