"""How callers say that their masks are to be read."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from models.masks import DecodedMask, Encoding, decode_mask
from worker.json_text import read_json


def json_text(value: Any) -> Any:
    """A form sends an object as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return read_json(value)
    except ValueError as error:
        raise ValueError(f"must be a JSON object: {error}") from error


class MaskReading(BaseModel):
    """How mask files are to be read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoding: Encoding = Encoding.AUTO
    ontology: str = Field("earthsynth", max_length=60, description="whose ids or colours: see /v1/ontologies")
    category: str | None = Field(
        None, max_length=60, description="what the non-zero value of a binary mask is"
    )
    label_map: Annotated[
        dict[Annotated[str, Field(max_length=60)], int | Annotated[str, Field(max_length=60)]] | None,
        BeforeValidator(json_text),
    ] = Field(None, max_length=1000, description="colour #rrggbb or id → category name or id")
    ignore: bool = Field(False, description="value 255 means: no label here")

    def decode(self, file: bytes, *, max_side: int, instances: Any = None) -> DecodedMask:
        """The mask, read bit for bit. Raises MaskRefused and others of `decode_mask`."""
        return decode_mask(
            file,
            encoding=self.encoding,
            ontology=self.ontology,
            label_map=self.label_map,
            category=self.category,
            instances=instances,
            ignore=self.ignore,
            max_side=max_side,
        )
