"""`earthsynth prepare`: EarthSynth's `train.jsonl` and single-category masks, for trainers that read files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE, caption
from models.cfcomp.dataset import single_category
from models.cfcomp.pair_files import BadPair, PairFiles, list_pairs, match_files
from models.cfcomp.pairs import MAX_BAD_SHARE, GoodPair, MaskReading, Report, check_pairs
from models.cfcomp.train_jsonl import FILE_NAME, Row, write_index
from models.mask_files import SampleKind, read_mask_file
from models.masks import MAX_SIDE, MIN_SIDE, Encoding, encode_png

log = logging.getLogger(__name__)

_ID_MASKS = Path("id_masks")
_CATEGORY_MASKS = Path("category_masks")


def run_prepare(
    folder: Path,
    *,
    encoding: str = "auto",
    ontology: str = "earthsynth",
    label_map: Mapping[str, int | str] | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
) -> Report:
    """Write `train.jsonl` into a folder with `images/` and `masks/`; return what it holds.

    Each pair gets a row with its text and its single-category masks, and each of those a row; names are relative to
    the folder. Single-category masks go to `category_masks/`; a mask that is no grey PNG of EarthSynth ids (a
    palette file, a TIFF, another ontology, 255) is written as one to `id_masks/`, 255 as 0. Pictures are not copied,
    and files that were given stay as they are. A second run writes the same again: texts of an existing `train.jsonl`
    are kept, and pairs that are new since then are added.

    Raises:
        InvalidInput: no_pairs, too_many_bad_pairs (see `models.cfcomp.pairs.read_pairs`); nothing is written then.
    """
    reading = MaskReading(Encoding(encoding), ontology, label_map)
    report = check_pairs(folder, _listed(folder), reading=reading, max_bad_share=max_bad_share)
    rows = [row for pair in report.pairs for row in _rows(folder, pair, reading)]
    write_index(folder / FILE_NAME, rows)
    log.info("%d pairs, %d rows in %s", len(report.pairs), len(rows), folder / FILE_NAME)
    return report


def _listed(folder: Path) -> Iterator[PairFiles | BadPair]:
    """Yield the pairs that `train.jsonl` names, by the masks that were given, and those of files it does not name."""
    named: set[Path] = set()
    for found in list_pairs(folder):
        pair = found
        if isinstance(pair, PairFiles):
            if pair.mask.is_relative_to(_ID_MASKS):
                pair = replace(pair, mask=pair.mask.relative_to(_ID_MASKS).with_suffix(""))
            named |= {pair.picture, pair.mask}
            if not (folder / pair.mask).is_file():
                pair = BadPair(
                    pair.name, code="missing_mask", message=f"The mask {pair.mask.as_posix()} is gone."
                )
        yield pair
    if (folder / FILE_NAME).is_file():
        yield from match_files(folder, without=named)


def _rows(folder: Path, pair: GoodPair, reading: MaskReading) -> Iterator[Row]:
    """Write a pair's masks and yield its rows."""
    picture, given = pair.files.picture.as_posix(), pair.files.mask
    data = (folder / given).read_bytes()
    ids = reading.decode(data)
    shown = np.where(ids == IGNORE, np.uint8(0), ids)
    mask = given
    if not _is_id_png(data, shown):
        mask = _ID_MASKS / f"{given.as_posix()}.png"
        _write(folder / mask, shown)
    stem = given.as_posix().removeprefix("masks/").removesuffix(".png")
    views = {}
    for number in pair.pixels:
        # The id keeps apart what names alone do not: "a_small" with vehicle, "a" with small vehicle.
        name = CATEGORIES[number].name.replace(" ", "_")
        views[number] = _CATEGORY_MASKS / f"{stem}_{number:02d}_{name}.png"
        _write(folder / views[number], single_category(shown, number))
    yield Row(
        file_name=picture,
        mask_name=mask.as_posix(),
        text=pair.text or caption(pair.pixels),
        category_masks=tuple(view.as_posix() for view in views.values()),
    )
    for number, view in views.items():
        yield Row(file_name=picture, mask_name=view.as_posix(), text=caption([number]))


def _is_id_png(data: bytes, ids: NDArray[np.uint8]) -> bool:
    """Whether any reader of PNGs finds exactly these ids in the file."""
    if not data.startswith(b"\x89PNG"):
        return False
    file = read_mask_file(data, max_side=MAX_SIDE, min_side=MIN_SIDE)
    # Of grey below 8 bits most readers stretch the values (the header's byte 24 is the depth).
    return file.kind is SampleKind.GREY and data[24] == 8 and np.array_equal(file.samples, ids)


def _write(path: Path, ids: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(ids))
