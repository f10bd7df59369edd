"""Which samples of a batch exchange objects: CF-Comp's semantic, layout and pixel dimensions (method, 5.1 to 5.4).

An object is a component of a category (8-connectivity) of at least 64 px; a category with a component of more than
half the tile is scenery there and is not exchanged. What an exchange may not cover is each object of things, and
of each land cover its whole area.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import networkx as nx
import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE
from models.cfcomp.composition import MIN_COMPONENT_PX, Pair, object_pixels
from models.cfcomp.options import CfCompOptions
from models.cfcomp.triple import Triple
from models.components import find_components
from models.pixel_values import unique_values

MAX_COMPONENT_SHARE = 0.5  # of the tile
MAX_UNION_SHARE = 0.6  # of the tile, both samples' objects together
DISTANCE_PERCENTILE = 75  # of random pairs
MAX_GREY_SPREAD = 2.0  # levels between the channels, on average: below it a picture is grey


@dataclass(frozen=True, slots=True, eq=False)
class _Survey:
    """What selection needs of one sample. Pixels are counted along the flattened tile.

    `objects` says where the exchangeable categories' objects are, and as indices; `backgrounds` is the mean CIELAB
    colour of all other pixels, (3,), and `whole` that of the picture. `units` numbers what must stay visible, 0 for
    nothing.
    """

    present: frozenset[int]
    objects: dict[int, tuple[NDArray[np.bool_], NDArray[np.intp]]]
    backgrounds: dict[int, NDArray[np.float64]]
    whole: NDArray[np.float64]
    units: NDArray[np.int32]
    unit_areas: NDArray[np.int64]
    is_grey: bool

    def background(self, category_id: int) -> NDArray[np.float64]:
        return self.backgrounds.get(category_id, self.whole)


def step_rng(seed: int, step: int, group: int = 0) -> np.random.Generator:
    """Return what decides in a step which matched pairs are composed: a preview shows what a training does.

    `group` numbers the parts of a batch in which partners are found.
    """
    return np.random.default_rng([seed, 3, step, group] if group else [seed, 3, step])


def select_pairs(
    samples: Sequence[Triple],
    options: CfCompOptions,
    rng: np.random.Generator,
    frequencies: Mapping[int, float],
    *,
    distance_limit: float | None = None,
) -> list[Pair]:
    """Return the pairs to compose: each matched pair with the options' probability. See `match_pairs`."""
    if options.probability == 0:
        return []
    pairs = match_pairs(samples, options, frequencies, distance_limit=distance_limit)
    return [
        pair for pair, draw in zip(pairs, rng.random(len(pairs)), strict=True) if draw < options.probability
    ]


def match_pairs(
    samples: Sequence[Triple],
    options: CfCompOptions,
    frequencies: Mapping[int, float],
    *,
    distance_limit: float | None = None,
) -> list[Pair]:
    """Return the maximum-weight matching of a batch, ascending; a sample is in one pair at most.

    A pair's score is w1 (1 - overlap) + w2 distance / distance_limit + w3 sqrt(rarest / frequency), so that each
    term lies between 0 and 1. `frequencies` are the shares of training samples that have a category, above 0;
    `distance_limit` is in CIELAB units, by default the 75th percentile over all pairs of this batch.

    Raises:
        ValueError: the samples differ in size.
        KeyError: a category of the batch without a frequency.
    """
    if len({sample.mask.shape for sample in samples}) > 1:
        raise ValueError(f"the samples differ in size: {sorted({sample.mask.shape for sample in samples})}")
    surveys = [_survey(sample) for sample in samples]
    if distance_limit is None:
        distances = list(_random_distances(surveys))
        if not distances:
            return []
        distance_limit = float(np.percentile(distances, DISTANCE_PERCENTILE))
    rarest = min(frequencies.values(), default=1.0)
    weights = options.selection_weights
    graph = nx.Graph()
    graph.add_nodes_from(range(len(samples)))
    for one, other in combinations(range(len(samples)), 2):
        if surveys[one].is_grey != surveys[other].is_grey:
            continue
        best: Pair | None = None
        for first, second, category_id in _partners(one, other, surveys, cross_class=options.cross_class):
            a, b = surveys[first], surveys[second]
            distance = _distance(a, b, category_id)
            if distance > distance_limit:
                continue
            overlap = _overlap(a, b, category_id, options)
            if overlap is None:
                continue
            score = (
                weights.layout * (1 - overlap)
                + weights.pixel * (distance / distance_limit if distance_limit > 0 else 0.0)
                + weights.semantic * math.sqrt(rarest / frequencies[category_id])
            )
            if best is None or score > best.score:
                best = Pair(first, second, category_id, overlap, distance, score)
        if best is not None:
            graph.add_edge(one, other, weight=best.score, pair=best)
    matching = nx.max_weight_matching(graph)
    return sorted(
        (graph.edges[edge]["pair"] for edge in matching), key=lambda pair: (pair.first, pair.second)
    )


