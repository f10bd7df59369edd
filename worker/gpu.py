"""What is resident on this worker's device: one loaded pipeline and its filter, warm across jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from models.catalog import ModelCard
from models.errors import ModelUnavailable
from models.nano.filter import nano_filter
from models.rfilter.calibration import Calibration, load_calibration
from models.rfilter.scorers import Scorers, load_scorers
from models.synthesis.pipeline import LoadedPipeline, load_pipeline
from worker.jobs import ModelRef
from worker.logs import get_logger
from worker.settings import Settings

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Filter:
    """R-Filter's scorers for one model, and the calibration of their thresholds (None: rules say unknown)."""

    scorers: Scorers
    calibration: Calibration | None


class Gpu:
    """Holds the pipeline of the last model asked for; another model replaces it."""

    def __init__(
        self, settings: Settings, catalog: Mapping[str, ModelCard], loading: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._loading = loading
        self._loaded: LoadedPipeline | None = None
        self._filters: dict[str, Filter] = {}
        if settings.torch_threads:
            torch.set_num_threads(settings.torch_threads)

    def pipeline(self, model: str) -> LoadedPipeline:
        """The pipeline of `name@version`, loaded if another one is resident; raises ModelUnavailable."""
        name, _, version = model.partition("@")
        card = self._catalog.get(name)
        if card is None or card.version != version:
            raise ModelUnavailable(f"This worker does not offer {model}; it offers {self._offered()}.")
        if self._loaded is None or self._loaded.card != card:
            self._loading()
            self._loaded = None  # frees the memory before the next one is loaded
            self._loaded = load_pipeline(card, device=self._settings.device)
            log.info("model resident", model=model, device=str(self._loaded.device))
        return self._loaded

    def filter(self, model: str) -> Filter:
        """R-Filter for `name@version`: nano's own that ships with it, or what the settings name for another model."""
        name = model.partition("@")[0]
        if name not in self._filters:
            self._loading()
            own = nano_filter()[0] if name == "nano" else None
            scorers = load_scorers(
                segmenter=self._settings.filter_segmenter or own,
                clip=self._settings.filter_clip,
                device=str(self.pipeline(model).device),
            )
            self._filters[name] = Filter(scorers, calibration_of(model, self._settings))
        return self._filters[name]

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

    def _offered(self) -> str:
        return ", ".join(sorted(f"{card.name}@{card.version}" for card in self._catalog.values()))


def calibration_of(model: str, settings: Settings) -> Calibration | None:
    """R-Filter's thresholds for `name@version`: those that the settings name, or nano's own; None: there are none."""
    own = nano_filter()[1] if model.partition("@")[0] == "nano" else None
    path = settings.filter_calibration or own
    return None if path is None else load_calibration(path)
