"""Masks that are drawn: polygons and run lengths, painted in their order, each with the category it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np

from models.affine import inverse
from models.categories import CATEGORIES, IGNORE, find_category
from models.category_names import category_numbers
from models.georeference import Georeference
from models.masks import MAX_SIDE, MIN_SIDE, DecodedMask, Encoding
from models.rasterize import Window, count_crossings, fill, window_of
from models.run_lengths import run_window
from models.shapes import Polygon, Shape, read_shapes, refusal

# What painting may cost: two or three seconds for either. A drawing of a real scene stays far below.
_MAX_CROSSINGS = 20_000_000
_MAX_PAINTED = 500_000_000


class Coordinates(StrEnum):
    PIXEL = "pixel"  # x and y from the mask's upper left corner; pixel (0, 0) covers 0 … 1
    WORLD = "world"  # in the CRS to which the transform leads


def draw_mask(
    polygons: Any,
    *,
    width: int,
    height: int,
    ontology: str = "earthsynth",
    label_map: Mapping[str, int | str] | None = None,
    category: str | None = None,
    ignore: bool = False,
    georeference: Georeference | None = None,
    coordinates: Coordinates = Coordinates.PIXEL,
    max_side: int = MAX_SIDE,
    min_side: int = MIN_SIDE,
    pointer: str = "/polygons",
) -> DecodedMask:
    """Return the mask of `polygons` (see `models.shapes`), 0 where nothing is drawn.

    A pixel belongs to a polygon where its centre is inside (`models.rasterize`); where polygons overlap, the later
    one wins. Each shape is an instance, numbered by its place in the list from 1, unless it is of background.
    `category` is what shapes are that name none; a category_id means the ontology's, or the label_map's. World
    coordinates need a `georeference`. `pointer` is where the polygons stand in the body.

    Raises:
        MaskRefused: what `read_shapes` raises; polygon_outside_mask, hole_outside_ring, polygons_too_complex,
            mask_too_small, too_many_pixels, ignore_not_allowed, unknown_label.
        UnknownCategory: `category` or `ontology`.
    """
    parent = pointer.rpartition("/")[0]
    for name, side in (("width", width), ("height", height)):
        if side > max_side:
            raise refusal(
                f"{parent}/{name}", f"is {side} pixels of at most {max_side}", code="too_many_pixels"
            )
        if side < min_side:
            raise refusal(
                f"{parent}/{name}", f"is {side} pixels; at least {min_side} are needed", code="mask_too_small"
            )
    world = coordinates is Coordinates.WORLD and georeference is not None
    shapes = read_shapes(
        polygons,
        width=width,
        height=height,
        category_of=category_numbers(ontology, label_map, ignore=ignore),
        default=None if category is None else find_category(category).id,
        to_pixels=inverse(georeference.transform) if world and georeference else None,
        pointer=pointer,
    )
    canvas = _Canvas(width, height)
    for number, shape in enumerate(shapes, start=1):
        canvas.paint(number, shape)
    warnings = canvas.warnings(shapes)
    if world:
        warnings.append(
            "mapped_from_world: coordinates of the CRS became pixels by the inverse of the transform"
        )
    if (canvas.ids == canvas.ids[0, 0]).all():
        warnings.append(f"single_class: every pixel is {canvas.ids[0, 0]}")
    return DecodedMask(
        canvas.ids,
        Encoding.POLYGONS,
        "label_map" if label_map is not None else ontology,
        tuple(warnings),
        georeference=georeference,
        instances=canvas.instances if canvas.instances.any() else None,
    )


class _Canvas:
    """The mask while it is painted."""

    def __init__(self, width: int, height: int) -> None:
        self.ids = np.zeros((height, width), np.uint8)
        self.instances = np.zeros((height, width), np.uint32)
        self._width, self._height = width, height
        self._crossings = self._painted = 0
        self._clipped: list[int] = []
        self._unseen: list[int] = []

    def paint(self, number: int, shape: Shape) -> None:
        """Paints over whatever is there."""
        pixels, beyond, reaches_in = 0, False, not shape.polygons
        for polygon in shape.polygons:
            beyond |= self._reaches_beyond(polygon)
            window = self._filled(polygon)
            if window is not None:
                pixels += self._put(number, shape.category_id, window)
            reaches_in = reaches_in or pixels > 0 or self._touches(polygon)
        if shape.counts is not None:
            runs = run_window(shape.counts, self._height)
            if runs is not None:
                self._spend(shape.pointer, painted=runs.inside.size)
                pixels += self._put(number, shape.category_id, runs)
        if not reaches_in:
            raise refusal(
                shape.pointer,
                f"lies wholly outside the mask of {self._width}x{self._height} pixels",
                code="polygon_outside_mask",
            )
        if beyond:
            self._clipped.append(number - 1)
        if not pixels:
            self._unseen.append(number - 1)

    def warnings(self, shapes: Sequence[Shape]) -> list[str]:
        found = []
        if self._clipped:
            found.append(
                f"clipped: polygons {_listed(self._clipped)} reach beyond the mask and were cut at its border"
            )
        if self._unseen:
            found.append(
                f"no_pixels: polygons {_listed(self._unseen)} are so small or thin that they hold no pixel's centre"
            )
        lost = [
            name
            for name in {shape.category_id for shape in shapes}
            if name not in {0, IGNORE} and not (self.ids == name).any()
        ]
        if lost:
            names = ", ".join(CATEGORIES[number].name for number in sorted(lost))
            found.append(f"covered: nothing of {names} is left under later polygons")
        return found

    def _put(self, number: int, category_id: int, window: Window) -> int:
        np.copyto(self.ids[window.place], np.uint8(category_id), where=window.inside)
        np.copyto(
            self.instances[window.place],
            np.uint32(0 if category_id in {0, IGNORE} else number),
            where=window.inside,
        )
        return int(np.count_nonzero(window.inside))

    def _filled(self, polygon: Polygon) -> Window | None:
        if polygon.holes:
            _check_holes(polygon)
        box = window_of(polygon.outer, self._width, self._height)
        left, top, right, bottom = box
        if right <= left or bottom <= top:
            return None
        area = (right - left) * (bottom - top)
        self._spend(polygon.pointer, painted=area, crossings=count_crossings(polygon.outer, self._height))
        inside = fill(polygon.outer, box)
        for hole in polygon.holes:
            cut = window_of(hole, self._width, self._height)
            if cut[2] <= cut[0] or cut[3] <= cut[1]:
                continue
            self._spend(
                polygon.pointer,
                painted=(cut[2] - cut[0]) * (cut[3] - cut[1]),
                crossings=count_crossings(hole, self._height),
            )
            view = inside[cut[1] - top : cut[3] - top, cut[0] - left : cut[2] - left]
            view &= ~fill(hole, cut)
        return Window(top, left, inside)

    def _spend(self, pointer: str, *, painted: int, crossings: int = 0) -> None:
        self._painted += painted
        self._crossings += crossings
        if self._painted > _MAX_PAINTED or self._crossings > _MAX_CROSSINGS:
            raise refusal(
                pointer,
                "brings the drawing to more work than is allowed (very many large or jagged polygons); simplify it",
                code="polygons_too_complex",
            )

    def _reaches_beyond(self, polygon: Polygon) -> bool:
        low, high = polygon.outer.min(axis=0), polygon.outer.max(axis=0)
        return bool((low < 0).any() or (high > (self._width, self._height)).any())

    def _touches(self, polygon: Polygon) -> bool:
        low, high = polygon.outer.min(axis=0), polygon.outer.max(axis=0)
        if (high <= 0).any() or (low >= (self._width, self._height)).any():
            return False
        import shapely

        outer = shapely.make_valid(shapely.Polygon(polygon.outer))
        return bool(shapely.intersects(outer, shapely.box(0, 0, self._width, self._height)))


def _check_holes(polygon: Polygon) -> None:
    """Raises MaskRefused (hole_outside_ring) for a hole that is not inside its outer ring."""
    import shapely  # not at import: most masks are files

    outer = shapely.make_valid(shapely.Polygon(polygon.outer))
    shapely.prepare(outer)
    holes = shapely.make_valid(shapely.polygons([shapely.linearrings(hole) for hole in polygon.holes]))
    outside = np.flatnonzero(~shapely.covers(outer, holes))
    if len(outside):
        raise refusal(
            f"{polygon.pointer}/{outside[0] + 1}",
            "is a hole that is not inside the polygon's outer ring",
            code="hole_outside_ring",
        )


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return shown if len(numbers) <= 10 else f"{shown}, … ({len(numbers)} in all)"
