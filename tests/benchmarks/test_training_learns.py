"""What a training learns from nothing, in numbers: four pairs by heart, and more where there are objects."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tests.models.cfcomp.learning import agreement, check_layout, learn
from tests.models.cfcomp.trainings import MadePairs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.skipif(
    os.environ.get("EARTHSYNTH_BENCH") != "long",
    reason="110 of these steps are among the quick tests; all 300 with EARTHSYNTH_BENCH=long",
)
def test_four_pairs_are_learned_by_heart() -> None:
    """The error falls by four fifths and more, at every time step by half and more."""
    known = learn(300, MadePairs(4, 64))
    by_time = known.after.mean(axis=(1, 2, 3)) / known.before.mean(axis=(1, 2, 3))
    print(f"error {known.before.mean():.3f} -> {known.after.mean():.3f}, by time {by_time.round(2)}")
    print(f"agreement (picture, mask)\n{agreement(known).round(2)}")
    assert known.after.mean() < 0.2 * known.before.mean()
    assert by_time.max() < 0.5
    check_layout(known, own=0.7, apart=0.35)


def test_the_local_loss_turns_the_training_to_objects() -> None:
    """Houses on ground that is nothing in the mask: the larger lambda, the less error there, for more elsewhere."""
    pairs = MadePairs(4, 64, categories=(8,))
    houses = np.stack([pairs.read(k).mask.reshape(8, 8, 8, 8).mean(axis=(1, 3)) for k in range(4)]) / 8
    inside, outside = houses > 0.75, houses == 0
    assert 0.05 < inside.mean() < 0.4
    assert outside.mean() > 0.4
    ratios = {}
    for weight in (0, 1, 20):
        known = learn(60, pairs, local_loss_weight=weight)
        fallen = known.after / known.before.mean(axis=0)
        ratios[weight] = float(fallen[:, inside].mean() / fallen[:, outside].mean())
    print(f"error left in houses, as a multiple of that outside, by lambda: {ratios}")
    assert ratios[20] < ratios[1] < ratios[0]
    assert ratios[20] < 0.9 * ratios[0]
