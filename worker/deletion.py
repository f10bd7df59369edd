"""How jobs and masks are deleted."""

from __future__ import annotations

import time
from collections.abc import Iterator

from models.errors import Conflict, Gone, NotFound
from worker.dataset_specs import DatasetSpec
from worker.intake import Intake
from worker.jobs import Job, JobKind, now
from worker.known_masks import tell_deletion
from worker.layout import (
    export_marker_key,
    exports_prefix,
    gone_key,
    job_prefix,
    mask_instances_key,
    mask_key,
    mask_record_key,
    request_key,
)
from worker.mask_set_manifest import find_mask_set, iterate
from worker.queue import queue_of, withdraw
from worker.storage import Storage
from worker.tombstones import Ending, Tombstone
from worker.window import withdraw_shards

_ACCEPTING_SECONDS = 0.5  # from a look at a mask to the record of its job


def delete_job(intake: Intake, tenant: str, job_id: str) -> None:
    """Deletes the job, everything it made and the exports of a data set; cancels it first where it has not ended.

    Raises NotFound, Gone.
    """
    end_for_good(intake, intake.find(tenant, job_id), Ending.DELETED)


def end_for_good(intake: Intake, job: Job, ending: Ending) -> None:
    """Puts up the tombstone, and removes all else. Where this process dies on the way, the sweeper goes on."""
    for export_id in _exports_of(intake.storage, job):
        try:
            export = intake.find(job.tenant, export_id)
        except (NotFound, Gone):  # announced and refused, or gone before
            continue
        end_for_good(intake, export, ending)
    stone = Tombstone(kind=job.kind, ending=ending, at=now())
    key = gone_key(job.tenant, job.id)
    intake.storage.create(key, stone.model_dump_json().encode(), "application/json")
    _bury(intake, job)


def _bury(intake: Intake, job: Job) -> None:
    """Removes what is left of a job that has a tombstone. May be repeated."""
    if job.kind is JobKind.DATASET:
        withdraw_shards(intake.store.redis, job)
    withdraw(intake.store.redis, job.id, queue_of(job.kind))
    intake.store.remove(job)
    if job.kind is JobKind.EXPORT:
        intake.storage.delete(export_marker_key(job.tenant, job.request["dataset_id"], job.id))
    intake.storage.delete(request_key(job.tenant, job.id))  # before all else: no worker begins it any more
    intake.storage.delete(job_prefix(job.tenant, job.id))


def _exports_of(storage: Storage, job: Job) -> Iterator[str]:
    if job.kind is JobKind.DATASET:
        prefix = exports_prefix(job.tenant, job.id)
        for key in list(storage.keys(prefix)):
            yield key.removeprefix(prefix).removesuffix(".json")


def delete_mask(intake: Intake, tenant: str, mask_id: str) -> None:
    """Deletes the mask. Ended jobs keep copies of their own. Raises NotFound; Conflict while a job needs it."""
    mask = intake.find_mask(tenant, mask_id)
    _check_unneeded(intake, tenant, mask_id)
    sha256 = mask.id.removeprefix("msk_")
    intake.storage.delete(mask_record_key(tenant, sha256))  # first: from here on it is not found
    tell_deletion(intake.store.redis, tenant)  # from here on nobody believes any more that it is there
    time.sleep(_ACCEPTING_SECONDS)  # and who has believed it has recorded his job
    try:
        _check_unneeded(intake, tenant, mask_id)
    except Conflict:
        body = mask.model_dump_json().encode()
        intake.storage.create(mask_record_key(tenant, sha256), body, "application/json")
        raise
    intake.storage.delete(mask_key(tenant, sha256))
    intake.storage.delete(mask_instances_key(tenant, sha256))


def _check_unneeded(intake: Intake, tenant: str, mask_id: str) -> None:
    for job_id in intake.store.open_jobs():
        job = intake.store.load(job_id)
        if job is not None and job.tenant == tenant and not job.ended and _needs(intake, job, mask_id):
            raise Conflict(
                f"The job {job_id} needs the mask: wait until it has ended, or cancel it.", code="mask_in_use"
            )


def _needs(intake: Intake, job: Job, mask_id: str) -> bool:
    if job.kind is JobKind.DATASET:
        spec = DatasetSpec.model_validate(job.request)
        masks = find_mask_set(intake.storage, job.tenant, spec.mask_set_id)
        return any(entry.mask_id == mask_id for entry in iterate(intake.storage, job.tenant, masks))
    if job.kind is JobKind.TRAINING:
        return mask_id in job.request["recipe"]["validation"]["mask_ids"]
    return bool(job.request.get("mask_id") == mask_id)
