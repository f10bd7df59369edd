"""What CF-Comp composes in a training's first steps, drawn before any GPU time is spent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from models.categories import CATEGORIES
from models.cfcomp.dataset import CropOptions, TrainingSet
from models.cfcomp.options import CfCompOptions
from models.cfcomp.shards import stream_epochs
from models.cfcomp.triple import Triple
from models.conditions import MAX_SEED
from worker.jobs import Frozen
from worker.layout import training_preview_key
from worker.storage import Storage
from worker.training_pairs import StoragePairs, pair_shards, shard_reading
from worker.training_set_manifest import TrainingSetRecord, find_training_set

# Samples that are looked at, and their pixels: more would take a minute.
_MOST_SAMPLES, _MOST_PIXELS = 256, 128 * 512**2
_KEEP_DECODED = 2  # pairs: few batches are made, and a pair may be of the largest side


class PreviewRequest(BaseModel):
    """Of which training: fields of the same name mean the same there."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    training_set_id: str = Field(max_length=200)
    resolution: int = Field(512, ge=64, le=1024, multiple_of=8, description="side of the samples, pixels")
    seed: int = Field(0, ge=0, le=MAX_SEED)
    count: int = Field(8, ge=1, le=24, description="composed pairs to show")
    batch_size: int = Field(16, ge=2, le=64, description="samples of a step")
    max_zoom_out: float = Field(1, ge=1, le=4)
    orientations: bool = True
    single_category: float = Field(0.15, ge=0, le=1)
    cf_comp: CfCompOptions = CfCompOptions()


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


def preview_training(storage: Storage, tenant: str, asked: PreviewRequest) -> TrainingPreview:
    """Draws what a training of this set, with these options, composes in its first steps, and keeps the sheet.

    Raises:
        NotFound: training_set_not_found; object_gone, for a shard.
        InvalidInput: no_partners: no two samples exchange anything in the first step, or in as many as 128 samples
            of 512 pixels make.
        Conflict: object_changed: a shard is no longer the one that the set was made of.
    """
    from models.cfcomp.preview import preview_sheet, sheet_png  # networkx takes a tenth of a second

    record = find_training_set(storage, tenant, asked.training_set_id)
    most = min(_MOST_SAMPLES, _MOST_PIXELS // asked.resolution**2)
    sheet, shown = preview_sheet(
        _samples(storage, tenant, record, asked),
        asked.cf_comp,
        record.frequencies,
        seed=asked.seed,
        count=asked.count,
        batch_size=asked.batch_size,
        max_batches=max(1, most // asked.batch_size),
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


def _samples(
    storage: Storage, tenant: str, record: TrainingSetRecord, asked: PreviewRequest
) -> Iterator[Triple]:
    crops = CropOptions(
        size=asked.resolution,
        max_zoom_out=asked.max_zoom_out,
        orientations=asked.orientations,
        single_category=asked.single_category,
    )
    if record.reading is None:
        pairs = StoragePairs(storage, tenant, record)
        return TrainingSet(pairs, crops, seed=asked.seed, keep_decoded=_KEEP_DECODED).epochs()
    return stream_epochs(
        pair_shards(storage, tenant, record),
        crops,
        seed=asked.seed,
        reading=shard_reading(record),
        max_bad_share=1,  # the set was judged as a whole when it came in
    )
