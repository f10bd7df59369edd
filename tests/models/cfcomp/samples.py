"""Training samples made by hand and by Hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from models.categories import caption
from models.cfcomp.triple import Triple

SIDE = 32


def triple(mask: NDArray[np.uint8], color: tuple[int, int, int], name: str = "made") -> Triple:
    """A picture of one colour under a mask."""
    picture = np.empty((*mask.shape, 3), np.uint8)
    picture[:] = color
    return Triple(name, picture, mask, caption(set(mask.ravel().tolist())))


def with_boxes(*boxes: tuple[int, int, int, int, int], side: int = SIDE) -> NDArray[np.uint8]:
    """A mask of 0 with (category, top, left, height, width) drawn one over the other."""
    mask = np.zeros((side, side), np.uint8)
    for category, top, left, height, width in boxes:
        mask[top : top + height, left : left + width] = category
    return mask


@st.composite
def batches(draw: st.DrawFn, ids: Sequence[int] = (4, 8, 8, 17, 17, 255)) -> list[Triple]:
    """Two to six samples of 40 px: a few rectangles of the given ids on pictures of noise."""
    count = draw(st.integers(2, 6))
    noise = np.random.default_rng(draw(st.integers(0, 99)))
    batch = []
    for number in range(count):
        boxes = draw(
            st.lists(
                st.tuples(
                    st.sampled_from(ids),
                    st.integers(0, 30),
                    st.integers(0, 30),
                    st.integers(7, 11),
                    st.integers(7, 11),
                ),
                min_size=1,
                max_size=3,
            )
        )
        mask = with_boxes(*boxes, side=40)
        picture = noise.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        batch.append(Triple(str(number), picture, mask, f"text {number}"))
    return batch


def masks_and_pictures(side: int = 8) -> st.SearchStrategy[Triple]:
    """A sample whose every pixel is drawn."""
    return st.builds(
        Triple,
        st.just("drawn"),
        arrays.arrays(np.uint8, (side, side, 3)),
        arrays.arrays(np.uint8, (side, side), elements=st.sampled_from([0, 1, 8, 25, 66, 255])),
        st.just("a text"),
    )


def write_pair(
    folder: Path, stem: str, mask: NDArray[np.uint8], *, seed: int = 0, suffix: str = "png"
) -> NDArray[np.uint8]:
    """Write `images/stem.suffix` (noise) and `masks/stem.png`; return the picture's pixels."""
    picture = np.random.default_rng(seed).integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
    for room in ("images", "masks"):
        (folder / room / stem).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / "images" / f"{stem}.{suffix}")
    Image.fromarray(mask).save(folder / "masks" / f"{stem}.png")
    return picture
