"""What a caller draws: COCO annotations, LabelMe shapes and GeoJSON features, read into rings of pixels.

Every refusal names the very place, as a JSON pointer. Checks go from cheap to dear, and nothing grows with what a
number says: only with how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.affine import Affine, applied
from models.errors import FieldError, MaskRefused
from models.run_lengths import NoRunLengths, read_counts

MAX_POLYGONS = 10_000
MAX_POINTS = 100_000
MAX_COORDINATE = 100_000_000.0  # pixels from the corner; what lies outside the mask is cut off anyway
_MAX_WORLD = 1e15

_COCO = {"segmentation", "points", "size", "counts"}
_NAMES = {"category", "category_id", "label"}
# what COCO and LabelMe write beside these; it says nothing about pixels
_ASIDE = {
    *("id", "image_id", "area", "bbox", "iscrowd", "attributes"),
    *("shape_type", "group_id", "flags", "description", "mask"),
}
_FEATURE = {"type", "geometry", "properties", "id", "bbox"}
_COLLECTION = {"type", "features", "crs", "bbox", "name"}
_GEOMETRY = {"type", "coordinates", "bbox"}

Ring = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Polygon:
    """An outer ring (N, 2) of x, y in pixels and the rings of its holes; none repeats its first point at the end."""

    outer: Ring
    holes: tuple[Ring, ...]
    pointer: str


@dataclass(frozen=True, slots=True)
class Shape:
    """One object: `category_id` is EarthSynth's. Either polygons, or run lengths of the whole mask."""

    category_id: int
    polygons: tuple[Polygon, ...]
    counts: NDArray[np.int64] | None
    pointer: str


def refusal(pointer: str, message: str, *, code: str) -> MaskRefused:
    """Return the refusal of what stands at `pointer`; `message` goes on after it."""
    return MaskRefused(f"{pointer} {message}.", code=code, errors=[FieldError(pointer, message)])


def collection_crs(given: Any) -> str | None:
    """Return the CRS that a GeoJSON FeatureCollection names itself, as that format did before RFC 7946."""
    crs = given.get("crs") if isinstance(given, dict) else None
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    return name if isinstance(name, str) else None


def read_shapes(
    given: Any,
    *,
    width: int,
    height: int,
    category_of: Callable[[str | int], int],
    default: int | None,
    to_pixels: Affine | None,
    pointer: str,
) -> list[Shape]:
    """Return the shapes of a list of them, or of a GeoJSON FeatureCollection, in their order.

    `category_of` gives EarthSynth's id of a name or a number, and may raise; `default` is the category of a shape
    that names none. `to_pixels` maps the coordinates, run lengths excepted; None: they are pixels already.

    Raises:
        MaskRefused: too_many_polygons, too_many_points, degenerate_polygon, invalid_polygon, out_of_range,
            invalid_rle, wrong_size, unsupported_geometry, category_required, unknown_field, mask_missing.
    """
    if isinstance(given, dict) and given.get("type") == "FeatureCollection":
        _only(given, _COLLECTION, pointer)
        given, pointer = given.get("features"), f"{pointer}/features"
    if not isinstance(given, list):
        raise refusal(pointer, "must be a list of polygons, or a FeatureCollection", code="invalid_polygon")
    if not given:
        raise refusal(pointer, "is empty; draw at least one polygon", code="mask_missing")
    if len(given) > MAX_POLYGONS:
        raise refusal(
            pointer, f"holds {len(given)} polygons of at most {MAX_POLYGONS}", code="too_many_polygons"
        )
    reader = _Reader(width, height, category_of, default, to_pixels)
    return [reader.shape(item, f"{pointer}/{index}") for index, item in enumerate(given)]


