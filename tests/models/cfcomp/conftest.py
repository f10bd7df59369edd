"""The pipelines of the synthesis tests; the toy Stable Diffusion is so small that its training takes a second."""

from __future__ import annotations

import pytest

from models.model_card import ModelCard
from tests.models.synthesis.conftest import StableDiffusionFolders, nano, stable_diffusion

__all__ = ["nano", "stable_diffusion"]  # fixtures


@pytest.fixture(scope="session")
def toy(stable_diffusion: StableDiffusionFolders) -> ModelCard:
    return stable_diffusion.card()
