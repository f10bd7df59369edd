"""A synthetic picture and its label on the map: GeoTIFFs, and files beside the PNG. All say that it is synthetic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.categories import IGNORE
from models.export.notice import MADE, Origin, xmp_packet
from models.georeference import Georeference
from models.geotiff import write_tiff
from models.world_files import auxiliary_file, projection_file, world_file

LABEL_NOTICE = "Label of a synthetic or partly synthetic picture: EarthSynth category ids, 255 = ignore. {}"


def picture_geotiff(
    image: NDArray[np.uint8],
    georeference: Georeference,
    origin: Origin = MADE,
) -> bytes:
    """Return (H, W, 3) uint8 RGB as a GeoTIFF, with the notice in ImageDescription, XMP and GDAL's metadata."""
    return write_tiff(
        image,
        georeference=georeference,
        description=origin.notice,
        xmp=xmp_packet(origin.notice, source_type=origin.source_type),
        metadata=origin.metadata,
    )


def label_geotiff(
    ids: NDArray[np.uint8],
    georeference: Georeference,
    origin: Origin = MADE,
) -> bytes:
    """Return (H, W) uint8 ids as a GeoTIFF, in which ignored pixels are no data; `origin`: its picture's."""
    return write_tiff(
        ids,
        georeference=georeference,
        nodata=IGNORE,
        description=LABEL_NOTICE.format(origin.notice),
        metadata={"SYNTHETIC": origin.synthetic},
    )


def files_beside(georeference: Georeference, origin: Origin = MADE) -> dict[str, bytes]:
    """Return what lies beside a PNG, by the suffix that its name without ".png" gets; .prj only for known CRS."""
    found = {
        ".pgw": world_file(georeference),
        ".prj": projection_file(georeference),
        ".png.aux.xml": auxiliary_file(georeference, origin.metadata),
    }
    return {suffix: text.encode() for suffix, text in found.items() if text is not None}