@dataclass(slots=True)
class _Reader:
    width: int
    height: int
    category_of: Callable[[str | int], int]
    default: int | None
    to_pixels: Affine | None
    points: int = 0
    known: dict[str | int, int] = field(default_factory=dict)

    def shape(self, item: Any, at: str) -> Shape:
        if not isinstance(item, dict):
            raise refusal(at, "must be an object with a category and its outline", code="invalid_polygon")
        if "type" in item:
            return self._geojson(item, at)
        _only(item, _COCO | _NAMES | _ASIDE, at)
        category_id = self._category(item, at, at)
        if item.get("shape_type") not in (None, "polygon"):
            raise refusal(f"{at}/shape_type", "must be polygon", code="unsupported_geometry")
        given = [name for name in ("segmentation", "points", "counts") if item.get(name) is not None]
        if len(given) != 1:
            raise refusal(
                at, "must have exactly one of segmentation, points and counts", code="invalid_polygon"
            )
        (name,) = given
        if name == "counts":
            return self._runs(item, category_id, at)
        outline, place = item[name], f"{at}/{name}"
        if name == "segmentation" and isinstance(outline, dict):
            _only(outline, {"size", "counts"}, place)
            return self._runs(outline, category_id, place)
        if name == "points":
            return Shape(category_id, (self._polygon([outline], place, [place]),), None, at)
        rings = self._list(outline, place, "a list of rings [x, y, x, y, …]")
        polygons = tuple(
            Polygon(self._flat_ring(ring, f"{place}/{number}"), (), f"{place}/{number}")
            for number, ring in enumerate(rings)
        )
        return Shape(category_id, polygons, None, at)

    def _geojson(self, item: Mapping[str, Any], at: str) -> Shape:
        geometry, place, names, names_at = item, at, item, at
        if item["type"] == "Feature":
            _only(item, _FEATURE, at)
            geometry, place = item.get("geometry") or {}, f"{at}/geometry"
            names, names_at = item.get("properties") or {}, f"{at}/properties"
            if not isinstance(geometry, dict) or not isinstance(names, dict):
                raise refusal(at, "must have a geometry and properties", code="invalid_polygon")
        kind = geometry.get("type")
        if kind not in ("Polygon", "MultiPolygon"):  # it may be anything, a list too
            shown = str(kind)[:40]
            raise refusal(
                f"{place}/type",
                f"is {shown}; only Polygon and MultiPolygon have an area",
                code="unsupported_geometry",
            )
        _only(geometry, _GEOMETRY | (_NAMES if geometry is item else set()), place)
        category_id = self._category(names, names_at, at)
        coordinates, place = geometry.get("coordinates"), f"{place}/coordinates"
        if kind == "Polygon":
            return Shape(category_id, (self._rings(coordinates, place),), None, at)
        parts = self._list(coordinates, place, "a list of polygons")
        polygons = tuple(self._rings(part, f"{place}/{number}") for number, part in enumerate(parts))
        return Shape(category_id, polygons, None, at)

    def _category(self, names: Mapping[str, Any], at: str, whole: str) -> int:
        given = [name for name in ("category", "category_id", "label") if names.get(name) is not None]
        if not given:
            if self.default is None:
                raise refusal(whole, "has no category and no category_id", code="category_required")
            return self.default
        if len(given) > 1:
            raise refusal(at, f"has {' and '.join(given)}; send one of them", code="category_required")
        (name,) = given
        value = names[name]
        if type(value) is not (int if name == "category_id" else str):
            raise refusal(
                f"{at}/{name}",
                "must be a whole number" if name == "category_id" else "must be a text",
                code="unknown_category",
            )
        if value not in self.known:
            try:
                self.known[value] = self.category_of(value)
            except MaskRefused as error:
                raise refusal(
                    f"{at}/{name}", f"cannot be used: {error.message[:300]}", code=error.code
                ) from error
        return self.known[value]

    def _runs(self, item: Mapping[str, Any], category_id: int, at: str) -> Shape:
        if item.get("size") != [self.height, self.width]:
            raise refusal(
                f"{at}/size",
                f"must be the mask's [{self.height}, {self.width}] (height, width)",
                code="wrong_size",
            )
        counts = item.get("counts")
        self._count(len(counts) // 2 if isinstance(counts, list | str) else 0, f"{at}/counts")
        try:
            return Shape(category_id, (), read_counts(counts, pixels=self.width * self.height), at)
        except NoRunLengths as error:
            raise refusal(f"{at}/counts", str(error), code="invalid_rle") from error

    def _rings(self, rings: Any, at: str) -> Polygon:
        rings = self._list(rings, at, "a list of rings, the outer one first")
        return self._polygon(rings, at, [f"{at}/{number}" for number in range(len(rings))])

    def _polygon(self, rings: list[Any], at: str, places: list[str]) -> Polygon:
        outer, *holes = (self._ring(ring, place) for ring, place in zip(rings, places, strict=True))
        return Polygon(outer, tuple(holes), at)

    def _ring(self, ring: Any, at: str) -> Ring:
        if not isinstance(ring, list):
            raise refusal(at, "must be a list of points [x, y]", code="invalid_polygon")
        self._count(len(ring), at)
        flat = []
        for number, point in enumerate(ring):
            if not isinstance(point, list) or len(point) != 2:
                raise refusal(f"{at}/{number}", "must be a point [x, y]", code="invalid_polygon")
            flat += point
        self._check(flat, lambda number: f"{at}/{number // 2}/{number % 2}")
        return self._finished(flat, at)

    def _flat_ring(self, ring: Any, at: str) -> Ring:
        if not isinstance(ring, list) or len(ring) % 2:
            raise refusal(at, "must be a list of pairs x, y, x, y, …", code="invalid_polygon")
        self._count(len(ring) // 2, at)
        self._check(ring, lambda number: f"{at}/{number}")
        return self._finished(ring, at)

    def _check(self, flat: list[Any], place: Callable[[int], str]) -> None:
        limit = MAX_COORDINATE if self.to_pixels is None else _MAX_WORLD
        for number, value in enumerate(flat):
            if type(value) is not float and type(value) is not int:
                raise refusal(place(number), "must be a number", code="invalid_polygon")
            if not -limit <= value <= limit:  # nor NaN
                raise refusal(place(number), f"must be from {-limit:g} to {limit:g}", code="out_of_range")

    def _finished(self, flat: list[float], at: str) -> Ring:
        ring = np.array(flat, np.float64).reshape(-1, 2)
        while len(ring) > 1 and (ring[0] == ring[-1]).all():
            ring = ring[:-1]
        if len(ring) and self.to_pixels is not None:
            ring = applied(self.to_pixels, ring)
            if not np.abs(ring).max() <= MAX_COORDINATE:
                raise refusal(
                    at,
                    f"lies more than {MAX_COORDINATE:g} pixels away; are transform and coordinates of one CRS?",
                    code="out_of_range",
                )
        if len(ring) < 3 or _is_flat(ring):
            raise refusal(
                at, "has no area: it needs three points that are not on one line", code="degenerate_polygon"
            )
        return ring

    def _count(self, points: int, at: str) -> None:
        self.points += points
        if self.points > MAX_POINTS:
            raise refusal(
                at,
                f"brings the drawing to more than {MAX_POINTS} points (two runs of an RLE count as one)",
                code="too_many_points",
            )

    def _list(self, value: Any, at: str, what: str) -> list[Any]:
        if not isinstance(value, list):
            raise refusal(at, f"must be {what}", code="invalid_polygon")
        if not value:
            raise refusal(at, "is empty", code="degenerate_polygon")
        return value


def _is_flat(ring: Ring) -> bool:
    """Whether all points lie on one line, but for rounding."""
    away = ring - ring[0]
    far = away[np.einsum("ij,ij->i", away, away).argmax()]
    across = np.abs(away[:, 0] * far[1] - away[:, 1] * far[0]).max()
    return bool(across <= 1e-12 * (far @ far))


def _only(given: Mapping[str, Any], known: set[str], at: str) -> None:
    for name in given:
        if name not in known:
            shown = str(name)[:60].replace("~", "~0").replace("/", "~1")
            raise refusal(f"{at}/{shown}", "is not a field of this object", code="unknown_field")
