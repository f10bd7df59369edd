"""What each step trains on: a share of the step's samples, composed with each other, with texts and conditions.

All of it is a function of (seed, step, place in the batch) and the data, whatever the number of processes: a step's
batch is cut into groups of `MATCH_WITHIN` samples, partners are found inside a group, and a process makes the groups
that its share lies in. So one process, two processes and a resumed run train on the same samples.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.cfcomp.composition import compose_batch
from models.cfcomp.dataset import PairSource, TrainingSet
from models.cfcomp.pairs import MaskReading
from models.cfcomp.recipe import MATCH_WITHIN, DroppedMask, Recipe
from models.cfcomp.selection import select_pairs, step_rng
from models.cfcomp.shards import Shard, stream_epochs
from models.cfcomp.triple import Triple

_THREADS = min(8, max(2, (os.cpu_count() or 2) // 2))  # that read, cut and compose while the device computes
_AHEAD = 2 * _THREADS  # steps that wait


@dataclass(frozen=True, slots=True)
class StepBatch:
    """A process's share of one step, B samples of (S, S) pixels.

    `masks` (B, S, S) are the pictures' own; `controls` (B, S, S) and `texts` are what the model is told: for a
    dropped prompt "" and, if the recipe says so, another sample's mask. `places` number the samples in the whole
    batch; `composed` of them are composites.
    """

    pictures: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    controls: NDArray[np.uint8]
    texts: tuple[str, ...]
    places: range
    composed: int


class StepSource(Protocol):
    """Where a training's samples come from."""

    def steps(self, first: int, last: int, share: range) -> Generator[StepBatch]:
        """Yield the batches of steps `first` to `last` - 1, of each the places in `share` only."""


class PairSteps:
    """Steps over pairs that can be read in any order: each is made when it is needed, on threads, some ahead."""

    def __init__(self, pairs: PairSource, recipe: Recipe) -> None:
        self._samples = TrainingSet(pairs, recipe.crops, seed=recipe.seed)
        self._recipe = recipe
        self._frequencies = pairs.frequencies

    def steps(self, first: int, last: int, share: range) -> Generator[StepBatch]:
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="samples")
        waiting: deque[Future[StepBatch]] = deque()
        following = first
        try:
            while waiting or following < last:
                while following < last and len(waiting) <= _AHEAD:
                    waiting.append(threads.submit(self.step, following, share))
                    following += 1
                yield waiting.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)

    def step(self, number: int, share: range) -> StepBatch:
        """Return one step's share."""
        size, count = self._recipe.batch_size, len(self._samples)
        groups = []
        for group in groups_of(share, size):
            places = range(group * MATCH_WITHIN, min((group + 1) * MATCH_WITHIN, size))
            drawn = [
                self._samples[(number * size + place) // count, (number * size + place) % count]
                for place in places
            ]
            groups.append(compose_group(drawn, self._recipe, self._frequencies, number, group))
        return _assemble(groups, share)


class ShardSteps:
    """Steps over shards that are read from beginning to end; each process reads shards of its own if it can.

    With more processes than one the samples differ from those of one process. A resumed run reads, and drops, what
    it has trained on already.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        recipe: Recipe,
        frequencies: Mapping[int, float],
        *,
        reading: MaskReading | None = None,
    ) -> None:
        self._shards = shards
        self._recipe = recipe
        self._frequencies = frequencies
        self._reading = reading

    def steps(self, first: int, last: int, share: range) -> Generator[StepBatch]:
        size = self._recipe.batch_size
        parts = size // len(share)
        part = share.start // len(share)
        samples = self._samples((part, parts))
        for number in range(last):
            drawn = [next(samples) for _ in share]
            if number < first:
                continue
            groups = [
                compose_group(
                    drawn[start : start + MATCH_WITHIN],
                    self._recipe,
                    self._frequencies,
                    number,
                    (share.start + start) // MATCH_WITHIN,
                )
                for start in range(0, len(drawn), MATCH_WITHIN)
            ]
            yield _assemble(groups, share, offset=share.start)

    def _samples(self, part: tuple[int, int]) -> Iterator[Triple]:
        """Yield process k of n its samples, without end: those of every n-th shard, or every n-th of few shards."""
        are_enough = len(self._shards) >= part[1]
        samples = stream_epochs(
            self._shards,
            self._recipe.crops,
            seed=self._recipe.seed,
            part=part if are_enough else (0, 1),
            reading=self._reading,
            max_bad_share=1,  # the set was judged as a whole before
        )
        return samples if are_enough else islice(samples, part[0], None, part[1])


@dataclass(frozen=True, slots=True)
class Group:
    """Samples that were composed with each other; `composed` says which are composites."""

    samples: list[Triple]
    controls: list[NDArray[np.uint8]]
    texts: list[str]
    composed: list[bool]


def groups_of(share: range, batch_size: int) -> range:
    """Return the numbers of the groups in which a share of a batch lies.

    Raises:
        ValueError: the share is empty, or no part of the batch.
    """
    if not share or share.stop > batch_size:
        raise ValueError(f"{share} is no share of {batch_size} samples")
    return range(share.start // MATCH_WITHIN, (share.stop - 1) // MATCH_WITHIN + 1)


def compose_group(
    samples: Sequence[Triple], recipe: Recipe, frequencies: Mapping[int, float], step: int, group: int
) -> Group:
    """Return a group after CF-Comp and the dropping of prompts."""
    pairs = select_pairs(samples, recipe.cf_comp, step_rng(recipe.seed, step, group), frequencies)
    members = {place for pair in pairs for place in (pair.first, pair.second)}
    composed = compose_batch(samples, pairs)
    rng = np.random.default_rng([recipe.seed, 4, step, group])
    drops, partners = rng.random(len(composed)) < recipe.prompt_dropout, rng.random(len(composed))
    controls, texts = [sample.mask for sample in composed], [sample.text for sample in composed]
    for place in np.flatnonzero(drops):
        texts[place] = ""
        if recipe.dropped_mask is DroppedMask.OTHER and len(composed) > 1:
            other = (place + 1 + int(partners[place] * (len(composed) - 1))) % len(composed)
            controls[place] = composed[other].mask
    return Group(composed, controls, texts, [place in members for place in range(len(composed))])


def _assemble(groups: Sequence[Group], share: range, *, offset: int | None = None) -> StepBatch:
    """Return the share's places out of consecutive groups, of which the first begins at place `offset`."""
    if offset is None:
        offset = share.start // MATCH_WITHIN * MATCH_WITHIN
    inside = slice(share.start - offset, share.stop - offset)
    samples = [sample for group in groups for sample in group.samples][inside]
    return StepBatch(
        np.stack([sample.picture for sample in samples]),
        np.stack([sample.mask for sample in samples]),
        np.stack([control for group in groups for control in group.controls][inside]),
        tuple(text for group in groups for text in group.texts)[inside],
        share,
        sum([flag for group in groups for flag in group.composed][inside]),
    )
