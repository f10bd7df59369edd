"""Synthetic pictures for the evaluation: conditions from real masks, made by the model, kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.condition_sampling import ConditionOptions, sample_condition
from models.conditions import derive_seed
from models.sample import Condition
from models.synthesis.pipeline import LoadedPipeline
from models.synthesis.synthesize import synthesize_by_default

_OPTIONS = ConditionOptions(flip=True, rotate90=True, translate=0.25)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A condition and the place of its parent among the masks it was drawn from."""

    condition: Condition
    parent: int


def draw_conditions(
    masks: NDArray[np.uint8], *, count: int, seed: int, allowed: Collection[int]
) -> list[Drawn]:
    """Return `count` conditions from masks (N, S, S), drawn as a data-set job draws them, ids exact.

    Each mask is used once before one is used again; the prompt names what is left in view.
    """
    rng = np.random.default_rng([seed, 20])
    order = np.concatenate([rng.permutation(len(masks)) for _ in range(-(-count // len(masks)))])[:count]
    drawn = []
    for index, parent in enumerate(order):
        sampled = sample_condition(masks[parent], _OPTIONS, seed=seed, index=index, allowed=allowed)
        condition = Condition(index, sampled.mask, sampled.prompt, derive_seed(seed, index))
        drawn.append(Drawn(condition, int(parent)))
    return drawn


def make_pictures(
    loaded: LoadedPipeline, conditions: Sequence[Condition], *, seed: int, attempt: int, folder: Path
) -> list[NDArray[np.uint8]]:
    """Return the picture (S, S, 3) uint8 of each condition's try `attempt`, with the model's own settings.

    Pictures are kept under `folder`, by model and condition; only those that are not there yet are made.
    """
    place = folder / loaded.digest[:12]
    place.mkdir(parents=True, exist_ok=True)
    tries = [replace(one, seed=derive_seed(seed, one.index, attempt)) for one in conditions]
    paths = [place / f"{one.index:05d}-{attempt}-{_digest(one)}.png" for one in tries]
    missing = [(one, path) for one, path in zip(tries, paths, strict=True) if not path.exists()]
    made = synthesize_by_default(loaded, [condition for condition, _ in missing])
    for sample, (_, path) in zip(made, missing, strict=True):
        fresh = path.with_suffix(".new")
        Image.fromarray(sample.image).save(fresh, "PNG")
        fresh.replace(path)
    return [np.asarray(Image.open(path)) for path in paths]


def _digest(condition: Condition) -> str:
    text = f"{condition.mask.shape} {condition.prompt} {condition.seed}".encode()
    return hashlib.sha256(condition.mask.tobytes() + text).hexdigest()[:12]
