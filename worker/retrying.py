"""Another job for the samples that a job did not deliver: failed ones, and those whose every try was rejected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from models.errors import Conflict
from worker.dataset_specs import DatasetSpec, ExportSpec
from worker.exporting import submit_export
from worker.init_images import keep_longer
from worker.intake import Intake
from worker.jobs import Job, JobKind, JobStatus, ModelRef, OwnData
from worker.layout import checkpoints_prefix, retry_plan_key
from worker.pages import read_pages
from worker.registry import ModelRegistry
from worker.results import read_result
from worker.rounds import Planned
from worker.samples import SampleStatus
from worker.selection import read_selection
from worker.specs import GenerationSpec
from worker.storage import Storage
from worker.training_specs import TrainingSpec

_PLAN = TypeAdapter(list[tuple[int, int]])


def retry_job(intake: Intake, registry: ModelRegistry, tenant: str, job_id: str, new_id: str) -> Job:
    """A new job, `new_id`, that makes what the ended job did not; its samples keep their indices and masks.

    Their tries are counted on, so that no rejected picture is made again. A data set's retry is a data set of its
    own, of the missing samples alone. A training goes on from its last checkpoint, as the next version of its name;
    an export is made again. Raises NotFound, Gone, Conflict (job_not_ended, nothing_to_retry), Overloaded.
    """
    job = intake.find(tenant, job_id)
    if not job.ended:
        raise Conflict(f"The job is {job.status}: it can be retried when it has ended.", code="job_not_ended")
    own = OwnData(custom_id=job.custom_id, metadata=job.metadata)
    changes: dict[str, Any] = {"own": own, "retried_from": job.id, "job_id": new_id}
    if job.kind is JobKind.GENERATION:
        generation = GenerationSpec.model_validate(job.request)
        if generation.init_image_sha256 is not None:
            keep_longer(intake.storage, tenant, generation.init_image_sha256)
        indices = [index for index, _ in _lacking(intake.storage, job, dict.fromkeys(generation.indices, 0))]
        again = generation.model_copy(
            update={"retry_indices": tuple(indices), "first_try": _after(generation)}
        )
        return intake.submit(tenant, again, job.model, job.warnings, **changes)
    if job.kind is JobKind.DATASET:
        return _retry_dataset(intake, job, changes)
    if job.status is JobStatus.SUCCEEDED:
        raise _nothing(job)
    if job.kind is JobKind.EXPORT:
        spec = ExportSpec.model_validate(job.request)
        dataset = intake.find(tenant, spec.dataset_id)
        return submit_export(intake, dataset, spec, new_id, own, retried_from=job.id)
    return _retry_training(intake, registry, job, changes)


def _retry_dataset(intake: Intake, job: Job, changes: dict[str, Any]) -> Job:
    spec = DatasetSpec.model_validate(job.request)
    if spec.retry_samples is not None:
        asked = {planned.index: planned.mask for planned in retry_plan(intake.storage, job, 0)}
    elif spec.goal is None:
        each = spec.samples_per_mask or 1
        asked = {index: index // each for index in range(spec.samples)}
    else:
        asked = {}  # which samples a goal would have made next is not known: those that were tried are tried again
    plan = list(_lacking(intake.storage, job, asked))
    body = _PLAN.dump_json(plan)
    intake.storage.create(retry_plan_key(job.tenant, changes["job_id"]), body, "application/json")
    again = spec.model_copy(
        update={
            "retry_samples": len(plan),
            "goal": None,
            "samples_per_mask": None,
            "first_try": _after(spec),
        }
    )
    return intake.submit(job.tenant, again, job.model, job.warnings, **changes)


def retry_plan(storage: Storage, job: Job, first_try: int) -> list[Planned]:
    """The samples of a data set that retries another one."""
    rows = _PLAN.validate_json(storage.read(retry_plan_key(job.tenant, job.id)))
    return [Planned(index=index, mask=mask, first_try=first_try) for index, mask in rows]


def _lacking(storage: Storage, job: Job, asked: dict[int, int]) -> Iterator[tuple[int, int]]:
    """Index and mask number of every sample that was not accepted; `asked` are all that were to be made."""
    lacking = dict(asked)
    if job.kind is JobKind.DATASET:
        selection = read_selection(storage, job, 0)
        pages = selection.pages if selection else ()
    else:
        result = read_result(storage, job.tenant, job.id)
        pages = result.pages if result else ()
    for record in read_pages(storage, pages):
        if record.status is SampleStatus.ACCEPTED:
            lacking.pop(record.index, None)
        else:
            lacking[record.index] = record.mask_number
    if not lacking:
        raise _nothing(job)
    yield from sorted(lacking.items())


def _after(spec: GenerationSpec | DatasetSpec) -> int:
    return spec.first_try + spec.filter.max_tries


def _nothing(job: Job) -> Conflict:
    return Conflict(f"Job {job.id} delivered all that it was asked for.", code="nothing_to_retry")


def _retry_training(intake: Intake, registry: ModelRegistry, job: Job, changes: dict[str, Any]) -> Job:
    spec = TrainingSpec.model_validate(job.request)
    intake.check_room(job.tenant, JobKind.TRAINING)
    version = registry.reserve(job.tenant, spec.name, changes["job_id"], new_version=True)
    has_checkpoint = next(intake.storage.keys(checkpoints_prefix(job.tenant, job.id)), None) is not None
    again = spec.model_copy(
        update={"version": version, "resume_from": job.id if has_checkpoint else spec.resume_from}
    )
    model = ModelRef(name=spec.name, version=version, sha256=None)
    return intake.submit(job.tenant, again, model, job.warnings, progress=again.progress, **changes)
