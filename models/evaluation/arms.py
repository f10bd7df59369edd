"""The arms of the comparison: what each batch is made of. Everything else is equal in all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Source(StrEnum):
    """Where crops come from."""

    REAL_SMALL = "real_small"  # the small share of the real crops, drawn anew for each seed
    REAL_FULL = "real_full"  # all real crops of train
    SYNTHETIC = "synthetic"  # accepted by the filter, rejected tries made again
    SHUFFLED = "shuffled"  # the same pictures and the same labels, each label beside another tile's picture
    UNFILTERED = "unfiltered"  # the first try of every condition, whatever it looks like


class Arm(StrEnum):
    """One way to train; the order is that of the report."""

    REAL_SMALL = (
        "real_small"  # half batches: exactly the real crops that the synthetic arms see, nothing else
    )
    REAL_FULL = "real_full"  # the upper reference
    REAL_REPEATED = (
        "real_repeated"  # more real_small where the synthetic arms have synthetic: as many pictures
    )
    CLASSIC = "classic"  # real_repeated, each crop flipped, turned, scaled and recoloured at random
    SYNTHETIC = "synthetic"  # half real_small, half synthetic
    SHUFFLED = "shuffled"  # half real_small, half synthetic with wrong labels: must not help
    UNFILTERED = "unfiltered"  # half real_small, half synthetic without the filter
    CLASSIC_SYNTHETIC = "classic_synthetic"  # as synthetic, and every crop augmented as in classic


@dataclass(frozen=True, slots=True)
class Recipe:
    """What fills the first and the second half of each batch; None leaves the batch at half its size."""

    first: Source
    second: Source | None
    augmented: bool = False


RECIPES: Mapping[Arm, Recipe] = MappingProxyType(
    {
        Arm.REAL_SMALL: Recipe(Source.REAL_SMALL, None),
        Arm.REAL_FULL: Recipe(Source.REAL_FULL, Source.REAL_FULL),
        Arm.REAL_REPEATED: Recipe(Source.REAL_SMALL, Source.REAL_SMALL),
        Arm.CLASSIC: Recipe(Source.REAL_SMALL, Source.REAL_SMALL, augmented=True),
        Arm.SYNTHETIC: Recipe(Source.REAL_SMALL, Source.SYNTHETIC),
        Arm.SHUFFLED: Recipe(Source.REAL_SMALL, Source.SHUFFLED),
        Arm.UNFILTERED: Recipe(Source.REAL_SMALL, Source.UNFILTERED),
        Arm.CLASSIC_SYNTHETIC: Recipe(Source.REAL_SMALL, Source.SYNTHETIC, augmented=True),
    }
)

# (arm, reference): the differences that are reported. The fair reference of the synthetic arms is real_repeated,
# which has their steps and their pictures per step.
COMPARISONS: tuple[tuple[Arm, Arm], ...] = (
    *((arm, Arm.REAL_SMALL) for arm in Arm if arm is not Arm.REAL_SMALL),
    (Arm.REAL_FULL, Arm.REAL_REPEATED),
    (Arm.CLASSIC, Arm.REAL_REPEATED),
    (Arm.SYNTHETIC, Arm.REAL_REPEATED),
    (Arm.SHUFFLED, Arm.REAL_REPEATED),
    (Arm.UNFILTERED, Arm.REAL_REPEATED),
    (Arm.SYNTHETIC, Arm.SHUFFLED),
    (Arm.SYNTHETIC, Arm.UNFILTERED),
    (Arm.SYNTHETIC, Arm.CLASSIC),
    (Arm.CLASSIC_SYNTHETIC, Arm.CLASSIC),
)
