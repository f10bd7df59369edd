"""R1 in numbers: what is wrong with a picture as a picture, whatever it shows."""

from __future__ import annotations

from typing import Any

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image


def technical_scores(image: NDArray[Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return the scores of R1 for a picture (H, W, 3), uint8 or float in [0, 1], that should be of `size` (H, W).

    `finite`; `size_matches`; `constant`: one single colour; `entropy` of its grey levels in bits; `clipped`: the
    share of pixels that are pure black or pure white.
    """
    finite = bool(np.isfinite(image).all())
    pixels = as_uint8(np.nan_to_num(image, posinf=1.0, neginf=0.0))
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    shares = np.bincount(grey.ravel(), minlength=256) / grey.size
    present = shares[shares > 0]
    clipped = (pixels == 0).all(-1) | (pixels == 255).all(-1)
    return {
        "finite": finite,
        "size_matches": image.shape == (*size, 3),
        "constant": bool((pixels == pixels[0, 0]).all()),
        "entropy": round(abs(float(-(present * np.log2(present)).sum())), 4),
        "clipped": round(float(clipped.mean()), 4),
    }


def as_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a finite picture as uint8; floats are taken as [0, 1] and clipped."""
    if image.dtype == np.uint8:
        return image
    return np.asarray((image.clip(0, 1) * 255).round(), dtype=np.uint8)


def perceptual_hash(image: NDArray[np.uint8]) -> str:
    """Return the 64-bit perceptual hash of (H, W, 3) as 16 hex digits."""
    return str(imagehash.phash(Image.fromarray(image)))
