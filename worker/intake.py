"""Where work comes in: masks are stored, jobs are made durable and queued, canceled, and found again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import Conflict, NotFound
from models.masks import DecodedMask, Encoding, category_shares, decode_mask, encode_png
from worker.admission import check_depth, check_place, one_of_the_open
from worker.jobs import (
    NOTHING_OWN,
    Counts,
    Frozen,
    Job,
    JobKind,
    JobStatus,
    ModelRef,
    OwnData,
    Progress,
    expiry,
    new_job_id,
    now,
)
from worker.layout import JOB_ID, MASK_ID, mask_key, mask_record_key
from worker.queue import enqueue, queue_of, withdraw
from worker.results import adopt, end, read_request, read_result, store_request
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store, cancel_key, reachable
from worker.tombstones import Ending, gone, read_tombstone
from worker.window import withdraw_shards

CANCEL_SECONDS = 86_400
_ANY_SIDE = 65_536  # the limit was applied when the mask came in


def read_mask(storage: Storage, tenant: str, mask_id: str) -> NDArray[np.uint8]:
    """The stored mask's ids, (H, W) uint8, checked against the sha256 in its id."""
    sha256 = mask_id.removeprefix("msk_")
    body = storage.read_verified(mask_key(tenant, sha256), sha256)
    return decode_mask(body, encoding=Encoding.CLASS_ID, ignore=True, max_side=_ANY_SIDE).ids


class MaskCategory(Frozen):
    """`share` of all pixels, 0 to 1; `components` counts 8-connected areas."""

    id: int
    name: str
    pixels: int
    share: float
    components: int


class MaskRecord(Frozen):
    """What is known of a stored mask. The id is the sha256 of its PNG: equal ids, equal masks."""

    id: str
    width: int
    height: int
    encoding: str
    ontology: str
    categories: tuple[MaskCategory, ...]
    warnings: tuple[str, ...] = ()


def record_of(decoded: DecodedMask, png: bytes) -> MaskRecord:
    """What is known of the mask that `png` holds."""
    height, width = decoded.ids.shape
    return MaskRecord(
        id=f"msk_{hashlib.sha256(png).hexdigest()}",
        width=width,
        height=height,
        encoding=decoded.encoding.value,
        ontology=decoded.ontology,
        categories=tuple(
            MaskCategory(
                id=found.id,
                name=found.name,
                pixels=found.pixels,
                share=found.share,
                components=found.components,
            )
            for found in category_shares(decoded.ids)
        ),
        warnings=decoded.warnings,
    )


