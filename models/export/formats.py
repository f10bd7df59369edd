"""The table of formats: who writes one, who reads it back, and what it keeps of a label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from models.categories import CATEGORIES, IGNORE
from models.export import coco, hf, imagefolder, semantic, voc, webdataset, yolo
from models.export.options import ExportFormat, ExportOptions
from models.export.parts import annotated_ids
from models.export.reader import Reader
from models.export.survey import Survey
from models.export.writer import Layout, Writer


@dataclass(frozen=True, slots=True)
class Format:
    """`title` is for people, `measure` says what the fidelity of this format is the IoU of.

    The first reader measures it, over the ids that `keeps` names. `classes` are the category ids in the order of
    the format's own numbers. `glob` finds the pictures, or the archives that hold them, and `media` is their type.
    """

    title: str
    open: Callable[[Layout], Writer]
    readers: tuple[Reader, ...]
    keeps: Callable[[ExportOptions], frozenset[int]]
    classes: Callable[[Survey, ExportOptions], Sequence[int]]
    measure: str
    glob: str = "images/*/*.png"
    media: str = "image/png"


def _annotated(options: ExportOptions) -> frozenset[int]:
    return annotated_ids(include_stuff=options.include_stuff)


def _every_id(_: ExportOptions) -> frozenset[int]:
    return frozenset({*(c.id for c in CATEGORIES), IGNORE})


def _every_category(_: ExportOptions) -> frozenset[int]:
    return frozenset(c.id for c in CATEGORIES[1:])


def _annotated_classes(survey: Survey, options: ExportOptions) -> Sequence[int]:
    if options.all_classes:
        return [c.id for c in CATEGORIES]
    return [number for number in survey.present if number in _annotated(options)]


def _all_classes(_survey: Survey, _: ExportOptions) -> Sequence[int]:
    return [c.id for c in CATEGORIES]


def _main_classes(survey: Survey, _: ExportOptions) -> Sequence[int]:
    return sorted(survey.mains, key=lambda number: CATEGORIES[number].name)


def _detection(
    title: str, opener: Callable[[Layout], Writer], *readers: Reader, measure: str, glob: str
) -> Format:
    return Format(title, opener, readers, _annotated, _annotated_classes, measure, glob)


_BOXES = "labels and filled boxes"
_IDS = "labels and id masks, background and ignore included"

FORMATS: Mapping[ExportFormat, Format] = {
    ExportFormat.COCO: _detection(
        "COCO",
        coco.CocoWriter,
        Reader("pycocotools", coco.read_with_pycocotools),
        Reader("supervision", coco.read_with_supervision),
        measure="labels and segmentations",
        glob="images/*/*.png",
    ),
    ExportFormat.YOLO_DETECT: _detection(
        "YOLO boxes",
        yolo.detect_writer,
        Reader("supervision", yolo.read_boxes),
        measure=_BOXES,
        glob="images/*/*.png",
    ),
    ExportFormat.YOLO_SEGMENT: _detection(
        "YOLO outlines",
        yolo.segment_writer,
        Reader("supervision", yolo.read_outlines),
        measure="labels and filled outlines",
        glob="images/*/*.png",
    ),
    ExportFormat.YOLO_OBB: _detection(
        "YOLO rotated boxes",
        yolo.rotated_writer,
        Reader("supervision", yolo.read_rotated),
        measure="labels and filled rotated boxes",
        glob="images/*/*.png",
    ),
    ExportFormat.VOC: _detection(
        "Pascal VOC",
        voc.VocWriter,
        Reader("supervision", voc.read_with_supervision),
        measure=_BOXES,
        glob="JPEGImages/*.png",
    ),
    ExportFormat.SEMANTIC: Format(
        "semantic masks",
        semantic.SemanticWriter,
        (
            Reader("pillow", semantic.read_with_pillow),
            Reader("opencv-python-headless", semantic.read_with_opencv),
        ),
        _every_id,
        _all_classes,
        _IDS,
    ),
    ExportFormat.IMAGEFOLDER: Format(
        "image folder",
        imagefolder.ImageFolderWriter,
        (Reader("datasets", imagefolder.read_with_datasets),),
        _every_category,
        _main_classes,
        "labels and whole pictures of one class each",
        "*/*/*.png",
    ),
    ExportFormat.WEBDATASET: Format(
        "WebDataset",
        webdataset.ShardWriter,
        (Reader("webdataset", webdataset.read_with_webdataset),),
        _every_id,
        _all_classes,
        _IDS,
        "*.tar",
        "application/x-tar",
    ),
    ExportFormat.HF: Format(
        "Hugging Face datasets",
        hf.HfWriter,
        (Reader("datasets", hf.read_with_datasets),),
        _every_id,
        _all_classes,
        _IDS,
        "*/images/*.png",
    ),
}
