"""What is known of a job's deliveries, and how one is asked for again."""

from __future__ import annotations

from models.errors import Conflict, NotFound
from worker.deliveries import Delivery, DeliveryStatus, delivery_id
from worker.delivery_outcomes import keep_outcome, outcomes
from worker.delivery_queue import plan_again, plan_at_once, waiting
from worker.intake import Intake
from worker.jobs import Job
from worker.redis_client import reachable
from worker.webhook_endpoints import find_endpoint


def deliveries_of_job(intake: Intake, job: Job) -> list[Delivery]:
    """The job's deliveries, newest first: those under way, and how the others ended."""
    if not job.webhooks:
        return []
    expected = [delivery_id(job.id, event, one.endpoint_id) for one in job.webhooks for event in one.events]
    with reachable():  # before storage is read: a delivery that ends meanwhile goes from here to there
        held = waiting(intake.store.redis, expected)
    found = {one.id: one for one in outcomes(intake.storage, job.tenant, job.id)}
    for one in held:
        if one.id not in found or found[one.id].number < one.number:
            found[one.id] = one
    return sorted(found.values(), key=lambda one: (one.created_at, one.id), reverse=True)


def redeliver(intake: Intake, job: Job, wanted: str) -> Delivery:
    """The delivery, which will be tried at once.

    Raises NotFound (delivery_not_found); Conflict (webhook_disabled, webhook_deleted).
    """
    redis = intake.store.redis
    while True:
        known = next((one for one in deliveries_of_job(intake, job) if one.id == wanted), None)
        if known is None:
            raise NotFound("There is no such delivery.", code="delivery_not_found")
        _check_endpoint(intake, known)
        if known.status is not DeliveryStatus.PENDING:
            keep_outcome(intake.storage, known)  # its sender may be about to
            again = known.again()
            with reachable():
                plan_again(redis, again)
            return again
        with reachable():
            if plan_at_once(redis, known.id):
                return known
        # it has ended since it was read


def _check_endpoint(intake: Intake, delivery: Delivery) -> None:
    try:
        endpoint = find_endpoint(intake.storage, delivery.tenant, delivery.endpoint_id)
    except NotFound:
        raise Conflict(
            "Its endpoint was deleted; register the URL again first.", code="webhook_deleted"
        ) from None
    if not endpoint.enabled:
        raise Conflict(
            f"Its endpoint is disabled: {endpoint.disabled_reason} Enable it first.", code="webhook_disabled"
        )
