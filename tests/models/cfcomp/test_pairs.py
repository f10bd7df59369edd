from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.cfcomp.pair_files import BadPair, list_pairs
from models.cfcomp.pairs import CategoryCount, MaskReading, Report, decode_pair, read_pairs
from models.cfcomp.train_jsonl import Row, find_named, read_index, write_index
from models.errors import InvalidInput, MaskRefused, UnsupportedFormat
from tests.models.cfcomp.samples import with_boxes, write_pair
from tests.pictures import png

TANKS = with_boxes((25, 0, 0, 8, 8), (4, 16, 0, 4, 32))
HOUSES = with_boxes((8, 4, 4, 10, 10), (66, 20, 20, 2, 2))


def read_all(folder: Path, **options: object) -> Report:
    return read_pairs(folder, max_bad_share=1.0, **options)  # type: ignore[arg-type]


def test_a_folder_by_stems(tmp_path: Path) -> None:
    write_pair(tmp_path, "b", HOUSES, suffix="jpg")
    write_pair(tmp_path, "scene/a", TANKS)
    report = read_pairs(tmp_path)
    assert [(pair.files.name, pair.width, pair.height) for pair in report.pairs] == [
        ("images/b.jpg", 32, 32),
        ("images/scene/a.png", 32, 32),
    ]
    assert report.pairs[0].pixels == {8: 100, 66: 4}
    assert report.refused == ()
    assert report.frequencies == {4: 0.5, 8: 0.5, 25: 0.5, 66: 0.5}
    assert report.categories[-1] == CategoryCount(66, "warship", pairs=1, pixels=4)


def test_the_authors_names(tmp_path: Path) -> None:
    """Their tool looks for 7_image.png beside 7_mask.png."""
    write_pair(tmp_path, "7_mask", TANKS)
    (tmp_path / "images/7_mask.png").rename(tmp_path / "images/7_image.png")
    assert [pair.files.name for pair in read_pairs(tmp_path).pairs] == ["images/7_image.png"]


def bad_folder(tmp_path: Path) -> Path:
    write_pair(tmp_path, "good", TANKS)
    write_pair(tmp_path, "no_picture", TANKS)
    (tmp_path / "images/no_picture.png").unlink()
    write_pair(tmp_path, "no_mask", TANKS)
    (tmp_path / "masks/no_mask.png").unlink()
    write_pair(tmp_path, "smaller", TANKS)
    Image.new("RGB", (31, 32)).save(tmp_path / "images/smaller.png")
    write_pair(tmp_path, "nothing", np.zeros((32, 32), np.uint8))
    write_pair(tmp_path, "id_67", with_boxes((67, 0, 0, 9, 9)))
    write_pair(tmp_path, "cut", TANKS, suffix="jpg")
    cut = tmp_path / "images/cut.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    write_pair(tmp_path, "torn", TANKS)
    torn = tmp_path / "images/torn.png"
    torn.write_bytes(torn.read_bytes()[:-40])
    write_pair(tmp_path, "twice", TANKS)
    write_pair(tmp_path, "twice", TANKS, suffix="jpg")
    write_pair(tmp_path, "photo", TANKS)
    Image.fromarray(TANKS).save(tmp_path / "masks/photo.png", "JPEG")
    return tmp_path


def test_bad_pairs_by_name(tmp_path: Path) -> None:
    report = read_all(bad_folder(tmp_path))
    assert [pair.files.name for pair in report.pairs] == ["images/good.png"]
    assert {one.name: one.code for one in report.refused} == {
        "masks/no_picture.png": "missing_picture",
        "images/no_mask.png": "missing_mask",
        "images/smaller.png": "sizes_differ",
        "images/nothing.png": "all_background",
        "images/id_67.png": "unknown_label",
        "images/cut.jpg": "damaged_file",
        "images/torn.png": "damaged_file",
        "twice": "duplicate_name",
        "images/photo.png": "unsupported_format",
    }
    (smaller,) = [one for one in report.refused if one.code == "sizes_differ"]
    assert smaller.message == "The picture is 31x32 pixels and its mask 32x32; send both in one size."
    assert report.bad_share == 0.9


