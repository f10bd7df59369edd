"""Quotas ∝ 1/√frequency, against hand-made numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.rfilter.quotas import quotas


def test_a_category_a_hundred_times_rarer_gets_ten_times_as_many() -> None:
    assert quotas({4: 10_000, 8: 100}, 110) == {4: 10, 8: 100}


def test_equal_frequencies_share_evenly_and_the_rest_goes_to_the_first() -> None:
    assert quotas({8: 5, 4: 5, 6: 5}, 10) == {8: 3, 4: 4, 6: 3}


def test_what_does_not_occur_has_no_quota() -> None:
    assert quotas({4: 0, 8: 9}, 7) == {8: 7}
    assert quotas({}, 7) == {}


@given(st.dictionaries(st.integers(1, 66), st.integers(1, 10**9), min_size=1), st.integers(0, 10**6))
def test_quotas_sum_to_the_total_and_rarer_is_never_less(frequencies: dict[int, int], total: int) -> None:
    found = quotas(frequencies, total)
    assert sum(found.values()) == total
    for rare, many in frequencies.items():
        for other, more in frequencies.items():
            if many < more:
                assert found[rare] >= found[other] - 1
