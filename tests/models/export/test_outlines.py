"""Outlines against OpenCV's filling, as trainers do it, and rotated boxes against a naive search."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from models.components import Component, find_components
from models.export.outlines import one_outline, rotated_box

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=13))


def filled(points: NDArray[np.int32], shape: tuple[int, int]) -> NDArray[np.bool_]:
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [points], 1)
    return canvas == 1


@given(masks)
@settings(max_examples=300, deadline=None)
def test_filling_an_outline_gives_the_component_holes_included(mask: NDArray[np.bool_]) -> None:
    for component in find_components(mask):
        points = one_outline(component)
        assert len(points) >= 3
        own = np.zeros_like(mask)
        own[component.top :, component.left :][: component.height, : component.width] = component.mask
        assert np.array_equal(filled(np.rint(points).astype(np.int32), mask.shape), own)  # who rounds
        assert np.array_equal(filled(points.astype(np.int32), mask.shape), own)  # who cuts off


@given(masks)
@settings(max_examples=100, deadline=None)
def test_outlines_have_an_area(mask: NDArray[np.bool_]) -> None:
    for component in find_components(mask):
        x, y = one_outline(component).T
        assert np.ptp(x) > 0
        assert np.ptp(y) > 0


def test_a_rectangle_has_four_points() -> None:
    (component,) = find_components(np.pad(np.ones((5, 9), np.bool_), 3))
    assert one_outline(component).tolist() == [[3.25, 3.25], [3.25, 7.25], [11.25, 7.25], [11.25, 3.25]]


def area(corners: NDArray[np.float64]) -> float:
    x, y = corners.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def smallest(mask: NDArray[np.bool_]) -> float:
    """The smallest area of a rotated rectangle around the pixels, by trying a thousand angles."""
    y, x = np.nonzero(mask)
    corners = np.concatenate([np.stack([x + dx, y + dy], axis=1) for dx in (0, 1) for dy in (0, 1)])
    sizes = []
    for angle in np.linspace(0, np.pi / 2, 1001):
        turned = corners @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        sizes.append(float(np.prod(np.ptp(turned, axis=0))))
    return min(sizes)


def test_a_rotated_box_is_the_smallest_around_all_pixels() -> None:
    mask = np.zeros((60, 60), np.bool_)
    for step in range(25):
        mask[15 + step : 20 + step, 12 + step : 22 + step] = True
    (component,) = find_components(mask)
    corners = rotated_box(component, 60, 60)
    assert area(corners) == pytest.approx(smallest(mask), rel=2e-3)
    assert area(corners) < 0.6 * component.width * component.height


def test_a_rotated_box_that_would_leave_the_picture_is_upright() -> None:
    diagonal = Component(0, 0, 20, 20, 20, np.eye(20, dtype=np.bool_))
    assert rotated_box(diagonal, 20, 20).tolist() == [[0, 0], [20, 0], [20, 20], [0, 20]]


@given(masks)
@settings(max_examples=100, deadline=None)
def test_rotated_boxes_stay_in_the_picture_and_hold_every_pixel(mask: NDArray[np.bool_]) -> None:
    height, width = mask.shape
    for component in find_components(mask):
        corners = rotated_box(component, width, height)
        assert (corners >= 0).all()
        assert (corners <= np.array([width, height])).all()
        ahead = np.roll(corners, -1, axis=0) - corners
        y, x = np.nonzero(component.mask)
        middles = np.stack([x + component.left + 0.5, y + component.top + 0.5], axis=1)
        sides = [
            dx * (middles[:, 1] - cy) - dy * (middles[:, 0] - cx)
            for (cx, cy), (dx, dy) in zip(corners, ahead, strict=True)
        ]
        assert (np.array(sides) > -1e-2).all()
