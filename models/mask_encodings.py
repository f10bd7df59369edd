"""From a mask file's samples to EarthSynth ids: which encoding it is, and what each value stands for.

Nothing is guessed: a value or colour without a meaning, and a file with two readings, are refused with the
pixel, the value and the remedy.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.categories import IGNORE, Category
from models.errors import MaskRefused
from models.label_map import LABEL_MAP, MAX_SOURCE_ID, Meaning
from models.mask_files import MaskFile, SampleKind
from models.mask_refusals import (
    ignore_not_allowed,
    out_of_range,
    unexplained_colors,
    unknown_colors,
    unknown_ids,
)
from models.pixel_values import CHUNK_PIXELS, first_pixel, hex_color, unique_values


class Encoding(StrEnum):
    AUTO = "auto"  # told by the file, refused where it has two readings
    CLASS_ID = "class_id"  # the value of a pixel is its class id (grey, or RGB with equal channels)
    PALETTE = "palette"  # the palette index of a pixel is its class id; the colours mean nothing
    COLOR = "color"  # the colour of a pixel says its class
    BINARY = "binary"  # 0 is background, one other value is the named category
    INSTANCE = (
        "instance"  # the value of a pixel is the number of its object, and a map names each object's category
    )
    POLYGONS = "polygons"  # drawn, not read from a file; said of a mask, never asked of a file


def resolve(file: MaskFile, meaning: Meaning, *, ignore: bool) -> Encoding:
    """Return the one encoding that a file can have.

    Raises:
        MaskRefused: ambiguous_encoding, not_a_label_mask, unknown_colours.
    """
    equal = file.kind is not SampleKind.RGB or _unequal_pixel(file.samples) is None
    if not equal and meaning.is_own:
        raise unexplained_colors(packed_colors(file))
    if not equal or not meaning.ids:
        return Encoding.COLOR
    values = unique_values(_values(file))
    if file.kind is SampleKind.RGB and not meaning.is_own and meaning.colors:
        return _ids_or_grays(values, meaning)
    if IGNORE in values and set(values) <= {0, IGNORE} and not ignore and IGNORE not in meaning.ids:
        raise MaskRefused(
            "The mask holds only 0 and 255, so it looks like a binary mask: send encoding=binary with "
            "category=building or the like, or ignore=true if 255 means unlabelled.",
            code="ambiguous_encoding",
        )
    return Encoding.PALETTE if file.kind is SampleKind.PALETTE else Encoding.CLASS_ID


def to_ids(
    file: MaskFile, encoding: Encoding, meaning: Meaning, marked: Category | None, *, ignore: bool
) -> tuple[NDArray[np.uint8], list[str]]:
    """Return (H, W) uint8 EarthSynth ids and warnings. `marked` is the category of a binary mask.

    Raises:
        MaskRefused: unknown_label, label_out_of_range, unknown_colours, ignore_not_allowed, not_binary,
            not_a_label_mask.
    """
    if encoding is Encoding.BINARY and marked is not None:
        pixels = packed_colors(file) if file.kind is SampleKind.RGB else _values(file)
        return _binary_ids(pixels, marked)
    if encoding is Encoding.COLOR:
        pixels, known, lost = packed_colors(file), meaning.colors, meaning.lost_colors
    else:
        if encoding is Encoding.PALETTE and file.kind is not SampleKind.PALETTE:
            raise MaskRefused(
                f"The file has no palette ({file.kind} samples); send encoding=class_id or color.",
                code="not_a_label_mask",
            )
        pixels, known, lost = _values(file), meaning.ids, meaning.lost_ids
    values = unique_values(pixels)
    known = dict(known)
    if encoding is not Encoding.COLOR and ignore:
        known.setdefault(IGNORE, IGNORE)
    if unknown := [value for value in values if value not in known]:
        if encoding is Encoding.COLOR:
            raise unknown_colors(pixels, unknown, len(values), meaning)
        raise unknown_ids(pixels, unknown, meaning)
    to_ignore = [value for value in values if known[value] == IGNORE]
    if to_ignore and not ignore and meaning.name != LABEL_MAP:
        raise ignore_not_allowed(*first_pixel(pixels, to_ignore))
    return translate(pixels, values, known), _notes(values, lost, encoding, meaning)


def packed_colors(file: MaskFile) -> NDArray[np.uint32]:
    """Return each pixel's colour as 0xRRGGBB, (H, W) uint32."""
    if file.palette is not None:
        table = file.palette.astype(np.uint32)
        packed: NDArray[np.uint32] = (table[:, 0] << 16 | table[:, 1] << 8 | table[:, 2])[file.samples]
        return packed
    if file.kind is SampleKind.RGB:
        out = file.samples[:, :, 0].astype(np.uint32)
        for channel in (1, 2):
            out <<= 8
            out |= file.samples[:, :, channel]
        return out
    gray = _values(file)
    if gray.dtype != np.uint8:
        raise MaskRefused(
            "The file is 16-bit grey, which holds no colours; send encoding=class_id.",
            code="not_a_label_mask",
        )
    return gray.astype(np.uint32) * np.uint32(0x010101)


