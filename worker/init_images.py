"""Given pictures, of which a part is to stay: stored under their content's sha256 before a job names them.

They are deleted by age (`worker.sweeping`), so each job that is accepted makes its picture new again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.init_image import decode_init_image, encode_init_image, read_init_image
from worker.layout import init_image_key
from worker.painting import InitImageFacts
from worker.storage import Storage


@dataclass(frozen=True, slots=True)
class GivenPicture:
    """A picture that was read; `png` is its stored form, and `sha256` that form's."""

    png: bytes
    sha256: str
    width: int
    height: int
    warnings: tuple[str, ...]


def read_given(data: bytes, *, max_side: int) -> GivenPicture:
    """The picture in a client's file. Raises InvalidInput and UnsupportedFormat as `read_init_image` does."""
    image = read_init_image(data, max_side=max_side)
    png = encode_init_image(image.pixels)
    height, width, _ = image.pixels.shape
    return GivenPicture(png, hashlib.sha256(png).hexdigest(), width, height, image.warnings)


def facts_of(given: GivenPicture | None) -> InitImageFacts | None:
    return None if given is None else InitImageFacts(given.sha256, given.width, given.height)


def keep_given(storage: Storage, tenant: str, given: GivenPicture) -> None:
    """Stores the picture; once for all jobs of the tenant that are given it."""
    storage.renew(init_image_key(tenant, given.sha256), given.png, "image/png")


def keep_longer(storage: Storage, tenant: str, sha256: str) -> None:
    """Makes a stored picture new again, for another job that needs it."""
    key = init_image_key(tenant, sha256)
    storage.renew(key, storage.read_verified(key, sha256), "image/png")


def find_given(storage: Storage, tenant: str, sha256: str) -> NDArray[np.uint8]:
    """The stored picture (H, W, 3) uint8 RGB, checked against its sha256."""
    return decode_init_image(storage.read_verified(init_image_key(tenant, sha256), sha256))
