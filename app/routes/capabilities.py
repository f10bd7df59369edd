"""GET /v1/capabilities: what this service takes and makes, and how much of it."""

from __future__ import annotations

from fastapi import APIRouter, Request

from app.auth import KnownCaller, Reads
from app.capabilities import CapabilitiesView, capabilities
from app.dependencies import Resources

router = APIRouter(prefix="/v1/capabilities", tags=["catalogue"])


@router.get("", response_model=CapabilitiesView)
async def get_capabilities(
    request: Request, found: Resources, _: Reads, known: KnownCaller
) -> CapabilitiesView:
    """Limits, formats, names and features of this service, as they are enforced."""
    return capabilities(request.app, found.settings, found.rate_limits, auth_required=known.needed_key)
