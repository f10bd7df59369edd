from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from models.cfcomp.composition import compose_batch
from models.cfcomp.options import CfCompOptions
from models.cfcomp.selection import match_pairs, select_pairs, step_rng
from models.cfcomp.triple import Triple
from tests.models.cfcomp.samples import batches

EQUAL = dict.fromkeys(range(1, 67), 0.5)


def naive(batch: list[Triple], options: CfCompOptions, limit: float) -> dict[tuple[int, int], float]:
    """Each possible pair's best score, read off the method with SciPy's components and plain loops."""

    def objects(mask: NDArray[np.uint8], category: int) -> NDArray[np.bool_] | None:
        labels, count = ndimage.label(mask == category, np.ones((3, 3)))
        areas = [int((labels == k).sum()) for k in range(1, count + 1)]
        kept = [k for k, area in enumerate(areas, 1) if area >= 64]
        if not kept or max(areas) > mask.size / 2:
            return None
        found: NDArray[np.bool_] = np.isin(labels, kept)
        return found

    def keeps(home: Triple, pasted: NDArray[np.bool_]) -> bool:
        for category in set(home.mask.ravel().tolist()) - {0, 255}:
            where = home.mask == category
            labels, count = ndimage.label(where, np.ones((3, 3))) if category >= 12 else (where, 1)
            for k in range(1, count + 1):
                part = labels == k
                if (part & ~pasted).sum() < options.min_visible * part.sum():
                    return False
        return True

    scores = {}
    for (i, a), (j, b) in combinations(enumerate(batch), 2):
        for category in (4, 8, 17):
            in_a, in_b = objects(a.mask, category), objects(b.mask, category)
            if in_a is None or in_b is None:
                continue
            omega = (in_a & in_b).sum() / min(in_a.sum(), in_b.sum())
            colors = [
                cv2.cvtColor(sample.picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[~inside].mean(0)
                for sample, inside in ((a, in_a), (b, in_b))
            ]
            distance = float(np.linalg.norm(colors[0] - colors[1]))
            if omega > options.max_overlap or (in_a | in_b).mean() > 0.6:
                continue
            if keeps(a, in_b) and keeps(b, in_a):
                score = 1 - omega + distance / limit + 1
                scores[i, j] = max(score, scores.get((i, j), 0.0))
    return scores


def best_total(scores: dict[tuple[int, int], float], free: frozenset[int]) -> float:
    """The largest sum over all matchings, by trying each."""
    if len(free) < 2:
        return 0.0
    first, *others = sorted(free)
    without = best_total(scores, free - {first})
    return max(
        [
            without,
            *(
                scores[first, other] + best_total(scores, free - {first, other})
                for other in others
                if (first, other) in scores
            ),
        ]
    )


@settings(max_examples=60, deadline=None)
@given(batches())
def test_the_matching_is_the_best_of_all(batch: list[Triple]) -> None:
    options = CfCompOptions()
    pairs = match_pairs(batch, options, EQUAL, distance_limit=50)
    scores = naive(batch, options, 50)
    used = [place for pair in pairs for place in (pair.first, pair.second)]
    assert len(used) == len(set(used))
    for pair in pairs:
        assert pair.score == pytest.approx(scores[pair.first, pair.second], abs=0.03)  # colours of bytes
    assert sum(pair.score for pair in pairs) == pytest.approx(
        best_total(scores, frozenset(range(len(batch)))), abs=0.1
    )


@settings(max_examples=40, deadline=None)
@given(batches(), st.booleans(), st.integers(0, 9))
def test_probability_of_0_is_the_real_batch_and_of_1_all_pairs(
    batch: list[Triple], cross_class: bool, seed: int
) -> None:
    never = CfCompOptions(probability=0, cross_class=cross_class)
    generator = step_rng(seed, 0)
    assert compose_batch(batch, select_pairs(batch, never, generator, EQUAL)) == batch
    always = CfCompOptions(probability=1, cross_class=cross_class)
    pairs = select_pairs(batch, always, generator, EQUAL, distance_limit=1000)
    assert pairs == match_pairs(batch, always, EQUAL, distance_limit=1000)
    composed = compose_batch(batch, pairs)
    touched = {place for pair in pairs for place in (pair.first, pair.second)}
    assert all(composed[place] is batch[place] for place in range(len(batch)) if place not in touched)
