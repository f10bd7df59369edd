"""Instance masks: the value of a pixel is the number of its object, and a map says what each object is.

Grey and palette files hold numbers as they are (up to 32 bits); RGB files hold them as COCO's panoptic format does,
R + 256·G + 65536·B. 0 is background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import FieldError, MaskRefused
from models.instances import MAX_INSTANCES
from models.mask_encodings import translate
from models.mask_files import MaskFile, SampleKind
from models.pixel_values import first_pixel, unique_values

Instances = Mapping[str, Any] | Sequence[Any]

_LARGEST = (1 << 32) - 1
_NAMES = ("category", "category_id")
_ASIDE = ("id", "area", "bbox", "iscrowd", "isthing")  # what COCO's segments_info says beside the category


def to_instances(
    file: MaskFile, given: Instances, category_of: Callable[[str | int], int], *, pointer: str = "/instances"
) -> tuple[NDArray[np.uint8], NDArray[np.uint32], list[str]]:
    """Return (H, W) EarthSynth ids, (H, W) instance numbers, and warnings.

    `given` is {"1": "ship", "2": 17, …} or COCO's segments_info [{"id": 1, "category": "ship"}, …].

    Raises:
        MaskRefused: invalid_instances, unknown_instance, too_many_instances, label_out_of_range; what `category_of`
            raises, with its place.
    """
    known = _read(given, category_of, pointer)
    numbers = _numbers(file)
    values = unique_values(numbers)
    if len(values) > MAX_INSTANCES + 1:
        raise MaskRefused(
            f"The mask has more than {MAX_INSTANCES} instances; cut it into tiles, or send encoding=class_id.",
            code="too_many_instances",
        )
    if unknown := [value for value in values if value and value not in known]:
        x, y, value = first_pixel(numbers, unknown)
        shown = ", ".join(map(str, unknown[:20]))
        raise MaskRefused(
            f"Pixel ({x}, {y}) is {value}, of which instances says nothing. Such numbers in all: {shown}"
            f"{', …' if len(unknown) > 20 else ''}. Add them to instances, or make them 0.",
            code="unknown_instance",
        )
    absent = sorted(known.keys() - set(values))
    notes = []
    if absent:
        shown = ", ".join(map(str, absent[:10]))
        notes.append(
            f"absent_instances: no pixel is {shown}{', …' if len(absent) > 10 else ''} ({len(absent)} in all)"
        )
    ids = translate(numbers, values, {0: 0} | known)
    return ids, np.ascontiguousarray(numbers, np.uint32), notes


def _read(given: Instances, category_of: Callable[[str | int], int], pointer: str) -> dict[int, int]:
    if not isinstance(given, list | dict) or not given:
        raise _refused(pointer, 'must be such as {"1": "ship"} or [{"id": 1, "category": "ship"}]')
    if len(given) > MAX_INSTANCES:
        raise MaskRefused(
            f"{pointer} names {len(given)} instances of at most {MAX_INSTANCES}.",
            code="too_many_instances",
            errors=[FieldError(pointer, f"at most {MAX_INSTANCES}")],
        )
    found: dict[int, int] = {}
    categories: dict[str | int, int] = {}
    for place, number, category in _entries(given, pointer):
        if not 0 < number <= _LARGEST:
            raise _refused(place, f"must have a number from 1 to {_LARGEST} (0 is background)")
        if number in found:
            raise _refused(place, f"names instance {number} a second time")
        if category not in categories:
            try:
                categories[category] = category_of(category)
            except MaskRefused as error:
                message = f"cannot be used: {error.message[:300]}"
                raise MaskRefused(
                    f"{place} {message}.", code=error.code, errors=[FieldError(place, message)]
                ) from error
        found[number] = categories[category]
    return found


def _entries(given: Instances, pointer: str) -> Iterator[tuple[str, int, str | int]]:
    """Yield (pointer, number, category's name or number)."""
    if isinstance(given, dict):
        for key, category in given.items():
            place = f"{pointer}/{str(key)[:40].replace('~', '~0').replace('/', '~1')}"
            if not (isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) < 12):
                raise _refused(place, "must be the number of an instance")
            if type(category) not in (int, str):
                raise _refused(place, "must be a category's name or number")
            yield place, int(key), category
        return
    for index, entry in enumerate(given):
        place = f"{pointer}/{index}"
        if not isinstance(entry, dict) or type(entry.get("id")) is not int:
            raise _refused(place, "must be an object with an id, a whole number")
        if strange := [name for name in entry if name not in (*_NAMES, *_ASIDE)]:
            raise _refused(place, f"has a field {str(strange[0])[:40]!r} that is not known here")
        names = [entry[name] for name in _NAMES if entry.get(name) is not None]
        if len(names) != 1 or type(names[0]) not in (int, str):
            raise _refused(place, "must have one of category and category_id")
        yield place, entry["id"], names[0]


def _numbers(file: MaskFile) -> NDArray[Any]:
    samples = file.samples
    if file.kind is SampleKind.RGB:
        red, green, blue = (samples[:, :, channel].astype(np.uint32) for channel in range(3))
        packed: NDArray[np.uint32] = red | green << np.uint32(8) | blue << np.uint32(16)
        return packed
    if samples.dtype.kind != "u" or samples.dtype.itemsize > 4:
        low, high = int(samples.min()), int(samples.max())
        if low < 0 or high > _LARGEST:
            x, y, value = first_pixel(samples, [low if low < 0 else high])
            raise MaskRefused(
                f"Pixel ({x}, {y}) is {value}; numbers of instances run from 0 to {_LARGEST}.",
                code="label_out_of_range",
            )
        return samples.astype(np.uint32)
    return samples


def _refused(pointer: str, message: str) -> MaskRefused:
    return MaskRefused(
        f"{pointer} {message}.", code="invalid_instances", errors=[FieldError(pointer, message)]
    )
