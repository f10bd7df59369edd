"""Model cards: what is offered, what is refused, and a card file that must be exactly a card."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from models.card_file import CARD_FILE, CardFacts, card_facts, read_card
from models.catalog import NANO_CHECKPOINT, catalog, earthsynth_card, find_model, nano_card
from models.errors import CategoryMismatch, InvalidInput, ModelUnavailable, UnknownModel
from models.model_card import Defaults, Scheduler, check_categories, check_size, model_digest, rarity_warnings

GOOD: dict[str, Any] = {
    "name": "nano",
    "version": "3",
    "title": "a title",
    "licence": "Apache-2.0",
    "category_ids": [8, 1, 4],
    "native_width": 256,
    "native_height": 128,
    "max_side": 512,
    "size_multiple": 8,
    "defaults": {
        "num_inference_steps": 12,
        "guidance_scale": 2,
        "controlnet_conditioning_scale": 1.0,
        "scheduler": "unipc",
        "negative_prompt": "",
    },
    "batch_size_cpu": 4,
    "batch_size_cuda": 16,
    "files": {"vae/config.json": "0" * 64, "model_index.json": "1" * 64},
}


def card_file(folder: Path, content: object) -> Path:
    (folder / CARD_FILE).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_the_shipped_card_is_read() -> None:
    card = nano_card()
    assert card.name == "nano"
    assert card.category_names == ("bare land", "road", "tree", "water", "building")
    assert (card.native_width, card.native_height, card.max_side, card.size_multiple) == (256, 256, 512, 8)
    assert card.base == card.controlnet == str(NANO_CHECKPOINT)


def test_the_shipped_card_pins_every_file_that_ships() -> None:
    shipped = [path for path in NANO_CHECKPOINT.rglob("*") if path.is_file() and path.name != CARD_FILE]
    hashes = {
        path.relative_to(NANO_CHECKPOINT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in shipped
    }
    assert hashes == nano_card().sha256
    assert sum(path.stat().st_size for path in shipped) <= 40_000_000


def test_a_card_file_becomes_a_card(tmp_path: Path) -> None:
    card = nano_card(card_file(tmp_path, GOOD))
    assert card.version == "3"
    assert card.category_ids == (1, 4, 8)
    assert card.defaults == Defaults(12, 2.0, 1.0, Scheduler.UNIPC, "")
    assert (card.batch_size_cpu, card.batch_size_cuda) == (4, 16)


def test_any_checkpoints_card_is_read_where_it_lies(tmp_path: Path) -> None:
    card = read_card(card_file(tmp_path, {**GOOD, "name": "farm", "training_counts": {"4": 12}}))
    assert (card.name, card.base, card.controlnet) == ("farm", str(tmp_path), str(tmp_path))
    assert (dict(card.training_counts), card.filter_of) == ({4: 12}, "")
    facts = json.loads(json.dumps(card_facts(card)))
    again = CardFacts.model_validate(facts).card(
        base=str(tmp_path), files=card.sha256, digest=str(card.digest)
    )
    assert again == card
    with pytest.raises(ModelUnavailable, match=r"has no earthsynth\.json"):
        read_card(tmp_path / "elsewhere")


def test_the_digest_is_sha256sums_own_format_sorted_and_hashed(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.write_text(f"model_index.json {'1' * 64}\nvae/config.json {'0' * 64}\n")
    program = shutil.which("sha256sum")
    assert program is not None
    expected = subprocess.run(
        [program, str(lines)], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    assert nano_card(card_file(tmp_path, GOOD)).digest == expected
    assert model_digest(GOOD["files"]) == expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": None}, "name"),
        ({"name": "Nano"}, "name"),
        ({"version": 1}, "version"),
        ({"category_ids": []}, "category_ids"),
        ({"category_ids": [0]}, "category_ids"),
        ({"category_ids": [67]}, "category_ids"),
        ({"native_width": 250}, "multiples of size_multiple"),
        ({"native_width": 1024}, "exceed max_side"),
        ({"size_multiple": 4}, "size_multiple"),
        ({"batch_size_cpu": 0}, "batch_size_cpu"),
        ({"extra": 1}, "extra"),
        ({"files": {}}, "files"),
        ({"files": {"../up.json": "0" * 64}}, "files"),
        ({"files": {"/etc/passwd": "0" * 64}}, "files"),
        ({"files": {"unet/../../up": "0" * 64}}, "files"),
        ({"files": {"unet/config.json": "0" * 63}}, "files"),
        ({"defaults": {**GOOD["defaults"], "scheduler": "ancestral"}}, "defaults.scheduler"),
        ({"defaults": {**GOOD["defaults"], "guidance_scale": 0.5}}, "defaults.guidance_scale"),
        ({"defaults": {**GOOD["defaults"], "steps": 3}}, "defaults.steps"),
    ],
)
def test_a_wrong_card_is_refused_by_the_name_of_its_fault(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(ModelUnavailable, match=named):
        nano_card(card_file(tmp_path, {**GOOD, **change}))


@pytest.mark.parametrize("missing", list(GOOD))
def test_a_card_that_lacks_something_is_refused(tmp_path: Path, missing: str) -> None:
    with pytest.raises(ModelUnavailable, match=missing):
        nano_card(card_file(tmp_path, {key: value for key, value in GOOD.items() if key != missing}))


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_file_that_is_no_card_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ModelUnavailable, match="not a model card"):
        nano_card(card_file(tmp_path, content))


def test_an_absent_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="run the recipe"):
        nano_card(tmp_path)


def test_earthsynth_has_its_authors_settings_and_the_pinned_controlnet() -> None:
    card = earthsynth_card()
    assert card.category_ids == tuple(range(1, 67))
    assert card.defaults == Defaults(20, 7.5, 1.0, Scheduler.UNIPC, "")
    assert (card.native_width, card.native_height, card.max_side) == (512, 512, 1024)
    assert (card.base, card.controlnet) == (
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "jaychempan/EarthSynth",
    )
    (pinned,) = card.sha256.values()
    assert pinned.startswith("72192a2f")
    assert card.digest is None


def test_only_what_is_named_is_offered() -> None:
    assert list(catalog(["nano"])) == ["nano"]
    cards = catalog(["earthsynth", "nano"], "/weights/base", "/weights/controlnet")
    assert list(cards) == ["earthsynth", "nano"]
    assert (cards["earthsynth"].base, cards["earthsynth"].controlnet) == (
        "/weights/base",
        "/weights/controlnet",
    )


def test_a_name_this_release_does_not_have_is_refused() -> None:
    with pytest.raises(UnknownModel, match="nano, earthsynth"):
        catalog(["nano", "sd15"])


def test_a_model_is_found_by_name_or_name_and_version() -> None:
    cards = catalog(["nano", "earthsynth"])
    assert find_model(cards, "nano") is cards["nano"]
    assert find_model(cards, f"nano@{cards['nano'].version}") is cards["nano"]
    assert find_model(cards, "earthsynth@1") is cards["earthsynth"]


@pytest.mark.parametrize(
    "wanted",
    ["sd15", "NANO", "nano ", " nano", "nano@", "nano@999", "@1", "../nano", "", "n" * 300, "na\x00no"],
)
def test_any_other_spelling_is_unknown_and_lists_what_is_offered(wanted: str) -> None:
    cards = catalog(["nano"])
    with pytest.raises(UnknownModel) as caught:
        find_model(cards, wanted)
    assert caught.value.code == "unknown_model"
    assert f"nano@{cards['nano'].version}" in caught.value.message
    assert caught.value.errors[0].pointer == "/model"
    assert len(caught.value.message) < 200


def test_categories_outside_the_models_own_are_refused_with_what_it_knows() -> None:
    check_categories(nano_card(), [0, 1, 4, 5, 6, 8, 255])
    with pytest.raises(CategoryMismatch) as caught:
        check_categories(nano_card(), [4, 25, 17])
    assert caught.value.code == "category_not_in_model"
    assert "ship, storage tank" in caught.value.message
    assert "bare land, road, tree, water, building" in caught.value.message


@pytest.mark.parametrize("size", [(8, 8), (512, 512), (256, 64)])
def test_sizes_of_the_models_grid_pass(size: tuple[int, int]) -> None:
    check_size(nano_card(), *size)


@pytest.mark.parametrize(
    ("size", "pointers"),
    [
        ((0, 8), ["/width"]),
        ((260, 256), ["/width"]),
        ((256, 520), ["/height"]),
        ((-8, 12), ["/width", "/height"]),
    ],
)
def test_other_sizes_are_refused_by_side(size: tuple[int, int], pointers: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_size(nano_card(), *size)
    assert caught.value.code == "unsupported_size"
    assert [error.pointer for error in caught.value.errors] == pointers


def test_rare_categories_carry_a_warning() -> None:
    card = earthsynth_card()
    assert rarity_warnings(card, [17, 2, 25, 0]) == ()
    (helipad,) = rarity_warnings(card, [17, 29])
    assert helipad.startswith("helipad: only about 20 ")
    assert len(rarity_warnings(card, [14, 27, 29, 29])) == 3
    assert rarity_warnings(nano_card(), [29]) == ()
