"""Whole annotation files, told by their fields, so that a refusal can say what to send of them."""

from __future__ import annotations

from typing import Any

from models.errors import FieldError, MaskRefused

_GEOJSON = ("FeatureCollection", "Feature", "Polygon", "MultiPolygon", "GeometryCollection")
_SEND = '{"polygons": …, "width": …, "height": …}'


def refuse_whole_file(body: Any) -> None:
    """Raise MaskRefused (whole_annotation_file) for a COCO, COCO panoptic, LabelMe, VIA or GeoJSON file."""
    if not isinstance(body, dict) or "polygons" in body or "file" in body:
        return
    if body.get("type") in _GEOJSON:
        what, remedy = "a GeoJSON file", f"send it as the field polygons: {_SEND}"
    elif isinstance(body.get("annotations"), list) and "images" in body:
        what = "a COCO file, which is of many pictures"
        remedy = (
            f"send one picture's annotations: {_SEND}, and its categories as label_map "
            '{"1": "ship"} where their ids are not EarthSynth\'s'
        )
    elif isinstance(body.get("shapes"), list):
        what, remedy = "a LabelMe file", f"send its shapes as the field polygons: {_SEND}"
    elif "_via_img_metadata" in body or "_via_settings" in body:
        what, remedy = "a VIA project", f"export it as COCO and send one picture's annotations: {_SEND}"
    else:
        return
    raise MaskRefused(
        f"The body is {what}; {remedy}.",
        code="whole_annotation_file",
        errors=[FieldError("", f"is {what}")],
    )