@dataclass(frozen=True, slots=True)
class Intake:
    """The front half's resources, wired once a process."""

    settings: Settings
    store: Store
    storage: Storage

    def keep_mask(self, tenant: str, decoded: DecodedMask) -> tuple[MaskRecord, bool]:
        """Stores the mask under its content's sha256; the flag says whether it is new."""
        png = encode_png(decoded.ids)
        record = record_of(decoded, png)
        sha256 = record.id.removeprefix("msk_")
        created = self.storage.create(mask_key(tenant, sha256), png, "image/png")
        self.storage.create(
            mask_record_key(tenant, sha256), record.model_dump_json().encode(), "application/json"
        )
        return record, created

    def find_mask(self, tenant: str, mask_id: str) -> MaskRecord:
        """Raises NotFound: absent, or not this tenant's."""
        if not MASK_ID.fullmatch(mask_id):
            raise NotFound("There is no such mask.", code="mask_not_found")
        try:
            body = self.storage.read(mask_record_key(tenant, mask_id.removeprefix("msk_")))
        except NotFound:
            raise NotFound("There is no such mask.", code="mask_not_found") from None
        return MaskRecord.model_validate_json(body)

    def submit(
        self,
        tenant: str,
        spec: Spec,
        model: ModelRef,
        warnings: tuple[str, ...],
        *,
        job_id: str | None = None,
        progress: Progress | None = None,
        own: OwnData = NOTHING_OWN,
        retried_from: str | None = None,
    ) -> Job:
        """Accepts the job: durable in storage first, then known, then queued.

        A job whose id was stored before is as it was accepted then.
        """
        check_depth(self.settings, self.store, tenant, JobKind(spec.kind))
        job = self.draft(
            tenant,
            spec,
            model,
            warnings,
            job_id=job_id,
            progress=progress,
            own=own,
            retried_from=retried_from,
        )
        with one_of_the_open(self.settings, self.store, job):
            job = store_request(self.storage, job)
        self.store.create(job)
        enqueue(self.store.redis, job)
        return job

    def check_room(self, tenant: str, kind: JobKind) -> None:
        """Raises Overloaded when the tenant has too many jobs, or so many wait that another would wait too long."""
        check_place(self.settings, self.store, tenant)
        check_depth(self.settings, self.store, tenant, kind)

    def draft(
        self,
        tenant: str,
        spec: Spec,
        model: ModelRef,
        warnings: tuple[str, ...],
        *,
        job_id: str | None = None,
        progress: Progress | None = None,
        own: OwnData = NOTHING_OWN,
        retried_from: str | None = None,
    ) -> Job:
        """The record of a new job, which nobody but the caller knows yet.

        `progress` is how far it is at the start, where it does not count samples.
        """
        created_at = now()
        return Job(
            id=job_id or new_job_id(created_at),
            tenant=tenant,
            kind=JobKind(spec.kind),
            created_at=created_at,
            expires_at=expiry(created_at, self.settings.retention_seconds),
            progress=progress or Progress(total=spec.samples),
            counts=Counts(requested=spec.samples, pending=spec.samples),
            request=spec.model_dump(mode="json"),
            model=model,
            warnings=warnings,
            custom_id=own.custom_id,
            metadata=own.metadata,
            retried_from=retried_from,
        )

    def find(self, tenant: str, job_id: str) -> Job:
        """The job, from Redis or, where Redis has forgotten it, from storage. Raises NotFound, Gone."""
        absent = NotFound("There is no such job.", code="job_not_found")
        if not JOB_ID.fullmatch(job_id):
            raise absent
        job = self.store.load(job_id)
        if job is not None:
            if job.tenant != tenant:
                raise absent
            if job.ended and job.expires_at is not None and job.expires_at <= now():
                raise gone(Ending.EXPIRED)
            return job
        stone = read_tombstone(self.storage, tenant, job_id)
        if stone is not None:
            raise gone(stone.ending)
        result = read_result(self.storage, tenant, job_id)
        if result is not None:
            return adopt(self.store, result.job)
        requested = read_request(self.storage, tenant, job_id)
        if requested is None:
            raise absent
        self.store.create(requested)
        enqueue(self.store.redis, requested)
        return self.store.load(job_id) or requested

    def cancel(self, tenant: str, job_id: str) -> Job:
        """Ends a waiting job now, a running one within a denoising step. Raises Conflict when it has ended."""
        job = self.find(tenant, job_id)
        if job.status is JobStatus.CANCELED:
            return job
        if job.ended:
            raise Conflict(f"The job has {job.status} already.", code="job_ended")
        with reachable():
            self.store.redis.set(cancel_key(job_id), "1", ex=CANCEL_SECONDS)
        # Between two attempts the entry stays: the worker that takes it ends the job and keeps what was finished.
        if job.status is JobStatus.QUEUED and withdraw(self.store.redis, job_id, queue_of(job.kind)):
            return end(self.store, self.storage, job, JobStatus.CANCELED)
        if job.kind is JobKind.DATASET:
            withdraw_shards(self.store.redis, job)
        return self.find(tenant, job_id)


class Spec(Protocol):
    """What is asked, every default filled in. `samples`: how many it will settle."""

    @property
    def kind(self) -> str: ...

    @property
    def samples(self) -> int: ...

    def model_dump(self, *, mode: str) -> dict[str, Any]: ...
