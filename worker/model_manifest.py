"""The manifest of a model version: what it is, which files it has, where it comes from; written once."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from models.card_file import CardFacts, FilePath, Sha256, faults_of
from models.errors import ModelUnavailable
from models.model_card import ModelCard, model_digest
from worker.jobs import Frozen

MODEL_VERSION = re.compile(r"[1-9][0-9]{0,5}")
MAX_MANIFEST_BYTES = 4_194_304

_Text = Annotated[str, StringConstraints(max_length=400)]


class ModelFile(Frozen):
    """One file of a version, stored under its sha256."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class Provenance(Frozen):
    """Where a version comes from.

    `base`: the version that was trained on, "nano@1". `filter_of`: the shipped model whose R-Filter fits, which a
    derived model inherits; empty: none does. `data`: training set id, pairs, refused, categories. All of it is shown.
    """

    base: _Text
    filter_of: _Text = ""
    training_id: _Text
    recipe: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)


class ModelManifest(CardFacts, Provenance):
    """`files`: by place in the pipeline ("unet/config.json"); `digest`: one hash over them all (`model_digest`)."""

    version: Annotated[str, StringConstraints(pattern=f"^{MODEL_VERSION.pattern}$")]
    created_at: datetime
    files: Annotated[dict[FilePath, ModelFile], Field(min_length=1, max_length=1000)]
    digest: Sha256

    @model_validator(mode="after")
    def _digest_is_of_these_files(self) -> Self:
        if self.digest != model_digest(self.hashes):
            raise ValueError("digest is not that of files")
        return self

    @property
    def hashes(self) -> dict[str, str]:
        """Place → hex SHA-256."""
        return {place: file.sha256 for place, file in self.files.items()}

    @property
    def model_card(self) -> ModelCard:
        """The version's card, with every file pinned; where they lie on this machine is not known yet."""
        return self.card(base="", files=self.hashes, digest=self.digest, filter_of=self.filter_of)


def read_manifest(body: bytes, name: str, version: str) -> ModelManifest:
    """The manifest of `name@version` from its document.

    Raises ModelUnavailable (model_manifest_damaged): not a manifest, another model's, or with a file name that leads
    out of its folder.
    """
    try:
        found = ModelManifest.model_validate_json(body)
    except ValidationError as error:
        raise _damaged(name, version, faults_of(error)) from error
    if (found.name, found.version) != (name, version):
        raise _damaged(name, version, "it is another model's")
    return found


def _damaged(name: str, version: str, fault: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"The manifest of model {name}@{version} is damaged: {fault[:300]}.", code="model_manifest_damaged"
    )
