"""The vocabulary against the published list, and every rule that other rooms rely on."""

from __future__ import annotations

import colorsys
import itertools
import subprocess
import sys

import pytest

from models.categories import (
    CATEGORIES,
    IGNORE,
    IGNORE_COLOR,
    ONTOLOGIES,
    caption,
    find_category,
    get_ontology,
)
from models.errors import UnknownCategory

# The published order, written out a second time: id = position.
PUBLISHED = """
background bare_land grass pavement road tree water agriculture_land building forest_land
barren_land urban_land large_vehicle swimming_pool helicopter bridge plane ship soccer_ball_field
basketball_court ground_track_field small_vehicle baseball_diamond tennis_court roundabout
storage_tank harbor container_crane airport helipad chimney expressway_service_area
expressway_toll_station dam golf_field overpass stadium train_station vehicle windmill A220 A321
A330 A350 ARJ21 Boeing737 Boeing747 Boeing777 Boeing787 bus C919 cargo_truck dry_cargo_ship
dump_truck engineering_ship excavator fishing_boat intersection liquid_cargo_ship motorboat
passenger_ship tractor trailer truck_tractor tugboat van warship
"""  # "_" stands for a space


def test_the_table_is_the_published_list() -> None:
    assert [category.name.replace(" ", "_") for category in CATEGORIES] == PUBLISHED.split()
    assert [category.id for category in CATEGORIES] == list(range(67))


def test_stuff_is_0_to_11_and_everything_else_a_thing() -> None:
    assert [category.id for category in CATEGORIES if not category.is_thing] == list(range(12))


def test_colours_are_distinct_to_the_eye_and_never_grey() -> None:
    colors = [category.color for category in CATEGORIES] + [IGNORE_COLOR]
    for one, two in itertools.combinations(colors, 2):
        assert sum(abs(a - b) for a, b in zip(one, two, strict=True)) >= 40, (one, two)
    for category in CATEGORIES[1:]:
        assert colorsys.rgb_to_hsv(*category.color)[1] > 0.05
        assert len(set(category.color)) > 1


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("cars", "small vehicle"),
        ("Farmland", "agriculture land"),
        ("airplane", "plane"),
        ("storage_tanks", "storage tank"),
        ("  Storage-Tank ", "storage tank"),
        ("buildings", "building"),
        ("houses", "building"),
        ("forest", "forest land"),
        ("trees", "tree"),
        ("lorries", "large vehicle"),
        ("buses", "bus"),
        ("boats", "ship"),
        ("harbour", "harbor"),
        ("boeing 747", "Boeing747"),
        ("a220", "A220"),
    ],
)
def test_users_words_find_their_category(word: str, name: str) -> None:
    assert find_category(word).name == name


def test_every_name_and_alias_finds_its_own_category() -> None:
    for category in CATEGORIES:
        for name in (category.name, *category.aliases):
            assert find_category(name.upper()) is category


@pytest.mark.parametrize("word", ["", " ", "spaceship station", "x" * 100_000, "\x00", "buildin\u0131"])
def test_an_unknown_name_is_refused(word: str) -> None:
    with pytest.raises(UnknownCategory) as refused:
        find_category(word)
    assert refused.value.code == "unknown_category"
    assert len(refused.value.message) < 400


def test_a_near_miss_is_offered_the_right_name() -> None:
    with pytest.raises(UnknownCategory, match=r"did you mean .*storage tank"):
        find_category("storag tank")


def test_caption_follows_the_prompt_grammar() -> None:
    assert caption([25]) == "A satellite image of storage tank"
    assert caption([8, 4, 0, 4, IGNORE]) == "A satellite image of road, building"
    assert caption([0]) == caption([]) == "A satellite image"
    assert caption(iter([46, 16])) == "A satellite image of plane, Boeing747"


@pytest.mark.parametrize("number", [67, 254, -1, 1000])
def test_caption_refuses_ids_it_does_not_know(number: int) -> None:
    with pytest.raises(UnknownCategory):
        caption([4, number])


def test_ontologies_lead_only_to_known_ids() -> None:
    assert list(ONTOLOGIES) == ["earthsynth", "openearthmap", "loveda", "deepglobe", "flair"]
    for ontology in ONTOLOGIES.values():
        targets = {*ontology.id_map.values(), *ontology.name_map.values(), *ontology.color_map.values()}
        assert targets - {IGNORE} <= set(range(67))
        assert set(ontology.name_map.values()) == set(ontology.color_map.values()) - {IGNORE}


def test_published_maps() -> None:
    assert get_ontology("openearthmap").id_map == {n: n for n in range(9)}
    assert get_ontology("loveda").id_map == {0: 0, 1: 0, 2: 8, 3: 4, 4: 6, 5: 10, 6: 9, 7: 7}
    deepglobe = get_ontology("deepglobe")
    assert deepglobe.id_map == {}
    assert CATEGORIES[deepglobe.color_map[(0, 255, 255)]].name == "urban land"
    assert CATEGORIES[deepglobe.color_map[(255, 255, 255)]].name == "barren land"
    flair = get_ontology("flair")
    assert sorted(flair.id_map) == list(range(1, 20))
    assert len(flair.color_map) == 19
    assert CATEGORIES[flair.name_map["swimming pool"]].name == "swimming pool"
    assert flair.color_map[(0x15, 0x53, 0xAE)] == flair.id_map[5] == find_category("water").id


def test_an_unknown_ontology_is_refused_by_name() -> None:
    with pytest.raises(UnknownCategory, match="earthsynth, openearthmap") as refused:
        get_ontology("Flair")
    assert refused.value.code == "unknown_ontology"


def test_importing_categories_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, models.categories; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
