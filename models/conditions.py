"""Seeds of single pictures, so that picture k of a job is the same alone, in a batch or on a second try."""

from __future__ import annotations

MAX_SEED = 2**32 - 1
MAX_INDEX = 2**24 - 1
MAX_ATTEMPT = 2**8 - 1


def derive_seed(seed: int, index: int, attempt: int = 0) -> int:
    """The seed, 0 … 2**32 - 1, of try `attempt` of picture `index` of a job seeded with `seed`.

    derive_seed(s, 0, 0) is s itself, so any picture can be made again alone by asking for its own seed.
    Within one job no two (index, attempt) share a seed: the pair is one 32-bit number, mixed by a bijection
    that keeps 0 (MurmurHash3's finaliser) and xored with the job's seed. Python integers only, so it is the
    same on every machine; and it must stay the same in every release, because recorded seeds depend on it.

    Raises ValueError: seed outside 0 … 2**32 - 1, index outside 0 … 2**24 - 1 or attempt outside 0 … 255.
    """
    for name, value, largest in (
        ("seed", seed, MAX_SEED),
        ("index", index, MAX_INDEX),
        ("attempt", attempt, MAX_ATTEMPT),
    ):
        if not 0 <= value <= largest:
            raise ValueError(f"{name} must be from 0 to {largest}, not {value}")
    return seed ^ _mix32(attempt << 24 | index)


def _mix32(value: int) -> int:
    """MurmurHash3's 32-bit finaliser `fmix32` (Austin Appleby, public domain): a bijection with 0 → 0."""
    value ^= value >> 16
    value = value * 0x85EBCA6B & MAX_SEED
    value ^= value >> 13
    value = value * 0xC2B2AE35 & MAX_SEED
    return value ^ value >> 16
