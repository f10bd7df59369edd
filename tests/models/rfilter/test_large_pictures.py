"""A segmenter looks at a large picture tile by tile, and says of each pixel what it would say of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from models.rfilter import large_pictures
from models.rfilter.large_pictures import believe
from tests.models.rfilter.scenes import ColorSegmenter, toy_tile


def test_tiles_say_what_the_whole_says(monkeypatch: pytest.MonkeyPatch) -> None:
    image = toy_tile("t", 0, 256).image[:200]
    segmenter = ColorSegmenter()  # judges each pixel by its colour alone
    whole = segmenter.believe(image)
    assert believe(segmenter, image) is not None
    monkeypatch.setattr(large_pictures, "LARGEST", 128)
    monkeypatch.setattr(large_pictures, "_TILE", 96)
    tiled = believe(segmenter, image)
    assert tiled.category_ids == whole.category_ids
    np.testing.assert_allclose(np.exp(tiled.log_probabilities), np.exp(whole.log_probabilities), atol=1e-5)
    assert tiled.feature.shape == whole.feature.shape
