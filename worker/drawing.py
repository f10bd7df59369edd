"""Masks that callers draw: polygons, the mask's size, and where it lies on the ground."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from models.affine import is_usable
from models.crs import geokeys_of, read_epsg
from models.drawn_masks import Coordinates, draw_mask
from models.errors import FieldError, InvalidInput
from models.georeference import Georeference
from models.masks import DecodedMask, Encoding
from models.shapes import collection_crs
from worker.mask_reading import MaskReading

_POINT = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_OBJECT = {
    "type": "object",
    "description": "a COCO annotation, a LabelMe shape, or a GeoJSON Feature or geometry",
    "properties": {
        "category": {"type": "string"},
        "category_id": {"type": "integer"},
        "segmentation": {
            "description": "rings [[x, y, x, y, …], …], or run lengths {size: [height, width], counts}"
        },
        "points": {"type": "array", "items": _POINT, "description": "one ring"},
    },
}
_POLYGONS = {
    "anyOf": [
        {"type": "array", "items": _OBJECT, "minItems": 1, "maxItems": 10_000},
        {"type": "object", "description": "a GeoJSON FeatureCollection"},
    ],
    "examples": [[{"category": "ship", "points": [[10, 10], [50, 10], [50, 30]]}]],
}
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Drawing(MaskReading):
    """A mask drawn as polygons. The later polygon wins; a pixel belongs to it where its centre is inside."""

    polygons: Annotated[Any, Field(json_schema_extra=_POLYGONS)] = Field(
        None, description="what is drawn, in its order: at most 10,000 objects of 100,000 points in all"
    )
    width: int | None = Field(None, ge=1, description="of the mask, pixels")
    height: int | None = Field(None, ge=1, description="of the mask, pixels")
    transform: list[_Finite] | None = Field(
        None,
        min_length=6,
        max_length=6,
        description="[a, b, c, d, e, f]: corner (column, row) lies at (a·column + b·row + c, d·column + e·row + f)",
    )
    crs: int | Annotated[str, Field(max_length=100)] | None = Field(
        None, description="what the transform leads to: an EPSG code, such as EPSG:32633"
    )
    coordinates: Coordinates | None = Field(
        None, description="what the polygons are in; default: world where there is a transform, else pixel"
    )

    def draw(self, *, max_side: int, pointer: str = "") -> DecodedMask:
        """The mask; `pointer` is where this object stands in the body. Raises as `draw_mask` does."""
        if self.encoding not in {Encoding.AUTO, Encoding.POLYGONS}:
            raise _wrong(
                f"{pointer}/encoding", "does not go with polygons; leave it out", code="ambiguous_encoding"
            )
        if self.width is None or self.height is None:
            name = "width" if self.width is None else "height"
            raise _wrong(
                f"{pointer}/{name}", "is missing: polygons need the size of the mask", code="missing_field"
            )
        georeference = self._georeference(pointer)
        return draw_mask(
            self.polygons,
            width=self.width,
            height=self.height,
            ontology=self.ontology,
            label_map=self.label_map,
            category=self.category,
            ignore=self.ignore,
            georeference=georeference,
            coordinates=self.coordinates or (Coordinates.WORLD if georeference else Coordinates.PIXEL),
            max_side=max_side,
            pointer=f"{pointer}/polygons",
        )

    def check_undrawn(self) -> None:
        """Raises InvalidInput for a field that only polygons have, beside a file."""
        for name in ("width", "height", "transform", "crs", "coordinates"):
            if getattr(self, name) is not None:
                raise _wrong(
                    f"/{name}", "belongs to polygons; a file says it itself", code="file_and_polygons"
                )

    def _georeference(self, pointer: str) -> Georeference | None:
        own = collection_crs(self.polygons)
        stated = None if own is None else read_epsg(own, pointer=f"{pointer}/polygons/crs")
        epsg = stated if self.crs is None else read_epsg(self.crs, pointer=f"{pointer}/crs")
        if stated is not None and stated != epsg:
            raise _wrong(f"{pointer}/crs", f"is not the collection's own, EPSG:{stated}", code="unknown_crs")
        if self.transform is None:
            if epsg is not None or self.coordinates is Coordinates.WORLD:
                raise _wrong(
                    f"{pointer}/transform",
                    "is missing: world coordinates need the way from pixels to them",
                    code="invalid_transform",
                )
            return None
        a, b, c, d, e, f = self.transform
        if not is_usable((a, b, c, d, e, f)):
            raise _wrong(f"{pointer}/transform", "cannot be inverted", code="invalid_transform")
        return Georeference((a, b, c, d, e, f), epsg, None if epsg is None else geokeys_of(epsg))


def _wrong(pointer: str, message: str, *, code: str) -> InvalidInput:
    return InvalidInput(f"{pointer} {message}.", code=code, errors=[FieldError(pointer, message)])
