"""/v1/workers: who does the work."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from app.auth import Reads
from app.dependencies import AppResources, Resources
from app.openapi import refusals
from models.errors import UnknownModel
from worker.jobs import ModelRef
from worker.worker_list import WorkerEntry, live_workers

router = APIRouter(prefix="/v1/workers", tags=["workers"])


class WorkerView(BaseModel):
    """`status`: starting, ready, busy or failed (then `reason`); `model` is the resident one.

    `queue` is generation (pictures and data sets) or training. `job` and `model` are null where they are not yours.
    """

    name: str
    host: str
    pid: int
    status: str
    reason: str | None
    device: str | None
    model: ModelRef | None
    job: str | None
    queue: str
    started_at: datetime
    seen_at: datetime


class WorkerList(BaseModel):
    items: list[WorkerView]
    next_cursor: str | None = None


@router.get("", response_model=WorkerList, responses=refusals(503))
def list_workers(found: Resources, tenant: Reads) -> WorkerList:
    """The worker processes that have shown a sign of life lately."""
    return WorkerList(items=[_view(found, tenant, entry) for entry in live_workers(found.intake.store.redis)])


def _view(found: AppResources, tenant: str, entry: WorkerEntry) -> WorkerView:
    view = WorkerView.model_validate(entry.model_dump())
    job = found.intake.store.load(entry.job) if entry.job else None
    hidden: dict[str, None] = {}
    if job is None or job.tenant != tenant:
        hidden["job"] = None
    if view.model is not None and not _knows(found, tenant, view.model):
        hidden["model"] = None
    return view.model_copy(update=hidden)


def _knows(found: AppResources, tenant: str, model: ModelRef) -> bool:
    """Whether the model is one of the release, or the tenant's own."""
    try:
        return found.registry.find(tenant, f"{model.name}@{model.version}").digest in (model.sha256, None)
    except UnknownModel:
        return False