def random_distances(samples: Sequence[Triple]) -> list[float]:
    """Return the CIELAB distances between the backgrounds of all pairs of samples, whether they may pair or not.

    A background is what is left without a category's objects; each pair counts once for each category that either
    could give. Their 75th percentile over a part of the training set is a `distance_limit` for all of it.
    """
    return list(_random_distances([_survey(sample) for sample in samples]))


def _random_distances(surveys: Sequence[_Survey]) -> Iterator[float]:
    for a, b in combinations(surveys, 2):
        for category_id in sorted(a.objects.keys() | b.objects.keys()):
            yield _distance(a, b, category_id)


def _distance(a: _Survey, b: _Survey, category_id: int) -> float:
    return float(np.linalg.norm(a.background(category_id) - b.background(category_id)))


def _partners(
    one: int, other: int, surveys: Sequence[_Survey], *, cross_class: bool
) -> Iterator[tuple[int, int, int]]:
    """Yield (first, second, category) of what two samples could exchange, by ascending category."""
    if not cross_class:
        for category_id in sorted(surveys[one].objects.keys() & surveys[other].objects.keys()):
            yield one, other, category_id
        return
    for first, second in ((one, other), (other, one)):
        for category_id in sorted(surveys[second].objects.keys() - surveys[first].present):
            yield first, second, category_id


def _overlap(a: _Survey, b: _Survey, category_id: int, options: CfCompOptions) -> float | None:
    """Return omega, 0 where only one has objects, or None where the layout rules forbid the exchange."""
    nothing = np.zeros(a.units.size, np.bool_), np.empty(0, np.intp)
    alpha_a, objects_a = a.objects.get(category_id, nothing)
    _, objects_b = b.objects.get(category_id, nothing)
    common = int(np.count_nonzero(alpha_a[objects_b]))
    smaller = min(objects_a.size, objects_b.size)
    overlap = common / smaller if smaller else 0.0
    union = objects_a.size + objects_b.size - common
    if overlap > options.max_overlap or union > MAX_UNION_SHARE * a.units.size:
        return None
    for home, pasted in ((a, objects_b), (b, objects_a)):
        covered = np.bincount(home.units[pasted], minlength=home.unit_areas.size)
        if (home.unit_areas - covered < options.min_visible * home.unit_areas)[1:].any():
            return None
    return overlap


def _survey(sample: Triple) -> _Survey:
    mask = sample.mask
    present = [number for number in unique_values(mask) if number not in {0, IGNORE}]
    # Bytes, not floats: ten times as fast, and a mean is exact to half a unit all the same.
    lab = cv2.cvtColor(sample.picture, cv2.COLOR_RGB2LAB)
    objects, backgrounds = {}, {}
    units = np.zeros(mask.shape, np.int32)
    count = 0
    for number in present:
        alpha, largest = object_pixels(mask, number, smallest_px=MIN_COMPONENT_PX)
        if 0 < largest <= MAX_COMPONENT_SHARE * mask.size:
            objects[number] = alpha.ravel(), np.flatnonzero(alpha)
            backgrounds[number] = _mean_color(lab, ~alpha)
        where = mask == number
        if not CATEGORIES[number].is_thing:
            count += 1
            units[where] = count
            continue
        for found in find_components(where):
            count += 1
            rows = slice(found.top, found.top + found.height)
            units[rows, found.left : found.left + found.width][found.mask] = count
    red, green, blue = (sample.picture[:, :, channel] for channel in range(3))
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return _Survey(
        frozenset(present),
        objects,
        backgrounds,
        _mean_color(lab, np.ones(mask.shape, np.bool_)),
        units.ravel(),
        np.bincount(units.ravel(), minlength=count + 1),
        float(spread.mean()) <= MAX_GREY_SPREAD,
    )


def _mean_color(lab: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean (L, a, b), L from 0 to 100, of OpenCV's bytes (L * 255 / 100, a + 128, b + 128)."""
    lightness, red, yellow, _ = cv2.mean(lab, mask=where.view(np.uint8))
    return np.array([lightness * 100 / 255, red - 128, yellow - 128])
