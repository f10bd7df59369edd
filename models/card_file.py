"""A model's card as JSON documents hold it: `earthsynth.json` beside a checkpoint, and manifests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from models.errors import ModelUnavailable
from models.model_card import Defaults, ModelCard, Scheduler, model_digest

CARD_FILE = "earthsynth.json"
MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# Relative, forward slashes, no component that starts with a dot: "unet/config.json".
FilePath = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_-][\w.-]*(/[A-Za-z0-9_-][\w.-]*)*$", max_length=200)
]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=400)]
_Side = Annotated[int, Field(ge=8, le=4096)]
_CategoryId = Annotated[int, Field(ge=1, le=66)]


class _DefaultsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    num_inference_steps: Annotated[int, Field(ge=1, le=100)]
    guidance_scale: Annotated[float, Field(ge=1, le=20)]
    controlnet_conditioning_scale: Annotated[float, Field(ge=0, le=2)]
    scheduler: Scheduler
    negative_prompt: Annotated[str, StringConstraints(max_length=500)] = ""


class CardFacts(BaseModel):
    """What a card says of its model, as JSON documents hold it; where its files lie is said by each of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=f"^{MODEL_NAME.pattern}$")]
    version: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.]{1,20}$")]
    title: _Text
    licence: _Text
    category_ids: Annotated[list[_CategoryId], Field(min_length=1)]
    native_width: _Side
    native_height: _Side
    max_side: _Side
    size_multiple: Annotated[int, Field(ge=8, le=64)]
    defaults: _DefaultsFile
    batch_size_cpu: Annotated[int, Field(ge=1, le=64)]
    batch_size_cuda: Annotated[int, Field(ge=1, le=64)]
    training_counts: dict[_CategoryId, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if self.native_width % self.size_multiple or self.native_height % self.size_multiple:
            raise ValueError("native_width and native_height must be multiples of size_multiple")
        if max(self.native_width, self.native_height) > self.max_side:
            raise ValueError("native_width and native_height must not exceed max_side")
        return self

    def card(self, *, base: str, files: Mapping[str, str], digest: str, filter_of: str = "") -> ModelCard:
        """The card of a model whose files, the ControlNet's too, lie in the folder `base`."""
        return ModelCard(
            name=self.name,
            version=self.version,
            title=self.title,
            licence=self.licence,
            category_ids=tuple(sorted(set(self.category_ids))),
            native_width=self.native_width,
            native_height=self.native_height,
            max_side=self.max_side,
            size_multiple=self.size_multiple,
            defaults=Defaults(**self.defaults.model_dump()),
            batch_size_cpu=self.batch_size_cpu,
            batch_size_cuda=self.batch_size_cuda,
            base=base,
            controlnet=base,
            sha256=files,
            digest=digest,
            training_counts=self.training_counts,
            filter_of=filter_of,
        )


def card_facts(card: ModelCard) -> dict[str, Any]:
    """What `card` says of its model, as the fields of CardFacts, in JSON's own types."""
    facts: dict[str, Any] = {name: getattr(card, name) for name in CardFacts.model_fields}
    defaults = {name: getattr(card.defaults, name) for name in _DefaultsFile.model_fields}
    return facts | {
        "category_ids": list(card.category_ids),
        "defaults": defaults | {"scheduler": card.defaults.scheduler.value},
        "training_counts": dict(card.training_counts),
    }


class _CardFile(CardFacts):
    """earthsynth.json, which a training writes beside a checkpoint's folders."""

    files: Annotated[dict[FilePath, Sha256], Field(min_length=1)]


def read_card(folder: Path) -> ModelCard:
    """The card of a checkpoint's folder, as its earthsynth.json has it, with every other file pinned.

    Raises ModelUnavailable: no such file, or one that says something else than a card must say.
    """
    try:
        found = _CardFile.model_validate_json((folder / CARD_FILE).read_bytes())
    except FileNotFoundError as error:
        raise ModelUnavailable(f"The checkpoint {folder.name} has no {CARD_FILE}.") from error
    except ValidationError as error:
        raise ModelUnavailable(
            f"The {CARD_FILE} of checkpoint {folder.name} is not a model card: {faults_of(error)}."
        ) from error
    return found.card(base=str(folder), files=found.files, digest=model_digest(found.files))


def faults_of(error: ValidationError) -> str:
    """What is wrong with a document, place by place, without the values themselves."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in error.errors()
    )
