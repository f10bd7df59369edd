"""Seeds of single pictures: fixed for ever, distinct within a job, and free to ask for alone."""

from __future__ import annotations

import pytest

from models.conditions import derive_seed


def test_the_first_picture_uses_the_jobs_own_seed() -> None:
    assert [derive_seed(seed, 0, 0) for seed in (0, 7, 2**32 - 1)] == [0, 7, 2**32 - 1]


@pytest.mark.parametrize(
    ("index", "attempt", "expected"),
    [
        # MurmurHash3_x86_32 of the empty string is its finaliser of the seed; published test vectors:
        # seed 1 → 0x514E28B7, seed 0xFFFFFFFF → 0x81F16F39.
        (1, 0, 0x514E28B7),
        (0xFFFFFF, 0xFF, 0x81F16F39),
    ],
)
def test_the_mixing_is_murmurhash3s(index: int, attempt: int, expected: int) -> None:
    assert derive_seed(0, index, attempt) == expected
    assert derive_seed(0xFFFF0000, index, attempt) == expected ^ 0xFFFF0000


def test_no_two_pictures_or_tries_of_a_job_share_a_seed() -> None:
    seeds = {derive_seed(41, index, attempt) for index in range(20_000) for attempt in range(5)}
    assert len(seeds) == 100_000
    assert min(seeds) >= 0
    assert max(seeds) < 2**32


def test_neighbouring_pictures_differ_in_about_half_the_bits() -> None:
    flips = [(derive_seed(9, index) ^ derive_seed(9, index + 1)).bit_count() for index in range(1000)]
    assert 15 < sum(flips) / len(flips) < 17


@pytest.mark.parametrize(
    ("seed", "index", "attempt"),
    [(-1, 0, 0), (2**32, 0, 0), (0, -1, 0), (0, 2**24, 0), (0, 0, -1), (0, 0, 256)],
)
def test_numbers_out_of_range_are_refused(seed: int, index: int, attempt: int) -> None:
    with pytest.raises(ValueError, match="must be from 0 to"):
        derive_seed(seed, index, attempt)