def test_more_than_5_percent_bad_is_refused_and_5_percent_is_not(tmp_path: Path) -> None:
    for number in range(19):
        write_pair(tmp_path, f"{number}", TANKS)
    write_pair(tmp_path, "a/b~c", np.zeros((32, 32), np.uint8))
    assert len(read_pairs(tmp_path).pairs) == 19
    write_pair(tmp_path, "nothing", np.zeros((32, 32), np.uint8))
    with pytest.raises(InvalidInput, match="2 of 21 pairs are bad") as refused:
        read_pairs(tmp_path)
    assert refused.value.code == "too_many_bad_pairs"
    assert [error.pointer for error in refused.value.errors] == [
        "/images~1a~1b~0c.png",
        "/images~1nothing.png",
    ]
    assert len(read_pairs(tmp_path, max_bad_share=0.1).pairs) == 19


@pytest.mark.parametrize("rooms", [(), ("images",), ("images", "masks")])
def test_nothing_to_train_on(tmp_path: Path, rooms: tuple[str, ...]) -> None:
    for room in rooms:
        (tmp_path / room).mkdir()
    if rooms == ("images",):
        Image.new("RGB", (32, 32)).save(tmp_path / "images/lonely.png")
    with pytest.raises(InvalidInput) as refused:
        read_all(tmp_path)
    assert refused.value.code == "no_pairs"


def row(file_name: str, mask_name: str, text: str = "t", **more: object) -> str:
    return json.dumps({"file_name": file_name, "mask_name": mask_name, "text": text, **more}) + "\n"


def test_the_authors_train_jsonl(tmp_path: Path) -> None:
    """Rows written twice, single-category rows, names from another folder: each pair once, with its text."""
    write_pair(tmp_path, "7", TANKS)
    write_pair(tmp_path, "8", HOUSES)
    there = "./data/EarthSynth-180K/train"
    rows = (
        row(
            f"{there}/images/7.png",
            f"{there}/masks/7.png",
            "A tank farm",
            category_masks=[f"{there}/category_masks/7_road.png"],
        )
        + row(
            f"{there}/category_images/7_road.png",
            f"{there}/category_masks/7_road.png",
            "A satellite image of road",
        )
        + row("images\\8.png", "masks\\8.png", "A satellite image of building, warship", category_masks=[])
    )
    (tmp_path / "train.jsonl").write_text(rows + rows + "\n{broken\n")
    assert len(read_index(tmp_path / "train.jsonl").pairs) == 2
    report = read_all(tmp_path)
    assert [(pair.files.name, pair.text) for pair in report.pairs] == [
        ("images/7.png", "A tank farm"),
        ("images/8.png", None),  # the mask's own caption
    ]
    assert [(one.name, one.code) for one in report.refused] == [("train.jsonl:8", "malformed_row")]


def test_names_in_train_jsonl_stay_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_pair(folder, "7", TANKS)
    Image.new("RGB", (32, 32)).save(tmp_path / "secret.png")

    def has(name: Path) -> bool:
        return (folder / name).is_file()

    for name in (
        "../secret.png",
        str(tmp_path / "secret.png"),
        "images/../../secret.png",
        "..\\secret.png",
        "\0",
        "",
    ):
        assert find_named(name, has) is None, name
    assert find_named("/somewhere/images/7.png", has) == Path("images/7.png")
    assert find_named("a/" * 5_000_000 + "images/7.png", has) is None  # at once
    (folder / "train.jsonl").write_text(
        row("../secret.png", "masks/7.png") + row("images/7.png", "masks/none.png")
    )
    found = list(list_pairs(folder))
    assert [one.code for one in found if isinstance(one, BadPair)] == ["missing_picture", "missing_mask"]


