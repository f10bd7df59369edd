"""All formats end to end on a data set whose numbers are known, and what happens when something is wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from models.errors import Conflict, InvalidInput
from models.export.export import ExportReport, export_dataset
from models.export.options import ExportFormat, ExportOptions
from models.export.reader import ExportUnreadable
from models.export.sample import ExportSample
from tests.models.export import dataset
from tests.models.export.dataset import ALL, INFO, PIXELS, SIDE, THINGS, no_samples, sample, samples

pytestmark = [  # both libraries' own doings
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
]

FORMATS = list(ExportFormat)
IDS = {"semantic", "webdataset", "hf"}


def export(
    folder: Path,
    format_: str,
    *,
    unfiltered: Callable[[], Iterator[ExportSample]] = no_samples,
    include_stuff: bool = True,
    min_area: int = 1,
) -> ExportReport:
    options = ExportOptions(format=ExportFormat(format_), include_stuff=include_stuff, min_area=min_area)
    return export_dataset(samples, folder, options, INFO, unfiltered=unfiltered)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_holds_what_was_drawn(tmp_path: Path, format_: str) -> None:
    folder = tmp_path / "export"
    report = export(folder, format_)
    assert (report.pictures, report.annotations) == (6, 24)
    assert report.splits == {"train": 4, "val": 1, "test": 1}
    assert report.instances == dict.fromkeys(ALL, 6)
    pixels = {name: 6 * count for name, count in PIXELS.items()}
    assert report.class_histogram == {"background": 6 * SIDE * SIDE - sum(pixels.values()), **pixels}
    for reader in report.readers:
        assert reader.pictures == 6
        assert reader.annotations in (
            {None} if reader.reader in {"pillow", "opencv-python-headless"} else {24, None}
        )
    assert {reader.reader for reader in report.readers} >= {"mlcroissant"}
    assert json.loads(json.dumps(report.to_json()))["fidelity"] == report.fidelity

    for name in (
        "README.md",
        "NOTICE.txt",
        "classes.txt",
        "report.html",
        "contact_sheet.png",
        "croissant.json",
    ):
        assert (folder / name).stat().st_size > 0
    assert json.loads((folder / "fidelity.json").read_text())["iou"] == report.fidelity
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        assert (line["index"], line["split"], line["scores"]) == (number, dataset.SPLITS[number], {"R1": 0.5})
        assert line["sha256"] == hashlib.sha256(dataset.picture(number)).hexdigest()
        if "#" not in line["file"]:
            assert (folder / line["file"]).read_bytes() == dataset.picture(number)
        if format_ in IDS and "#" not in line["label_file"]:
            assert (
                hashlib.sha256((folder / line["label_file"]).read_bytes()).hexdigest() == line["label_sha256"]
            )
        assert line["categories"] == {name: PIXELS[name] for name in ALL}


@pytest.mark.parametrize("format_", ["coco", "yolo-segment", *sorted(IDS)])
def test_labels_come_back_exactly_from_formats_that_can_hold_them(tmp_path: Path, format_: str) -> None:
    names = [*ALL, "background", "ignore"] if format_ in IDS else ALL
    assert export(tmp_path / "export", format_).fidelity == dict.fromkeys(names, 1.0)


@pytest.mark.parametrize("format_", ["yolo-detect", "voc"])
def test_fidelity_of_boxes_is_the_part_of_the_box_that_the_object_fills(tmp_path: Path, format_: str) -> None:
    fidelity = export(tmp_path / "export", format_).fidelity
    assert fidelity == pytest.approx(
        {"road": 1.0, "building": 1.0, "ship": 15 / (3 * 9), "storage tank": 84 / 100}, abs=1e-6
    )


def test_fidelity_of_rotated_boxes_is_no_worse_than_of_upright_ones(tmp_path: Path) -> None:
    fidelity = export(tmp_path / "export", "yolo-obb").fidelity
    assert fidelity["road"] == fidelity["building"] == 1.0
    assert fidelity["storage tank"] == pytest.approx(0.84)
    assert 15 / 27 - 1e-6 <= fidelity["ship"] <= 1.0


def test_fidelity_of_an_image_folder_is_the_share_of_its_class(tmp_path: Path) -> None:
    fidelity = export(tmp_path / "export", "imagefolder").fidelity
    assert fidelity == pytest.approx(
        {"road": 192 / SIDE**2, "building": 0, "ship": 0, "storage tank": 0}, abs=1e-6
    )


def test_land_cover_is_annotated_only_when_asked_for(tmp_path: Path) -> None:
    report = export(tmp_path / "export", "coco", include_stuff=False)
    assert report.instances == dict.fromkeys(THINGS, 6)
    assert report.fidelity == dict.fromkeys(THINGS, 1.0)
    assert any("road, building" in warning for warning in report.warnings)
    assert (tmp_path / "export/classes.txt").read_text().split("\n") == ["ship", "storage tank", ""]


def test_small_parts_are_left_out_and_missed_in_the_fidelity(tmp_path: Path) -> None:
    report = export(tmp_path / "export", "coco", min_area=16)
    assert "ship" not in report.instances
    assert report.fidelity["ship"] == 0.0
    assert report.fidelity["storage tank"] == 1.0


@pytest.mark.parametrize("format_", ["coco", "webdataset", "hf"])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, format_: str) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        export(folder, format_, unfiltered=samples)
    files = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders]
    assert files[0].keys() == files[1].keys()
    assert [name for name in files[0] if files[0][name] != files[1][name]] == []


def test_an_unfiltered_sample_lies_beside_and_does_not_count(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    report = export(folder, "hf", unfiltered=lambda: (sample(number) for number in range(60)))
    assert report.pictures == 6
    assert len(list((folder / "unfiltered").glob("*.mask.png"))) == 48
    assert (folder / "unfiltered/000050.png").exists() is False
    assert (folder / "contact_sheet_unfiltered.png").exists()


def tampering(action: Callable[[], object]) -> Callable[[], Iterator[ExportSample]]:
    """Do something to the written files: the unfiltered sample is asked for between writing and reading."""

    def changed() -> Iterator[ExportSample]:
        action()
        return iter(())

    return changed


def drop_last_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def drop_first_object(path: Path) -> None:
    head, _, rest = path.read_text().partition("<object>")
    path.write_text(head + rest.partition("</object>")[2])


def drop_first_annotation(path: Path) -> None:
    content = json.loads(path.read_text())
    content["annotations"].pop(0)
    path.write_text(json.dumps(content))


FAULTS: list[tuple[str, str, Callable[[Path], object]]] = [
    ("coco", "annotations/instances_train.json", drop_first_annotation),
    ("coco", "images/val/000002.png", Path.unlink),
    ("coco", "annotations/instances_val.json", Path.unlink),
    ("yolo-detect", "labels/train/000001.txt", drop_last_line),
    ("yolo-segment", "labels/train/000001.txt", drop_last_line),
    ("yolo-segment", "labels/train/000001.txt", Path.unlink),
    ("yolo-obb", "images/test/000004.png", Path.unlink),
    ("voc", "Annotations/000003.xml", drop_first_object),
    ("voc", "Annotations/000003.xml", lambda path: path.write_text("<annotation>")),
    ("voc", "ImageSets/Main/train.txt", drop_last_line),
    ("semantic", "masks/train/000000.png", Path.unlink),
    ("semantic", "images/train/000000.png", lambda path: path.write_bytes(path.read_bytes()[:200])),
    ("imagefolder", "train/road/000000.png", lambda path: path.write_bytes(b"no picture")),
    ("imagefolder", "test/road/000004.png", Path.unlink),
    ("webdataset", "train-000000.tar", lambda path: path.write_bytes(path.read_bytes()[:9000])),
    ("hf", "train/metadata.jsonl", drop_last_line),
    ("hf", "val/masks/000002.png", Path.unlink),
    ("semantic", "manifest.jsonl", drop_last_line),
]


@pytest.mark.parametrize(("format_", "path", "fault"), FAULTS)
def test_an_export_that_a_reader_finds_otherwise_is_refused(
    tmp_path: Path, format_: str, path: str, fault: Callable[[Path], object]
) -> None:
    folder = tmp_path / "export"
    with pytest.raises(ExportUnreadable) as refused:
        export(folder, format_, unfiltered=tampering(lambda: fault(folder / path)))
    assert refused.value.code == "export_unreadable"
    assert str(tmp_path) not in refused.value.message
    assert not list(tmp_path.glob(".labels-*"))  # nothing is left behind


@pytest.mark.parametrize(
    "damaged",
    [
        sample(0, image_sha256="0" * 64),
        sample(0, width=SIDE + 1),
        sample(0, width=SIDE + 1, read_label=lambda: np.zeros((SIDE, SIDE + 1), np.uint8)),
        sample(0, read_image=lambda: b"no picture", image_sha256=hashlib.sha256(b"no picture").hexdigest()),
        sample(0, read_label=lambda: np.full((SIDE, SIDE), 67, np.uint8)),
    ],
)
def test_a_damaged_sample_is_refused(tmp_path: Path, damaged: ExportSample) -> None:
    options = ExportOptions(format=ExportFormat.COCO)
    with pytest.raises(ExportUnreadable):
        export_dataset(lambda: iter([damaged]), tmp_path / "export", options, INFO)


def test_an_empty_data_set_and_an_impossible_split_are_refused(tmp_path: Path) -> None:
    options = ExportOptions(format=ExportFormat.COCO)
    with pytest.raises(Conflict) as empty:
        export_dataset(no_samples, tmp_path / "one", options, INFO)
    assert empty.value.code == "nothing_to_export"
    for name in ("../up", "Train", "unfiltered", "", "a" * 33, "train\n"):
        with pytest.raises(InvalidInput) as refused:
            export_dataset(lambda name=name: iter([sample(0, split=name)]), tmp_path / "two", options, INFO)
        assert refused.value.code == "invalid_split"


def test_an_export_can_be_ended_from_its_callback_while_readers_run(tmp_path: Path) -> None:
    class Canceled(BaseException):
        pass

    calls = []

    def stop(done: int) -> None:
        calls.append(done)
        if calls.count(6) == 3:  # once after the last picture, then from the readers
            raise Canceled

    with pytest.raises(Canceled):
        export_dataset(
            samples, tmp_path / "export", ExportOptions(format=ExportFormat.COCO), INFO, on_sample=stop
        )
    assert calls == [0] * 6 + [1, 2, 3, 4, 5, 6, 6, 6]
    assert not list(tmp_path.glob(".labels-*"))


def test_labels_without_any_annotation_make_a_readable_export(tmp_path: Path) -> None:
    bare = sample(0, read_label=lambda: np.zeros((SIDE, SIDE), np.uint8))
    for format_ in FORMATS:
        report = export_dataset(
            lambda: iter([bare]), tmp_path / format_, ExportOptions(format=ExportFormat(format_)), INFO
        )
        assert (report.pictures, report.annotations, report.instances) == (1, 0, {})
