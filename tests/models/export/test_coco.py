"""COCO segmentations give back any component, whatever its holes and corners."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from models.components import find_components
from models.export.coco import segmentation_of

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=13))


@given(masks)
@settings(max_examples=300, deadline=None)
def test_a_segmentation_gives_back_its_component(mask: NDArray[np.bool_]) -> None:
    for component in find_components(mask):
        own = np.zeros_like(mask)
        own[component.top :, component.left :][: component.height, : component.width] = component.mask
        rles = coco_mask.frPyObjects(segmentation_of(component, mask.shape), *mask.shape)
        drawn = coco_mask.decode(coco_mask.merge(rles) if isinstance(rles, list) else rles)
        assert np.array_equal(drawn == 1, own)


def test_run_lengths_begin_with_background_down_the_columns() -> None:
    mask = np.ones((3, 4), np.bool_)
    mask[1, 1] = False
    (component,) = find_components(mask)
    assert segmentation_of(component, (3, 4)) == {"size": [3, 4], "counts": [0, 4, 1, 7]}
