"""How deliveries ended: a document of each in storage, created once, beside its job."""

from __future__ import annotations

from collections.abc import Iterator

from models.errors import NotFound
from worker.deliveries import Delivery
from worker.layout import deliveries_prefix, delivery_key, request_key
from worker.storage import Storage


def keep_outcome(storage: Storage, delivery: Delivery) -> None:
    """Makes durable how the delivery ended, unless its job was deleted meanwhile."""
    if storage.exists(request_key(delivery.tenant, delivery.job_id)):
        storage.create(_key(delivery), delivery.model_dump_json().encode(), "application/json")


def has_outcome(storage: Storage, delivery: Delivery) -> bool:
    """Whether this very delivery has ended: then it is not to be told again, whatever Redis has forgotten."""
    return storage.exists(_key(delivery))


def outcomes(storage: Storage, tenant: str, job_id: str) -> Iterator[Delivery]:
    """How each of the job's deliveries ended last."""
    last: dict[str, str] = {}
    for key in storage.keys(deliveries_prefix(tenant, job_id)):
        last[key.rpartition("-")[0]] = key  # in order: the last one stays
    for key in last.values():
        try:
            yield Delivery.model_validate_json(storage.read(key))
        except NotFound:  # the job was deleted meanwhile
            continue


def _key(delivery: Delivery) -> str:
    return delivery_key(delivery.tenant, delivery.job_id, delivery.id, delivery.number)
