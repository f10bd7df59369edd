"""R8's quotas: how many samples of each category a balanced data set would hold."""

from __future__ import annotations

import math
from collections.abc import Mapping


def quotas(frequencies: Mapping[int, float], total: int) -> dict[int, int]:
    """Return `total` divided among the categories in proportion to 1/√frequency (FreeMask), rounded to sum to it.

    `frequencies`: pixels, or any measure above 0, of each category. The largest remainders are rounded up; of equal
    ones the smaller id first.
    """
    weights = {number: 1 / math.sqrt(amount) for number, amount in frequencies.items() if amount > 0}
    whole = sum(weights.values())
    exact = {number: total * weight / whole for number, weight in weights.items()}
    parts = {number: math.floor(share) for number, share in exact.items()}
    by_remainder = sorted(parts, key=lambda number: (parts[number] - exact[number], number))
    for number in by_remainder[: total - sum(parts.values())]:
        parts[number] += 1
    return parts
