from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from deploy.prepare import run_prepare
from models.cfcomp.pairs import read_pairs
from models.errors import InvalidInput
from tests.models.cfcomp.samples import with_boxes, write_pair

TANKS = with_boxes((25, 0, 0, 8, 8), (4, 16, 0, 4, 32))


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def as_others_read(path: Path) -> np.ndarray:
    """As the authors' tool reads a mask."""
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    return mask


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_layout(tmp_path: Path) -> None:
    write_pair(tmp_path, "7", TANKS, suffix="jpg")
    given = files(tmp_path)
    run_prepare(tmp_path)
    road, tank = "category_masks/7_04_road.png", "category_masks/7_25_storage_tank.png"
    assert rows(tmp_path) == [
        {
            "file_name": "images/7.jpg",
            "mask_name": "masks/7.png",
            "text": "A satellite image of road, storage tank",
            "category_masks": [road, tank],
        },
        {"file_name": "images/7.jpg", "mask_name": road, "text": "A satellite image of road"},
        {"file_name": "images/7.jpg", "mask_name": tank, "text": "A satellite image of storage tank"},
    ]
    assert np.array_equal(as_others_read(tmp_path / road), np.where(TANKS == 4, 4, 0))
    assert np.array_equal(as_others_read(tmp_path / tank), np.where(TANKS == 25, 25, 0))
    assert {name: files(tmp_path)[name] for name in given} == given


def palette_mask(path: Path) -> None:
    image = Image.frombytes("P", (32, 32), TANKS.tobytes())
    image.putpalette([250 - 2 * k for k in range(100) for _ in range(3)])
    image.save(path)


def test_masks_of_any_kind_become_grey_pngs_of_ids(tmp_path: Path) -> None:
    """Palette, TIFF, NPY, RGB of equal channels, 255: where the authors' tool finds other ids, or stops."""
    for stem in ("palette", "tiff", "npy", "equal", "ignore", "warship"):
        write_pair(tmp_path, stem, TANKS)
    masks = tmp_path / "masks"
    palette_mask(masks / "palette.png")
    for stem in ("tiff", "npy"):
        (masks / f"{stem}.png").unlink()
    tifffile.imwrite(masks / "tiff.tif", TANKS.astype(np.uint16))
    np.save(masks / "npy.npy", TANKS.astype(np.int64))
    Image.fromarray(np.repeat(TANKS[:, :, None], 3, axis=2)).save(masks / "equal.png")
    ignored = TANKS.copy()
    ignored[31] = 255
    Image.fromarray(ignored).save(masks / "ignore.png")
    Image.fromarray(with_boxes((66, 0, 0, 8, 8), (40, 9, 9, 5, 5))).save(masks / "warship.png")

    report = run_prepare(tmp_path)

    assert len(report.pairs) == 6
    main = {Path(str(row["file_name"])).stem: row for row in rows(tmp_path) if "category_masks" in row}
    assert main["palette"]["mask_name"] == "id_masks/masks/palette.png.png"
    assert main["warship"]["mask_name"] == "masks/warship.png"
    assert main["warship"]["text"] == "A satellite image of A220, warship"
    for stem in ("palette", "tiff", "npy", "equal", "ignore"):
        assert np.array_equal(as_others_read(tmp_path / str(main[stem]["mask_name"])), TANKS), stem


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    write_pair(tmp_path, "7", TANKS)
    write_pair(tmp_path, "deep/8", with_boxes((66, 0, 0, 8, 8)))
    palette_mask(tmp_path / "masks/7.png")
    run_prepare(tmp_path)
    first = files(tmp_path)
    for _ in range(2):
        run_prepare(tmp_path)
    assert files(tmp_path) == first


def test_what_was_written_is_read_as_the_same_set(tmp_path: Path) -> None:
    write_pair(tmp_path, "7", TANKS)
    write_pair(tmp_path, "8", with_boxes((2, 0, 0, 8, 8), (4, 9, 9, 8, 8)))
    before = run_prepare(tmp_path, ontology="loveda", label_map=None, max_bad_share=1.0)
    after = read_pairs(tmp_path)
    assert [pair.pixels for pair in after.pairs] == [pair.pixels for pair in before.pairs] == [{6: 64, 8: 64}]
    assert after.refused == ()
    run_prepare(tmp_path, ontology="loveda", max_bad_share=1.0)
    assert [pair.pixels for pair in read_pairs(tmp_path).pairs] == [{6: 64, 8: 64}]


def test_texts_are_kept_and_new_pairs_added(tmp_path: Path) -> None:
    write_pair(tmp_path, "7", TANKS)
    palette_mask(tmp_path / "masks/7.png")
    write_pair(tmp_path, "odd", TANKS)
    (tmp_path / "images/odd.png").rename(tmp_path / "images/other.png")
    lines = [
        {"file_name": "images/7.png", "mask_name": "masks/7.png", "text": "A tank farm"},
        {"file_name": "images/other.png", "mask_name": "masks/odd.png", "text": "Tanks"},
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run_prepare(tmp_path)
    write_pair(tmp_path, "new", TANKS)
    report = run_prepare(tmp_path)
    assert {pair.files.name: pair.text for pair in report.pairs} == {
        "images/7.png": "A tank farm",
        "images/other.png": "Tanks",
        "images/new.png": None,
    }
    assert report.refused == ()


def test_names_that_the_authors_tool_would_write_to_one_file(tmp_path: Path) -> None:
    write_pair(tmp_path, "a_small", with_boxes((38, 0, 0, 8, 8)))
    write_pair(tmp_path, "a", with_boxes((21, 8, 8, 8, 8)))
    run_prepare(tmp_path)
    views = [str(row["mask_name"]) for row in rows(tmp_path) if "category_masks" not in row]
    assert len(set(views)) == 2
    assert sorted(int(as_others_read(tmp_path / view).max()) for view in views) == [21, 38]


def test_too_many_bad_pairs_write_nothing(tmp_path: Path) -> None:
    write_pair(tmp_path, "7", TANKS)
    write_pair(tmp_path, "empty", np.zeros((32, 32), np.uint8))
    before = files(tmp_path)
    with pytest.raises(InvalidInput, match="1 of 2"):
        run_prepare(tmp_path)
    assert files(tmp_path) == before
    assert len(run_prepare(tmp_path, max_bad_share=0.5).refused) == 1
