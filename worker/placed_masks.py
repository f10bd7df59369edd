"""A stored mask as it conditions a picture: at the picture's size, perhaps moved, with all that belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.condition_sampling import condition_to_mask, moved_alike
from models.georeference import Georeference
from models.masks import SizePolicy, picture_to_mask, resize_ids
from worker.mask_records import StoredMask


@dataclass(frozen=True, slots=True)
class PlacedMask:
    """`ids` (H, W) uint8 at the picture's size, `instances` (H, W) uint32, and where the picture lies."""

    ids: NDArray[np.uint8]
    georeference: Georeference | None = None
    instances: NDArray[np.uint32] | None = None

    def moved(self, transform: Mapping[str, Any], ids: NDArray[np.uint8]) -> PlacedMask:
        """The condition that `transform` has made of this mask, whose ids are `ids`."""
        height, width = self.ids.shape
        place, instances = self.georeference, self.instances
        if place is not None:
            place = place.of_part(condition_to_mask(transform, width, height))
        if instances is not None:
            instances = moved_alike(instances, transform, ids)
        return PlacedMask(ids, place, instances)


def placed(stored: StoredMask, width: int | None, height: int | None, policy: SizePolicy) -> PlacedMask:
    """The mask at that size, by nearest neighbour; at its own where that is None.

    Raises MaskRefused (wrong_size) with policies REJECT and TILE.
    """
    if width is None or height is None:
        height, width = stored.ids.shape
    ids = resize_ids(stored.ids, width, height, policy)
    place, instances = stored.georeference, stored.instances
    if place is not None:
        place = place.of_part(picture_to_mask(stored.ids.shape, (height, width), policy))
    if instances is not None:
        instances = resize_ids(instances, width, height, policy)
    return PlacedMask(ids, place, instances)
