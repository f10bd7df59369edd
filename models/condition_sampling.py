"""Condition sampling: one mask, many conditions, with every id kept exactly (method: flips, turns, shifts, scales).

Which condition is drawn is a function of (seed, index) and the mask alone. All draws are made, used or not, so that
switching one option on does not change what the others do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from models.affine import Affine, compose, scaled, shifted
from models.categories import IGNORE, caption
from models.pixel_values import unique_values


def _number(value: Any) -> Any:
    """true and false stand for 1 and 0."""
    return float(value) if isinstance(value, bool) else value


def _ascending(scale: tuple[float, float]) -> tuple[float, float]:
    if scale[0] > scale[1]:
        raise ValueError("must be the smallest scale, then the largest")
    return scale


_Number = TypeVar("_Number", np.uint8, np.uint32)
_Share = Annotated[float, Field(ge=0, le=1)]
_Scale = Annotated[float, Field(ge=0.5, le=2)]


class ConditionOptions(BaseModel):
    """What may happen to a mask before it conditions a picture; everything is off by default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flip: bool = Field(False, description="mirror left-right and top-down, each with probability 1/2")
    rotate90: bool = Field(
        False, description="quarter turns, each equally likely; only half turns where the mask is not square"
    )
    translate: float = Field(0, ge=0, le=0.5, description="largest shift, as share of the side")
    scale: Annotated[tuple[_Scale, _Scale], AfterValidator(_ascending)] = Field(
        (1.0, 1.0), description="smallest and largest scale about the centre, 0.5 to 2"
    )
    single_category: Annotated[_Share, BeforeValidator(_number)] = Field(
        0, description="probability that one category is kept and the others become 0; true: always"
    )
    extra_category_probability: _Share = Field(
        0, description="probability of one more category in the prompt, which is never in the mask"
    )


class Flip(StrEnum):
    NONE = "none"
    HORIZONTAL = "horizontal"  # left and right change places
    VERTICAL = "vertical"  # top and bottom change places
    BOTH = "both"  # a half turn


_FLIPS = {
    (False, False): Flip.NONE,
    (True, False): Flip.HORIZONTAL,
    (False, True): Flip.VERTICAL,
    (True, True): Flip.BOTH,
}


@dataclass(frozen=True, slots=True)
class SampledCondition:
    """A mask as it conditions a picture: (H, W) uint8 of the parent's size, with ids that the parent has, 0 and 255.

    `categories` are the ids that the prompt names, ascending. `transform` is JSON, applied in this order: `flip`,
    `quarter_turns` (counter-clockwise), `scale` (about the centre), `shift_xy` (pixels, right and down),
    `single_category` (the id that was kept) and `extra_category` (the id that is in the prompt alone), or null.
    """

    mask: NDArray[np.uint8]
    categories: tuple[int, ...]
    prompt: str
    transform: dict[str, Any]


def sample_condition(
    mask: NDArray[np.uint8], options: ConditionOptions, *, seed: int, index: int, allowed: Collection[int]
) -> SampledCondition:
    """Return condition number `index` of a mask (H, W) uint8; the same arguments give the same condition.

    `allowed` are the ids from which an extra category is drawn: those of the model. Pixels that come in from outside
    are 0 ("anything"). Where the shift and the scale leave none of the mask's categories in view, none is named.
    """
    draws = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index)))).random(10).tolist()
    height, width = mask.shape
    flip = _FLIPS[(options.flip and draws[0] < 0.5, options.flip and draws[1] < 0.5)]
    turns = 0
    if options.rotate90:
        turns = int(4 * draws[2]) if height == width else 2 * int(2 * draws[2])
    low, high = options.scale
    scale = round(
        low * (high / low) ** draws[3], 4
    )  # even in its logarithm: half and double are equally likely
    shift = (_shift(options.translate, width, draws[4]), _shift(options.translate, height, draws[5]))

    drawn = moved(mask, flip=flip, quarter_turns=turns, scale=scale, shift_xy=shift)
    present = _categories(drawn)
    single = None
    if present and draws[6] < options.single_category:
        single = present[int(draws[7] * len(present))]
        drawn = np.where((drawn == single) | (drawn == IGNORE), drawn, np.uint8(0))
        present = (single,)
    absent = sorted({int(number) for number in allowed} - {0, IGNORE, *present})
    extra = None
    if absent and draws[8] < options.extra_category_probability:
        extra = absent[int(draws[9] * len(absent))]
    named = tuple(sorted(present if extra is None else (*present, extra)))
    transform = {
        "flip": flip.value,
        "quarter_turns": turns,
        "scale": scale,
        "shift_xy": list(shift),
        "single_category": single,
        "extra_category": extra,
    }
    return SampledCondition(drawn, named, caption(named), transform)


