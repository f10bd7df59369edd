"""The models of a tenant: those that ship with this release, and the versions that trainings publish in storage.

`{tenant}/model-files/{sha256}` hold what versions are made of; a version is its manifest, written last and only once.
A name alone means what was promoted last, or else the newest version; both can change while everything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from models.card_file import MODEL_NAME, card_facts
from models.catalog import RELEASED
from models.errors import (
    Conflict,
    FieldError,
    InvalidInput,
    ModelUnavailable,
    NotFound,
    UnknownModel,
)
from models.model_card import ModelCard, model_digest
from worker.jobs import now
from worker.layout import (
    model_defaults_prefix,
    model_manifest_key,
    model_promotions_prefix,
    models_prefix,
)
from worker.logs import get_logger
from worker.model_files import files_of, store_files
from worker.model_manifest import (
    MAX_MANIFEST_BYTES,
    MODEL_VERSION,
    ModelManifest,
    Provenance,
    read_manifest,
)
from worker.model_pointers import latest, point, point_back
from worker.model_reservations import free_version, published_versions, read_reservation, reserve_version
from worker.remembered import Remembered
from worker.storage import Storage

log = get_logger(__name__)

RESERVED_NAMES = frozenset({*RELEASED, "default"})  # "default" is a word in the routes
_MEANING_SECONDS = (
    1.0  # how long what a name means is remembered: a promotion works at once, requests stay cheap
)
_MANIFESTS = 256


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A version as lists show it. `current`: the name alone means it; `default`: a request without a model means it.

    `manifest` is None for a model that ships with this release.
    """

    card: ModelCard
    current: bool
    default: bool
    manifest: ModelManifest | None = None


