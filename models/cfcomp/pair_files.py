"""Which files of a training set belong together: EarthSynth's layout.

`images/` and `masks/` hold files of the same stem, or `train.jsonl` says which are pairs and what the text is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from models.archives.names import shown_name
from models.cfcomp.pictures import PICTURE_SUFFIXES
from models.cfcomp.train_jsonl import FILE_NAME, find_named, read_index

MASK_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".npy"})


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Where a pair lies, relative to its folder. `text` is null where the mask alone says it."""

    name: str
    picture: Path
    mask: Path
    text: str | None = None


@dataclass(frozen=True, slots=True)
class BadPair:
    """A pair that is not trained on: `code` and `message` as an error of `models.errors` has them."""

    name: str
    code: str
    message: str


def list_pairs(folder: Path) -> Iterator[PairFiles | BadPair]:
    """Yield the pairs that `train.jsonl` names, or without one those of `images/` and `masks/`, by name."""
    path = folder / FILE_NAME
    if not path.is_file():
        yield from match_files(folder)
        return
    index = read_index(path)
    for number in index.bad_lines:
        yield BadPair(
            f"{FILE_NAME}:{number}",
            code="malformed_row",
            message="The line is no row of file_name, mask_name and text.",
        )
    for row in index.pairs:
        picture, mask = find_named(folder, row.file_name), find_named(folder, row.mask_name)
        if picture is None:
            yield BadPair(
                shown_name(row.file_name),
                code="missing_picture",
                message="The folder has no picture of that name.",
            )
        elif mask is None:
            yield BadPair(
                shown_name(row.mask_name), code="missing_mask", message="The folder has no mask of that name."
            )
        else:
            yield PairFiles(shown_name(picture.as_posix()), picture, mask, row.text)


def match_files(folder: Path, without: Collection[Path] = ()) -> Iterator[PairFiles | BadPair]:
    """Yield the pictures and masks of one stem. "7_mask" also belongs to "7_image", as the authors' tool has it.

    Files `without` (relative to the folder) are not looked at.
    """
    pictures, masks = (
        _by_stem(folder, "images", PICTURE_SUFFIXES, without),
        _by_stem(folder, "masks", MASK_SUFFIXES, without),
    )
    for stem, found in masks.items():
        own = stem if stem in pictures else stem.replace("mask", "image")
        matching = pictures.pop(own, [])
        if len(found) > 1 or len(matching) > 1:
            files = ", ".join(path.as_posix() for path in (*matching, *found))
            yield BadPair(shown_name(stem), code="duplicate_name", message=f"Which belong together? {files}")
        elif not matching:
            yield BadPair(
                shown_name(found[0].as_posix()),
                code="missing_picture",
                message="There is no picture of that stem in images/.",
            )
        else:
            yield PairFiles(shown_name(matching[0].as_posix()), matching[0], found[0])
    for left in pictures.values():
        yield BadPair(
            shown_name(left[0].as_posix()),
            code="missing_mask",
            message="There is no mask of that stem in masks/.",
        )


def _by_stem(
    folder: Path, room: str, suffixes: frozenset[str], without: Collection[Path]
) -> dict[str, list[Path]]:
    """Return the files under a room by their path in it without suffix, sorted."""
    found: dict[str, list[Path]] = {}
    for path in sorted((folder / room).rglob("*")):
        relative = path.relative_to(folder)
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or relative in without:
            continue
        if path.is_file():
            stem = path.relative_to(folder / room).with_suffix("").as_posix()
            found.setdefault(stem, []).append(relative)
    return found
