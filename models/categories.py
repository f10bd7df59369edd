"""EarthSynth's 67 categories, their other names and colours, the prompt grammar, and foreign label sets.

A category's id is the grey level that the ControlNet was trained on, so the order of the table is part of
the weights (arXiv 2505.12108, `jaychempan/EarthSynth`). Id 0 means "anything", not "nothing here".
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from models.errors import UnknownCategory

IGNORE = 255  # "do not judge this pixel": kept in labels, shown to the model as 0
IGNORE_COLOR = (255, 255, 255)  # in previews and colour masks; no category has it

_STUFF = range(12)  # background and the land covers 1 to 11: areas without instances, so without boxes

# (id, name as in the prompts, other names, colour). Colours are ours: distinct, and never grey except
# background, so that a coloured mask cannot be mistaken for EarthSynth's own equal-channel id mask.
_TABLE: tuple[tuple[int, str, str, int], ...] = (
    (0, "background", "unlabeled,unlabelled,other", 0x000000),
    (1, "bare land", "bareland,bare soil,bare ground,soil,sand", 0xC49C70),
    (2, "grass", "grassland,rangeland,lawn,meadow,herbaceous vegetation", 0x96DC5A),
    (3, "pavement", "paved area,paved surface,developed space,parking lot,car park", 0xA896B0),
    (4, "road", "street,roadway", 0x786E82),
    (5, "tree", "woody vegetation", 0x227832),
    (6, "water", "water body,lake,river,pond,sea", 0x1E6EDC),
    (7, "agriculture land", "agricultural land,agriculture,farmland,farm land,cropland,crop,field", 0xF0C83C),
    (8, "building", "house,roof,building footprint", 0xE23C28),
    (9, "forest land", "forest,woodland", 0x0A4A24),
    (10, "barren land", "barren,wasteland", 0x8C603C),
    (11, "urban land", "urban,urban area,built up area,city", 0xBE6E96),
    (12, "large vehicle", "truck,lorry", 0x04FFE9),
    (13, "swimming pool", "pool", 0xF904F7),
    (14, "helicopter", "chopper", 0x09F901),
    (15, "bridge", "", 0x01009D),
    (16, "plane", "airplane,aeroplane,aircraft", 0x7010F7),
    (17, "ship", "boat,vessel", 0x0DD876),
    (18, "soccer ball field", "soccer field,soccer pitch,football field,football pitch", 0x9A037D),
    (19, "basketball court", "basketball field", 0x87FED4),
    (20, "ground track field", "running track,athletics track,track field", 0x830B00),
    (21, "small vehicle", "car,automobile", 0xFD60FD),
    (22, "baseball diamond", "baseball field", 0x5BBB08),
    (23, "tennis court", "tennis field", 0x54BAFD),
    (24, "roundabout", "traffic circle,rotary", 0xFE0784),
    (25, "storage tank", "oil tank,fuel tank", 0x8366FC),
    (26, "harbor", "harbour,port,dock", 0x024E82),
    (27, "container crane", "gantry crane,port crane", 0x0419FB),
    (28, "airport", "airfield", 0xBD9601),
    (29, "helipad", "heliport,helicopter pad", 0xC1FA03),
    (30, "chimney", "smokestack", 0xDCFF84),
    (31, "expressway service area", "service area,rest area", 0x41A4A5),
    (32, "expressway toll station", "toll station,toll booth", 0xBB31C9),
    (33, "dam", "", 0x53299D),
    (34, "golf field", "golf course", 0x48FB3F),
    (35, "overpass", "flyover", 0xF97E37),
    (36, "stadium", "arena", 0x03BF2D),
    (37, "train station", "railway station", 0xD60001),
    (38, "vehicle", "", 0x56AA57),
    (39, "windmill", "wind turbine", 0x5AED93),
    (40, "A220", "airbus a220", 0x018F73),
    (41, "A321", "airbus a321", 0xF8459D),
    (42, "A330", "airbus a330", 0x01BFE8),
    (43, "A350", "airbus a350", 0xC486F6),
    (44, "ARJ21", "comac arj21", 0xFE85BB),
    (45, "Boeing737", "boeing 737,b737", 0xC03870),
    (46, "Boeing747", "boeing 747,b747", 0x738402),
    (47, "Boeing777", "boeing 777,b777", 0x842641),
    (48, "Boeing787", "boeing 787,b787", 0x003CC6),
    (49, "bus", "", 0x79F00C),
    (50, "C919", "comac c919", 0x4D3FE3),
    (51, "cargo truck", "freight truck", 0xFDBA87),
    (52, "dry cargo ship", "bulk carrier", 0xA83C01),
    (53, "dump truck", "tipper truck", 0x4EF3FD),
    (54, "engineering ship", "", 0x049601),
    (55, "excavator", "digger", 0x94AC36),
    (56, "fishing boat", "trawler", 0x3C03CC),
    (57, "intersection", "crossroad,road junction", 0x39D7C8),
    (58, "liquid cargo ship", "tanker,oil tanker", 0x396DA0),
    (59, "motorboat", "motor boat,speedboat", 0x6C8BD0),
    (60, "passenger ship", "cruise ship,ferry", 0x864FB9),
    (61, "tractor", "farm tractor", 0xBF0B44),
    (62, "trailer", "", 0xB501E7),
    (63, "truck tractor", "tractor unit", 0xF4FC31),
    (64, "tugboat", "tug,tug boat", 0x00F4A8),
    (65, "van", "", 0x7D04B8),
    (66, "warship", "naval ship,navy ship", 0x03FE48),
)


@dataclass(frozen=True, slots=True)
class Category:
    """One class: `id` is its value in masks, `color` RGB, `is_thing` whether it has instances."""

    id: int
    name: str
    aliases: tuple[str, ...]
    color: tuple[int, int, int]
    is_thing: bool


@dataclass(frozen=True, slots=True)
class Ontology:
    """A label set and its way into EarthSynth's ids.

    `id_map` maps its own mask values, `color_map` its published RGB colours, `name_map` its own class
    names, all to EarthSynth ids; 0 where EarthSynth has no such class. `source` is where it is published.
    """

    name: str
    title: str
    source: str
    id_map: dict[int, int]
    name_map: dict[str, int]
    color_map: dict[tuple[int, int, int], int]


def _rgb(value: int) -> tuple[int, int, int]:
    return value >> 16, value >> 8 & 255, value & 255


CATEGORIES: tuple[Category, ...] = tuple(
    Category(number, name, tuple(aliases.split(",")) if aliases else (), _rgb(color), number not in _STUFF)
    for number, name, aliases, color in _TABLE
)


def normal_name(name: str) -> str:
    """Return `name` in lower case with single spaces for runs of space, "_" and "-"."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _plural(name: str) -> str:
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "sh", "ch", "x")) else "s")


