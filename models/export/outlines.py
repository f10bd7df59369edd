"""A component as the one outline, or the one rotated box, that a YOLO line can hold."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.components import Component

Point = tuple[int, int]


def one_outline(component: Component) -> NDArray[np.float64]:
    """Return (N, 2) points x, y in pixels of the picture, N ≥ 3, whose even-odd filling is the component.

    An instance in several pieces becomes one outline by seams between their nearest points, there and back, as
    Ultralytics' converter makes them; trainers fill these lines too. Holes hang on the outline by seams as well,
    there and back along the same pixels, as one polygon cannot hold them
    otherwise. Points are a quarter of a pixel right of and below a pixel's corner: trainers that round and
    trainers that cut off decimals then both hit that pixel, and OpenCV's `fillPoly` fills the same pixels.
    """
    contours, tree = cv2.findContours(component.mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    paths: list[list[Point]] = [list(map(tuple, contour[:, 0].tolist())) for contour in contours]
    outer = _joined([path for path, links in zip(paths, tree[0], strict=True) if links[3] < 0])
    holes = [path for path, links in zip(paths, tree[0], strict=True) if links[3] >= 0]
    # From its leftmost point a hole's seam runs left to whatever it meets first: the outline, or a hole that
    # reaches further left and so hangs on it already.
    for hole in sorted(holes, key=min):
        start = hole.index(min(hole))
        x, y = hole[start]
        while x > 0 and component.mask[y, x - 1]:
            x -= 1
        meets = outer.index((x, y))
        outer[meets:meets] = [(x, y), *hole[start:], *hole[:start], hole[start]]
    points = np.array(_corners(outer), np.float64) + 0.25
    if len(points) < 3:  # a line one pixel wide: give it an area, inside its pixels
        points = np.vstack([points, points[0] + (0.1, 0.2), points[0] + (0.2, 0.1)])[:4]
    return np.add(points, (component.left, component.top), dtype=np.float64)


def _joined(pieces: list[list[Point]]) -> list[Point]:
    """Return one closed path along all pieces, the nearest ones joined there and back."""
    path, rest = pieces[0], pieces[1:]
    while rest:
        here = np.array(path)
        gaps = [np.square(here[:, None] - np.array(piece)[None]).sum(axis=2) for piece in rest]
        nearest = min(range(len(rest)), key=lambda number: int(gaps[number].min()))
        at, start = np.unravel_index(gaps[nearest].argmin(), gaps[nearest].shape)
        piece = rest.pop(nearest)
        path = [*path[: at + 1], *piece[start:], *piece[: start + 1], *path[at:]]
    return path


def _corners(path: list[Point]) -> list[Point]:
    """Leave out the points of a closed path between which it runs straight on."""
    kept = []
    for before, (x, y), after in zip([path[-1], *path], path, [*path[1:], path[0]], strict=False):
        if (x - before[0], y - before[1]) != (after[0] - x, after[1] - y):
            kept.append((x, y))
    return kept or path[:1]


def rotated_box(component: Component, width: int, height: int) -> NDArray[np.float64]:
    """Return the (4, 2) corners x, y of the smallest rotated rectangle around the component's pixels.

    Where that rectangle would leave the picture of (width, height), which trainers refuse, the upright box.
    """
    rows, columns = np.nonzero(component.mask)
    first = np.flatnonzero(np.diff(rows, prepend=-1))  # the hull needs only the ends of each row
    last = np.append(first[1:] - 1, len(rows) - 1)
    x0, x1, y = columns[first], columns[last] + 1, rows[first]
    points = np.stack(
        [np.concatenate([x0, x1, x0, x1]), np.concatenate([y, y, y + 1, y + 1])], axis=1
    ) + np.array([component.left, component.top])
    corners = cv2.boxPoints(cv2.minAreaRect(points.astype(np.float32))).astype(np.float64)
    slack = 1e-3  # float32 rounding of a rectangle that touches the border
    if (corners < -slack).any() or (corners > np.array([width, height]) + slack).any():
        left, top = component.left, component.top
        right, bottom = left + component.width, top + component.height
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    inside: NDArray[np.float64] = np.clip(corners, 0, (width, height))
    return inside
