"""The record of one finished picture, as `samples.jsonl` of an attempt holds it, one line each."""

from __future__ import annotations

from collections.abc import Iterable

from worker.jobs import Frozen


class ImageObject(Frozen):
    key: str
    sha256: str
    width: int
    height: int


class LabelAnnotation(Frozen):
    """COCO's words: `box_xywh` (left, top, width, height) and `area` in pixels; `segmentation` holds both forms."""

    category: str
    category_id: int
    box_xywh: tuple[int, int, int, int]
    area: int
    segmentation: Segmentation


class Segmentation(Frozen):
    """`rle` is exact, holes included; `polygons` are the outer rings [x0, y0, x1, y1, …]."""

    rle: Rle
    polygons: tuple[tuple[float, ...], ...]


class Rle(Frozen):
    size: tuple[int, int]
    counts: str


class Labels(Frozen):
    categories: tuple[str, ...]
    annotations: tuple[LabelAnnotation, ...]


class SampleRecord(Frozen):
    """`mask_sha256` is of the PNG at `mask_key`: the very mask that conditioned the picture."""

    index: int
    status: str
    seed: int
    prompt: str
    mask_id: str
    mask_sha256: str
    mask_key: str
    image: ImageObject
    labels: Labels
    attempt: int


def to_lines(records: Iterable[SampleRecord]) -> bytes:
    return "".join(record.model_dump_json() + "\n" for record in records).encode()


def from_lines(body: bytes) -> list[SampleRecord]:
    return [SampleRecord.model_validate_json(line) for line in body.splitlines()]
