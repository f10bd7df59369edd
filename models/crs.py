"""Coordinate reference systems by their EPSG codes: checked, written as GeoTIFF's keys, and as text for others."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from models.errors import FieldError, InvalidInput
from models.georeference import Geokeys

if TYPE_CHECKING:
    from pyproj import CRS

_EPSG = re.compile(
    r"(?:EPSG:|urn:ogc:def:crs:EPSG:[\d.]*:|https?://www\.opengis\.net/def/crs/EPSG/[\d.]+/)?(\d{4,6})",
    re.IGNORECASE,
)
_CRS84 = re.compile(
    r"(?:urn:ogc:def:crs:OGC:[\d.]*:|https?://www\.opengis\.net/def/crs/OGC/[\d.]+/|OGC:)CRS84",
    re.IGNORECASE,
)
_LARGEST_KEY = 32_766  # of a GeoTIFF's key: a short, and 32767 means "described by other keys"


def read_epsg(name: str | int, *, pointer: str) -> int:
    """Return the EPSG code of "EPSG:32633", its number, its URN or URL; CRS84 is 4326 (x is always the longitude).

    Raises:
        InvalidInput: code "unknown_crs", for no such code, or none of a geographic or projected CRS.
    """
    text = str(name).strip()
    code = 4326 if _CRS84.fullmatch(text) else None
    if code is None and (match := _EPSG.fullmatch(text)):
        code = int(match[1])
    if code is None or code > _LARGEST_KEY or _horizontal(code) is None:
        raise InvalidInput(
            f"{pointer}: {text[:60]!r} is not the EPSG code of a geographic or projected coordinate reference "
            'system; send for example "EPSG:32633".',
            code="unknown_crs",
            errors=[FieldError(pointer, "must be such as EPSG:32633")],
        )
    return code


def geokeys_of(epsg: int) -> Geokeys:
    """Return the keys of that CRS for a raster whose pixels are areas; `epsg` as `read_epsg` gives it."""
    crs = _horizontal(epsg)
    projected = crs is not None and crs.is_projected
    entries = ((1024, 1 if projected else 2), (1025, 1), (3072 if projected else 2048, epsg))
    return Geokeys((1, 1, 0, len(entries), *(part for key, value in entries for part in (key, 0, 1, value))))


def esri_wkt(epsg: int) -> str | None:
    """Return the text of a .prj file; None where the CRS is not known here or has no such form."""
    from pyproj.exceptions import ProjError

    crs = _horizontal(epsg)
    try:
        return None if crs is None else crs.to_wkt("WKT1_ESRI")
    except ProjError:
        return None


def gdal_wkt(epsg: int) -> str | None:
    """Return the text that GDAL keeps in its .aux.xml files; None as in `esri_wkt`."""
    crs = _horizontal(epsg)
    return None if crs is None else crs.to_wkt("WKT2_2019")


def has_latitude_first(epsg: int) -> bool:
    """Whether the authority's order of axes is north, then east; in our transforms x is east all the same."""
    crs = _horizontal(epsg)
    return crs is not None and crs.axis_info[0].direction.lower() == "north"


@lru_cache(maxsize=64)
def _horizontal(epsg: int) -> CRS | None:
    from pyproj import CRS  # not at import: its library is 30 MB
    from pyproj.exceptions import CRSError

    try:
        found = CRS.from_epsg(epsg)
    except CRSError:
        return None
    flat = len(found.axis_info) == 2 and (found.is_geographic or found.is_projected)
    return found if flat else None