def _index() -> dict[str, Category]:
    index: dict[str, Category] = {}
    for category in CATEGORIES:
        for name in map(normal_name, (category.name, *category.aliases)):
            for form in (name, _plural(name)):
                if index.setdefault(form, category) is not category:
                    raise ValueError(f"{form!r} would mean {index[form].name} and {category.name}")
    return index


_BY_NAME = _index()


def find_category(name: str) -> Category:
    """Return the category of that name or alias, singular or plural, in any case.

    Raises:
        UnknownCategory: nobody is called so; the sentence offers the closest names.
    """
    key = normal_name(name)
    if found := _BY_NAME.get(key):
        return found
    close = sorted({_BY_NAME[match].name for match in difflib.get_close_matches(key[:64], _BY_NAME, n=3)})
    hint = f"did you mean {' or '.join(close)}?" if close else "GET /v1/categories lists all names."
    raise UnknownCategory(f"No category is called {name[:64]!r}; {hint}")


def caption(category_ids: Iterable[int]) -> str:
    """Return EarthSynth's prompt for these ids: ascending, background and ignore left out.

    Raises:
        UnknownCategory: an id above 66 that is not 255.
    """
    ids = sorted({int(number) for number in category_ids} - {0, IGNORE})
    if ids and not 0 < ids[0] <= ids[-1] < len(CATEGORIES):
        raise UnknownCategory(f"Category ids run from 0 to {len(CATEGORIES) - 1}; got {ids}.")
    names = ", ".join(CATEGORIES[number].name for number in ids)
    return f"A satellite image of {names}" if names else "A satellite image"


def _ontology(
    name: str,
    title: str,
    source: str,
    *classes: tuple[int | None, str, int | None, int],
) -> Ontology:
    """Build an ontology from (its own id, its own name, its colour, EarthSynth id) per class."""
    return Ontology(
        name=name,
        title=title,
        source=source,
        id_map={own: target for own, _, _, target in classes if own is not None},
        name_map={own_name: target for _, own_name, _, target in classes},
        color_map={_rgb(color): target for _, _, color, target in classes if color is not None},
    )


