"""The files of each format as its specification has them, read by second sources and by hand."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from xml.etree import ElementTree as ET

import datasets
import numpy as np
import png as pypng
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from models.categories import CATEGORIES
from models.export.export import export_dataset
from models.export.options import ExportFormat, ExportOptions
from tests.models.export.dataset import INFO, SHIP, SIDE, SPLITS, TANK_RING, label, picture, samples

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
]


def exported(folder: Path, format_: ExportFormat, **options: object) -> Path:
    chosen = ExportOptions.model_validate({"format": format_, "include_stuff": True, **options})
    export_dataset(samples, folder / "export", chosen, INFO)
    return folder / "export"


def test_coco_segmentations_are_polygons_and_run_lengths_where_there_are_holes(tmp_path: Path) -> None:
    folder = exported(tmp_path, ExportFormat.COCO)
    content = json.loads((folder / "annotations/instances_val.json").read_text())
    assert content["images"] == [
        {"id": 3, "file_name": "000002.png", "license": 1, "width": SIDE, "height": SIDE}
    ]
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert names == {4: "road", 8: "building", 17: "ship", 25: "storage tank"}
    found = {names[one["category_id"]]: one for one in content["annotations"]}
    assert found["building"]["bbox"] == [4, 30, 12, 8]
    assert found["building"]["segmentation"] == [[4, 30, 16, 30, 16, 38, 4, 38]]
    assert len(found["ship"]["segmentation"]) == 2  # one ring for each part
    assert (found["ship"]["area"], found["ship"]["bbox"]) == (SHIP, [30, 40, 9, 3])
    tank = found["storage tank"]
    assert (tank["area"], tank["iscrowd"]) == (TANK_RING, 0)
    assert isinstance(tank["segmentation"]["counts"], list)
    # as transformers and torchvision read it: frPyObjects, whatever the segmentation is
    rle = coco_mask.frPyObjects(tank["segmentation"], SIDE, SIDE)
    assert np.array_equal(coco_mask.decode(rle) == 1, label(2) == 25)
    every = [
        one["id"]
        for path in (folder / "annotations").glob("*.json")
        for one in json.loads(path.read_text())["annotations"]
    ]
    assert sorted(every) == list(range(1, 25))


def test_yolo_lines_are_fractions_of_the_picture(tmp_path: Path) -> None:
    folder = exported(tmp_path, ExportFormat.YOLO_DETECT)
    content = yaml.safe_load((folder / "data.yaml").read_text())
    assert content == {
        "train": "images/train",
        "val": "images/val",
        "test": "images/test",
        "names": {0: "road", 1: "building", 2: "ship", 3: "storage tank"},
    }
    lines = (folder / "labels/train/000000.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "3"]
    box = [float(number) for number in lines[1].split()[1:]]
    assert box == pytest.approx([10 / SIDE, 34 / SIDE, 12 / SIDE, 8 / SIDE], abs=1e-6)
    assert (folder / "classes.txt").read_text() == "road\nbuilding\nship\nstorage tank\n"


def test_yolo_class_numbers_are_ids_where_all_classes_are_listed(tmp_path: Path) -> None:
    folder = exported(tmp_path, ExportFormat.YOLO_SEGMENT, all_classes=True)
    lines = (folder / "labels/train/000000.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["4", "8", "17", "25"]
    names = yaml.safe_load((folder / "data.yaml").read_text())["names"]
    assert names == {category.id: category.name for category in CATEGORIES}
    for line in lines:
        numbers = [float(number) for number in line.split()[1:]]
        assert len(numbers) >= 6
        assert len(numbers) % 2 == 0
        assert 0 <= min(numbers) <= max(numbers) <= 1


def test_rotated_lines_have_four_corners(tmp_path: Path) -> None:
    folder = exported(tmp_path, ExportFormat.YOLO_OBB)
    lines = (folder / "labels/train/000000.txt").read_text().splitlines()
    assert [len(line.split()) for line in lines] == [9] * 4
    corners = np.array(lines[1].split()[1:], float).reshape(4, 2) * SIDE
    assert sorted(corners.round(3).tolist()) == [[4, 30], [4, 38], [16, 30], [16, 38]]


def test_voc_boxes_count_from_one_and_include_their_ends(tmp_path: Path) -> None:
    folder = exported(tmp_path, ExportFormat.VOC)
    root = ET.parse(folder / "Annotations/000000.xml").getroot()  # noqa: S314, our own
    assert root.findtext("filename") == "000000.png"
    assert [root.findtext(f"size/{side}") for side in ("width", "height", "depth")] == ["48", "48", "3"]
    house = root.findall("object")[1]
    assert house.findtext("name") == "building"
    corners = [house.findtext(f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")]
    assert corners == ["5", "31", "16", "38"]
    assert (folder / "ImageSets/Main/train.txt").read_text().split() == [
        "000000",
        "000001",
        "000003",
        "000005",
    ]


def test_semantic_masks_are_grey_ids_and_colours_are_for_people(tmp_path: Path) -> None:
    folder = exported(tmp_path, ExportFormat.SEMANTIC)
    for number, split in enumerate(SPLITS):
        name = f"{split}/{number:06d}.png"
        stored = (folder / "masks" / name).read_bytes()
        width, height, rows, about = pypng.Reader(bytes=stored).read()
        assert (width, height, about["bitdepth"], about["greyscale"]) == (SIDE, SIDE, 8, True)
        assert np.array_equal(np.vstack([np.array(row) for row in rows]), label(number))
        with Image.open(folder / "colors" / name) as colors:
            assert colors.mode == "P"
            assert colors.convert("RGB").getpixel((0, 20)) == CATEGORIES[4].color
    classes = (folder / "classes.txt").read_text().splitlines()
    assert classes == [category.name for category in CATEGORIES]  # line n + 1 is id n
    palette = json.loads((folder / "palette.json").read_text())
    assert palette["255"]["name"] == "ignore"
    assert palette["4"] == {"name": "road", "color": list(CATEGORIES[4].color)}


def test_shards_are_plain_tars_without_times(tmp_path: Path) -> None:
    folder = exported(tmp_path, ExportFormat.WEBDATASET, shard_samples=3)
    shards = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*.tar"))
    assert shards == [
        "test-000000.tar",
        "train-000000.tar",
        "train-000001.tar",
        "val-000000.tar",
    ]
    with tarfile.open(folder / "train-000001.tar") as shard:
        assert shard.getnames() == ["000005.png", "000005.mask.png", "000005.json"]
        assert {(member.mtime, member.uid, member.uname) for member in shard} == {(0, 0, "")}
        content = shard.extractfile("000005.png")
        assert content is not None
        assert content.read() == picture(5)
        described = shard.extractfile("000005.json")
        assert described is not None
        about = json.load(described)
    assert (about["seed"], about["split"], about["scores"]) == (105, "train", {"R1": 0.5})
    assert about["annotations"][1] == {
        "category_id": 8,
        "category": "building",
        "bbox": [4, 30, 12, 8],
        "area": 96,
    }


def test_hugging_face_opens_the_folder_in_both_usual_ways(tmp_path: Path) -> None:
    folder = exported(tmp_path, ExportFormat.HF)
    by_card = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "one"))
    by_name = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "two"))
    assert {split: rows.num_rows for split, rows in by_card.items()} == {"train": 4, "val": 1, "test": 1}
    assert {split: rows.num_rows for split, rows in by_name.items()} == {
        "train": 4,
        "validation": 1,
        "test": 1,
    }
    row = by_card["val"][0]
    assert np.array_equal(np.asarray(row["mask"]), label(2))
    assert (row["index"], row["categories"]) == (2, "road, building, ship, storage tank")


def test_an_image_folder_has_a_folder_for_each_main_class(tmp_path: Path) -> None:
    folder = exported(tmp_path, ExportFormat.IMAGEFOLDER)
    assert (folder / "val/road/000002.png").read_bytes() == picture(2)
    assert (folder / "classes.txt").read_text() == "road\n"
