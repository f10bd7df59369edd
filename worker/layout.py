"""Where things lie in the bucket. Every key begins with its tenant, so that another tenant's id is simply absent.

What belongs to no tenant lies under names that no tenant can have, since they begin with an underscore.
"""

from __future__ import annotations

import re

LOCAL_TENANT = "local"
TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
API_KEYS_PREFIX = "_keys/"
PROBE_KEY = "_probes/conditional-put.txt"
JOB_ID = re.compile(r"job_[0-9a-hjkmnp-tv-z]{26}")
MASK_ID = re.compile(r"msk_[0-9a-f]{64}")


def api_key_key(key_id: str) -> str:
    """What an API key may do, and the sha256 that it must have; never the key itself."""
    return f"{API_KEYS_PREFIX}{key_id}/key.json"


def api_key_revocation_key(key_id: str) -> str:
    """Created once: the key is good for nothing from then on."""
    return f"{API_KEYS_PREFIX}{key_id}/revoked.json"


def idempotencies_prefix(tenant: str) -> str:
    return f"{tenant}/idempotency/"


def idempotency_prefix(tenant: str, digest: str, use: int) -> str:
    """Of one use of a caller's Idempotency-Key; when it has expired, the next use has the next number."""
    return f"{idempotencies_prefix(tenant)}{digest}/{use:04d}/"


def mask_key(tenant: str, mask_sha256: str) -> str:
    return f"{tenant}/masks/{mask_sha256}.png"


def mask_record_key(tenant: str, mask_sha256: str) -> str:
    return f"{tenant}/masks/{mask_sha256}.json"


def mask_instances_key(tenant: str, mask_sha256: str) -> str:
    """The raster that tells the mask's objects apart, where it does."""
    return f"{tenant}/masks/{mask_sha256}-instances.tif"


def init_image_key(tenant: str, sha256: str) -> str:
    """A given picture, of which jobs keep a part; one for all jobs that were given it."""
    return f"{init_images_prefix(tenant)}{sha256}.png"


def init_images_prefix(tenant: str) -> str:
    return f"{tenant}/init-images/"


def jobs_prefix(tenant: str) -> str:
    return f"{tenant}/jobs/"


def job_prefix(tenant: str, job_id: str) -> str:
    return f"{tenant}/jobs/{job_id}/"


def gone_prefix(tenant: str) -> str:
    return f"{tenant}/gone/"


def gone_key(tenant: str, job_id: str) -> str:
    """The tombstone of a job that was deleted or has expired."""
    return f"{gone_prefix(tenant)}{job_id}.json"


def request_key(tenant: str, job_id: str) -> str:
    return f"{tenant}/jobs/{job_id}/request.json"


def retry_plan_key(tenant: str, job_id: str) -> str:
    """Which samples a data set makes that retries another one."""
    return f"{tenant}/jobs/{job_id}/retry-plan.json"


def result_key(tenant: str, job_id: str) -> str:
    return f"{tenant}/jobs/{job_id}/result.json"


def ogc_key(tenant: str, job_id: str) -> str:
    """How a client of the OGC standard wants the results."""
    return f"{jobs_prefix(tenant)}{job_id}/ogc.json"


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


def checkpoints_prefix(tenant: str, job_id: str) -> str:
    """A training's checkpoints, which outlive its attempts."""
    return f"{tenant}/jobs/{job_id}/checkpoints/"


def validations_prefix(tenant: str, job_id: str) -> str:
    """What a training's model made of the fixed masks: `{step}.png` and `{step}.json`, each created once."""
    return f"{tenant}/jobs/{job_id}/validations/"


def history_prefix(tenant: str, job_id: str) -> str:
    """The losses of a training's steps, from checkpoint to checkpoint."""
    return f"{tenant}/jobs/{job_id}/history/"


def tensorboard_prefix(tenant: str, job_id: str) -> str:
    return f"{tenant}/jobs/{job_id}/tensorboard/"


def model_file_key(tenant: str, sha256: str) -> str:
    """A file of one or more model versions, under its content's sha256: versions with one base share its bytes."""
    return f"{tenant}/model-files/{sha256}"


def models_prefix(tenant: str) -> str:
    return f"{tenant}/models/"


def model_reservation_key(tenant: str, name: str, version: str) -> str:
    """Created when a training is accepted: the version's number is that job's."""
    return f"{model_versions_prefix(tenant, name)}{int(version):06d}/reservation.json"


def model_manifest_key(tenant: str, name: str, version: str) -> str:
    """Created once, last of all: the version exists from then on."""
    return f"{model_versions_prefix(tenant, name)}{int(version):06d}/manifest.json"


def model_versions_prefix(tenant: str, name: str) -> str:
    return f"{tenant}/models/{name}/versions/"


def model_promotions_prefix(tenant: str, name: str) -> str:
    return f"{tenant}/models/{name}/promotions/"


def model_defaults_prefix(tenant: str) -> str:
    return f"{tenant}/model-defaults/"


def training_file_key(tenant: str, name: str) -> str:
    """A picture or a mask of one or more training sets; `name` is the sha256 of its bytes and a suffix."""
    return f"{tenant}/training-files/{name}"


def training_previews_prefix(tenant: str) -> str:
    return f"{tenant}/training-previews/"


def training_preview_key(tenant: str, sha256: str) -> str:
    return f"{training_previews_prefix(tenant)}{sha256}.png"


ENDPOINT_ID = re.compile(r"whk_[0-9a-hjkmnp-tv-z]{26}")
DELIVERY_ID = re.compile(r"dlv_[0-9a-hjkmnp-tv-z]{26}")


def webhook_prefix(tenant: str, endpoint_id: str) -> str:
    """An endpoint's documents, `{revision}.json`; the last one holds."""
    return f"{tenant}/webhooks/{endpoint_id}/"


def webhook_listed_prefix(tenant: str) -> str:
    """The tenant's endpoints by the time of their creation."""
    return f"{tenant}/webhooks-listed/"


def webhook_subscriptions_prefix(tenant: str) -> str:
    """The ids of the endpoints that hear of every job."""
    return f"{tenant}/webhook-subscriptions/"


def webhook_subscription_key(tenant: str, endpoint_id: str) -> str:
    return f"{webhook_subscriptions_prefix(tenant)}{endpoint_id}"


def deliveries_prefix(tenant: str, job_id: str) -> str:
    """How the deliveries of a job's events ended."""
    return f"{tenant}/jobs/{job_id}/deliveries/"


def delivery_key(tenant: str, job_id: str, delivery_id: str, number: int) -> str:
    """`number` 0 is the delivery itself, then come those that were asked for again."""
    return f"{deliveries_prefix(tenant, job_id)}{delivery_id}-{number:04d}.json"