ONTOLOGIES: dict[str, Ontology] = {
    ontology.name: ontology
    for ontology in (
        Ontology(
            name="earthsynth",
            title="EarthSynth's own 67 categories",
            source="https://huggingface.co/jaychempan/EarthSynth",
            id_map={category.id: category.id for category in CATEGORIES},
            name_map={category.name: category.id for category in CATEGORIES},
            color_map={category.color: category.id for category in CATEGORIES} | {IGNORE_COLOR: IGNORE},
        ),
        _ontology(
            "openearthmap",
            "OpenEarthMap, 8 land covers",
            "https://open-earth-map.org",
            (0, "unknown", 0x000000, 0),
            (1, "bareland", 0x800000, 1),
            (2, "rangeland", 0x00FF24, 2),
            (3, "developed space", 0x949494, 3),
            (4, "road", 0xFFFFFF, 4),
            (5, "tree", 0x226126, 5),
            (6, "water", 0x0045FF, 6),
            (7, "agriculture land", 0x4BB549, 7),
            (8, "building", 0xDE1F07, 8),
        ),
        _ontology(
            "loveda",
            "LoveDA, 7 land covers",
            "https://github.com/Junjue-Wang/LoveDA",
            (0, "no-data", 0x000000, 0),
            (1, "background", 0xFFFFFF, 0),
            (2, "building", 0xFF0000, 8),
            (3, "road", 0xFFFF00, 4),
            (4, "water", 0x0000FF, 6),
            (5, "barren", 0x9F81B7, 10),
            (6, "forest", 0x00FF00, 9),
            (7, "agriculture", 0xFFC380, 7),
        ),
        _ontology(  # published as colours only: it has no ids of its own
            "deepglobe",
            "DeepGlobe land cover, 7 colours",
            "https://arxiv.org/abs/1805.06561",
            (None, "urban land", 0x00FFFF, 11),
            (None, "agriculture land", 0xFFFF00, 7),
            (None, "rangeland", 0xFF00FF, 2),  # as OpenEarthMap's rangeland, which is EarthSynth's grass
            (None, "forest land", 0x00FF00, 9),
            (None, "water", 0x0000FF, 6),
            (None, "barren land", 0xFFFFFF, 10),
            (None, "unknown", 0x000000, 0),
        ),
        _ontology(
            "flair",
            "IGN FLAIR, 19 land covers",
            "https://arxiv.org/abs/2211.12979",
            (1, "building", 0xDB0E9A, 8),
            (2, "pervious surface", 0x938E7B, 1),  # gravel and packed earth: bare ground seen from above
            (3, "impervious surface", 0xF80C00, 3),  # roads, squares and car parks in one: not only road
            (4, "bare soil", 0xA97101, 1),
            (5, "water", 0x1553AE, 6),
            (6, "coniferous", 0x194A26, 5),  # drawn tree by tree at 0.2 m, so tree rather than forest land
            (7, "deciduous", 0x46E483, 5),
            (8, "brushwood", 0xF3A60D, 2),  # low shrubs belong to rangeland, which is EarthSynth's grass
            (9, "vineyard", 0x660082, 7),
            (10, "herbaceous vegetation", 0x55FF00, 2),
            (11, "agricultural land", 0xFFF30D, 7),
            (12, "plowed land", 0xE4DF7C, 7),
            (13, "swimming pool", 0x3DE6EB, 13),
            (14, "snow", 0xFFFFFF, 0),  # no equivalent
            (15, "clear cut", 0x8AB3A0, 0),  # felled forest: neither forest nor bare; no equivalent
            (16, "mixed", 0x6B714F, 5),  # coniferous and deciduous trees mixed
            (17, "ligneous", 0xC5DC42, 5),  # woody plants of unsettled kind
            (18, "greenhouse", 0x9999FF, 8),  # a roofed structure
            (19, "other", 0x000000, 0),
        ),
    )
}


def get_ontology(name: str) -> Ontology:
    """Return the ontology of exactly that name.

    Raises:
        UnknownCategory: code "unknown_ontology".
    """
    try:
        return ONTOLOGIES[name]
    except KeyError:
        raise UnknownCategory(
            f"No ontology is called {name[:64]!r}; known are {', '.join(ONTOLOGIES)}.",
            code="unknown_ontology",
        ) from None
