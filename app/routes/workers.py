"""/v1/workers: who does the work."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from app.dependencies import Resources
from app.openapi import refusals
from worker.jobs import ModelRef

router = APIRouter(prefix="/v1/workers", tags=["workers"])


class WorkerView(BaseModel):
    """`status`: starting, ready, busy or failed (then `reason`); `model` is the resident one.

    `queue` is generation (pictures and data sets) or training.
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
def list_workers(found: Resources) -> WorkerList:
    """The worker processes that have shown a sign of life lately."""
    entries = found.intake.store.workers()
    return WorkerList(items=[WorkerView.model_validate(entry.model_dump()) for entry in entries])
