"""Outlines of pixel masks along the pixels' edges, as COCO polygons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def outer_rings(mask: NDArray[np.bool_], left: int = 0, top: int = 0) -> tuple[tuple[float, ...], ...]:
    """Return the outer outlines [x0, y0, x1, y1, …] of a (H, W) mask that lies at (left, top).

    Coordinates are pixel edges: pixel (x, y) covers [x, x + 1] by [y, y + 1], so a ring's area is its pixels'
    and COCO's rasteriser gives back the same pixels. Each ring is simple and clockwise on the screen; where
    pixels touch only at a corner the outline is cut there. Holes are left out.
    """
    if mask.all():  # most components of a noisy mask are single pixels
        right, bottom = left + mask.shape[1], top + mask.shape[0]
        return (tuple(map(float, (left, top, right, top, right, bottom, left, bottom))),)
    links, xs, ys = _corner_links(mask)
    rings = []
    unseen = np.ones(len(links), np.bool_)
    for start in range(len(links)):
        if not unseen[start]:
            continue
        ring = []
        corner = start
        while unseen[corner]:
            unseen[corner] = False
            ring.append(corner)
            corner = links[corner]
        for loop in _simple_loops(list(zip(xs[ring].tolist(), ys[ring].tolist(), strict=True))):
            x, y = np.array(loop).T
            if np.dot(x, np.roll(y, -1)) > np.dot(y, np.roll(x, -1)):  # twice the area; holes run backwards
                rings.append(tuple(float(value) for px, py in loop for value in (px + left, py + top)))
    return tuple(rings)


def _simple_loops(ring: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Cut a closed ring wherever it comes to a vertex for the second time."""
    if len(set(ring)) == len(ring):
        return [ring]
    loops = []
    path: dict[tuple[int, int], None] = {}
    for vertex in ring:
        if vertex in path:
            loop = []
            while (last := path.popitem()[0]) != vertex:
                loop.append(last)
            loops.append([vertex, *reversed(loop)])
        path[vertex] = None
    return [*loops, list(path)]


def _corner_links(mask: NDArray[np.bool_]) -> tuple[list[int], NDArray[np.int64], NDArray[np.int64]]:
    """Return for every corner of the outline the next one, with the foreground on the right, and all x and y.

    Between corners an outline runs straight, so in each row of vertices the corners pair up into horizontal
    edges, and in each column into vertical ones. A vertex where two pixels meet diagonally is two corners.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]  # around each vertex
    total = a + b + c + d
    single = (total == 1) | (total == 3)
    falling = (total == 2) & (a == d)  # a and d, or b and c: two corners in one vertex
    y1, x1 = np.nonzero(single)
    y2, x2 = np.nonzero(falling)
    ys, xs = np.concatenate([y1, y2, y2]), np.concatenate([x1, x2, x2])
    # The two corners of a diagonal vertex are told apart by side: the one whose horizontal edge goes left and
    # the one whose goes right. With a and d set, a's corner joins left and up; with b and c, c's joins left
    # and down. So the rings of diagonal neighbours stay apart.
    side = np.concatenate([np.zeros(len(y1)), np.zeros(len(y2)), np.ones(len(y2))])
    left_goes_up = a[y2, x2] == 1
    vertical = np.concatenate([np.zeros(len(y1)), ~left_goes_up, left_goes_up])
    across = np.lexsort((side, xs, ys)).reshape(-1, 2)
    along = np.lexsort((vertical, ys, xs)).reshape(-1, 2)
    # Foreground on the right: an edge runs to the right where the pixel below it is set, and down where the
    # pixel to its left is.
    links = np.empty(len(xs), np.int64)
    lefts, rights = across[:, 0], across[:, 1]
    below = d[ys[lefts], xs[lefts]] == 1
    links[np.where(below, lefts, rights)] = np.where(below, rights, lefts)
    uppers, lowers = along[:, 0], along[:, 1]
    inside_left = c[ys[uppers], xs[uppers]] == 1
    links[np.where(inside_left, uppers, lowers)] = np.where(inside_left, lowers, uppers)
    return links.tolist(), xs, ys