def moved_alike(
    raster: NDArray[_Number], transform: Mapping[str, Any], kept: NDArray[np.uint8]
) -> NDArray[_Number]:
    """Return another raster of the same mask, (H, W), moved by a condition's `transform`.

    It is 0 where the condition's own mask `kept` is: what is not in it, no other raster says either.
    """
    found = moved(
        raster,
        flip=Flip(transform["flip"]),
        quarter_turns=transform["quarter_turns"],
        scale=transform["scale"],
        shift_xy=(transform["shift_xy"][0], transform["shift_xy"][1]),
    )
    return np.where(kept == 0, found.dtype.type(0), found)


def condition_to_mask(transform: Mapping[str, Any], width: int, height: int) -> Affine:
    """Return the map from a condition's pixels to those of its mask, of that size: `moved`, backwards."""
    scale, (right, down) = transform["scale"], transform["shift_xy"]
    found = compose(
        compose(shifted(width / 2, height / 2), scaled(1 / scale, 1 / scale)),
        shifted(-width / 2 - right, -height / 2 - down),
    )
    for turn in reversed(range(transform["quarter_turns"] % 4)):
        # a quarter turn of (H, W) puts at (column, row) what was at (W - row, column)
        across = width if turn % 2 == 0 else height
        found = compose((0.0, -1.0, float(across), 1.0, 0.0, 0.0), found)
    flip = Flip(transform["flip"])
    if flip in {Flip.HORIZONTAL, Flip.BOTH}:
        found = compose((-1.0, 0.0, float(width), 0.0, 1.0, 0.0), found)
    if flip in {Flip.VERTICAL, Flip.BOTH}:
        found = compose((1.0, 0.0, 0.0, 0.0, -1.0, float(height)), found)
    return found


def moved(
    mask: NDArray[_Number], *, flip: Flip, quarter_turns: int, scale: float, shift_xy: tuple[int, int]
) -> NDArray[_Number]:
    """Return the mask (H, W) flipped, then turned counter-clockwise, then scaled about its centre, then shifted.

    Every pixel is one of the mask's (nearest) or, from outside it, 0. An odd number of quarter turns needs a square.
    """
    if flip in {Flip.HORIZONTAL, Flip.BOTH}:
        mask = mask[:, ::-1]
    if flip in {Flip.VERTICAL, Flip.BOTH}:
        mask = mask[::-1]
    mask = np.rot90(mask, quarter_turns)
    rows, row_inside = _sources(mask.shape[0], scale, shift_xy[1])
    columns, column_inside = _sources(mask.shape[1], scale, shift_xy[0])
    return np.where(row_inside[:, None] & column_inside, mask[rows[:, None], columns], mask.dtype.type(0))


def _sources(side: int, scale: float, shift: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return for each cell the source cell that holds its centre, and whether there is one."""
    centres = (np.arange(side) + 0.5 - side / 2 - shift) / scale + side / 2
    cells = np.floor(centres).astype(np.intp)
    return cells.clip(0, side - 1), (cells >= 0) & (cells < side)


def _shift(largest_share: float, side: int, draw: float) -> int:
    """Return a whole number of pixels, each from -largest to largest equally likely."""
    largest = int(largest_share * side)
    return int(draw * (2 * largest + 1)) - largest


def _categories(mask: NDArray[np.uint8]) -> tuple[int, ...]:
    return tuple(number for number in unique_values(mask) if number not in {0, IGNORE})
