"""Where things lie in the bucket. Every key begins with its tenant, so that another tenant's id is simply absent."""

from __future__ import annotations

import re

LOCAL_TENANT = "local"
JOB_ID = re.compile(r"job_[0-9a-hjkmnp-tv-z]{26}")
MASK_ID = re.compile(r"msk_[0-9a-f]{64}")


def mask_key(tenant: str, mask_sha256: str) -> str:
    return f"{tenant}/masks/{mask_sha256}.png"


def mask_record_key(tenant: str, mask_sha256: str) -> str:
    return f"{tenant}/masks/{mask_sha256}.json"


def jobs_prefix(tenant: str) -> str:
    return f"{tenant}/jobs/"


def request_key(tenant: str, job_id: str) -> str:
    return f"{tenant}/jobs/{job_id}/request.json"


def result_key(tenant: str, job_id: str) -> str:
    return f"{tenant}/jobs/{job_id}/result.json"


def attempt_prefix(tenant: str, job_id: str, attempt: int, nonce: str) -> str:
    """`nonce` keeps two attempts with one number apart: the count begins anew when Redis is lost."""
    return f"{tenant}/jobs/{job_id}/attempt-{attempt}-{nonce}/"
