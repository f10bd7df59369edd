"""The filter's part with the real rules, on planted faults: tried again, counted, given up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.acceptance import accept
from models.evaluation.pictures import Drawn
from models.rfilter.rules import Policy, RuleName
from models.rfilter.scorers import Scorers
from models.sample import Condition

COUNT = 6
BLANK_ONCE, BLANK_ALWAYS = 2, 4


def drawn() -> list[Drawn]:
    mask = np.full((64, 64), 4, np.uint8)
    mask[:, 40:] = 6
    return [
        Drawn(Condition(k, mask, "A satellite image of road, water", seed=k), k % 3) for k in range(COUNT)
    ]


def make(asked: Sequence[Drawn], attempt: int) -> list[NDArray[np.uint8]]:
    """Noise of its own for each condition and try; one is blank at first, one always."""
    pictures = []
    for one in asked:
        index = one.condition.index
        rng = np.random.default_rng([index, attempt])
        picture = np.kron(rng.integers(30, 220, size=(8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        if index == BLANK_ALWAYS or (index == BLANK_ONCE and attempt == 0):
            picture[:] = 128
        pictures.append(picture)
    return pictures


def test_a_rejected_try_is_made_again_and_one_that_never_passes_is_given_up() -> None:
    found = accept(
        drawn(),
        ("x", "y", "z"),
        make,
        scorers=Scorers(),
        calibration=None,
        policy=Policy.BALANCED,
        max_tries=3,
    )
    assert found.tried == (6, 2, 1)
    assert found.passed == (4, 1, 0)
    assert found.given_up == 1
    assert found.rejections[RuleName.TECHNICAL] == 4
    assert found.crops.groups == ("x", "y", "z", "x", "z")
    expected = [make(drawn(), 0)[k] for k in (0, 1, 3, 5)]
    expected.insert(2, make(drawn(), 1)[BLANK_ONCE])
    np.testing.assert_array_equal(found.crops.images, np.stack(expected))


def test_without_a_filter_every_first_try_is_taken() -> None:
    found = accept(drawn(), "xyz", make, scorers=Scorers(), calibration=None, policy=Policy.OFF, max_tries=3)
    assert found.tried == found.passed == (6,)
    assert found.rejections == {}
    np.testing.assert_array_equal(found.crops.images, np.stack(make(drawn(), 0)))


def test_a_filter_that_accepts_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="accepted no picture"):
        accept(
            [drawn()[BLANK_ALWAYS]],
            "xyz",
            make,
            scorers=Scorers(),
            calibration=None,
            policy=Policy.BALANCED,
            max_tries=2,
        )
