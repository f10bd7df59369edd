"""/v1/usage: what your jobs have used."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator

from app.auth import Reads
from app.dependencies import Resources
from app.openapi import refusals
from models.errors import FieldError, InvalidInput
from worker.usage import DayUsage, Usage, total, usage_of_days

router = APIRouter(prefix="/v1/usage", tags=["usage"])
_MOST_DAYS = 366


def _written_as_day(value: Any) -> Any:
    """pydantic would take seconds since 1970, and times, for days too."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("must be written as YYYY-MM-DD")
    return value


Day = Annotated[date, BeforeValidator(_written_as_day)]


class UsageView(BaseModel):
    """`items`: the days (UTC) on which a job ended, in order; `total` is their sum."""

    first: date
    last: date
    items: list[DayUsage]
    total: Usage


@router.get("", response_model=UsageView, responses=refusals(422, 503))
def get_usage(
    found: Resources,
    tenant: Reads,
    first: Annotated[Day | None, Query(alias="from", description="UTC; default: 29 days before `to`")] = None,
    last: Annotated[
        Day | None, Query(alias="to", description="UTC, that day included; default: today")
    ] = None,
) -> UsageView:
    """Jobs, pictures and workers' time by day, counted when a job ends; at most 366 days at once."""
    end = last or datetime.now(UTC).date()
    begin = first or max(date.min + timedelta(days=30), end) - timedelta(days=29)
    if not 0 <= (end - begin).days < _MOST_DAYS:
        message = f"must be at most `to`, and less than {_MOST_DAYS} days before it"
        raise InvalidInput(f"from {message}.", code="invalid_period", errors=[FieldError("/from", message)])
    days = usage_of_days(found.intake.store.redis, tenant, begin, end)
    return UsageView(first=begin, last=end, items=days, total=total(days))