class ModelRegistry:
    """Finds, publishes and promotes models; one a process, used from many threads.

    `cards`: the shipped models that are offered; `default_model`: one of them, used until a tenant says otherwise.
    """

    def __init__(self, storage: Storage, cards: Mapping[str, ModelCard], default_model: str) -> None:
        self.storage = storage
        self._cards = dict(cards)
        self._default_model = default_model
        self._meanings: Remembered[tuple[str, str | None], str | None] = Remembered(_MEANING_SECONDS)
        self._manifest = lru_cache(maxsize=_MANIFESTS)(self._read_manifest)

    def find(self, tenant: str, wanted: str | None) -> ModelCard:
        """The card of "name", of "name@version", or of the tenant's default (None).

        Raises UnknownModel that lists what is offered, or ModelUnavailable for a damaged manifest.
        """
        asked = wanted or self._default(tenant)
        for card in self._cards.values():
            if asked in (card.name, f"{card.name}@{card.version}"):
                return card
        name, at, version = asked.partition("@")
        if MODEL_NAME.fullmatch(name) and name not in RESERVED_NAMES:
            version = version if at else self._current(tenant, name) or ""
            if MODEL_VERSION.fullmatch(version):
                try:
                    return self._manifest(tenant, name, version).model_card
                except NotFound:
                    pass
        raise self._unknown(tenant, asked)

    def manifest(self, tenant: str, name: str, version: str) -> ModelManifest:
        """What is written of a published version. Raises UnknownModel, or ModelUnavailable for a damaged manifest."""
        card = self.find(tenant, f"{name}@{version}")
        if card.name in self._cards:
            raise self._unknown(tenant, f"{name}@{version}")
        return self._manifest(tenant, name, version)

    def list(self, tenant: str) -> tuple[ListedModel, ...]:
        """The shipped models in their order; then every published version by name, the newest first.

        A version whose manifest is damaged is left out, with a line in the log: one must not hide the others.
        """
        default = self._default_card(tenant)
        found = [self._listed(tenant, card, default) for card in self._cards.values()]
        for name in self.storage.folders(models_prefix(tenant)):
            for version in reversed(published_versions(self.storage, tenant, name)):
                try:
                    card = self.find(tenant, f"{name}@{version}")
                except ModelUnavailable as error:
                    log.warning("model not listed", model=f"{name}@{version}", detail=error.message)
                else:
                    found.append(self._listed(tenant, card, default))
        return tuple(found)

    def look(self, tenant: str, wanted: str) -> ListedModel:
        """One model as `list` shows it, by "name" or "name@version". Raises as `find` does."""
        return self._listed(tenant, self.find(tenant, wanted), self._default_card(tenant))

    def reserve(self, tenant: str, name: str, job_id: str, *, new_version: bool) -> str:
        """The version that this job will publish as `name`; the number is never another's.

        Raises InvalidInput (invalid_model_name), or Conflict (model_name_in_use): a shipped model's name, one that
        has versions unless `new_version`, or one that a training which has not ended will publish.
        """
        self._check_own_name(name)
        return reserve_version(self.storage, tenant, name, job_id, new_version=new_version)

    def free_version(self, tenant: str, name: str, *, new_version: bool) -> str:
        """The version that a training would reserve now; raises as `reserve` does."""
        self._check_own_name(name)
        return free_version(self.storage, tenant, name, "", new_version=new_version)

    def _check_own_name(self, name: str) -> None:
        _check_name(name)
        if name in RESERVED_NAMES or name in self._cards:
            raise Conflict(
                f"{name} is a name of this release: choose another.",
                code="model_name_in_use",
                errors=[FieldError("/name", "is a name of this release")],
            )

    def publish(
        self,
        tenant: str,
        card: ModelCard,
        folder: Path,
        provenance: Provenance,
        *,
        pulse: Callable[[], None] = lambda: None,
    ) -> ModelCard:
        """Stores the folder's files and, last, the manifest; returns the card with its hashes, without places.

        `card` has the reserved name and version; `folder` holds the whole pipeline, its earthsynth.json left aside.
        What the same training has published already is returned as it is, so that it may be asked again. `pulse` is
        called while bytes are read and sent.

        Raises Conflict (model_version_taken): another training's number.
        """
        _check_name(card.name)
        earlier = self._published(tenant, card, provenance.training_id)
        if earlier is not None:
            return earlier
        files = files_of(folder, pulse)
        hashes = {place: file.sha256 for place, file in files.items()}
        manifest = ModelManifest.model_validate(
            card_facts(card)
            | provenance.model_dump()
            | {"created_at": now(), "files": files, "digest": model_digest(hashes)}
        )
        store_files(self.storage, tenant, folder, files, pulse)
        key = model_manifest_key(tenant, card.name, card.version)
        if not self.storage.create(key, manifest.model_dump_json().encode(), "application/json"):
            adopted = self._published(tenant, card, provenance.training_id)
            assert adopted is not None  # noqa: S101  (manifests are never deleted)
            return adopted
        self._meanings.forget((tenant, card.name))
        log.info("model published", model=f"{card.name}@{card.version}", digest=manifest.digest)
        return manifest.model_card

    def promote(self, tenant: str, name: str, version: str) -> ModelCard:
        """Makes `name` alone mean that version. Raises UnknownModel, or Conflict (model_shipped)."""
        self._check_not_shipped(name)
        card = self.find(tenant, f"{name}@{version}")
        self._meanings.forget((tenant, name))
        meant = self._current(tenant, name) or version
        point(self.storage, model_promotions_prefix(tenant, name), version, meant=meant)
        self._meanings.forget((tenant, name))
        return card

    def rollback(self, tenant: str, name: str) -> ModelCard:
        """Makes `name` alone mean what it meant before the last promotion that is not rolled back.

        Raises UnknownModel, or Conflict (nothing_to_roll_back, model_shipped).
        """
        self._check_not_shipped(name)
        self.find(tenant, name)
        version = point_back(self.storage, model_promotions_prefix(tenant, name))
        self._meanings.forget((tenant, name))
        return self.find(tenant, f"{name}@{version}")

    def set_default(self, tenant: str, wanted: str) -> ModelCard:
        """Makes "name", whatever it will mean, or "name@version" the model of requests that name none."""
        card = self.find(tenant, wanted)
        meant = self._default(tenant)
        point(self.storage, model_defaults_prefix(tenant), wanted, meant=meant)
        self._meanings.forget((tenant, None))
        return card

    def rollback_default(self, tenant: str) -> ModelCard:
        """Makes the default what it was before it was last set. Raises Conflict (nothing_to_roll_back)."""
        wanted = point_back(self.storage, model_defaults_prefix(tenant))
        self._meanings.forget((tenant, None))
        return self.find(tenant, wanted)

    def _default(self, tenant: str) -> str:
        """What a request that names no model asks for."""

        def read() -> str:
            held = latest(self.storage, model_defaults_prefix(tenant))
            return self._default_model if held is None else held.target

        return self._meanings.get((tenant, None), read) or self._default_model

    def _default_card(self, tenant: str) -> ModelCard | None:
        """The default's card; None where it is no longer offered, which only requests that need it must hear."""
        try:
            return self.find(tenant, None)
        except (UnknownModel, ModelUnavailable):
            return None

    def _current(self, tenant: str, name: str) -> str | None:
        """The version that the name alone means, or None where it has none."""

        def read() -> str | None:
            held = latest(self.storage, model_promotions_prefix(tenant, name))
            if held is not None:
                return held.target
            return next(reversed(published_versions(self.storage, tenant, name)), None)

        return self._meanings.get((tenant, name), read)

    def _listed(self, tenant: str, card: ModelCard, default: ModelCard | None) -> ListedModel:
        if card.name in self._cards:
            return ListedModel(card, current=True, default=card == default)
        return ListedModel(
            card,
            current=self._current(tenant, card.name) == card.version,
            default=card == default,
            manifest=self._manifest(tenant, card.name, card.version),
        )

    def _published(self, tenant: str, card: ModelCard, training_id: str) -> ModelCard | None:
        """What this training has published as that version; None where nobody has. Raises Conflict: another one's."""
        try:
            found = self._manifest(tenant, card.name, card.version)
        except NotFound:
            held = read_reservation(self.storage, tenant, card.name, card.version)
            owner = training_id if held is None else held.job_id
        else:
            owner = found.training_id
            if owner == training_id:
                return found.model_card
        if owner != training_id:
            raise Conflict(
                f"{card.name}@{card.version} belongs to training {owner}.", code="model_version_taken"
            )
        return None

    def _read_manifest(self, tenant: str, name: str, version: str) -> ModelManifest:
        """Raises NotFound; a manifest never changes, so what was read once is kept."""
        body = self.storage.read(model_manifest_key(tenant, name, version), max_bytes=MAX_MANIFEST_BYTES)
        return read_manifest(body, name, version)

    def _check_not_shipped(self, name: str) -> None:
        if name in RESERVED_NAMES or name in self._cards:
            raise Conflict(
                f"{name} ships with this release and has one version; only versions that were trained can "
                "be promoted and rolled back.",
                code="model_shipped",
            )

    def _unknown(self, tenant: str, asked: str) -> UnknownModel:
        shipped = [f"{card.name}@{card.version}" for card in self._cards.values()]
        published = [
            f"{name}@{version}"
            for name in self.storage.folders(models_prefix(tenant))
            for version in published_versions(self.storage, tenant, name)[-3:]
        ]
        message = f"There is no model {asked[:60]!r} here. Offered: {', '.join((shipped + published)[:40])}."
        return UnknownModel(message, errors=[FieldError("/model", message)])


def _check_name(name: str) -> None:
    """Raises InvalidInput (invalid_model_name)."""
    if not MODEL_NAME.fullmatch(name):
        message = "must be lower-case letters, digits and hyphens, at most 60, and not begin with a hyphen"
        raise InvalidInput(
            f"A model's name {message}.", code="invalid_model_name", errors=[FieldError("/name", message)]
        )