def _values(file: MaskFile) -> NDArray[Any]:
    """Return each pixel's own value or palette index, (H, W) uint8 or uint16."""
    samples = file.samples
    if file.kind is SampleKind.RGB:
        if (unequal := _unequal_pixel(samples)) is not None:
            x, y = unequal
            raise MaskRefused(
                f"Pixel ({x}, {y}) is the colour {hex_color(packed_colors(file)[y, x])}, not a class id; send "
                "encoding=color with an ontology or a label_map.",
                code="not_a_label_mask",
            )
        return np.ascontiguousarray(samples[:, :, 0])
    if samples.dtype in (np.uint8, np.uint16):
        return samples
    low, high = int(samples.min()), int(samples.max())
    if low < 0 or high > MAX_SOURCE_ID:
        value = low if low < 0 else high
        raise out_of_range(*first_pixel(samples, [value]))
    return samples.astype(np.uint8 if high <= 255 else np.uint16)


def _unequal_pixel(samples: NDArray[Any]) -> tuple[int, int] | None:
    """Return (x, y) of the first pixel of (H, W, 3) whose channels differ."""
    unequal = (samples[:, :, 0] != samples[:, :, 1]) | (samples[:, :, 0] != samples[:, :, 2])
    if not unequal.any():
        return None
    y, x = divmod(int(unequal.argmax()), samples.shape[1])
    return x, y


def _ids_or_grays(values: list[int], meaning: Meaning) -> Encoding:
    """Tell class ids on three channels from a colour mask of nothing but greys."""
    as_ids = [meaning.ids.get(value) for value in values]
    as_colors = [meaning.colors.get(value * 0x010101) for value in values]
    if None in as_colors or as_ids == as_colors:
        return Encoding.CLASS_ID
    if None in as_ids:
        return Encoding.COLOR
    raise MaskRefused(
        f"The mask holds only greys ({', '.join(map(str, values))}), which {meaning.title} has both as class ids "
        "and as colours; send encoding=class_id or encoding=color.",
        code="ambiguous_encoding",
    )


def _binary_ids(pixels: NDArray[Any], marked: Category) -> tuple[NDArray[np.uint8], list[str]]:
    values = unique_values(pixels)
    others = [value for value in values if value != 0]
    if len(others) > 1:
        x, y, value = first_pixel(pixels, others[1:])
        shown = ", ".join(str(value) for value in values[:8])
        raise MaskRefused(
            f"A binary mask holds 0 and one other value, but this one holds {len(values)} ({shown}); pixel "
            f"({x}, {y}) is {value}. Send encoding=class_id, or redraw it in two values.",
            code="not_binary",
        )
    return (pixels != 0).astype(np.uint8) * np.uint8(marked.id), []


def translate(pixels: NDArray[Any], values: list[int], known: dict[int, int]) -> NDArray[np.uint8]:
    """Return what `known` makes of (H, W) whole numbers; `values` are those there are, ascending."""
    if pixels.dtype == np.uint8 and all(known[value] == value for value in values):
        return np.ascontiguousarray(pixels, np.uint8).copy()
    if pixels.dtype.itemsize <= 2:
        table = np.zeros(values[-1] + 1, np.uint8)
        table[values] = [known[value] for value in values]
        ids: NDArray[np.uint8] = table[pixels]
        return ids
    targets = np.array([known[value] for value in values], np.uint8)
    out = np.empty(pixels.shape, np.uint8)
    rows = max(1, CHUNK_PIXELS // pixels.shape[1])
    for top in range(0, pixels.shape[0], rows):
        out[top : top + rows] = targets[np.searchsorted(values, pixels[top : top + rows])]
    return out


def _notes(values: list[int], lost: Collection[int], encoding: Encoding, meaning: Meaning) -> list[str]:
    notes = []
    if dropped := [value for value in values if value in lost]:
        shown = ", ".join(hex_color(value) if encoding is Encoding.COLOR else str(value) for value in dropped)
        notes.append(
            f"mapped_to_background: {shown} of {meaning.title} has no EarthSynth category and became 0"
        )
    if meaning.is_own and values == [0, 1] and encoding is not Encoding.COLOR:
        notes.append(
            "maybe_binary: the mask holds only 0 and 1, and 1 is bare land; if 1 marks something else, send "
            "encoding=binary with its category"
        )
    return notes
