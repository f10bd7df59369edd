from __future__ import annotations

from tests.models.cfcomp.learning import check_layout, learn
from tests.models.cfcomp.trainings import MadePairs


def test_four_pairs_are_learned_by_heart_in_short() -> None:
    """110 steps take the error to a third, and the layout shows; the long form is among the benchmarks."""
    known = learn(110, MadePairs(4, 64))
    assert known.after.mean() < 0.34 * known.before.mean()
    check_layout(known, own=0.5, apart=0.2)
