"""/metrics: for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Response

from app.auth import Operates
from app.dependencies import Resources
from app.metrics import CONTENT_TYPE, exposition
from app.openapi import success

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses=success(200, "Prometheus' text format", content={"text/plain": {"schema": {"type": "string"}}}),
)
def metrics(found: Resources, _: Operates) -> Response:
    """Requests, refusals by code, queues, workers and deliveries, of all tenants together; no tenant is named.

    Where keys are needed, one with the scope `admin`. It is answered while Redis or storage is down.
    """
    return Response(exposition(found.intake.store.redis, found.intake.storage), media_type=CONTENT_TYPE)
