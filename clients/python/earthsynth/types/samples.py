"""A sample: a picture, the mask that conditioned it bit for bit, and its labels."""

from __future__ import annotations

from typing import Any, Literal

from earthsynth.types.records import FileRef, Georeference, Record

SampleStatus = Literal["accepted", "exhausted", "failed"] | str


class ImageFile(FileRef):
    """The picture; sizes in pixels."""

    width: int
    height: int


class Rle(Record):
    """COCO's compressed run lengths; `size` is (height, width)."""

    size: tuple[int, int]
    counts: str


class Segmentation(Record):
    """`rle` is exact, holes included; `polygons` are the outer rings [x0, y0, x1, y1, …]."""

    rle: Rle
    polygons: list[list[float]] = []


class Annotation(Record):
    """One object. `box_xywh` (left, top, width, height) and `area` in pixels.

    `instance_id` is your number of the object, where the mask has instances.
    """

    category: str
    category_id: int
    box_xywh: tuple[float, float, float, float]
    area: float
    segmentation: Segmentation | None = None
    instance_id: int | None = None


class Labels(Record):
    """`categories` cover at least 1 % of the picture; `annotations` are connected areas of things."""

    categories: list[str] = []
    annotations: list[Annotation] = []


class RuleVerdict(Record):
    """What one rule of R-Filter says; `passed` is null where it could not judge."""

    name: str
    score: float | None = None
    threshold: float | None = None
    passed: bool | None = None
    detail: str = ""


class FilterVerdict(Record):
    accepted: bool
    rules: list[RuleVerdict] = []


class Sample(Record):
    """`image` is null for an exhausted sample whose picture was not kept.

    `mask_sha256` is the sha256 of the file at `mask`. `label` is the mask with 255 where R-Filter says ignore, and
    the mask itself where it says so nowhere. `files`, by name (`geotiff`, `label_geotiff`, `instances` …), are there
    for masks that say where they lie or which objects are apart.
    """

    index: int
    status: SampleStatus
    seed: int | None = None
    prompt: str = ""
    mask_id: str = ""
    mask_sha256: str = ""
    image: ImageFile | None = None
    mask: FileRef | None = None
    label: FileRef | None = None
    labels: Labels = Labels()
    filter: FilterVerdict = FilterVerdict(accepted=True)
    group: str = ""
    transform: dict[str, Any] = {}
    init_image_sha256: str | None = None
    try_number: int = 0
    attempt: int = 1
    georeference: Georeference | None = None
    files: dict[str, FileRef] = {}
    custom_id: str | None = None
    metadata: dict[str, str] = {}
