"""What may be asked of CF-Comp."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SelectionWeights(BaseModel):
    """How much each dimension counts when partners are chosen; each of the three terms lies between 0 and 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layout: float = Field(1, ge=0, le=100, description="of objects that stay clear of each other")
    pixel: float = Field(1, ge=0, le=100, description="of backgrounds that differ in colour")
    semantic: float = Field(1, ge=0, le=100, description="of rare categories")

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if self.layout + self.pixel + self.semantic == 0:
            raise ValueError("at least one weight must be above 0")
        return self


class CfCompOptions(BaseModel):
    """Which samples of a batch exchange their objects, and how often."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    probability: float = Field(
        0.5, ge=0, le=1, description="that a matched pair is replaced by its two composites; 0: never"
    )
    cross_class: bool = Field(
        False,
        description="match samples of which only one has the category; that one stays as it is, the other gains it",
    )
    max_overlap: float = Field(
        0.3, ge=0, le=1, description="of the two samples' objects, as share of the smaller area"
    )
    min_visible: float = Field(
        0.7, ge=0, le=1, description="share of each object, or land cover, that must stay uncovered"
    )
    selection_weights: SelectionWeights = SelectionWeights()
