"""Published models for tests: copies of the nano checkpoint whose ControlNet is another one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.catalog import NANO_CHECKPOINT, nano_card
from models.model_card import ModelCard
from worker.jobs import new_job_id
from worker.model_manifest import Provenance
from worker.registry import ModelRegistry
from worker.storage import Storage

CONTROLNET = "controlnet/diffusion_pytorch_model.safetensors"


def registry_of(storage: Storage) -> ModelRegistry:
    """A registry as a process has it that offers nano."""
    return ModelRegistry(storage, {"nano": nano_card()}, "nano")


def changed_nano(folder: Path, number: int = 1) -> Path:
    """The shipped checkpoint with the signs of some ControlNet weights turned; another `number`, other weights."""
    shutil.copytree(NANO_CHECKPOINT, folder)
    path = folder / CONTROLNET
    data = bytearray(path.read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little") + 2 * 100_000 * number
    for place in range(begin + 1, begin + 200_000, 2):  # fp16, little-endian: the sign is in the second byte
        data[place] ^= 0x80
    path.write_bytes(data)
    return folder


def provenance(training_id: str | None = None, **changes: Any) -> Provenance:
    return Provenance(
        **{"base": "nano@2", "filter_of": "nano", "training_id": training_id or new_job_id()} | changes
    )


def publish(registry: ModelRegistry, name: str, folder: Path, *, tenant: str = "local") -> ModelCard:
    """The folder as the next version of `name`, reserved and published as a training does it."""
    made = provenance(recipe={"steps": 3}, data={"pairs": 7}, metrics={"loss_global": 0.25})
    version = registry.reserve(tenant, name, made.training_id, new_version=True)
    card = replace(nano_card(), name=name, version=version, title=f"{name}, for tests")
    return registry.publish(tenant, card, folder, made)
