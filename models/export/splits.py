"""Which groups of samples train, and which are kept to judge: grouped, stratified, seeded."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from models.errors import InvalidInput

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TAKEN = {
    "all",
    "images",
    "masks",
    "labels",
    "annotations",
    "colors",
    "names",
    "unfiltered",
}  # folders and keywords
_USUAL = ("train", "val", "validation", "test")


def check_split_name(name: str) -> None:
    """Refuse names that cannot be a folder, a YAML key and a Hugging Face split at once.

    Raises:
        InvalidInput: invalid_split.
    """
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise InvalidInput(
            f"{name[:64]!r} cannot name a split; use lower-case letters, digits and _, beginning with a letter, and "
            f"none of {', '.join(sorted(_TAKEN))}.",
            code="invalid_split",
        )


def in_usual_order(names: Iterable[str]) -> list[str]:
    """Return split names with train, val, validation and test first, then the others by name."""
    return sorted(names, key=lambda name: (_USUAL.index(name) if name in _USUAL else len(_USUAL), name))


def assign_splits(
    groups: Mapping[str, Sequence[int]], ratios: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Return the split of each group, near the ratios overall and for every category.

    `groups` maps a group to the category ids in its mask, `ratios` a split to its share, which need not sum to 1.
    Iterative stratification (Sechidis et al., ECML 2011): the rarest category's groups are dealt first, each to
    the split that lacks most of it. Ties are decided by a hash of seed and names, so the order of the mappings
    does not matter. While there are as many groups as splits with a ratio above 0, none of these is empty.

    Raises:
        InvalidInput: invalid_split, a name or a ratio that cannot be.
    """
    for name, ratio in ratios.items():
        check_split_name(name)
        if not (math.isfinite(ratio) and ratio >= 0):
            raise InvalidInput(f"The ratio of split {name!r} must be 0 or more.", code="invalid_split")
    total = sum(ratios.values())
    if total <= 0:
        raise InvalidInput("At least one split needs a ratio above 0.", code="invalid_split")
    shares = {name: ratios[name] / total for name in in_usual_order(ratios) if ratios[name] > 0}
    dealer = _Dealer({group: frozenset(ids) for group, ids in groups.items()}, shares, seed)
    dealer.deal()
    return {group: dealer.dealt[group] for group in groups}


class _Dealer:
    """The state of one dealing: what is left, and how many groups each split still wants."""

    def __init__(self, groups: Mapping[str, frozenset[int]], shares: Mapping[str, float], seed: int) -> None:
        self._seed = seed
        self._left = dict(sorted(groups.items(), key=lambda item: self._chance(item[0])))
        counts = Counter(number for ids in groups.values() for number in ids)
        self._wanted = {split: share * len(groups) for split, share in shares.items()}
        self._wanted_of = {
            split: {number: share * count for number, count in counts.items()}
            for split, share in shares.items()
        }
        self._empty = set(shares)
        self.dealt: dict[str, str] = {}

    def _chance(self, *names: object) -> bytes:
        return hashlib.sha256(repr((self._seed, *names)).encode()).digest()

    def deal(self) -> None:
        counts = Counter(number for ids in self._left.values() for number in ids)
        holders: dict[int, list[str]] = {number: [] for number in counts}
        for group, ids in self._left.items():
            for number in ids:
                holders[number].append(group)
        while counts:
            rarest = min(counts, key=lambda number: (counts[number], number))
            for group in holders[rarest]:
                if group in self._left:
                    counts -= Counter(self._left[group])  # drops categories that reach 0
                    self._give(group, rarest)
        for group in list(self._left):
            self._give(group, None)

    def _give(self, group: str, number: int | None) -> None:
        ids = self._left.pop(group)
        # the last groups go to splits that would stay empty otherwise
        open_splits = (
            self._empty if self._empty and len(self._left) < len(self._empty) else self._wanted.keys()
        )

        def wish(split: str) -> tuple[float, float, bytes]:
            own = self._wanted_of[split][number] if number is not None else 0.0
            return round(own, 9), round(self._wanted[split], 9), self._chance(group, split)

        split = max(open_splits, key=wish)
        self.dealt[group] = split
        self._empty.discard(split)
        self._wanted[split] -= 1
        for present in ids:
            self._wanted_of[split][present] -= 1
