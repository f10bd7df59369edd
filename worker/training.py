"""The task of a training: kept pairs → CF-Comp → a version in the registry. Loads torch when the first one comes."""

from __future__ import annotations

import math
import os
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from models.cfcomp.listener import StopSoon
from models.cfcomp.triple import caption_of
from models.errors import ModelUnavailable, UnknownModel
from models.model_card import ModelCard
from worker.jobs import Job, Phase, model_ref
from worker.layout import checkpoints_prefix
from worker.lease import GivenBack
from worker.mask_records import read_mask
from worker.model_cache import ModelCache
from worker.model_manifest import Provenance
from worker.results import TrainingOutcome
from worker.run import Run, patiently
from worker.scratch import scratch_folder
from worker.settings import Settings
from worker.training_listener import TrainingListener
from worker.training_pairs import StoragePairs, pair_shards, shard_reading
from worker.training_set_manifest import Layout, TrainingSetRecord, find_training_set
from worker.training_specs import TrainingSpec
from worker.training_vault import StorageVault

if TYPE_CHECKING:  # they bring torch
    from models.cfcomp.steps import StepSource
    from models.cfcomp.trainer import Trained
    from models.rfilter.segmenters import Segmenter
    from models.sample import Condition

_NICE = 10  # on a CPU, behind what makes pictures


def train_model(run: Run) -> None:
    """Trains from the spec's base, or from the last checkpoint, and publishes the reserved version."""
    spec = TrainingSpec.model_validate(run.job.request)
    resources, config = run.resources, run.resources.settings
    resources.loading()
    run.enter(Phase.TRAINING)
    _settle(config)
    cache = ModelCache(resources.registry, config.model_cache, config.model_cache_bytes)
    with (
        closing(cache),  # the base stays in use, and so on this machine, until the model is written
        scratch_folder() as scratch,
    ):
        base = cache.fetch(run.job.tenant, _base(run, spec.base_model), resources.loading)
        listener = TrainingListener(run, spec, scratch / "tensorboard")
        training_set = find_training_set(resources.storage, run.job.tenant, spec.training_set_id)
        trained = _train(run, spec, base, training_set, listener, scratch)
        run.enter(Phase.UPLOAD)
        resources.loading()
        published = _publish(run, spec, base, training_set, trained, scratch / "model")
        listener.finish()
    last, seen = trained.last, trained.validation
    run.training = TrainingOutcome(
        model=model_ref(published),
        steps=trained.step,
        resumed_from=listener.resumed_from,
        loss_global=_finite(last.whole if last else None),
        loss_local=_finite(last.local if last else None),
        agreement=seen.agreement if seen else None,
        iou=seen.iou if seen else {},
    )


def _finite(value: float | None) -> float | None:
    """JSON has no NaN."""
    return value if value is not None and math.isfinite(value) else None


def _settle(config: Settings) -> None:
    """On a CPU a training takes what the making of pictures leaves."""
    import torch

    if config.torch_threads:
        torch.set_num_threads(config.torch_threads)
    if config.device == "cpu" or not torch.cuda.is_available():
        os.nice(max(0, _NICE - os.nice(0)))


def _train(
    run: Run,
    spec: TrainingSpec,
    base: ModelCard,
    training_set: TrainingSetRecord,
    listener: TrainingListener,
    scratch: Path,
) -> Trained:
    from models.cfcomp.trainer import train

    storage, tenant = run.resources.storage, run.job.tenant
    samples, conditions = _data(run, spec, training_set, min(base.native_width, base.native_height))
    vault = StorageVault(
        storage,
        checkpoints_prefix(tenant, run.job.id),
        earlier=checkpoints_prefix(tenant, spec.resume_from) if spec.resume_from else "",
        pulse=run.resources.loading,
    )
    try:
        return train(
            base,
            samples,
            spec.recipe,
            vault=vault,
            listener=listener,
            conditions=conditions,
            segmenter=_segmenter(run, base),
            data=spec.training_set_id,
            device=run.resources.settings.device,
            scratch=scratch,
        )
    except StopSoon as stop:  # a checkpoint is saved; the entry goes back, for whoever trains next
        raise GivenBack(run.lease.entry_id) from stop


