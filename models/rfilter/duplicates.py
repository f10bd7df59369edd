"""R7: near duplicates, against the samples accepted so far and the tiles the generator was trained on."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.rfilter.calibration import Calibration
from models.rfilter.rules import Policy, RuleName, Verdict

LARGEST_DISTANCE = {Policy.OFF: 4.0, Policy.BALANCED: 4.0, Policy.STRICT: 8.0}  # of the hash's 64 bits
SMALLEST_COSINE = 0.75  # of the features
HASH_BITS = 64
_TILE, _NOBODY = -1, -2  # "groups" of training tiles and of a mask that has no accepted sample yet


def read_hash(scores: Mapping[str, Any]) -> np.uint64 | None:
    """Return the perceptual hash in the scores; None where the picture has none (not finite)."""
    text = scores.get("hash")
    return None if text is None else np.uint64(int(text, 16))


def read_feature(scores: Mapping[str, Any]) -> NDArray[np.int8]:
    """Return the feature (D,) in the scores; empty where no scorer gave one."""
    return np.frombuffer(base64.b64decode(scores.get("feature") or ""), dtype=np.int8)


class Seen:
    """The hashes and features of accepted samples and training tiles, in growing arrays: 12 + D bytes a sample.

    Not safe for threads. Samples must be checked and added in the order of their index, so that the same data set
    comes out whatever order they were made in.
    """

    def __init__(
        self,
        calibration: Calibration | None = None,
        policy: Policy = Policy.BALANCED,
        thresholds: Mapping[str, float | None] | None = None,
    ) -> None:
        asked = thresholds or {}
        number = asked.get(RuleName.NEAR_DUPLICATE)
        self._switched_off = RuleName.NEAR_DUPLICATE in asked and number is None
        self._limit = LARGEST_DISTANCE[policy] if number is None else number
        self._policy = policy
        self._rows = 0
        self._hashes = np.empty(0, np.uint64)
        self._groups = np.empty(0, np.int32)
        self._features = np.empty((0, 0), np.int8)  # a row of zeros: no feature
        self._group_numbers: dict[str, int] = {}
        self._within_groups = (0, 0)  # sum and number of the distances between samples of one group
        tiles = calibration.training_tiles if calibration else None
        if tiles:
            for value, feature in zip(*tiles.arrays(), strict=True):
                self._append(value, feature, _TILE)
        self._tiles = self._rows

    def __len__(self) -> int:
        """How many samples were added; training tiles do not count."""
        return self._rows - self._tiles

    def check(self, scores: Mapping[str, Any], group: str) -> Verdict:
        """Return R7's verdict; its score is the least distance in bits to a sample of another group or a tile.

        A near duplicate differs in at most 4 of the 64 bits of its hash (strict: 8) and has a cosine of the features
        of at least 0.75; where a feature is missing the hash alone decides.
        """
        rule = RuleName.NEAR_DUPLICATE
        if self._switched_off:
            return Verdict(rule, None, None, None, "Switched off by the request.")
        value = read_hash(scores)
        if value is None:
            return Verdict(
                rule, None, self._limit, None, "Unknown: a picture that is not finite has no hash."
            )
        own = self._group_numbers.get(group, _NOBODY)
        others = np.flatnonzero(self._groups[: self._rows] != own)
        if not others.size:
            return Verdict(
                rule, None, self._limit, True, "There is no sample of another mask to compare with yet."
            )
        distances = np.bitwise_count(self._hashes[others] ^ value)  # (N,) bits
        near = np.flatnonzero(distances <= self._limit)
        near = near[self._alike(others[near], read_feature(scores))]
        closest = int(near[distances[near].argmin()] if near.size else distances.argmin())
        row, bits = int(others[closest]), float(distances[closest])
        other = "a training tile" if row < self._tiles else f"accepted sample {row - self._tiles}"
        sentence = f"{bits:.0f} of {HASH_BITS} bits differ from {other}"
        if bits <= self._limit and not near.size:
            sentence += ", but what it shows differs"
        if self._policy is Policy.OFF:
            return Verdict(rule, bits, self._limit, None, f"Policy off, not enforced. {sentence}.")
        return Verdict(rule, bits, self._limit, not near.size, f"{sentence}.")

    def add(self, scores: Mapping[str, Any], group: str) -> None:
        """Remember an accepted sample; pictures without a hash are not remembered."""
        value = read_hash(scores)
        if value is None:
            return
        number = self._group_numbers.setdefault(group, len(self._group_numbers))
        same = self._hashes[: self._rows][self._groups[: self._rows] == number]
        bits, count = self._within_groups
        self._within_groups = (bits + int(np.bitwise_count(same ^ value).sum()), count + same.size)
        self._append(value, read_feature(scores), number)

    def diversity(self) -> float | None:
        """Return the mean distance in bits between accepted samples of one mask; None where no mask has two."""
        bits, count = self._within_groups
        return bits / count if count else None

    def _alike(self, rows: NDArray[np.int64], feature: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Whether the rows' features (K, D) are like this one; yes where a feature is missing."""
        if feature.size != self._features.shape[1]:
            return np.ones(len(rows), np.bool_)
        known = self._features[rows].astype(np.float32)
        mine = feature.astype(np.float32)
        lengths = np.linalg.norm(known, axis=1) * np.linalg.norm(mine)
        return np.asarray((known @ mine >= SMALLEST_COSINE * lengths) | (lengths == 0))

    def _append(self, value: np.uint64, feature: NDArray[np.int8], group: int) -> None:
        if feature.size and not self._features.size:
            self._features = np.zeros((len(self._hashes), feature.size), np.int8)
        if self._rows == len(self._hashes):
            rows = max(1024, 2 * self._rows)
            self._hashes = _longer(self._hashes, rows)
            self._groups = _longer(self._groups, rows)
            self._features = _longer(self._features, rows)
        self._hashes[self._rows] = value
        self._groups[self._rows] = group
        if feature.size == self._features.shape[1]:
            self._features[self._rows] = feature
        self._rows += 1


def _longer(array: NDArray[Any], rows: int) -> NDArray[Any]:
    longer = np.zeros((rows, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer
