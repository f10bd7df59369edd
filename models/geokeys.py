"""GeoTIFF's tags, read as GDAL reads them: where the pixels lie, and in which CRS.

Format: OGC GeoTIFF 1.1 (19-008r4). What cannot be used is left out with a warning: the labels stay what they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from models.affine import Affine, compose, is_usable, shifted
from models.georeference import Geokeys, Georeference

_MODEL, _RASTER, _GEOGRAPHIC, _PROJECTED = 1024, 1025, 2048, 3072
_IS_POINT, _IS_AREA = 2, 1
_DOUBLES, _TEXT = 34736, 34737
_NO_CODE = (0, 32767)  # undefined, user-defined


def read_georeference(
    tags: Mapping[str, Any], *, nodata: int | None
) -> tuple[Georeference | None, tuple[str, ...]]:
    """Return where the pixels lie, None where the file does not say, and warnings.

    `tags`: scale, tiepoints, matrix, directory and doubles as numbers, text, or problem; those that the file has.
    A raster of points is turned into one of areas, whose first corner lies half a pixel before the first point.
    """
    if not tags:
        return None, ()
    if "problem" in tags:
        return None, (f"georeference_ignored: {tags['problem']}",)
    transform = _transform(tags)
    if isinstance(transform, str):
        return None, (f"georeference_ignored: {transform}",)
    keys = _geokeys(tags)
    if keys is None:
        return Georeference(transform, nodata=nodata), ()
    if isinstance(keys, str):
        return Georeference(transform, nodata=nodata), (f"crs_ignored: {keys}",)
    plain = {entry[0]: entry[3] for entry in _entries(keys) if entry[1] == 0}
    if plain.get(_RASTER) == _IS_POINT:
        transform, keys = compose(transform, shifted(-0.5, -0.5)), _of_areas(keys)
    return Georeference(transform, _epsg(plain), keys, nodata), ()


def _transform(tags: Mapping[str, Any]) -> Affine | str:
    """Return the map from pixels, or why there is none."""
    scale, points, matrix = tags.get("scale", ()), tags.get("tiepoints", ()), tags.get("matrix", ())
    found: Affine
    if len(scale) >= 2 and scale[0] and scale[1] and len(points) >= 6:
        column, row, _, x, y = points[:5]
        down = -abs(scale[1])
        found = (scale[0], 0.0, x - column * scale[0], 0.0, down, y - row * down)
    elif len(matrix) >= 8:
        found = (matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7])
    elif len(points) >= 12:
        return "it has ground control points, which are no affine transform; warp the mask"
    else:
        return "the way from pixels to coordinates is incomplete"
    return found if is_usable(found) else "its transform cannot be inverted"


def _geokeys(tags: Mapping[str, Any]) -> Geokeys | str | None:
    """Return the keys, None where there are none, or why they cannot be used."""
    directory: Sequence[int] = tags.get("directory", ())
    if not directory:
        return None
    if len(directory) < 4 or directory[0] != 1 or len(directory) < 4 + 4 * directory[3]:
        return "its directory of keys is cut, or of another version"
    doubles, text = tuple(tags.get("doubles", ())), str(tags.get("text", ""))
    if not all(map(math.isfinite, doubles)):
        return "a parameter of its CRS is not a number"
    keys = Geokeys(tuple(directory[: 4 + 4 * directory[3]]), doubles, text)
    room = {_DOUBLES: len(doubles), _TEXT: len(text) + 1}
    for key, tag, count, place in _entries(keys):
        if tag and (tag not in room or place + count > room[tag]):
            return f"key {key} points to what is not there"
    return keys


def _entries(keys: Geokeys) -> list[tuple[int, ...]]:
    """Return (key, tag, count, value or offset) of each."""
    return [keys.directory[start : start + 4] for start in range(4, len(keys.directory), 4)]


def _of_areas(keys: Geokeys) -> Geokeys:
    directory = list(keys.directory)
    for start in range(4, len(directory), 4):
        if directory[start] == _RASTER:
            directory[start + 3] = _IS_AREA
    return Geokeys(tuple(directory), keys.doubles, keys.text)


def _epsg(plain: Mapping[int, int]) -> int | None:
    """Return the code of the CRS; None for one that only its other keys describe."""
    own = _GEOGRAPHIC if plain.get(_MODEL) == 2 or _PROJECTED not in plain else _PROJECTED
    if plain.get(_MODEL) == 1 and own == _GEOGRAPHIC:
        return None
    code = plain.get(own, 0)
    return None if code in _NO_CODE else code
