"""Where work comes in: masks are stored, jobs are made durable and queued, canceled, and found again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from models.errors import Conflict, NotFound
from models.masks import DecodedMask, decode_mask
from worker import mask_records
from worker.admission import check_depth, check_place, one_of_the_open
from worker.jobs import (
    NOTHING_OWN,
    Counts,
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
from worker.known_masks import KnownMasks, last_deletion
from worker.layout import JOB_ID
from worker.mask_records import MaskCategory, MaskRecord, read_mask
from worker.queue import enqueuing, queue_of, withdraw
from worker.redis_client import call_all, reachable
from worker.redis_keys import cancel_key
from worker.remembered import Remembered
from worker.results import adopt, end, read_request, read_result, store_request
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.tombstones import Ending, gone, read_tombstone
from worker.webhook_intake import WebhookIntake
from worker.webhook_specs import JobWebhook, WebhookRequest
from worker.window import withdraw_shards

__all__ = ["Intake", "MaskCategory", "MaskRecord", "Spec", "read_mask"]

CANCEL_SECONDS = 86_400
_MASK_SEEN_SECONDS = 60.0  # whatever deletions say: storage may lose something by itself


@dataclass(frozen=True, slots=True)
class Intake:
    """The front half's resources, wired once a process. `webhooks` is absent where no client's request comes in."""

    settings: Settings
    store: Store
    storage: Storage
    webhooks: WebhookIntake | None = None
    known_masks: KnownMasks[MaskRecord] = field(default_factory=KnownMasks)
    stored_masks: Remembered[tuple[str, str, bytes], bool] = field(
        default_factory=lambda: Remembered(_MASK_SEEN_SECONDS, 10_000)
    )

    def keep_mask(self, tenant: str, decoded: DecodedMask) -> tuple[MaskRecord, bool]:
        """Stores the mask under its id, its content's sha256; the flag says whether it is new."""
        return mask_records.keep_mask(self.storage, tenant, decoded)

    def keep_mask_file(self, tenant: str, file: bytes) -> MaskRecord:
        """Reads a mask file whose encoding it tells itself, and stores the mask. Raises as `decode_mask` does."""
        known = self.known_masks.get(file)
        if known is not None and self._is_stored(tenant, known.id):
            return known
        record, _ = self.keep_mask(tenant, decode_mask(file, max_side=self.settings.max_mask_side))
        self.known_masks.note(file, record)
        return record

    def _is_stored(self, tenant: str, mask_id: str) -> bool:
        """Whether the mask is stored; believed of one that was seen until any of the tenant's is deleted."""
        key = (tenant, mask_id, last_deletion(self.store.redis, tenant))
        found = self.stored_masks.get(key, lambda: mask_records.exists(self.storage, tenant, mask_id))
        if not found:
            self.stored_masks.forget(key)
        return found

    def find_mask(self, tenant: str, mask_id: str) -> MaskRecord:
        """Raises NotFound: absent, or not this tenant's."""
        return mask_records.find_mask(self.storage, tenant, mask_id)

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

        A job whose id was stored before is as it was accepted then. Raises Overloaded; InvalidInput for a webhook
        that may not be called.
        """
        check_depth(self.settings, self.store, tenant, JobKind(spec.kind))
        told, said = self.webhooks.accept(tenant, spec.webhook) if self.webhooks else ((), ())
        job = self.draft(
            tenant,
            spec,
            model,
            (*warnings, *said),
            job_id=job_id,
            progress=progress,
            own=own,
            retried_from=retried_from,
            webhooks=told,
        )
        with one_of_the_open(self.settings, self.store, job):
            job = store_request(self.storage, job)
        self._make_known(job)
        return job

    def _make_known(self, job: Job) -> None:
        """Records the job and queues it, each once, in one round trip."""
        redis = self.store.redis
        with reachable():
            call_all(redis, self.store.creation(job), enqueuing(redis, job))

    def check_webhook(self, tenant: str, webhook: WebhookRequest | None) -> None:
        """Raises InvalidInput for one that may not be called; stores nothing."""
        if self.webhooks is not None and webhook is not None:
            self.webhooks.check(tenant, webhook.url, pointer="/webhook/url")

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
        webhooks: tuple[JobWebhook, ...] = (),
    ) -> Job:
        """The record of a new job, which nobody but the caller knows yet.

        `progress` is how far it is at the start, where it does not count samples. `webhooks`: who is told of it.
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
            webhooks=webhooks,
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
        self._make_known(requested)
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

    @property
    def webhook(self) -> WebhookRequest | None: ...

    def model_dump(self, *, mode: str) -> dict[str, Any]: ...
