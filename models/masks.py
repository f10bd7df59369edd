"""Masks as EarthSynth class ids: read exactly or refused, resized by nearest only, shown to the model.

A mask here is (H, W) uint8; 0 to 66 are categories, 255 is "ignore".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.affine import Affine, compose, scaled, shifted
from models.categories import CATEGORIES, IGNORE, IGNORE_COLOR, find_category, get_ontology
from models.category_names import category_numbers
from models.components import count_components
from models.errors import FieldError, MaskRefused
from models.georeference import Georeference
from models.instance_masks import Instances, to_instances
from models.label_map import meaning_of, read_label_map
from models.mask_encodings import Encoding, resolve, to_ids
from models.mask_files import read_mask_file
from models.pixel_values import count_values
from models.png import write_png

MIN_SIDE = 16  # a latent of 2x2; smaller pictures say nothing about a mask
MAX_SIDE = 4096

_Number = TypeVar("_Number", np.uint8, np.uint32)

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
    "picture_to_mask",
    "preview_png",
    "resize_ids",
]


class SizePolicy(StrEnum):
    RESIZE = "resize"  # nearest, to exactly the wanted size; the aspect may change
    PAD = "pad"  # nearest with the aspect kept, centred, the rest background (0)
    TILE = "tile"  # the mask as it is; a large picture is made in overlapping tiles
    REJECT = "reject"  # refused unless it has the wanted size already


@dataclass(frozen=True, slots=True)
class DecodedMask:
    """A mask that was read: `ids` (H, W) uint8, and how its file was understood.

    `encoding` is never AUTO. `ontology` is "label_map" where the caller sent one. Each warning is a word, a
    colon and a sentence ("single_class: …"). `instances` (H, W) uint32 tells objects of one category apart: 0 is
    none; None where the mask says nothing of them.
    """

    ids: NDArray[np.uint8]
    encoding: Encoding
    ontology: str
    warnings: tuple[str, ...]
    georeference: Georeference | None = None
    instances: NDArray[np.uint32] | None = None


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
    instances: Instances | None = None,
    ignore: bool = False,
    max_side: int = MAX_SIDE,
    min_side: int = MIN_SIDE,
) -> DecodedMask:
    """Read a PNG, TIFF or NPY mask, bit for bit or not at all.

    `label_map` replaces the ontology (see `models.label_map.read_label_map`); `category` is what the marked
    pixels of a binary mask are, `instances` the category of each object of an instance mask
    (see `models.instance_masks`); `ignore` lets 255 stand for "do not judge".

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
    if encoding is Encoding.POLYGONS:
        raise MaskRefused(
            "encoding=polygons is what masks say that were drawn; for a file leave it out.",
            code="ambiguous_encoding",
        )
    marked = None if category is None else find_category(category)
    if (encoding is Encoding.INSTANCE) != (instances is not None):
        raise MaskRefused(
            "encoding=instance and instances go together, in POST /v1/masks alone: instances is the category of each "
            'object, such as {"1": "ship"}.',
            code="instances_required",
            errors=[FieldError("/instances", "goes with encoding=instance, and only with it")],
        )
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
    warnings = []
    if file.nodata == IGNORE and not ignore and instances is None:
        ignore = True
        warnings.append("nodata_is_ignore: the file declares 255 as no data, so 255 is kept as ignore")
    warnings.extend(file.warnings)
    if encoding is Encoding.AUTO:
        encoding = Encoding.BINARY if marked is not None else resolve(file, meaning, ignore=ignore)
    numbers = None
    if instances is not None:
        ids, numbers, notes = to_instances(
            file, instances, category_numbers(ontology, label_map, ignore=ignore)
        )
    else:
        ids, notes = to_ids(file, encoding, meaning, marked, ignore=ignore)
    warnings.extend(notes)
    if (ids == ids[0, 0]).all():
        warnings.append(f"single_class: every pixel is {ids[0, 0]}")
    return DecodedMask(ids, encoding, meaning.name, tuple(warnings), file.georeference, numbers)


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
    ids: NDArray[_Number], width: int, height: int, policy: SizePolicy = SizePolicy.RESIZE
) -> NDArray[_Number]:
    """Return (height, width) ids; every value of the result was in the source (or is PAD's background).

    Instances (uint32) are resized alike.

    Raises:
        MaskRefused: code "wrong_size", with policy REJECT or TILE and another size.
    """
    rows, columns = ids.shape
    if (columns, rows) == (width, height):
        return ids
    if policy in {SizePolicy.REJECT, SizePolicy.TILE}:
        raise MaskRefused(
            f"The mask is {columns}x{rows} pixels and {width}x{height} is asked for; send that size, or "
            "size_policy=resize or pad.",
            code="wrong_size",
        )
    if policy is SizePolicy.RESIZE:
        return ids[_nearest(height, rows)[:, None], _nearest(width, columns)]
    left, top, inner_width, inner_height = _padded_place(columns, rows, width, height)
    padded = np.zeros((height, width), ids.dtype)
    padded[top : top + inner_height, left : left + inner_width] = resize_ids(ids, inner_width, inner_height)
    return padded


def _padded_place(columns: int, rows: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Return (left, top, width, height) of a mask of columns x rows, padded to width x height."""
    inner_width = min(width, max(1, (2 * columns * height + rows) // (2 * rows)))
    inner_height = min(height, max(1, (2 * rows * width + columns) // (2 * columns)))
    return (width - inner_width) // 2, (height - inner_height) // 2, inner_width, inner_height


def picture_to_mask(mask: tuple[int, int], picture: tuple[int, int], policy: SizePolicy) -> Affine:
    """Return the map from a picture's pixels to those of the mask that `resize_ids` made its size.

    Both sizes are (height, width), as arrays have them.
    """
    (rows, columns), (height, width) = mask, picture
    left, top, inner_width, inner_height = 0, 0, width, height
    if policy is SizePolicy.PAD:
        left, top, inner_width, inner_height = _padded_place(columns, rows, width, height)
    return compose(scaled(columns / inner_width, rows / inner_height), shifted(-left, -top))


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
