"""The manifest of a mask set: an ordered list of stored masks, kept once under the sha256 of its lines.

`{tenant}/mask-sets/{sha256}/entries-000000.jsonl`, `entries-000001.jsonl`, … hold 500 entries each, so that
entry n is one read; `set.json`, written last and only once, says that the set exists.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from models.categories import CATEGORIES, IGNORE
from models.errors import InvalidInput, NotFound
from worker.jobs import Frozen
from worker.manifest_lines import PAGE_LINES, ManifestLines
from worker.storage import Storage

MASK_SET_ID = re.compile(r"mset_[0-9a-f]{64}")
MAX_MASKS = 100_000  # of one set, tiles counted singly
_LISTED_SIZES = 1_000  # of a set's record
LABEL_SHARE = 0.01  # from this share of a mask on, a category is one of its image-level labels


class MaskSetEntry(Frozen):
    """Mask `number` of a set. `group` is the mask file it comes from: its samples are never in two splits.

    `name` is the file's, and "#left,top" for a tile. `category_ids` leave background and ignore out; `shares`
    are of all pixels, in the same order.
    """

    number: int
    mask_id: str
    name: str
    group: str
    width: int
    height: int
    category_ids: tuple[int, ...]
    shares: tuple[float, ...]


class MaskSetCategory(Frozen):
    """`masks` hold the category, `labelled_masks` at least 1 % of it; `share` of all pixels of the set, 0 to 1."""

    id: int
    name: str
    masks: int
    labelled_masks: int
    pixels: int
    share: float


class MaskSetRecord(Frozen):
    """What is known of a set. `width` and `height` are null where its masks differ; `pages` are sha256 sums.

    `sizes`: (width, height, masks) of each size there is; null where there are too many of them, and in older sets.
    """

    id: str
    masks: int
    files: int
    width: int | None
    height: int | None
    sizes: tuple[tuple[int, int, int], ...] | None = None
    categories: tuple[MaskSetCategory, ...]
    warnings: tuple[str, ...] = ()
    pages: tuple[str, ...]


class MaskSetDraft:
    """A set in the making: entries go to a temporary file without a name, only sums stay in memory.

    A context manager, which gives the file back.
    """

    def __init__(self) -> None:
        self._lines = ManifestLines()
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._pixels: Counter[int] = Counter()
        self._masks: Counter[int] = Counter()
        self._labelled: Counter[int] = Counter()
        self._area = 0
        self._warned: Counter[str] = Counter()
        self._first_warning: dict[str, str] = {}

    def __enter__(self) -> MaskSetDraft:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.__exit__()

    @property
    def masks(self) -> int:
        """How many there are until now."""
        return self._lines.count

    def add(
        self,
        mask_id: str,
        *,
        name: str,
        group: str,
        width: int,
        height: int,
        pixels: Mapping[int, int],
        warnings: Sequence[str] = (),
    ) -> None:
        """Appends a mask; `pixels` counts those of each id, 255 left out.

        Raises InvalidInput with code `too_many_masks`.
        """
        if self.masks == MAX_MASKS:
            raise InvalidInput(
                f"A mask set has at most {MAX_MASKS} masks, tiles counted singly; send it in parts.",
                code="too_many_masks",
            )
        area = width * height
        found = sorted(number for number in pixels if number not in {0, IGNORE})
        entry = MaskSetEntry(
            number=self.masks,
            mask_id=mask_id,
            name=name,
            group=group,
            width=width,
            height=height,
            category_ids=tuple(found),
            shares=tuple(round(pixels[number] / area, 6) for number in found),
        )
        self._lines.add(entry)
        self._area += area
        self._sizes[width, height] += 1
        self._pixels.update(pixels)
        self._masks.update(pixels.keys())
        self._labelled.update(number for number, count in pixels.items() if count >= LABEL_SHARE * area)
        for warning in warnings:
            word, _, sentence = warning.partition(": ")
            self._warned[word] += 1
            self._first_warning.setdefault(word, f"{name}: {sentence}")

    def record(self, files: int) -> MaskSetRecord:
        """The set's record, made of `files` files, as it stands now."""
        width, height = next(iter(self._sizes)) if len(self._sizes) == 1 else (None, None)
        return MaskSetRecord(
            id=f"mset_{self._lines.digest}",
            masks=self.masks,
            files=files,
            width=width,
            height=height,
            sizes=tuple((*size, count) for size, count in sorted(self._sizes.items()))
            if len(self._sizes) <= _LISTED_SIZES
            else None,
            categories=tuple(
                MaskSetCategory(
                    id=number,
                    name=CATEGORIES[number].name,
                    masks=self._masks[number],
                    labelled_masks=self._labelled[number],
                    pixels=self._pixels[number],
                    share=self._pixels[number] / self._area,
                )
                for number in sorted(self._pixels)
            ),
            warnings=tuple(
                f"{word}: {count} of {self.masks} masks, the first is {self._first_warning[word]}"
                for word, count in self._warned.items()
            ),
            pages=self._lines.pages,
        )

    def store(self, storage: Storage, tenant: str, record: MaskSetRecord) -> tuple[MaskSetRecord, bool]:
        """Writes the pages, then the record; the masks are there already. The flag says whether the set is new."""
        self._lines.store(storage, lambda page: _page_key(tenant, record.id, page))
        body = record.model_dump_json().encode()
        created = storage.create(_record_key(tenant, record.id), body, "application/json")
        return (record, True) if created else (find_mask_set(storage, tenant, record.id), False)


def find_mask_set(storage: Storage, tenant: str, set_id: str) -> MaskSetRecord:
    """Raises NotFound (mask_set_not_found): absent, or not this tenant's."""
    absent = NotFound("There is no such mask set.", code="mask_set_not_found")
    if not MASK_SET_ID.fullmatch(set_id):
        raise absent
    try:
        return MaskSetRecord.model_validate_json(storage.read(_record_key(tenant, set_id)))
    except NotFound:
        raise absent from None


def entries(
    storage: Storage, tenant: str, record: MaskSetRecord, first: int, count: int
) -> list[MaskSetEntry]:
    """Entries `first` to `first + count - 1`, as far as there are any; reads only their pages."""
    last = min(first + count, record.masks) - 1
    found = [
        entry
        for page in range(first // PAGE_LINES, last // PAGE_LINES + 1)
        for entry in _page(storage, tenant, record, page)
    ]
    return [entry for entry in found if first <= entry.number <= last]


def iterate(storage: Storage, tenant: str, record: MaskSetRecord) -> Iterator[MaskSetEntry]:
    """Every entry in order, one page in memory at a time."""
    for page in range(len(record.pages)):
        yield from _page(storage, tenant, record, page)


def sizes_of(storage: Storage, tenant: str, record: MaskSetRecord) -> Counter[tuple[int, int]]:
    """How many masks of the set have each (width, height)."""
    if record.sizes is not None:
        return Counter({(width, height): masks for width, height, masks in record.sizes})
    return Counter((entry.width, entry.height) for entry in iterate(storage, tenant, record))


def _page(storage: Storage, tenant: str, record: MaskSetRecord, page: int) -> list[MaskSetEntry]:
    body = storage.read_verified(_page_key(tenant, record.id, page), record.pages[page])
    return [MaskSetEntry.model_validate_json(line) for line in body.splitlines()]


def _page_key(tenant: str, set_id: str, page: int) -> str:
    return f"{tenant}/mask-sets/{set_id.removeprefix('mset_')}/entries-{page:06d}.jsonl"


def _record_key(tenant: str, set_id: str) -> str:
    return f"{tenant}/mask-sets/{set_id.removeprefix('mset_')}/set.json"
