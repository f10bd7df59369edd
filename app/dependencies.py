"""What routes are given: the process's resources, and ids."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any

from anyio import CapacityLimiter
from fastapi import Depends, Path, Request
from redis.asyncio import Redis as AsyncRedis

from app.doorbell import Doorbell
from app.event_logs import EventLogs
from app.rate_limits import RateLimits
from worker.api_keys import KeyRing
from worker.intake import Intake
from worker.layout import JOB_ID, MASK_ID
from worker.registry import ModelRegistry
from worker.settings import Settings
from worker.webhook_intake import WebhookIntake
from worker.webhook_sending import Courier


@dataclass(frozen=True, slots=True)
class AppResources:
    """Built in the lifespan, one set a process."""

    settings: Settings
    intake: Intake
    registry: ModelRegistry
    key_ring: KeyRing
    async_redis: AsyncRedis
    doorbell: Doorbell
    webhooks: WebhookIntake
    courier: Courier
    event_logs: EventLogs
    rate_limits: RateLimits
    # one at a time: a preview takes hundreds of MB
    preview_limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    # test calls of webhooks, each up to 15 s of waiting for a stranger's server
    courier_limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(16))


def resources_of(request: Request) -> AppResources:
    """For dependencies: FastAPI (0.165) solves what they depend on again for each that names it."""
    found: AppResources = request.app.state.resources
    return found


async def resources(request: Request) -> AppResources:  # async: FastAPI would give it to a thread each time
    return resources_of(request)


def id_in_path(description: str, pattern: re.Pattern[str]) -> Any:
    """A parameter whose form is published and not checked: what has another form is absent, with the same 404."""
    return Path(description=description, json_schema_extra={"pattern": f"^{pattern.pattern}$"})


Resources = Annotated[AppResources, Depends(resources)]
JobId = Annotated[str, id_in_path("job_ and 26 characters", JOB_ID)]
MaskId = Annotated[str, id_in_path("msk_ and the sha256 of the stored mask", MASK_ID)]
DatasetId = Annotated[str, id_in_path("the data set job's id", JOB_ID)]
