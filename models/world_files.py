"""Small files that say where a PNG lies, for the programs that look for them beside it."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

from models.affine import applied_to
from models.crs import esri_wkt, gdal_wkt, has_latitude_first
from models.georeference import Georeference


def world_file(georeference: Georeference) -> str:
    """Return the six lines of a world file (.pgw): the matrix, and the middle of the first pixel."""
    a, b, _, d, e, _ = georeference.transform
    x, y = applied_to(georeference.transform, 0.5, 0.5)
    return "".join(f"{number!r}\n" for number in (a, d, b, e, x, y))


def projection_file(georeference: Georeference) -> str | None:
    """Return a .prj file; None where the CRS has no EPSG code, or none that is known here."""
    return None if georeference.epsg is None else esri_wkt(georeference.epsg)


def auxiliary_file(georeference: Georeference, metadata: Mapping[str, str]) -> str:
    """Return GDAL's .aux.xml: transform and metadata, and the CRS where it has a known EPSG code."""
    a, b, c, d, e, f = georeference.transform
    wkt = None if georeference.epsg is None else gdal_wkt(georeference.epsg)
    srs = ""
    if wkt is not None and georeference.epsg is not None:
        axes = "2,1" if has_latitude_first(georeference.epsg) else "1,2"
        srs = f'  <SRS dataAxisToSRSAxisMapping="{axes}">{escape(wkt)}</SRS>\n'
    items = "".join(
        f"    <MDI key={quoteattr(name)}>{escape(value)}</MDI>\n" for name, value in metadata.items()
    )
    return (
        f"<PAMDataset>\n{srs}  <GeoTransform>{', '.join(map(repr, (c, a, b, f, d, e)))}</GeoTransform>\n"
        f"  <Metadata>\n{items}  </Metadata>\n</PAMDataset>\n"
    )
