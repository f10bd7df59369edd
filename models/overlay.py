"""A picture with its mask and boxes drawn over it, for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.categories import CATEGORIES, IGNORE
from models.pixel_values import unique_values
from models.sample import Annotation

_OPACITY = 0.5
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_overlay(
    image: NDArray[np.uint8],
    ids: NDArray[np.uint8],
    annotations: Sequence[Annotation] = (),
    *,
    legend: bool = False,
) -> NDArray[np.uint8]:
    """Return `image` (H, W, 3) uint8 RGB under its categories' colours, with named boxes.

    `ids` is (H, W) uint8 of the same size. Background and ignore stay as they are. The legend, where wanted,
    is a strip below the picture, so the result is then taller than H.
    """
    if image.shape[:2] != ids.shape:
        raise ValueError(f"image is {image.shape[:2]} and mask {ids.shape}")
    present = [number for number in unique_values(ids) if number not in {0, IGNORE}]
    tinted = image.copy()
    for number in present:
        where = ids == number
        color = np.array(CATEGORIES[number].color, np.float32)
        tinted[where] = (image[where] * (1 - _OPACITY) + color * _OPACITY + 0.5).astype(np.uint8)
    picture = Image.fromarray(tinted)
    size = max(10, image.shape[1] // 40)
    font = ImageFont.load_default(size=size)
    _draw_boxes(picture, annotations, font, line=max(1, image.shape[1] // 400))
    if not legend:
        return np.asarray(picture)
    return np.vstack([np.asarray(picture), _legend(present, image.shape[1], font, size)])


def _draw_boxes(picture: Image.Image, annotations: Sequence[Annotation], font: _Font, *, line: int) -> None:
    draw = ImageDraw.Draw(picture)
    for annotation in annotations:
        left, top, width, height = annotation.box_xywh
        color = CATEGORIES[annotation.category_id].color
        draw.rectangle((left, top, left + width - 1, top + height - 1), outline=color, width=line)
    for annotation in annotations:  # names last, so that no box runs through them
        left, top, _, height = annotation.box_xywh
        x0, y0, x1, y1 = draw.textbbox((0, 0), annotation.category, font=font)
        wide, tall = round(x1 - x0) + 4, round(y1 - y0) + 4
        x = max(0, min(left, picture.width - wide))
        y = top - tall if top >= tall else top + height  # above the box, or below where there is no room
        draw.rectangle((x, y, x + wide - 1, y + tall - 1), fill=(0, 0, 0))
        draw.text((x + 2 - x0, y + 2 - y0), annotation.category, fill=(255, 255, 255), font=font)


def _legend(present: Sequence[int], width: int, font: _Font, size: int) -> NDArray[np.uint8]:
    """Return a strip of colour fields and names, (rows, width, 3), as many lines as it takes."""
    line, gap = size + 6, size // 2
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    places: list[tuple[int, int, int]] = []
    x, y = gap, 0
    for number in present:
        wide = size + gap + round(measure.textlength(CATEGORIES[number].name, font=font)) + 2 * gap
        if x > gap and x + wide > width:
            x, y = gap, y + line
        places.append((x, y, number))
        x += wide
    strip = Image.new("RGB", (width, y + line if present else 0), (255, 255, 255))
    draw = ImageDraw.Draw(strip)
    for x, y, number in places:
        category = CATEGORIES[number]
        draw.rectangle((x, y + 3, x + size - 1, y + size + 2), fill=category.color, outline=(0, 0, 0))
        draw.text((x + size + gap, y + line // 2), category.name, fill=(0, 0, 0), font=font, anchor="lm")
    return np.asarray(strip).reshape(-1, width, 3)
