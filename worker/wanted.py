"""A sample that is to be made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.export.notice import COMPOSITE, MADE, Origin
from models.georeference import Georeference
from models.sample import Background


@dataclass(frozen=True, slots=True)
class Wanted:
    """A sample to make: a mask (H, W) uint8 at the picture's size, its prompt, and where both come from.

    `georeference` is the picture's; `instances` (H, W) uint32 tell objects of one category apart, 0 is none.
    """

    index: int
    mask: NDArray[np.uint8]
    prompt: str
    mask_id: str
    group: str
    first_try: int = 0
    mask_number: int = 0
    name: str | None = None
    transform: dict[str, Any] = field(default_factory=dict)
    georeference: Georeference | None = None
    instances: NDArray[np.uint32] | None = None
    background: Background | None = None
    init_image_sha256: str | None = None  # of the background's picture

    @property
    def origin(self) -> Origin:
        return MADE if self.background is None else COMPOSITE
