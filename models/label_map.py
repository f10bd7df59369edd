"""What a mask's numbers and colours mean: an ontology, or the caller's own label map."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from models.categories import CATEGORIES, IGNORE, Ontology, find_category, normal_name
from models.errors import MaskRefused, UnknownCategory

LABEL_MAP = "label_map"  # the name that stands in place of an ontology's
MAX_SOURCE_ID = 65_535  # a mask's own values are at most 16 bits

_HEX = re.compile(r"#([0-9a-fA-F]{6})")
_TRIPLE = re.compile(r"(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})")
_NUMBER = re.compile(r"\d{1,5}")
_NO_CLASS = {"unknown", "no-data", "background", "other"}  # foreign names that lose nothing as background


@dataclass(frozen=True, slots=True)
class Meaning:
    """The EarthSynth id of each source value; colours are packed as 0xRRGGBB.

    `lost_ids` and `lost_colors` are real classes of the source without an EarthSynth category (they map to 0).
    """

    name: str
    title: str
    ids: Mapping[int, int]
    colors: Mapping[int, int]
    lost_ids: frozenset[int] = field(default=frozenset())
    lost_colors: frozenset[int] = field(default=frozenset())

    @property
    def is_own(self) -> bool:
        """Whether this is EarthSynth's own vocabulary."""
        return self.name == "earthsynth"


def pack(color: tuple[int, int, int]) -> int:
    """Return an RGB colour as 0xRRGGBB."""
    return color[0] << 16 | color[1] << 8 | color[2]


def meaning_of(ontology: Ontology) -> Meaning:
    """Return what an ontology's ids and colours mean."""
    classes = list(ontology.name_map.items())
    lost = [target == 0 and name not in _NO_CLASS for name, target in classes]
    return Meaning(
        name=ontology.name,
        title=ontology.title,
        ids=ontology.id_map,
        colors={pack(color): target for color, target in ontology.color_map.items()},
        lost_ids=frozenset(own for own, is_lost in zip(ontology.id_map, lost, strict=False) if is_lost),
        lost_colors=frozenset(
            pack(color) for color, is_lost in zip(ontology.color_map, lost, strict=False) if is_lost
        ),
    )


def read_label_map(label_map: Mapping[str, int | str]) -> Meaning:
    """Return what a caller's label map says.

    Each entry is a source and its category, in this order or the other:
    `{"#ff0000": "building", "0,255,0": 5, "12": "road"}` or `{"building": "#ff0000", "road": 12}`. A source is
    a colour ("#rrggbb" or "r,g,b") or one of the file's own values (0 to 65535); a category is a name, an
    alias, an id (0 to 66), or "ignore" (255). Colours and values do not mix in one map.

    Raises:
        MaskRefused: code "invalid_label_map".
        UnknownCategory: a name that nobody knows.
    """
    ids: dict[int, int] = {}
    colors: dict[int, int] = {}
    for key, value in label_map.items():
        by_source = _source(key) is not None
        source, category = _source(key if by_source else str(value)), value if by_source else key
        if source is None:
            raise _invalid(f'the entry "{key[:40]}" names neither a colour nor a value of the file')
        target, (is_color, number) = _category_id(category), source
        known = colors if is_color else ids
        if known.setdefault(number, target) != target:
            raise _invalid(f'"{key[:40]}" is mapped twice, to {known[number]} and to {target}')
    if bool(ids) == bool(colors):
        raise _invalid("it mixes colours and values" if ids else "it is empty")
    return Meaning(LABEL_MAP, "the label_map", ids, colors)


def _source(text: str) -> tuple[bool, int] | None:
    """Return (whether it is a colour, packed colour or value), None where the text is neither."""
    text = text.strip()
    if match := _HEX.fullmatch(text):
        return True, int(match[1], 16)
    if match := _TRIPLE.fullmatch(text):
        red, green, blue = (int(part) for part in match.groups())
        return (True, pack((red, green, blue))) if max(red, green, blue) < 256 else None
    if _NUMBER.fullmatch(text) and int(text) <= MAX_SOURCE_ID:
        return False, int(text)
    return None


def _category_id(category: int | str) -> int:
    if isinstance(category, str) and not _NUMBER.fullmatch(category.strip()):
        return IGNORE if normal_name(category) == "ignore" else find_category(category).id
    number = int(category)
    if isinstance(category, bool) or not (0 <= number < len(CATEGORIES) or number == IGNORE):
        raise UnknownCategory(
            f"The label_map names category {category}; ids run from 0 to {len(CATEGORIES) - 1}."
        )
    return number


def _invalid(reason: str) -> MaskRefused:
    return MaskRefused(
        f'The label_map cannot be used: {reason}. Send for example {{"#ff0000": "building", "#0000ff": "water"}} '
        'for colours or {"1": "building", "2": "water"} for values.',
        code="invalid_label_map",
    )
