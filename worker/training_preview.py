"""What CF-Comp composes in a training's first steps, drawn before any GPU time is spent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from models.categories import CATEGORIES
from models.cfcomp.dataset import TrainingSet
from models.cfcomp.recipe import Recipe
from models.cfcomp.shards import stream_epochs
from models.cfcomp.triple import Triple
from worker.jobs import Frozen
from worker.layout import training_preview_key
from worker.registry import ModelRegistry
from worker.storage import Storage
from worker.training_intake import find_base
from worker.training_pairs import StoragePairs, pair_shards, shard_reading
from worker.training_set_manifest import TrainingSetRecord, find_training_set
from worker.training_specs import PreviewRequest, resolve_recipe

# Samples that are looked at, and their pixels: more would take a minute.
_MOST_SAMPLES, _MOST_PIXELS = 256, 128 * 512**2
_KEEP_DECODED = 2  # pairs: few batches are made, and a pair may be of the largest side


class PreviewedPair(Frozen):
    """Two samples of a step that receive each other's objects of a category; names are those of their files.

    `overlap` of the objects, as share of the smaller; `distance` of the backgrounds' mean colours in CIELAB; `score`
    is what the matching maximises.
    """

    step: int
    first: str
    second: str
    category: str
    overlap: float
    distance: float
    score: float


@dataclass(frozen=True, slots=True)
class TrainingPreview:
    """The pairs in the sheet's order; the sheet is a PNG, kept under `key`."""

    composed: tuple[PreviewedPair, ...]
    sheet: bytes
    sha256: str
    key: str


def preview_training(
    storage: Storage, registry: ModelRegistry, tenant: str, asked: PreviewRequest
) -> TrainingPreview:
    """Draws what a training with this recipe composes in its first steps, and keeps the sheet.

    Raises:
        UnknownModel: the base. NotFound: training_set_not_found; object_gone, for a shard.
        InvalidInput: no_partners: no two samples exchange anything in the first step, or in as many as 128 samples
            of 512 pixels make.
        Conflict: object_changed: a shard is no longer the one that the set was made of.
    """
    from models.cfcomp.preview import preview_sheet, sheet_png  # networkx takes a tenth of a second

    recipe = resolve_recipe(asked, find_base(registry, tenant, asked.base_model))
    record = find_training_set(storage, tenant, asked.training_set_id)
    most = min(_MOST_SAMPLES, _MOST_PIXELS // recipe.resolution**2)
    sheet, shown = preview_sheet(
        _samples(storage, tenant, record, recipe),
        recipe.cf_comp,
        record.frequencies,
        seed=recipe.seed,
        count=asked.count,
        batch_size=recipe.batch_size,
        max_batches=max(1, most // recipe.batch_size),
    )
    png = sheet_png(sheet)
    sha256 = hashlib.sha256(png).hexdigest()
    key = training_preview_key(tenant, sha256)
    storage.create(key, png, "image/png")
    composed = tuple(
        PreviewedPair(
            step=one.step,
            first=one.samples[0].name,
            second=one.samples[1].name,
            category=CATEGORIES[one.pair.category_id].name,
            overlap=one.pair.overlap,
            distance=one.pair.distance,
            score=one.pair.score,
        )
        for one in shown
    )
    return TrainingPreview(composed, png, sha256, key)


def _samples(storage: Storage, tenant: str, record: TrainingSetRecord, recipe: Recipe) -> Iterator[Triple]:
    if record.reading is None:
        pairs = StoragePairs(storage, tenant, record)
        return TrainingSet(pairs, recipe.crops, seed=recipe.seed, keep_decoded=_KEEP_DECODED).epochs()
    return stream_epochs(
        pair_shards(storage, tenant, record),
        recipe.crops,
        seed=recipe.seed,
        reading=shard_reading(record),
        max_bad_share=1,  # the set was judged as a whole when it came in
    )
