"""What the demo draws: one sheet with the mask and every picture, plain and overlaid, and a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.categories import CATEGORIES, find_category
from models.components import find_components
from models.sample import Annotation

_GAP = 8
_TEXT_HEIGHT = 20
_INK = (30, 30, 30)


def building_boxes(ids: NDArray[np.uint8], min_area: int = 64) -> tuple[Annotation, ...]:
    """Boxes to draw: one per connected group (8-connectivity) of building pixels in `ids` (H, W).

    In EarthSynth's vocabulary a building is stuff, so the API's own annotations leave it out; these boxes are
    for people who look at the overlay.
    """
    building = find_category("building")
    return tuple(
        Annotation(
            category_id=building.id,
            category=building.name,
            box_xywh=(found.left, found.top, found.width, found.height),
            area=found.area,
            polygons=(),
            rle={},
        )
        for found in find_components(ids == building.id, min_area=min_area)
    )


def contact_sheet(
    ids: NDArray[np.uint8], pictures: Sequence[NDArray[np.uint8]], overlays: Sequence[NDArray[np.uint8]]
) -> Image.Image:
    """The mask in category colours and its legend at the left, then a column per picture: plain, overlaid.

    `ids` is (H, W), pictures and overlays (H, W, 3) uint8 RGB of the same size.
    """
    height, width = ids.shape
    columns = 1 + len(pictures)
    sheet = Image.new(
        "RGB",
        (columns * (width + _GAP) + _GAP, 2 * (height + _GAP + _TEXT_HEIGHT) + _GAP),
        (255, 255, 255),
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)

    def place(picture: NDArray[np.uint8], caption: str, column: int, row: int) -> None:
        left, top = _corner(width, height, column, row)
        sheet.paste(Image.fromarray(picture), (left, top + _TEXT_HEIGHT))
        draw.text((left, top), caption, fill=_INK, font=font)

    colours = np.array([category.color for category in CATEGORIES], dtype=np.uint8)
    place(colours[ids], "mask", 0, 0)
    left, top = _corner(width, height, 0, 1)
    for line, category_id in enumerate(np.unique(ids)):
        category = CATEGORIES[category_id]
        share = float((ids == category_id).mean())
        y = top + _TEXT_HEIGHT + line * 28
        draw.rectangle((left, y, left + 20, y + 20), fill=category.color, outline=_INK)
        draw.text((left + 30, y + 2), f"{category.name}  {share:.0%}", fill=_INK, font=font)
    for index, (picture, overlay) in enumerate(zip(pictures, overlays, strict=True)):
        place(picture, f"picture {index}", index + 1, 0)
        place(overlay, "with its labels", index + 1, 1)
    return sheet


def _corner(width: int, height: int, column: int, row: int) -> tuple[int, int]:
    return _GAP + column * (width + _GAP), _GAP + row * (height + _GAP + _TEXT_HEIGHT)
