"""Where a job's things lie in Redis."""

from __future__ import annotations

import hashlib


def record_key(job_id: str) -> str:
    return f"es:job:{job_id}"


def progress_key(job_id: str) -> str:
    return f"es:progress:{job_id}"


def round_key(job_id: str) -> str:
    """Hash: the round that is under way, how far it is, and what its finished shards made."""
    return f"es:round:{job_id}"


def cancel_key(job_id: str) -> str:
    return f"es:cancel:{job_id}"


def shards_key(job_id: str) -> str:
    """Bitmap: which shards of the round are done."""
    return f"es:shards:{job_id}"


def index_key(tenant: str, custom_id: str | None = None) -> str:
    """The tenant's jobs by id, all of them or those with that custom id."""
    if custom_id is None:
        return f"es:jobs:{tenant}"
    return f"es:jobs:{tenant}:{hashlib.sha256(custom_id.encode()).hexdigest()}"


def open_key(tenant: str) -> str:
    """Zset: job id → creation time of the tenant's jobs that have not ended (worker/admission.py)."""
    return f"es:open:{tenant}"


def gone_key(job_id: str) -> str:
    return f"es:gone:{job_id}"


def mask_deletion_key(tenant: str) -> str:
    """A value that is another one after every deletion of one of the tenant's masks (worker/known_masks.py)."""
    return f"es:mask-deletion:{tenant}"
