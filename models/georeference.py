"""Where a mask lies on the ground: an affine map from its pixels, and the coordinate reference system."""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.affine import Affine, applied_to, compose


@dataclass(frozen=True, slots=True)
class Geokeys:
    """GeoTIFF's three tags that say the CRS, as they stand in a file: they are written back unchanged.

    `directory` are the shorts of GeoKeyDirectoryTag, header included; key by key its entries point into `doubles`
    (GeoDoubleParamsTag) and `text` (GeoAsciiParamsTag).
    """

    directory: tuple[int, ...]
    doubles: tuple[float, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Georeference:
    """`transform` takes (column, row) of a pixel's outer corner to world coordinates (x east or longitude, y).

    `epsg` is the code of the horizontal CRS where it has one; `geokeys` say the CRS in full, None where the mask came
    with a transform alone. `nodata` is what the file itself calls "no data".
    """

    transform: Affine
    epsg: int | None = None
    geokeys: Geokeys | None = None
    nodata: int | None = None

    def of_part(self, to_mask: Affine) -> Georeference:
        """Return the georeference of a picture whose pixels `to_mask` takes to this mask's."""
        return replace(self, transform=compose(self.transform, to_mask))

    def bounds(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return (left, bottom, right, top) in world coordinates of a mask of that size."""
        corners = [(0, 0), (width, 0), (0, height), (width, height)]
        xs, ys = zip(*(applied_to(self.transform, x, y) for x, y in corners), strict=True)
        return min(xs), min(ys), max(xs), max(ys)
