"""What every request for a job may say beside its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from worker.jobs import OwnData
from worker.mask_reading import json_text
from worker.plain_text import Text
from worker.webhook_specs import WebhookRequest

_MetadataKey = Annotated[Text, Field(min_length=1, max_length=64)]


_MetadataValue = Annotated[Text, Field(max_length=500)]


class JobRequest(BaseModel):
    """What every request for a job may say besides."""

    custom_id: Text | None = Field(
        None, min_length=1, max_length=128, description="your own name of the job; need not be unique"
    )
    metadata: Annotated[dict[_MetadataKey, _MetadataValue], BeforeValidator(json_text)] = Field(
        default_factory=dict, max_length=16, description="your own words on the job, given back with it"
    )
    webhook: Annotated[WebhookRequest | None, BeforeValidator(json_text)] = Field(
        None, description="who is told of the job's events, beside the endpoints of POST /v1/webhooks"
    )
    validate_only: bool = Field(
        False, description="check everything and estimate the work; nothing is kept or started"
    )

    @property
    def own(self) -> OwnData:
        return OwnData(custom_id=self.custom_id, metadata=self.metadata)
