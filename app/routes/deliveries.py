"""/v1/jobs/{job_id}/deliveries: what webhooks have been told of a job, and what they said."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response

from app.auth import Reads, Writes
from app.dependencies import JobId, Resources, id_in_path
from app.idempotency import Repeats
from app.openapi import refusals
from app.pages import Cursor, Limit, cursor_after, place_of
from app.webhook_views import DeliveryPage, DeliveryView, delivery_view
from worker.delivery_log import deliveries_of_job, redeliver
from worker.layout import DELIVERY_ID

router = APIRouter(prefix="/v1/jobs", tags=["webhooks"])
DeliveryId = Annotated[str, id_in_path("dlv_ and 26 characters", DELIVERY_ID)]


@router.get("/{job_id}/deliveries", response_model=DeliveryPage, responses=refusals(404, 410, 422, 503))
def list_deliveries(
    job_id: JobId, found: Resources, tenant: Reads, limit: Limit = 50, cursor: Cursor = None
) -> DeliveryPage:
    """The job's deliveries, newest first, with every attempt."""
    scope = (tenant, job_id, "deliveries")
    after = place_of(cursor, *scope)
    page = deliveries_of_job(found.intake, found.intake.find(tenant, job_id))
    ids = [one.id for one in page]
    page = page[ids.index(after) + 1 :] if after in ids else page
    more = cursor_after(page[limit - 1].id, *scope) if len(page) > limit else None
    return DeliveryPage(items=[delivery_view(one) for one in page[:limit]], next_cursor=more)


@router.post(
    "/{job_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_model=DeliveryView,
    responses=refusals(400, 404, 409, 410, 422, 503),
)
async def redeliver_delivery(
    job_id: JobId, delivery_id: DeliveryId, found: Resources, tenant: Writes, once: Repeats
) -> DeliveryView | Response:
    """Tells it once more, with the same webhook-id and from the beginning of its schedule; a waiting one now."""

    def again() -> DeliveryView:
        return delivery_view(redeliver(found.intake, found.intake.find(tenant, job_id), delivery_id))

    return await once.answer(None, again)
