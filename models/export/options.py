"""What may be asked of an export. Light: the API imports this file."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class ExportFormat(StrEnum):
    COCO = "coco"  # instances_*.json: boxes and exact segmentations
    YOLO_DETECT = "yolo-detect"  # a text line for each upright box
    YOLO_SEGMENT = "yolo-segment"  # a text line for each outline
    YOLO_OBB = "yolo-obb"  # a text line for each rotated box
    VOC = "voc"  # an XML file of upright boxes for each picture
    SEMANTIC = "semantic"  # an id PNG for each picture, and a coloured one
    IMAGEFOLDER = "imagefolder"  # a folder of pictures for each class
    WEBDATASET = "webdataset"  # tar shards of picture, mask and JSON
    HF = "hf"  # picture, mask and metadata.jsonl, for `datasets.load_dataset`


class ExportOptions(BaseModel):
    """How a data set is written.

    `min_area` and `include_stuff` decide what is annotated in every format; masks are always whole.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: ExportFormat
    min_area: Annotated[
        int, Field(ge=1, le=1_000_000, description="Components of fewer pixels get no annotation.")
    ] = 1
    include_stuff: Annotated[
        bool, Field(description="Annotate land cover (categories 1 to 11, buildings included) too.")
    ] = False
    all_classes: Annotated[
        bool,
        Field(description="List every category, not only those present, so that class numbers never move."),
    ] = False
    shard_samples: Annotated[int, Field(ge=1, le=100_000, description="Samples in one WebDataset shard.")] = (
        1000
    )
