"""Which files of a training set belong together: EarthSynth's layout.

`images/` and `masks/` hold files of the same stem, or `train.jsonl` says which are pairs and what the text is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from models.archives.names import shown_name
from models.cfcomp.pictures import PICTURE_SUFFIXES
from models.cfcomp.train_jsonl import FILE_NAME, Index, find_named, read_index

MASK_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".npy"})
_PICTURES, _MASKS = "images", "masks"


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
    if path.is_file():
        return named_pairs(read_index(path), lambda name: (folder / name).is_file())
    return match_files(folder)


def named_pairs(index: Index, has: Callable[[Path], bool]) -> Iterator[PairFiles | BadPair]:
    """Yield the pairs of an index. `has` says whether a relative path is a file of the set."""
    for number in index.bad_lines:
        yield BadPair(
            f"{FILE_NAME}:{number}",
            code="malformed_row",
            message="The line is no row of file_name, mask_name and text.",
        )
    for row in index.pairs:
        picture, mask = find_named(row.file_name, has), find_named(row.mask_name, has)
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
    """Yield the pictures and masks of one stem; files `without` (relative to the folder) are not looked at."""
    files = (path for room in (_PICTURES, _MASKS) for path in (folder / room).rglob("*") if path.is_file())
    names = (path.relative_to(folder) for path in files)
    return match_names(name for name in names if name not in without)


def match_names(names: Iterable[Path]) -> Iterator[PairFiles | BadPair]:
    """Yield the pictures and masks of one stem. "7_mask" also belongs to "7_image", as the authors' tool has it."""
    ordered = sorted(names)
    pictures = _by_stem(ordered, _PICTURES, PICTURE_SUFFIXES)
    masks = _by_stem(ordered, _MASKS, MASK_SUFFIXES)
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


def _by_stem(ordered: Iterable[Path], room: str, suffixes: frozenset[str]) -> dict[str, list[Path]]:
    """Return the files of a room by their path in it without suffix, in the order given."""
    found: dict[str, list[Path]] = {}
    for name in ordered:
        if name.parts[0] == room and name.suffix.lower() in suffixes and not name.name.startswith("."):
            found.setdefault(name.relative_to(room).with_suffix("").as_posix(), []).append(name)
    return found
