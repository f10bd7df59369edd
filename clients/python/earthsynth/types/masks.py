"""Masks and sets of masks."""

from __future__ import annotations

from earthsynth.types.records import Georeference, Record


class MaskCategory(Record):
    """`share` of all pixels, 0 to 1; `components` counts 8-connected areas."""

    id: int
    name: str
    pixels: int = 0
    share: float = 0.0
    components: int = 0


class MaskData(Record):
    """A stored mask; its id is the sha256 of its content, so equal masks have equal ids.

    `georeference`: where it lies, if it says so. `instances`: how many objects it tells apart, if it does.
    """

    id: str
    width: int
    height: int
    encoding: str = ""
    ontology: str = ""
    categories: list[MaskCategory] = []
    warnings: list[str] = []
    preview_url: str | None = None
    georeference: Georeference | None = None
    instances: int | None = None


class Refused(Record):
    """A file or a pair that is not in the set, and why."""

    name: str
    code: str
    message: str


class MaskSetCategory(Record):
    """`masks` hold the category, `labelled_masks` at least 1 % of it; `share` of all pixels, 0 to 1."""

    id: int
    name: str
    masks: int = 0
    labelled_masks: int = 0
    pixels: int = 0
    share: float = 0.0


class MaskSet(Record):
    """`masks` of `files` files. `refused` and `ignored` are known of an upload only."""

    id: str
    masks: int
    files: int = 0
    width: int | None = None
    height: int | None = None
    categories: list[MaskSetCategory] = []
    warnings: list[str] = []
    refused: list[Refused] = []
    ignored: list[str] = []
