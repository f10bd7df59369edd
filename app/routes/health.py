"""Liveness and readiness."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from app.dependencies import Resources
from app.openapi import refusals
from app.problems import answer, problem
from models.errors import FieldError, Unavailable
from worker.queue import QUEUE_NAME
from worker.worker_list import live_workers

router = APIRouter(tags=["health"])


class Live(BaseModel):
    status: str = "ok"


class Ready(BaseModel):
    """`workers` counts those that are ready or busy; the service accepts jobs without any."""

    status: str = "ready"
    workers: int


@router.get("/livez", response_model=Live)
async def livez() -> Live:
    """The process answers."""
    return Live()


@router.get("/readyz", response_model=Ready, responses=refusals(503))
def readyz(found: Resources) -> Ready | JSONResponse:
    """Redis and storage answer: work can be accepted. Otherwise 503, naming the part that is down."""
    intake = found.intake
    parts: dict[str, Callable[[], None]] = {"redis": intake.store.ping, "storage": intake.storage.ping}
    down = []
    for name, ping in parts.items():
        try:
            ping()
        except Unavailable as error:
            down.append(FieldError(f"/{name}", error.message))
    if down:
        names = " and ".join(fault.pointer.removeprefix("/") for fault in down)
        found_problem = problem(503, "not_ready", f"Down: {names}.", fields=tuple(down), retryable=True)
        return answer(found_problem, {"Retry-After": "2"})
    workers = [entry for entry in live_workers(intake.store.redis) if entry.queue == QUEUE_NAME]
    ready = [entry for entry in workers if entry.status in {"ready", "busy"}]
    return Ready(workers=len(ready))
