"""A worker whose pipeline sleeps in place of denoising; leases, shards, uploads and commits are the real ones.

Started as `python -m tests.benchmarks.sleeping_worker NAME STEP_SECONDS BUSY_FILE`. Every denoising step sleeps
STEP_SECONDS, and its begin and end are a line of BUSY_FILE: the time in which a GPU would have been busy.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.model_card import ModelCard
from models.rfilter.scorers import Scorers
from models.sample import Condition, Sample
from worker import making, process
from worker.gpu import Filter
from worker.jobs import ModelRef, model_ref
from worker.layout import LOCAL_TENANT
from worker.pulse import Pulse
from worker.registry import ModelRegistry
from worker.settings import Settings

BATCH = 4


@dataclass(frozen=True, slots=True)
class SleepingPipeline:
    card: ModelCard
    device: torch.device
    pipe: None = None


class SleepingGpu:
    """In place of `worker.gpu.Gpu`."""

    def __init__(self, settings: Settings, registry: ModelRegistry, loading: Callable[[], None]) -> None:
        self._card = registry.find(LOCAL_TENANT, "nano")

    def pipeline(self, model: str, tenant: str) -> SleepingPipeline:
        return SleepingPipeline(self._card, torch.device("cpu"))

    def filter(self, model: str, tenant: str) -> Filter:
        return Filter(Scorers(), None)

    @property
    def resident(self) -> ModelRef:
        return model_ref(self._card)

    @property
    def device(self) -> str:
        return "sleeping"


def sleeping(step_seconds: float, busy: Path) -> Callable[..., Iterator[Sample]]:
    """In place of `synthesize`: pictures of noise from each condition's seed, in batches that take their time."""

    def synthesize(
        _: Any, conditions: Sequence[Condition], *, num_inference_steps: int, on_step: Any, **__: Any
    ) -> Iterator[Sample]:
        for first in range(0, len(conditions), BATCH):
            batch = conditions[first : first + BATCH]
            for step in range(num_inference_steps):
                began = time.time()
                time.sleep(step_seconds)
                with busy.open("a") as lines:
                    lines.write(f"{began} {time.time()}\n")
                on_step(first, step + 1, num_inference_steps)
            for condition in batch:
                noise = np.random.default_rng(condition.seed).integers(
                    0, 256, (*condition.mask.shape, 3), np.uint8
                )
                yield Sample(condition, noise)

    return synthesize


if __name__ == "__main__":
    process.Gpu = SleepingGpu  # type: ignore[misc,assignment]
    making.synthesize = sleeping(float(sys.argv[2]), Path(sys.argv[3]))  # type: ignore[assignment]
    making.prompt_warnings = lambda pipe, prompt: ()
    _, pulse_end = os.pipe()  # nobody listens: a full pipe is proof of life enough
    os._exit(process.run_worker(sys.argv[1], Pulse(pulse_end)))
