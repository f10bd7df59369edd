"""Training sets, trainings and the models that come of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from earthsynth.types.jobs import ModelRef
from earthsynth.types.masks import Refused
from earthsynth.types.records import FileRef, Record


class TrainingSetCategory(Record):
    """`pairs` hold the category; `share` of all pixels of the set, 0 to 1."""

    id: int
    name: str
    pairs: int = 0
    pixels: int = 0
    share: float = 0.0


class TrainingSet(Record):
    """`refused` and `ignored` are known of an upload only."""

    id: str
    layout: str = "pairs"
    pairs: int
    refused_pairs: int = 0
    categories: list[TrainingSetCategory] = []
    warnings: list[str] = []
    refused: list[Refused] = []
    ignored: list[str] = []


class PreviewedPair(Record):
    """Two samples of a step that receive each other's objects of a category."""

    step: int
    first: str
    second: str
    category: str
    overlap: float = 0.0
    distance: float = 0.0
    score: float = 0.0


class TrainingPreview(Record):
    """`sheet` is a PNG, a row for each pair: two real samples, then their composites."""

    pairs: int
    sheet: FileRef
    composed: list[PreviewedPair] = []


class HistoryRow(Record):
    """The losses of one step, and the learning rate it took."""

    step: int
    loss_global: float | None = None
    loss_local: float | None = None
    learning_rate: float | None = None


class Validation(Record):
    """What the model made of the fixed masks after a step; `agreement`, in [0, 1], is the mean of `iou`."""

    step: int
    sheet: FileRef
    sha256: str | None = None
    agreement: float | None = None
    iou: dict[str, float] = {}


class TrainingOutcome(Record):
    """The version that a training made."""

    model: ModelRef
    steps: int = 0
    resumed_from: int = 0
    loss_global: float | None = None
    loss_local: float | None = None
    agreement: float | None = None
    iou: dict[str, float] = {}


class Model(Record):
    """`current`: the name alone means this version; `default`: a request that names no model means it.

    `recipe`, `data`, `metrics` and `files` are known of a trained version that was asked for by name.
    """

    name: str
    version: str
    title: str = ""
    licence: str = ""
    sha256: str | None = None
    source: Literal["shipped", "registry"] | str = "shipped"
    current: bool = False
    default: bool = False
    created_at: datetime | None = None
    base: str | None = None
    training_id: str | None = None
    categories: list[str] = []
    width: int | None = None
    height: int | None = None
    max_side: int | None = None
    size_multiple: int | None = None
    defaults: dict[str, Any] = {}
    recipe: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    files: dict[str, Any] | None = None
