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


def attempt_prefix(tenant: str, job_id: str, attempt: int, nonce: str, shard: str = "") -> str:
    """`nonce` keeps two attempts with one number apart: the count begins anew when Redis is lost."""
    within = f"made/{shard}/" if shard else ""
    return f"{tenant}/jobs/{job_id}/{within}attempt-{attempt}-{nonce}/"


def shard_name(round_number: int, shard: int) -> str:
    return f"{round_number:03d}-{shard:06d}"


def shard_result_key(tenant: str, job_id: str, round_number: int, shard: int) -> str:
    """Created once: the shard is done, and this is what it made."""
    return f"{shard_results_prefix(tenant, job_id, round_number)}{shard:06d}.json"


def shard_results_prefix(tenant: str, job_id: str, round_number: int) -> str:
    return f"{tenant}/jobs/{job_id}/shards/{round_number:03d}-"


def round_prefix(tenant: str, job_id: str) -> str:
    return f"{tenant}/jobs/{job_id}/rounds/"


def selection_prefix(tenant: str, job_id: str) -> str:
    return f"{tenant}/jobs/{job_id}/selections/"


def export_marker_key(tenant: str, dataset_id: str, export_id: str) -> str:
    """Says that this export job is one of the data set's."""
    return f"{exports_prefix(tenant, dataset_id)}{export_id}.json"


def exports_prefix(tenant: str, dataset_id: str) -> str:
    return f"{tenant}/jobs/{dataset_id}/exports/"
