"""Who will publish which version: a number is one job's from before its first step on, and never given twice."""

from __future__ import annotations

from datetime import datetime, timedelta

from models.errors import Conflict, NotFound
from worker.jobs import Frozen, now
from worker.layout import model_reservation_key, model_versions_prefix, request_key, result_key
from worker.storage import Storage

_ACCEPTING = timedelta(seconds=60)  # a job whose request is not stored after so long was never accepted


class Reservation(Frozen):
    """The job that the version's number belongs to."""

    job_id: str
    at: datetime


def reserve_version(storage: Storage, tenant: str, name: str, job_id: str, *, new_version: bool) -> str:
    """The number of the version that the job will publish, its own from now on; asked again, the same.

    Raises Conflict (model_name_in_use): the name has versions and `new_version` is not said, or another training that
    has not ended will publish it.
    """
    while True:
        version = free_version(storage, tenant, name, job_id, new_version=new_version)
        body = Reservation(job_id=job_id, at=now()).model_dump_json().encode()
        if storage.create(model_reservation_key(tenant, name, version), body, "application/json"):
            return version
        held = read_reservation(storage, tenant, name, version)
        if held is not None and held.job_id == job_id:
            return version


def free_version(storage: Storage, tenant: str, name: str, job_id: str, *, new_version: bool) -> str:
    """The number that the job would get, or has. Raises as `reserve_version` does, which reserves it."""
    published, reserved, last = _numbers(storage, tenant, name)
    for version in reserved - published:
        held = read_reservation(storage, tenant, name, version)
        if held is not None and held.job_id == job_id:
            return version
        if held is not None and _is_open(storage, tenant, held):
            raise Conflict(
                f"Training {held.job_id} is making {name}@{version}: wait until it has ended, or choose "
                "another name.",
                code="model_name_in_use",
            )
    if published and not new_version:
        raise Conflict(
            f"There is a model {name} already: choose another name, or say new_version to make "
            f"{name}@{last + 1}.",
            code="model_name_in_use",
        )
    return str(last + 1)


def read_reservation(storage: Storage, tenant: str, name: str, version: str) -> Reservation | None:
    """Whose the number is; None where nobody has reserved it."""
    try:
        body = storage.read(model_reservation_key(tenant, name, version))
    except NotFound:
        return None
    return Reservation.model_validate_json(body)


def published_versions(storage: Storage, tenant: str, name: str) -> list[str]:
    """The versions that have a manifest, oldest first."""
    return sorted(_numbers(storage, tenant, name)[0], key=int)


def _numbers(storage: Storage, tenant: str, name: str) -> tuple[set[str], set[str], int]:
    """Versions with a manifest, versions with a reservation, and the largest number of all (0: none)."""
    prefix = model_versions_prefix(tenant, name)
    found: dict[str, set[str]] = {"manifest.json": set(), "reservation.json": set()}
    last = 0
    for key in storage.keys(prefix):
        number, _, document = key[len(prefix) :].partition("/")
        last = max(last, int(number))
        if document in found:
            found[document].add(str(int(number)))
    return found["manifest.json"], found["reservation.json"], last


def _is_open(storage: Storage, tenant: str, held: Reservation) -> bool:
    """Whether the job may still publish: it has not ended, or is only just being accepted."""
    if storage.exists(result_key(tenant, held.job_id)):
        return False
    return storage.exists(request_key(tenant, held.job_id)) or now() - held.at < _ACCEPTING
