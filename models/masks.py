"""Masks as EarthSynth class ids: read exactly or refused, resized by nearest only, shown to the model.

A mask here is (H, W) uint8; 0 to 66 are categories, 255 is "ignore".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE, IGNORE_COLOR, find_category, get_ontology
from models.components import count_components
from models.errors import MaskRefused
from models.label_map import meaning_of, read_label_map
from models.mask_encodings import Encoding, resolve, to_ids
from models.mask_files import read_mask_file
from models.pixel_values import count_values
from models.png import write_png

MIN_SIDE = 16  # a latent of 2x2; smaller pictures say nothing about a mask
MAX_SIDE = 4096

_COLORS = np.zeros((256, 3), np.uint8)
_COLORS[: len(CATEGORIES)] = [category.color for category in CATEGORIES]
_COLORS[IGNORE] = IGNORE_COLOR


__all__ = [
    "CategoryShare",
    "DecodedMask",
    "Encoding",
    "SizePolicy",
    "category_shares",
    "control_image",
    "decode_mask",
    "encode_png",
    "mask_sha256",
    "preview_png",
    "resize_ids",
]


class SizePolicy(StrEnum):
    RESIZE = "resize"  # nearest, to exactly the wanted size; the aspect may change
    PAD = "pad"  # nearest with the aspect kept, centred, the rest background (0)
    REJECT = "reject"  # refused unless it has the wanted size already


@dataclass(frozen=True, slots=True)
class DecodedMask:
    """A mask that was read: `ids` (H, W) uint8, and how its file was understood.

    `encoding` is never AUTO. `ontology` is "label_map" where the caller sent one. Each warning is a word, a
    colon and a sentence ("single_class: …").
    """

    ids: NDArray[np.uint8]
    encoding: Encoding
    ontology: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CategoryShare:
    """One category of a mask: `share` of all pixels, `components` with 8-connectivity."""

    id: int
    name: str
    pixels: int
    share: float
    components: int


def decode_mask(
    data: bytes,
    *,
    encoding: Encoding = Encoding.AUTO,
    ontology: str = "earthsynth",
    label_map: Mapping[str, int | str] | None = None,
    category: str | None = None,
    ignore: bool = False,
    max_side: int = MAX_SIDE,
    min_side: int = MIN_SIDE,
) -> DecodedMask:
    """Read a PNG, TIFF or NPY mask, bit for bit or not at all.

    `label_map` replaces the ontology (see `models.label_map.read_label_map`); `category` is what the marked
    pixels of a binary mask are; `ignore` lets 255 stand for "do not judge".

    Raises:
        MaskRefused: the sentence names pixel (x, y), value and remedy; the codes are in docs/errors.md.
        UnsupportedFormat: neither PNG, TIFF nor NPY.
        UnknownCategory: an unknown category, or (code "unknown_ontology") ontology.
    """
    if label_map is None:
        meaning = meaning_of(get_ontology(ontology))
    elif ontology == "earthsynth":
        meaning = read_label_map(label_map)
    else:
        raise MaskRefused("Send either an ontology or a label_map, not both.", code="invalid_label_map")
    marked = None if category is None else find_category(category)
    if encoding is Encoding.BINARY and (marked is None or marked.id == 0):
        raise MaskRefused(
            "A binary mask needs the category of its marked pixels: send category=building or the like.",
            code="category_required",
        )
    if marked is not None and encoding not in {Encoding.AUTO, Encoding.BINARY}:
        raise MaskRefused(
            f"category belongs to encoding=binary, but encoding={encoding} was asked for; drop one of them.",
            code="ambiguous_encoding",
        )
    file = read_mask_file(data, max_side=max_side, min_side=min_side)
    warnings = list(file.warnings)
    if file.nodata == IGNORE and not ignore:
        ignore = True
        warnings.append("nodata_is_ignore: the file declares 255 as no data, so 255 is kept as ignore")
    if encoding is Encoding.AUTO:
        encoding = Encoding.BINARY if marked is not None else resolve(file, meaning, ignore=ignore)
    ids, notes = to_ids(file, encoding, meaning, marked, ignore=ignore)
    warnings.extend(notes)
    if (ids == ids[0, 0]).all():
        warnings.append(f"single_class: every pixel is {ids[0, 0]}")
    return DecodedMask(ids, encoding, meaning.name, tuple(warnings))


def encode_png(ids: NDArray[np.uint8]) -> bytes:
    """Return the stored form: an 8-bit grey PNG whose values are the ids; equal ids give equal bytes."""
    return write_png(ids)


def mask_sha256(ids: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of the stored form, in hex: the mask's identity."""
    return hashlib.sha256(encode_png(ids)).hexdigest()


def preview_png(ids: NDArray[np.uint8]) -> bytes:
    """Return a palette PNG of the categories' colours, white where ignored."""
    return write_png(ids, _COLORS)


def _nearest(count: int, source: int) -> NDArray[np.intp]:
    """Return for each of `count` cells the source cell that holds its centre: floor((i + 1/2) * source / count)."""
    return (2 * np.arange(count) + 1) * source // (2 * count)


def resize_ids(
    ids: NDArray[np.uint8], width: int, height: int, policy: SizePolicy = SizePolicy.RESIZE
) -> NDArray[np.uint8]:
    """Return (height, width) ids; every value of the result was in the source (or is PAD's background).

    Raises:
        MaskRefused: code "wrong_size", with policy REJECT and another size.
    """
    rows, columns = ids.shape
    if (columns, rows) == (width, height):
        return ids
    if policy is SizePolicy.REJECT:
        raise MaskRefused(
            f"The mask is {columns}x{rows} pixels and {width}x{height} is asked for; send that size, or "
            "size_policy=resize or pad.",
            code="wrong_size",
        )
    if policy is SizePolicy.RESIZE:
        return ids[_nearest(height, rows)[:, None], _nearest(width, columns)]
    inner_width = min(width, max(1, (2 * columns * height + rows) // (2 * rows)))
    inner_height = min(height, max(1, (2 * rows * width + columns) // (2 * columns)))
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    padded = np.zeros((height, width), np.uint8)
    padded[top : top + inner_height, left : left + inner_width] = resize_ids(ids, inner_width, inner_height)
    return padded


def control_image(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return EarthSynth's conditioning picture, (H, W, 3): the id as grey level, ignore shown as 0."""
    shown = np.where(ids == IGNORE, np.uint8(0), ids)
    return np.repeat(shown[:, :, None], 3, axis=2)


def category_shares(ids: NDArray[np.uint8]) -> list[CategoryShare]:
    """Return every category of a mask, background included and ignore left out, by ascending id."""
    return [
        CategoryShare(
            id=number,
            name=CATEGORIES[number].name,
            pixels=pixels,
            share=pixels / ids.size,
            components=count_components(ids == number),
        )
        for number, pixels in count_values(ids).items()
        if number != IGNORE
    ]
