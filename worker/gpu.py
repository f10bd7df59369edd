"""What is resident on this worker's device: one loaded pipeline and its filter, warm across jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from models.errors import ModelUnavailable, UnknownModel
from models.model_card import ModelCard
from models.nano.filter import nano_filter
from models.rfilter.calibration import Calibration, load_calibration
from models.rfilter.scorers import Scorers, load_scorers
from models.synthesis.pipeline import LoadedPipeline, load_pipeline
from worker.jobs import ModelRef
from worker.logs import get_logger
from worker.model_cache import ModelCache
from worker.registry import ModelRegistry
from worker.settings import Settings

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Filter:
    """R-Filter's scorers for one model, and the calibration of their thresholds (None: rules say unknown)."""

    scorers: Scorers
    calibration: Calibration | None


class Gpu:
    """Holds the pipeline of the last model asked for; another model replaces it."""

    def __init__(self, settings: Settings, registry: ModelRegistry, loading: Callable[[], None]) -> None:
        self._settings = settings
        self._registry = registry
        self._loading = loading
        self._cache = ModelCache(registry, settings.model_cache, settings.model_cache_bytes)
        self._card: ModelCard | None = None
        self._loaded: LoadedPipeline | None = None
        self._filters: dict[str, Filter] = {}
        if settings.torch_threads:
            torch.set_num_threads(settings.torch_threads)

    def pipeline(self, model: str, tenant: str) -> LoadedPipeline:
        """The pipeline of the tenant's `name@version`, fetched and loaded if another one is resident.

        Raises ModelUnavailable, and Unavailable where a published model cannot be fetched now.
        """
        card = self._find(model, tenant)
        if self._loaded is None or self._card != card:
            self._loading()
            found = self._cache.fetch(tenant, card, self._loading)  # the last one stays resident meanwhile
            self._loaded = None  # frees the memory before the next one is loaded
            self._loaded = load_pipeline(found, device=self._settings.device)
            self._card = card
            log.info("model resident", model=model, device=str(self._loaded.device))
        return self._loaded

    def filter(self, model: str, tenant: str) -> Filter:
        """R-Filter for the tenant's `name@version`: what the settings name, or else the one that fits the model."""
        card = self._find(model, tenant)
        if card.filter_of not in self._filters:
            self._loading()
            own = nano_filter()[0] if card.filter_of == "nano" else None
            scorers = load_scorers(
                segmenter=self._settings.filter_segmenter or own,
                clip=self._settings.filter_clip,
                device=str(self.pipeline(model, tenant).device),
            )
            self._filters[card.filter_of] = Filter(scorers, calibration_of(card, self._settings))
        return self._filters[card.filter_of]

    def close(self) -> None:
        """Gives up what is resident, and its place in the cache."""
        self._loaded = self._card = None
        self._cache.close()

    @property
    def resident(self) -> ModelRef | None:
        """The loaded model with the sha256 of the weights that were really read."""
        if self._loaded is None:
            return None
        card = self._loaded.card
        return ModelRef(name=card.name, version=card.version, sha256=self._loaded.digest)

    @property
    def device(self) -> str | None:
        return None if self._loaded is None else str(self._loaded.device)

    def _find(self, model: str, tenant: str) -> ModelCard:
        try:
            return self._registry.find(tenant, model)
        except UnknownModel as error:
            raise ModelUnavailable(f"This worker does not offer {model}. {error.message}") from error


def calibration_of(card: ModelCard, settings: Settings) -> Calibration | None:
    """R-Filter's thresholds for the model: those the settings name, or those that fit it; None: there are none."""
    own = nano_filter()[1] if card.filter_of == "nano" else None
    path = settings.filter_calibration or own
    return None if path is None else load_calibration(path)