def _publish(
    run: Run,
    spec: TrainingSpec,
    base: ModelCard,
    training_set: TrainingSetRecord,
    trained: Trained,
    folder: Path,
) -> ModelCard:
    """Writes the model, checks it as every worker will, and publishes it as the reserved version."""
    from models.cfcomp.model_folder import card_of, write_model
    from models.synthesis.checkpoint import open_checkpoint

    resources = run.resources
    counts = {found.id: found.pairs for found in training_set.categories}
    named = card_of(base, name=spec.name, version=spec.version, category_ids=counts.keys(), counts=counts)
    card = write_model(trained, named, spec.recipe, folder)
    open_checkpoint(card)
    provenance = _provenance(spec, base, run.job, training_set, trained)
    resources.loading()
    return patiently(
        lambda: resources.registry.publish(
            run.job.tenant,
            replace(card, base="", controlnet=""),
            folder,
            provenance,
            pulse=resources.loading,
        )
    )


def _base(run: Run, model: str) -> ModelCard:
    try:
        return run.resources.registry.find(run.job.tenant, model)
    except UnknownModel as error:
        raise ModelUnavailable(f"The base {model} is no longer there. {error.message}") from error


def _data(
    run: Run, spec: TrainingSpec, training_set: TrainingSetRecord, size: int
) -> tuple[StepSource, list[Condition]]:
    """The steps of the training, and what its validations make pictures of, `size` pixels a side."""
    from models.cfcomp.shards import ShardReport, read_shards
    from models.cfcomp.steps import PairSteps, ShardSteps
    from models.cfcomp.validation import conditions_of

    storage, tenant = run.resources.storage, run.job.tenant
    recipe, plan = spec.recipe, spec.recipe.validation
    samples: StepSource
    if training_set.layout is Layout.SHARDS:
        shards, reading = pair_shards(storage, tenant, training_set), shard_reading(training_set)
        samples = ShardSteps(shards, recipe, training_set.frequencies, reading=reading)
        first = islice(read_shards(shards, ShardReport(), reading=reading), plan.pictures)
        masks = [(found.mask, found.text) for found in ([] if plan.mask_ids else first)]
    else:
        pairs = StoragePairs(storage, tenant, training_set)
        samples = PairSteps(pairs, recipe)
        wanted = range(0 if plan.mask_ids else min(plan.pictures, len(pairs)))
        masks = [(found.mask, found.text) for found in map(pairs.read, wanted)]
    for mask_id in plan.mask_ids:
        mask = read_mask(storage, tenant, mask_id)
        masks.append((mask, caption_of(mask)))
    return samples, conditions_of(masks, plan, size)


def _segmenter(run: Run, base: ModelCard) -> Segmenter | None:
    """R-Filter's segmenter for the base, where there is one."""
    import torch

    from models.nano.filter import nano_filter
    from models.rfilter.segmenters import load_segmenter

    config = run.resources.settings
    source = config.filter_segmenter or (nano_filter()[0] if base.filter_of == "nano" else None)
    device = "cpu" if config.device == "cpu" or not torch.cuda.is_available() else "cuda"
    return None if source is None else load_segmenter(source, device)


def _provenance(
    spec: TrainingSpec, base: ModelCard, job: Job, training_set: TrainingSetRecord, trained: Trained
) -> Provenance:
    last, seen = trained.last, trained.validation
    return Provenance(
        base=spec.base_model,
        filter_of=base.filter_of,
        training_id=job.id,
        recipe=spec.recipe.model_dump(mode="json"),
        data={
            "training_set_id": training_set.id,
            "pairs": training_set.pairs,
            "refused": training_set.refused_pairs,
            "categories": [found.model_dump() for found in training_set.categories],
        },
        metrics={
            "steps": trained.step,
            "loss_global": _finite(last.whole if last else None),
            "loss_local": _finite(last.local if last else None),
            "mask_agreement": seen.agreement if seen else None,
            "iou": seen.iou if seen else {},
        },
    )
