"""One function for each kind of work; each reads like the method's figure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.condition_sampling import sample_condition
from models.errors import Unavailable
from models.rfilter.rules import Policy
from models.sample import Background
from worker.dataset_specs import DatasetSpec, ExportSpec
from worker.export_files import store_export, write_export
from worker.gpu import Filter
from worker.init_images import find_given
from worker.jobs import Phase
from worker.making import make_samples
from worker.mask_records import read_stored
from worker.mask_sets import MaskSetEntry, entries, find_mask_set
from worker.placed_masks import PlacedMask, placed
from worker.results import read_result
from worker.rounds import Planned, Round
from worker.run import Run
from worker.scratch import scratch_folder
from worker.selection import read_calibration
from worker.specs import GenerationSpec
from worker.speeds import note_speed
from worker.wanted import Wanted


def generate(run: Run) -> None:
    """One mask → image synthesis → R-Filter → labels, for a few pictures: a job of one shard."""
    spec = GenerationSpec.model_validate(run.job.request)
    run.enter(Phase.CONDITIONS)
    stored = read_stored(run.resources.storage, run.job.tenant, spec.mask_id)
    mask = placed(stored, spec.width, spec.height, spec.size_policy)
    background = _background(run, spec, mask.ids)
    wanted = [
        Wanted(
            index,
            mask.ids,
            spec.prompt,
            mask_id=spec.mask_id,
            group=spec.mask_id,
            first_try=spec.first_try,
            georeference=mask.georeference,
            instances=mask.instances,
            background=background,
            init_image_sha256=spec.init_image_sha256,
        )
        for index in spec.indices
    ]
    off = spec.filter.policy is Policy.OFF
    rules = None if off else run.resources.gpu.filter(spec.model, run.job.tenant)
    make_samples(run, wanted, spec, rules)


def _background(run: Run, spec: GenerationSpec, mask: NDArray[np.uint8]) -> Background | None:
    """The given picture, and what of it is painted anew."""
    if spec.init_image_sha256 is None or spec.strength is None:
        return None
    image = find_given(run.resources.storage, run.job.tenant, spec.init_image_sha256)
    return Background(image, spec.region(mask), spec.strength, spec.feather_pixels)


def make_shard(run: Run, this: Round, planned: list[Planned]) -> None:
    """Condition sampling → image synthesis → R-Filter → labels, for the samples of one shard."""
    spec = DatasetSpec.model_validate(run.job.request)
    scorers = run.resources.gpu.filter(spec.model, run.job.tenant).scorers
    rules = Filter(scorers, read_calibration(run.resources.storage, run.job))
    wanted = list(_conditions(run, spec, planned))
    make_samples(run, wanted, spec, rules, unfiltered_of=this.unfiltered_of)


def _conditions(run: Run, spec: DatasetSpec, planned: list[Planned]) -> Iterator[Wanted]:
    """Each sample's condition: the same for each of its tries, on every worker."""
    storage, tenant = run.resources.storage, run.job.tenant
    masks = find_mask_set(storage, tenant, spec.mask_set_id)
    allowed = run.resources.gpu.pipeline(spec.model, tenant).card.category_ids

    @cache
    def mask_of(number: int) -> tuple[MaskSetEntry, PlacedMask]:
        (entry,) = entries(storage, tenant, masks, number, 1)
        stored = read_stored(storage, tenant, entry.mask_id)
        return entry, placed(stored, spec.width, spec.height, spec.size_policy)

    for one in planned:
        entry, mask = mask_of(one.mask)
        drawn = sample_condition(mask.ids, spec.conditions, seed=spec.seed, index=one.index, allowed=allowed)
        shown = mask.moved(drawn.transform, drawn.mask)
        yield Wanted(
            index=one.index,
            mask=drawn.mask,
            prompt=spec.prompt or drawn.prompt,
            mask_id=entry.mask_id,
            group=entry.group,
            first_try=one.first_try,
            mask_number=one.mask,
            name=entry.name,
            transform=drawn.transform,
            georeference=shown.georeference,
            instances=shown.instances,
        )


def export(run: Run) -> None:
    """One selection of a data set, written in one format, read back by public readers, stored as one archive."""
    spec = ExportSpec.model_validate(run.job.request)
    storage = run.resources.storage
    ended = read_result(storage, run.job.tenant, spec.dataset_id)
    if ended is None:  # found by the reconciler while the data set's last document was being written
        raise Unavailable("The data set has not ended yet.", code="dataset_not_ready")
    dataset = ended.job
    run.enter(Phase.EXPORT)
    with scratch_folder() as scratch:
        folder = scratch / "export"
        began = time.monotonic()
        report = write_export(run, spec, dataset, folder)
        run.enter(Phase.UPLOAD)
        run.export = store_export(run, dataset, spec, folder, report)
        note_speed(
            run.resources.store.redis,
            f"export {spec.options.format}",
            work=spec.samples,
            seconds=time.monotonic() - began,
        )
