"""Jobs that are no more: deleted by their owner, or expired. A tombstone says so as long as anybody may ask."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from models.errors import Gone, NotFound
from worker.jobs import Frozen, JobKind
from worker.layout import gone_key
from worker.storage import Storage

REMEMBERED = timedelta(days=400)  # so long an id answers 410 and not 404


class Ending(StrEnum):
    DELETED = "deleted"  # its owner asked
    EXPIRED = "expired"  # its `expires_at` has passed


class Tombstone(Frozen):
    """What is left of a job."""

    kind: JobKind
    ending: Ending
    at: datetime


def read_tombstone(storage: Storage, tenant: str, job_id: str) -> Tombstone | None:
    try:
        return Tombstone.model_validate_json(storage.read(gone_key(tenant, job_id)))
    except NotFound:
        return None


def gone(ending: Ending) -> Gone:
    """What whoever asks for the job is told."""
    if ending is Ending.DELETED:
        return Gone("The job was deleted.", code="job_deleted")
    return Gone("The job has expired, and its files with it.", code="job_expired")
