"""The manifest of a training set: an ordered list of pairs, or of shards, kept once under the sha256 of its lines.

`{tenant}/training-sets/{sha256}/entries-000000.jsonl`, `entries-000001.jsonl`, … hold 500 lines each; `set.json`,
written last and only once, says that the set exists. Pictures and masks lie under the sha256 of their bytes, so that
sets share them; shards stay where they were imported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from models.categories import CATEGORIES
from models.errors import NotFound
from worker.jobs import Frozen
from worker.manifest_lines import ManifestLines
from worker.mask_reading import MaskReading
from worker.storage import Storage

TRAINING_SET_ID = re.compile(r"tset_[0-9a-f]{64}")
FEW_PAIRS = 5  # a category in fewer finds no partners to exchange objects with


class Layout(StrEnum):
    PAIRS = "pairs"  # pictures and masks, each an object: read in any order
    SHARDS = "shards"  # WebDataset tar files: read from beginning to end


class PairEntry(Frozen):
    """Pair `number` of a set. `picture` and `mask` name files by their sha256; `text` is null where the mask says it.

    The mask is the stored form of EarthSynth ids, whatever was sent; the picture is what was sent.
    """

    number: int
    name: str
    picture: str
    mask: str
    width: int
    height: int
    category_ids: tuple[int, ...]
    text: str | None


class ShardEntry(Frozen):
    """Shard `number` of a set: an object of the tenant's imports, as it was when it was looked at."""

    number: int
    name: str
    path: str
    bytes: int
    etag: str


class ShardReading(Frozen):
    """How the pairs of shards are read, each time anew."""

    masks: MaskReading
    max_side: int


class TrainingSetCategory(Frozen):
    """`pairs` hold the category; `share` of all pixels of the set, 0 to 1."""

    id: int
    name: str
    pairs: int
    pixels: int
    share: float


class TrainingSetRecord(Frozen):
    """What is known of a set. `pages` are sha256 sums; `reading` is null where pairs are stored as they are read.

    `refused_pairs` counts what the upload that first made the set left out.
    """

    id: str
    layout: Layout
    pairs: int
    refused_pairs: int
    categories: tuple[TrainingSetCategory, ...]
    warnings: tuple[str, ...] = ()
    reading: ShardReading | None = None
    pages: tuple[str, ...]

    @property
    def frequencies(self) -> dict[int, float]:
        """The share of pairs that have a category, above 0, for each that there is."""
        return {found.id: found.pairs / self.pairs for found in self.categories}


class TrainingSetDraft:
    """A set in the making: entries go to a temporary file without a name, only sums stay in memory.

    A context manager, which gives the file back.
    """

    def __init__(self, reading: ShardReading | None = None) -> None:
        """`reading` counts towards the id: the same shards read otherwise are another set."""
        self._reading = reading
        self._lines = ManifestLines(b"" if reading is None else reading.model_dump_json().encode())
        self._pixels: Counter[int] = Counter()
        self._with: Counter[int] = Counter()
        self._area = 0
        self._pairs = 0

    def __enter__(self) -> TrainingSetDraft:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.__exit__()

    @property
    def entries(self) -> int:
        """How many there are until now."""
        return self._lines.count

    def add(self, entry: PairEntry | ShardEntry) -> None:
        """Appends a line."""
        self._lines.add(entry)

    def tally(self, pixels: Mapping[int, int], area: int) -> None:
        """Counts a pair; `pixels` are those of each category, `area` is all of them."""
        self._pairs += 1
        self._area += area
        self._pixels.update(pixels)
        self._with.update(pixels.keys())

    def record(self, refused_pairs: int) -> TrainingSetRecord:
        """The set's record as it stands now."""
        categories = tuple(
            TrainingSetCategory(
                id=number,
                name=CATEGORIES[number].name,
                pairs=self._with[number],
                pixels=self._pixels[number],
                share=self._pixels[number] / self._area,
            )
            for number in sorted(self._pixels)
        )
        return TrainingSetRecord(
            id=f"tset_{self._lines.digest}",
            layout=Layout.PAIRS if self._reading is None else Layout.SHARDS,
            pairs=self._pairs,
            refused_pairs=refused_pairs,
            categories=categories,
            warnings=tuple(
                f"few_pairs: {found.name} is in {found.pairs} of {self._pairs} pairs only: it will seldom find a "
                "partner, and hardly be learned"
                for found in categories
                if found.pairs < FEW_PAIRS
            ),
            reading=self._reading,
            pages=self._lines.pages,
        )

    def store(
        self, storage: Storage, tenant: str, record: TrainingSetRecord
    ) -> tuple[TrainingSetRecord, bool]:
        """Writes the pages, then the record; the files are there already. The flag says whether the set is new."""
        self._lines.store(storage, lambda page: _page_key(tenant, record.id, page))
        body = record.model_dump_json().encode()
        created = storage.create(_record_key(tenant, record.id), body, "application/json")
        return (record, True) if created else (find_training_set(storage, tenant, record.id), False)


def find_training_set(storage: Storage, tenant: str, set_id: str) -> TrainingSetRecord:
    """Raises NotFound (training_set_not_found): absent, or not this tenant's."""
    absent = NotFound("There is no such training set.", code="training_set_not_found")
    if not TRAINING_SET_ID.fullmatch(set_id):
        raise absent
    try:
        return TrainingSetRecord.model_validate_json(storage.read(_record_key(tenant, set_id)))
    except NotFound:
        raise absent from None


def pair_page(storage: Storage, tenant: str, record: TrainingSetRecord, page: int) -> tuple[PairEntry, ...]:
    """Pairs 500 * `page` and up to 499 more; raises Unavailable (object_damaged)."""
    return tuple(PairEntry.model_validate_json(line) for line in _lines(storage, tenant, record, page))


def shard_entries(storage: Storage, tenant: str, record: TrainingSetRecord) -> list[ShardEntry]:
    """Every shard in order; raises Unavailable (object_damaged)."""
    return [
        ShardEntry.model_validate_json(line)
        for page in range(len(record.pages))
        for line in _lines(storage, tenant, record, page)
    ]


def _lines(storage: Storage, tenant: str, record: TrainingSetRecord, page: int) -> list[bytes]:
    return storage.read_verified(_page_key(tenant, record.id, page), record.pages[page]).splitlines()


def _page_key(tenant: str, set_id: str, page: int) -> str:
    return f"{tenant}/training-sets/{set_id.removeprefix('tset_')}/entries-{page:06d}.jsonl"


def _record_key(tenant: str, set_id: str) -> str:
    return f"{tenant}/training-sets/{set_id.removeprefix('tset_')}/set.json"
