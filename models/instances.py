"""Instance rasters: (H, W) uint32, 0 where there is no object, else the number of the object a pixel belongs to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.pixel_values import unique_values

MAX_INSTANCES = 10_000  # below TOO_MANY_COLORS, where counting would stop
_ANY_SIDE = 65_536


def instance_ids(instances: NDArray[np.uint32]) -> list[int]:
    """Return the numbers of the objects, ascending."""
    return [number for number in unique_values(instances) if number]


def read_instances(tiff: bytes) -> NDArray[np.uint32]:
    """Return a raster that this service has stored itself: so it is read here, not in a child process."""
    from models import tiff_child  # not at import: its codecs take a while to load

    return tiff_child.read(tiff, 1, _ANY_SIDE)[1][:, :, 0].astype(np.uint32, copy=False)
