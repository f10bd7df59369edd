"""How well a mask fits its picture where it lies, against how well it would fit elsewhere: R4's guard against shifts.

No segmenter takes part: the mask's categories divide the picture into classes of pixels, and the share of the
variance of colour and texture between these classes (a multivariate R²) is largest where mask and picture belong
together. The picture is its own yardstick, so neither place, season nor sensor matter.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from models.categories import IGNORE
from models.pixel_values import unique_values

_GRID = 64  # cells along the longer side
_NEAR, _FAR = 6, 24  # cells: moves from a tenth to three eighths of the side are tried
_LEAST_OVERLAP = 0.25  # of the grid
_FEWEST_CELLS = 4.0  # a category's mean is drawn to 0 below this many cells
_RIDGE = 0.05  # keeps whitening from blowing up what hardly varies


def placement(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> float:
    """Return R² of the mask where it lies, less its best R² after a move of a tenth to three eighths of the side.

    Well above 0: it belongs here. Below 0: it belongs to another place of the picture. Near 0: nothing can be told,
    as for a mask of one category. Moves that leave less of mask and picture in common count less. In [-1, 1].
    """
    height, width = mask.shape
    scale = _GRID / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))  # OpenCV's order
    regions = [(mask == number).astype(np.float32) for number in unique_values(mask) if number != IGNORE]
    if len(regions) < 2:
        return 0.0
    shares = np.stack([_shrink(region, size) for region in regions])  # (C, h, w)
    explained, overlap = _explained_variance(_features(image, size), shares)
    moves = np.abs(np.arange(-_FAR, _FAR + 1))
    far = np.maximum(moves[:, None], moves[None]) >= _NEAR
    elsewhere = np.where(far & (overlap >= _LEAST_OVERLAP), explained * np.sqrt(overlap), 0.0)
    return float(explained[_FAR, _FAR] - elsewhere.max())


def _shrink(array: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _features(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return lightness, two colours and the logarithm of the local contrast, whitened: (4, h, w) float32."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    light = np.ascontiguousarray(lab[..., 0])
    mean = _shrink(cv2.blur(light, (9, 9)).astype(np.float32), size)
    square = _shrink(cv2.blur(light * light, (9, 9)).astype(np.float32), size)
    contrast = np.log(np.sqrt(np.maximum(square - mean * mean, 0)) + 2)
    cells = np.concatenate([_shrink(lab, size), contrast[..., None]], axis=-1)  # (h, w, 4)
    flat = cells.reshape(-1, cells.shape[-1]).astype(np.float64)
    flat = (flat - flat.mean(0)) / (flat.std(0) + 1e-3)
    values, vectors = np.linalg.eigh(flat.T @ flat / len(flat) + _RIDGE * np.eye(flat.shape[1]))
    white = flat @ (vectors / np.sqrt(values))
    return np.ascontiguousarray(white.T.reshape(-1, *cells.shape[:2]), dtype=np.float32)


def _explained_variance(
    features: NDArray[np.float32], shares: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return R² and the share of the grid in common for every move, each (2 _FAR + 1, 2 _FAR + 1).

    All moves at once: sums of a feature over a moved category are correlations, and those are products of spectra.
    """
    sides = [side + _FAR for side in shares.shape[1:]]
    pattern = np.conj(fft.rfft2(shares, sides))  # (C, …)
    fields = np.concatenate([np.ones_like(features[:1]), features, (features**2).sum(0, keepdims=True)])
    spectra = fft.rfft2(fields, sides)  # (1 + F + 1, …)
    steps = np.arange(-_FAR, _FAR + 1)
    sums = fft.irfft2(spectra[:-1, None] * pattern[None], sides)[..., steps[:, None], steps[None]]
    squares = fft.irfft2(spectra[-1] * pattern.sum(0), sides)[steps[:, None], steps[None]]
    counts, sums = sums[0].astype(np.float64), sums[1:].astype(np.float64)  # (C, m, m), (F, C, m, m)
    total = np.maximum(counts.sum(0), 1e-6)
    overall = (sums.sum(1) ** 2).sum(0) / total
    between = (sums**2 / np.maximum(counts, _FEWEST_CELLS)).sum((0, 1)) - overall
    return between / np.maximum(squares - overall, 1e-3), total / shares[0].size
