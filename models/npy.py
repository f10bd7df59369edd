"""NPY files of whole numbers: the header is matched, never evaluated; nothing is ever unpickled.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import MaskRefused
from models.png import damaged

MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000  # numpy's own limit for untrusted files

_QUOTED = r"""'[^'\\]*'|"[^"\\]*\""""
_ITEM = re.compile(
    rf"""\s*({_QUOTED})\s*:\s*(?:(?P<text>{_QUOTED})|(?P<flag>True|False)|\((?P<shape>[\d\s,L]*)\)|(?P<list>\[.*\]))\s*,?""",
    re.DOTALL,
)


def read_npy(data: bytes, check_size: Callable[[int, int], None]) -> NDArray[Any]:
    """Return the (H, W) array of bool, or of 8- to 64-bit whole numbers, of an NPY file.

    (1, H, W) and (H, W, 1) are squeezed. `check_size(width, height)` is called before the data is touched.

    Raises:
        MaskRefused: damaged_file, pickle_refused, not_a_label_mask, wrong_shape, trailing_data.
    """
    items, start = _header(data)
    dtype = _dtype(items["descr"])
    shape = _shape(items["shape"])
    check_size(shape[1], shape[0])
    expected = shape[0] * shape[1] * dtype.itemsize
    if len(data) - start < expected:
        raise damaged(f"its header promises {expected} bytes of data and {len(data) - start} are there")
    if len(data) - start > expected:
        raise MaskRefused(
            f"The NPY file goes on for {len(data) - start - expected} bytes after its array; save it again.",
            code="trailing_data",
        )
    array = np.frombuffer(data, np.uint8 if dtype.kind == "b" else dtype, offset=start)
    array = array.reshape(shape, order="F" if items["fortran_order"] == "True" else "C")
    if dtype.kind == "b" and array.max() > 1:
        y, x = np.argwhere(array > 1)[0]
        raise damaged(f"pixel ({x}, {y}) of a true-or-false array holds {array[y, x]}")
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("=")))


def _header(data: bytes) -> tuple[dict[str, str], int]:
    """Return the header's three values as text, and where the data starts."""
    if len(data) < 12 or data[6] not in {1, 2, 3}:
        raise damaged("it is cut, or of an NPY version that does not exist")
    start = 10 if data[6] == 1 else 12
    length = int.from_bytes(data[8:start], "little")
    if length > _MAX_HEADER or start + length > len(data):
        raise damaged(f"its header is said to be {length} bytes long")
    text = data[start : start + length].decode("latin-1").strip()
    items: dict[str, str] = {}
    position = 1
    while (match := _ITEM.match(text, position)) is not None:
        kind = match.lastgroup or ""
        items[match[1][1:-1]] = match[kind].strip("'\"") if kind == "text" else match[kind]
        position = match.end()
    if (
        not text.startswith("{")
        or text[position:].strip() != "}"
        or items.keys()
        != {
            "descr",
            "fortran_order",
            "shape",
        }
    ):
        raise damaged("its header is not one that numpy writes")
    return items, start + length


def _dtype(descr: str) -> np.dtype[Any]:
    if "O" in descr:
        raise MaskRefused(
            "The NPY file holds Python objects (a pickle), which are never loaded; save ids.astype('uint8').",
            code="pickle_refused",
        )
    if not re.fullmatch(r"[<>=|]?(b1|[iu][1248])", descr):
        raise MaskRefused(
            f"The NPY file holds values of type {descr[:40]!r}; a label mask holds whole numbers: "
            "save ids.astype('uint8').",
            code="not_a_label_mask",
        )
    return np.dtype(descr)


def _shape(text: str) -> tuple[int, int]:
    numbers = [part.strip().rstrip("L") for part in text.split(",")]
    if not all(re.fullmatch(r"\d{1,18}", number) for number in numbers[:-1]) or len(numbers) > 33:
        raise damaged(f"its header gives the shape ({text[:60]})")
    if numbers[-1] and not re.fullmatch(r"\d{1,18}", numbers[-1]):
        raise damaged(f"its header gives the shape ({text[:60]})")
    shape = tuple(int(number) for number in numbers if number)
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    elif len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    if len(shape) != 2 or 0 in shape:
        raise MaskRefused(
            f"The NPY array has shape {shape}; a label mask has shape (height, width).", code="wrong_shape"
        )
    return shape[0], shape[1]
