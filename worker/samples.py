"""The record of one try at one picture, as the manifests hold it, one JSON line each."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from pydantic import Field

from models.georeference import Georeference
from worker.jobs import Frozen


class SampleStatus(StrEnum):
    ACCEPTED = "accepted"  # R-Filter found nothing against it, or was off
    REJECTED = "rejected"  # a rule rejected it, and another try follows or followed
    EXHAUSTED = "exhausted"  # a rule rejected it, and it was the last try of its sample


class ImageObject(Frozen):
    key: str
    sha256: str
    width: int
    height: int


class LabelObject(Frozen):
    key: str
    sha256: str


class FileName(StrEnum):
    GEOTIFF = "geotiff"  # the picture, where its mask lies
    MASK_GEOTIFF = "mask_geotiff"  # the mask that conditioned it
    LABEL_GEOTIFF = "label_geotiff"  # its label, where that is not the mask itself
    WORLD_FILE = "world_file"  # where the PNG of the picture lies
    PROJECTION = "projection"  # the CRS as a .prj file, where it has an EPSG code
    AUXILIARY = "auxiliary"  # GDAL's .aux.xml for the PNG
    INSTANCES = "instances"  # which pixels belong to which object: a TIFF of 32-bit numbers, 0 is none


class FileObject(Frozen):
    key: str
    sha256: str


class LabelAnnotation(Frozen):
    """COCO's words: `box_xywh` (left, top, width, height) and `area` in pixels; `segmentation` holds both forms.

    `instance_id` is the caller's number of the object, where the mask has instances.
    """

    category: str
    category_id: int
    box_xywh: tuple[int, int, int, int]
    area: int
    segmentation: Segmentation
    instance_id: int | None = None


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


class RuleVerdict(Frozen):
    """What one rule of R-Filter says: `passed` is null where its scorer is absent or cannot judge."""

    name: str
    score: float | None
    threshold: float | None
    passed: bool | None
    detail: str


class FilterVerdict(Frozen):
    accepted: bool
    rules: tuple[RuleVerdict, ...] = ()


class SampleRecord(Frozen):
    """One try. `mask_sha256` is of the PNG at `mask_key`: the very mask that conditioned the picture.

    `image` is null for a rejected try whose picture was not kept. `label` is the mask with 255 where R-Filter says
    ignore; null where that is no pixel, and the mask itself is the label. `group` is the source mask: its samples are
    never in two splits. `init_image_sha256`: of the given picture that the image is a composite with; null where all
    of it was made. `scores` are R-Filter's, from which the rules can be judged again without a GPU.
    """

    index: int
    try_number: int = 0
    status: SampleStatus
    seed: int
    prompt: str
    mask_id: str
    mask_sha256: str
    mask_key: str
    image: ImageObject | None
    label: LabelObject | None = None
    labels: Labels
    attempt: int
    group: str = ""
    mask_number: int = 0  # of the mask set
    name: str | None = None
    transform: dict[str, Any] = Field(default_factory=dict)
    init_image_sha256: str | None = None
    filter: FilterVerdict = FilterVerdict(accepted=True)
    scores: dict[str, Any] = Field(default_factory=dict)
    pixels: dict[int, int] = Field(default_factory=dict)  # of each id in the conditioning mask
    ignored: dict[int, int] = Field(default_factory=dict)  # of these, what is 255 in the label
    georeference: Georeference | None = None  # of the picture
    files: dict[FileName, FileObject] = Field(default_factory=dict)  # beside the PNGs
    unfiltered: bool = False  # kept for the random sample that no rule has chosen

    @property
    def place(self) -> tuple[int, int]:
        """What manifests are ordered by."""
        return self.index, self.try_number


def to_lines(records: Iterable[SampleRecord]) -> bytes:
    return "".join(record.model_dump_json() + "\n" for record in records).encode()


def from_lines(body: bytes) -> list[SampleRecord]:
    return [SampleRecord.model_validate_json(line) for line in body.splitlines()]