def test_an_index_is_written_as_it_is_read(tmp_path: Path) -> None:
    rows = [Row(file_name="images/ä.png", mask_name="masks/ä.png", text="t", category_masks=("c.png",))]
    write_index(tmp_path / "train.jsonl", [*rows, Row(file_name="images/ä.png", mask_name="c.png", text="c")])
    assert read_index(tmp_path / "train.jsonl").pairs == rows
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]


def picture_bytes(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def test_masks_of_other_ontologies(tmp_path: Path) -> None:
    picture = png(np.zeros((32, 32, 3), np.uint8))
    loveda = with_boxes((2, 0, 0, 8, 8), (4, 16, 16, 8, 8)) + np.uint8(0)
    loveda[loveda == 0] = 1
    _, ids = decode_pair(picture, png(loveda), MaskReading(ontology="loveda"))
    assert set(np.unique(ids)) == {0, 6, 8}
    assert (ids == 8).sum() == 64
    _, ids = decode_pair(
        picture, png(loveda), MaskReading(label_map={"1": 0, "2": "storage tank", "4": "ignore"})
    )
    assert {int(number): int((ids == number).sum()) for number in np.unique(ids)} == {0: 896, 25: 64, 255: 64}


def test_palette_masks_are_read_by_index() -> None:
    image = Image.fromarray(TANKS).convert("P")
    image = Image.frombytes("P", (32, 32), TANKS.tobytes())
    image.putpalette([200 - k for k in range(100) for _ in range(3)])
    _, ids = decode_pair(png(np.zeros((32, 32, 3), np.uint8)), picture_bytes(image, "PNG"), MaskReading())
    assert np.array_equal(ids, TANKS)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_pictures_of_every_kind(kind: str) -> None:
    level = Image.new("L", (32, 32), 77)
    picture, _ = decode_pair(picture_bytes(level.convert("RGB"), kind), png(TANKS), MaskReading())
    assert picture.shape == (32, 32, 3)
    assert picture.dtype == np.uint8
    assert abs(picture.astype(int) - 77).max() <= 1
    if kind != "WEBP":  # WebP has no grey
        grey, _ = decode_pair(picture_bytes(level, kind), png(TANKS), MaskReading())
        assert abs(grey.astype(int) - 77).max() <= 1


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (Image.new("I;16", (32, 32), 700), "PNG"),
        (Image.new("I;16", (32, 32), 700), "TIFF"),
        (Image.new("1", (32, 32), 1), "PNG"),
        (Image.new("RGBA", (32, 32), (1, 2, 3, 4)), "PNG"),
        (Image.new("RGBA", (32, 32), (1, 2, 3, 4)), "TIFF"),
        (Image.new("CMYK", (32, 32)), "JPEG"),
        (Image.new("RGB", (32, 32)), "GIF"),
    ],
)
def test_pictures_that_are_refused(image: Image.Image, kind: str) -> None:
    with pytest.raises(UnsupportedFormat):
        decode_pair(picture_bytes(image, kind), png(TANKS), MaskReading())


def test_opaque_transparency_is_dropped() -> None:
    for kind in ("PNG", "TIFF"):
        opaque = picture_bytes(Image.new("RGBA", (32, 32), (9, 8, 7, 255)), kind)
        picture, _ = decode_pair(opaque, png(TANKS), MaskReading())
        assert picture[0, 0].tolist() == [9, 8, 7]


def test_ignore_is_kept_unless_it_is_not_allowed() -> None:
    mask = TANKS.copy()
    mask[31] = 255
    picture = png(np.zeros((32, 32, 3), np.uint8))
    assert (decode_pair(picture, png(mask), MaskReading())[1][31] == 255).all()
    with pytest.raises(MaskRefused):
        decode_pair(picture, png(mask), MaskReading(ignore=False))
