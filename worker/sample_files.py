"""What is delivered beside a sample's PNGs: GeoTIFFs and world files, and the raster of its instances."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from models.export.georeferenced import files_beside, label_geotiff, picture_geotiff
from models.export.notice import Origin
from models.georeference import Georeference
from models.geotiff import write_tiff
from worker.pages import Put
from worker.samples import FileName, FileObject

_TIFF = "image/tiff; application=geotiff"
_BESIDE = {
    ".pgw": (FileName.WORLD_FILE, "text/plain"),
    ".prj": (FileName.PROJECTION, "text/plain"),
    ".png.aux.xml": (FileName.AUXILIARY, "application/xml"),
}


def store_georeferenced(
    put: Put,
    stem: str,
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    label: NDArray[np.uint8],
    georeference: Georeference,
    origin: Origin,
) -> dict[FileName, FileObject]:
    """Stores a picture on the map beside its `{stem}.png`; a label only where it is not the mask itself."""
    found = {FileName.GEOTIFF: (f"{stem}.tif", picture_geotiff(image, georeference, origin), _TIFF)}
    found[FileName.MASK_GEOTIFF] = (f"{stem}-mask.tif", label_geotiff(mask, georeference, origin), _TIFF)
    if not np.array_equal(mask, label):
        found[FileName.LABEL_GEOTIFF] = (
            f"{stem}-label.tif",
            label_geotiff(label, georeference, origin),
            _TIFF,
        )
    for suffix, body in files_beside(georeference, origin).items():
        name, kind = _BESIDE[suffix]
        found[name] = (stem + suffix, body, kind)
    return {name: _stored(put, *file) for name, file in found.items()}


def store_instances(put: Put, instances: NDArray[np.uint32]) -> dict[FileName, FileObject]:
    """Stores (H, W) uint32 numbers of instances as TIFF; equal rasters of one attempt are one object."""
    tiff = write_tiff(instances)
    name = f"masks/{hashlib.sha256(tiff).hexdigest()[:32]}-instances.tif"
    return {FileName.INSTANCES: _stored(put, name, tiff, "image/tiff")}


def _stored(put: Put, name: str, body: bytes, content_type: str) -> FileObject:
    key, sha256 = put(name, body, content_type)
    return FileObject(key=key, sha256=sha256)
