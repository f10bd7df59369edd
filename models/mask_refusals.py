"""The sentences that refuse a mask's values: which pixel, which value, and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE, ONTOLOGIES
from models.errors import MaskRefused
from models.label_map import Meaning, meaning_of
from models.pixel_values import TOO_MANY_COLORS, first_pixel, hex_color, unique_values

_MANY_COLORS = 256  # more colours than any label set: a photograph, or drawn with smoothed edges


def out_of_range(x: int, y: int, value: int) -> MaskRefused:
    return MaskRefused(
        f"Pixel ({x}, {y}) is {value}; class ids run from 0 to {len(CATEGORIES) - 1}. Remap the mask or send a "
        "label_map.",
        code="label_out_of_range",
    )


def ignore_not_allowed(x: int, y: int, value: int) -> MaskRefused:
    shown = hex_color(value) if value > IGNORE else str(value)
    return MaskRefused(
        f"Pixel ({x}, {y}) is {shown}, which means ignore; send ignore=true to keep it as such, or replace it "
        "with 0.",
        code="ignore_not_allowed",
    )


def unknown_ids(pixels: NDArray[Any], unknown: list[int], meaning: Meaning) -> MaskRefused:
    if unknown == [IGNORE]:
        return ignore_not_allowed(*first_pixel(pixels, unknown))
    if unknown[-1] > IGNORE:
        return out_of_range(*first_pixel(pixels, [value for value in unknown if value > IGNORE]))
    unknown = [value for value in unknown if value != IGNORE]
    x, y, value = first_pixel(pixels, unknown)
    known = ", ".join(map(str, sorted(meaning.ids))) if len(meaning.ids) < 30 else "0 to 66"
    has = f"knows {known}" if meaning.ids else "has colours only"
    return MaskRefused(
        f"Pixel ({x}, {y}) is {value}, which is no class of {meaning.title} (it {has}). Unknown in all: "
        f"{', '.join(map(str, unknown[:20]))}. Remap them, or send the right ontology or a label_map.",
        code="unknown_label",
    )


def unknown_colors(pixels: NDArray[Any], unknown: list[int], total: int, meaning: Meaning) -> MaskRefused:
    examples = []
    for color in unknown[:5]:
        x, y, _ = first_pixel(pixels, [color])
        examples.append(f"{hex_color(color)} at pixel ({x}, {y})")
    return MaskRefused(
        f"{len(unknown)} of the file's {_count(total)} colours are not in {meaning.title}: {', '.join(examples)}. "
        "Smoothed edges and JPEG make such colours: export without them, or add the colours to a label_map.",
        code="unknown_colours",
    )


def unexplained_colors(pixels: NDArray[np.uint32]) -> MaskRefused:
    """Return the refusal of a colour mask that came without a map, with the way out if there is one."""
    colors = unique_values(pixels)
    examples = ", ".join(map(hex_color, colors[:5]))
    if len(colors) > _MANY_COLORS:
        return MaskRefused(
            f"The file has {_count(len(colors))} colours ({examples}, …): a photograph, or smoothed edges. "
            "Export the mask with one exact value or colour per class.",
            code="unknown_colours",
        )
    fitting = [
        name for name, ontology in ONTOLOGIES.items() if set(colors) <= meaning_of(ontology).colors.keys()
    ]
    ways = ["encoding=color" if name == "earthsynth" else f"ontology={name}" for name in fitting]
    all_of = f"All {len(colors)} colours are in {', '.join(fitting)}: send {' or '.join(ways)}."
    no_map = 'Send encoding=color with an ontology, or a label_map such as {"#ff0000": "building"}.'
    return MaskRefused(
        f"The mask is coloured ({len(colors)} colours: {examples}{', …' if len(colors) > 5 else ''}) and "
        f"nothing says what its colours mean. {all_of if fitting else no_map}",
        code="not_a_label_mask",
    )


def _count(colors: int) -> str:
    return f"{colors} or more" if colors > TOO_MANY_COLORS else str(colors)
