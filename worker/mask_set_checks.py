"""The files of a mask set, checked one by one; what passes waits on disk until the whole set has passed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from tempfile import TemporaryFile
from typing import TypeVar

import numpy as np
from pydantic import TypeAdapter

from models.affine import shifted
from models.archives.entries import Refusal
from models.categories import IGNORE
from models.errors import EarthSynthError, UnknownCategory
from models.georeference import Georeference
from models.mask_tiles import cut_tiles
from models.masks import DecodedMask, Encoding, decode_mask
from models.pixel_values import CHUNK_PIXELS
from worker.lookahead import in_order
from worker.mask_records import mask_files
from worker.mask_set_manifest import MaskSetDraft
from worker.mask_set_sources import MaskSetRequest, SourceFile

CHECK_THREADS = min(4, os.cpu_count() or 1)  # each may hold a mask of the largest side
_ANY_SIDE = 65_536  # the limit was applied when the file was read
_REQUEST_CODES = {"invalid_label_map", "category_required"}  # wrong for every file alike
_GEOREFERENCE: TypeAdapter[Georeference | None] = TypeAdapter(Georeference | None)
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True, slots=True)
class Tile:
    """A checked mask of the set: its stored form, and what the manifest says of it."""

    png: bytes
    id: str
    name: str
    group: str
    decoded: DecodedMask
    pixels: dict[int, int]


class Spool:
    """Checked masks on their way into storage, in a temporary file without a name; equal ones once."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115  (closed by __exit__)
        self._known: set[bytes] = set()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, tile: Tile) -> str:
        """Returns the mask's id."""
        digest = bytes.fromhex(tile.id.removeprefix("msk_"))
        if digest not in self._known:
            self._known.add(digest)
            head = {
                "bytes": len(tile.png),
                "encoding": tile.decoded.encoding,
                "ontology": tile.decoded.ontology,
                "warnings": tile.decoded.warnings,
                "georeference": tile.decoded.georeference and asdict(tile.decoded.georeference),
            }
            self._file.write(json.dumps(head).encode() + b"\n" + tile.png)
        return tile.id

    def masks(self) -> Iterator[DecodedMask]:
        self._file.seek(0)
        while line := self._file.readline():
            head = json.loads(line)
            png = self._file.read(head["bytes"])
            ids = decode_mask(png, encoding=Encoding.CLASS_ID, ignore=True, max_side=_ANY_SIDE).ids
            yield DecodedMask(
                ids,
                Encoding(head["encoding"]),
                head["ontology"],
                tuple(head["warnings"]),
                _GEOREFERENCE.validate_python(head["georeference"]),
            )


def check_all(
    files: Iterable[SourceFile],
    asked: MaskSetRequest,
    max_side: int,
    draft: MaskSetDraft,
    spool: Spool,
    refused: list[Refusal],
) -> int:
    """Puts what can be used into the draft and the spool, and the rest into `refused`; returns how many files can."""

    def check(file: SourceFile) -> tuple[str, list[Tile] | EarthSynthError]:
        try:
            return file.name, _tiles(file, asked, max_side)
        except EarthSynthError as error:
            return file.name, error

    good = 0
    with ThreadPoolExecutor(CHECK_THREADS) as threads:
        for name, found in in_order(threads, check, files, ahead=CHECK_THREADS):
            if isinstance(found, EarthSynthError):
                if isinstance(found, UnknownCategory) or found.code in _REQUEST_CODES:
                    raise found
                refused.append(Refusal(name, found.code, found.message))
                continue
            good += 1
            if refused and not asked.partial:  # the answer is a refusal already, which only needs its list
                continue
            for tile in found:
                height, width = tile.decoded.ids.shape
                draft.add(
                    spool.add(tile),
                    name=tile.name,
                    group=tile.group,
                    width=width,
                    height=height,
                    pixels=tile.pixels,
                    warnings=tile.decoded.warnings,
                )
    return good


def _tiles(file: SourceFile, asked: MaskSetRequest, max_side: int) -> list[Tile]:
    if isinstance(file.content, EarthSynthError):
        raise file.content
    whole = asked.decode(file.content, max_side=max_side)
    stored = mask_files(whole)
    group = stored.id
    if asked.tile_size is None or whole.ids.shape == (asked.tile_size, asked.tile_size):
        return [Tile(stored.png, stored.id, file.name, group, whole, _pixels(whole))]
    kept = tuple(warning for warning in whole.warnings if not warning.startswith("single_class"))
    tiles = []
    for left, top, ids in cut_tiles(whole.ids, asked.tile_size):
        single = (f"single_class: every pixel is {ids[0, 0]}",) if (ids == ids[0, 0]).all() else ()
        place = whole.georeference and whole.georeference.of_part(shifted(left, top))
        tile = DecodedMask(np.ascontiguousarray(ids), whole.encoding, whole.ontology, kept + single, place)
        stored = mask_files(tile)
        tiles.append(Tile(stored.png, stored.id, f"{file.name}#{left},{top}", group, tile, _pixels(tile)))
    return tiles


def _pixels(decoded: DecodedMask) -> dict[int, int]:
    flat, counts = decoded.ids.ravel(), np.zeros(256, np.int64)
    for start in range(0, flat.size, CHUNK_PIXELS):
        counts += np.bincount(flat[start : start + CHUNK_PIXELS], minlength=256)
    return {int(number): int(counts[number]) for number in np.flatnonzero(counts) if number != IGNORE}
