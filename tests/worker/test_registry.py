"""The model registry on a real S3 server: numbers given once, manifests written once, names that can go back."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from models.card_file import CARD_FILE
from models.catalog import NANO_CHECKPOINT, nano_card
from models.errors import Conflict, InvalidInput, ModelUnavailable, UnknownModel
from models.model_card import model_digest
from tests.worker.published import CONTROLNET, changed_nano, provenance, publish, registry_of
from tests.worker.records import make_job
from worker.jobs import new_job_id, now
from worker.layout import model_manifest_key, model_promotions_prefix, model_reservation_key, result_key
from worker.model_reservations import Reservation
from worker.registry import ModelRegistry
from worker.results import store_request
from worker.storage import Storage

CONFIG = {"unet/config.json": b"{}", "model_index.json": b"[]"}


@pytest.fixture
def registry(storage: Storage) -> ModelRegistry:
    return registry_of(storage)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder that stands for a checkpoint where nothing is loaded."""
    for name, content in CONFIG.items():
        path = tmp_path / "small" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "small" / CARD_FILE).write_text("{}")
    return tmp_path / "small"


def at_once(calls: int, call: Callable[[int], Any]) -> list[Any]:
    """What each call returned or raised, all made at the same time."""

    def one(number: int) -> Any:
        try:
            return call(number)
        except Conflict as error:
            return error.code

    with ThreadPoolExecutor(calls) as threads:
        return list(threads.map(one, range(calls)))


def test_a_published_version_is_found_with_the_hash_of_every_file(
    registry: ModelRegistry, storage: Storage, tmp_path: Path
) -> None:
    folder = changed_nano(tmp_path / "farm")
    card = publish(registry, "farm", folder)
    expected = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != CARD_FILE
    }
    assert dict(card.sha256) == expected
    assert expected[CONTROLNET] != nano_card().sha256[CONTROLNET]
    assert card.digest == model_digest(expected)
    assert (card.base, card.controlnet, card.filter_of) == ("", "", "nano")
    assert registry_of(storage).find("local", "farm@1") == registry.find("local", "farm") == card
    manifest = registry.manifest("local", "farm", "1")
    assert (manifest.base, manifest.data, manifest.recipe) == ("nano@2", {"pairs": 7}, {"steps": 3})
    assert manifest.files[CONTROLNET].bytes == (folder / CONTROLNET).stat().st_size


def test_versions_share_the_files_that_are_equal(
    registry: ModelRegistry, storage: Storage, tmp_path: Path
) -> None:
    publish(registry, "farm", changed_nano(tmp_path / "one", 1))
    stored = set(storage.keys("local/model-files/"))
    assert len(stored) == len(nano_card().sha256)
    publish(registry, "farm", changed_nano(tmp_path / "two", 2))
    (new,) = set(storage.keys("local/model-files/")) - stored
    assert new.endswith(hashlib.sha256((tmp_path / "two" / CONTROLNET).read_bytes()).hexdigest())


def test_a_repeated_attempt_adopts_what_it_published_before(registry: ModelRegistry, small: Path) -> None:
    made = provenance()
    card = replace(
        nano_card(),
        name="farm",
        version=registry.reserve("local", "farm", made.training_id, new_version=False),
    )
    first = registry.publish("local", card, small, made)
    (small / "unet" / "config.json").write_text('{"other": true}')
    assert registry.publish("local", card, small, made) == first
    with pytest.raises(Conflict) as caught:
        registry.publish("local", card, small, provenance())
    assert caught.value.code == "model_version_taken"


def test_another_trainings_number_cannot_be_published(
    registry: ModelRegistry, storage: Storage, small: Path
) -> None:
    version = registry.reserve("local", "farm", new_job_id(), new_version=False)
    card = replace(nano_card(), name="farm", version=version)
    with pytest.raises(Conflict) as caught:
        registry.publish("local", card, small, provenance())
    assert caught.value.code == "model_version_taken"
    assert not list(storage.keys("local/model-files/"))


@pytest.mark.parametrize("new_version", [False, True])
def test_of_twenty_trainings_that_want_one_name_one_gets_it(
    registry: ModelRegistry, new_version: bool
) -> None:
    found = at_once(20, lambda _: registry.reserve("local", "farm", new_job_id(), new_version=new_version))
    assert sorted(found) == ["1", *["model_name_in_use"] * 19]


def test_of_twenty_attempts_to_publish_one_version_all_return_the_same(
    registry: ModelRegistry, small: Path
) -> None:
    made = provenance()
    card = replace(
        nano_card(),
        name="farm",
        version=registry.reserve("local", "farm", made.training_id, new_version=False),
    )
    cards = at_once(20, lambda _: registry.publish("local", card, small, made))
    assert all(found == cards[0] for found in cards)


def test_a_name_with_versions_needs_new_version_said(registry: ModelRegistry, small: Path) -> None:
    assert publish(registry, "farm", small).version == "1"
    with pytest.raises(Conflict, match="farm@2"):
        registry.reserve("local", "farm", new_job_id(), new_version=False)
    job_id = new_job_id()
    assert registry.reserve("local", "farm", job_id, new_version=True) == "2"
    assert registry.reserve("local", "farm", job_id, new_version=True) == "2"


def reserved_at(storage: Storage, job_id: str, *, seconds_ago: float) -> None:
    body = Reservation(job_id=job_id, at=now() - timedelta(seconds=seconds_ago)).model_dump_json().encode()
    storage.create(model_reservation_key("local", "farm", "1"), body, "application/json")


def test_a_training_that_ended_without_a_version_does_not_hold_the_name(
    registry: ModelRegistry, storage: Storage
) -> None:
    job = make_job()
    store_request(storage, job)
    reserved_at(storage, job.id, seconds_ago=86_400)
    with pytest.raises(Conflict, match=job.id):  # it is stored and has not ended
        registry.reserve("local", "farm", new_job_id(), new_version=True)
    storage.create(result_key("local", job.id), b"{}", "application/json")
    assert registry.reserve("local", "farm", new_job_id(), new_version=False) == "2"


@pytest.mark.parametrize(("seconds_ago", "held"), [(30, True), (61, False)])
def test_a_job_that_was_never_stored_holds_the_name_for_a_minute(
    registry: ModelRegistry, storage: Storage, seconds_ago: float, held: bool
) -> None:
    reserved_at(storage, new_job_id(), seconds_ago=seconds_ago)
    found = at_once(1, lambda _: registry.reserve("local", "farm", new_job_id(), new_version=False))
    assert found == ["model_name_in_use" if held else "2"]


def test_a_name_that_is_none_is_refused(registry: ModelRegistry) -> None:
    for name in ("", "Farm", "-farm", "farm@1", "a/b", "../up", "farm\n", "f" * 61, "fârm"):
        with pytest.raises(InvalidInput) as caught:
            registry.reserve("local", name, new_job_id(), new_version=True)
        assert caught.value.code == "invalid_model_name"
        with pytest.raises(UnknownModel):
            registry.find("local", name or "@1")


def test_names_of_the_release_are_never_given(registry: ModelRegistry) -> None:
    for name in ("nano", "earthsynth", "default"):  # offered, released, a word of the routes
        with pytest.raises(Conflict) as caught:
            registry.reserve("local", name, new_job_id(), new_version=True)
        assert caught.value.code == "model_name_in_use"


def test_a_name_means_the_newest_version_until_one_is_promoted(
    registry: ModelRegistry, storage: Storage, small: Path
) -> None:
    for _ in range(3):
        publish(registry, "farm", small)

    def means() -> str:
        return registry_of(storage).find("local", "farm").version

    assert means() == "3"
    registry.promote("local", "farm", "1")
    publish(registry, "farm", small)
    assert means() == "1"
    registry.promote("local", "farm", "2")
    registry.promote("local", "farm", "2")  # once more changes nothing, so one step leads back
    assert [registry.rollback("local", "farm").version, means()] == ["1", "1"]
    assert [registry.rollback("local", "farm").version, means()] == ["3", "3"]
    with pytest.raises(Conflict) as caught:
        registry.rollback("local", "farm")
    assert caught.value.code == "nothing_to_roll_back"
    listed = {(found.card.name, found.card.version): found for found in registry.list("local")}
    assert list(listed) == [("nano", "2"), ("farm", "4"), ("farm", "3"), ("farm", "2"), ("farm", "1")]
    assert [version for (name, version), found in listed.items() if name == "farm" and found.current] == ["3"]


def test_what_cannot_be_promoted(registry: ModelRegistry, small: Path) -> None:
    publish(registry, "farm", small)
    with pytest.raises(UnknownModel, match="farm@1"):
        registry.promote("local", "farm", "2")
    for call in (lambda: registry.promote("local", "nano", "2"), lambda: registry.rollback("local", "nano")):
        with pytest.raises(Conflict) as caught:
            call()
        assert caught.value.code == "model_shipped"


def test_a_promotion_reaches_another_process_within_a_second(
    registry: ModelRegistry, storage: Storage, small: Path
) -> None:
    publish(registry, "farm", small)
    publish(registry, "farm", small)
    other = registry_of(storage)
    assert other.find("local", "farm").version == "2"
    registry.promote("local", "farm", "1")
    promoted = time.monotonic()
    while other.find("local", "farm").version != "1":
        assert time.monotonic() < promoted + 1.5
        time.sleep(0.02)


def test_promotions_made_at_once_are_one_unbroken_log(
    registry: ModelRegistry, storage: Storage, small: Path
) -> None:
    for _ in range(4):
        publish(registry, "farm", small)
    at_once(16, lambda number: registry_of(storage).promote("local", "farm", str(1 + number % 4)))
    prefix = model_promotions_prefix("local", "farm")
    keys = list(storage.keys(prefix))
    assert keys == [f"{prefix}{number:06d}.json" for number in range(1, len(keys) + 1)]
    targets = [json.loads(storage.read(key))["target"] for key in keys]
    assert set(targets) == {"1", "2", "3", "4"}
    assert registry_of(storage).find("local", "farm").version == targets[-1]
    assert json.loads(storage.read(keys[-1]))["earlier"][-1] == targets[-2]


def test_the_default_follows_a_name_or_stays_at_a_version(
    registry: ModelRegistry, storage: Storage, small: Path
) -> None:
    publish(registry, "farm", small)

    def default() -> str:
        card = registry_of(storage).find("local", None)
        return f"{card.name}@{card.version}"

    assert default() == "nano@2"
    registry.set_default("local", "farm")
    publish(registry, "farm", small)
    assert default() == "farm@2"
    registry.set_default("local", "farm@1")
    assert default() == "farm@1"
    assert [found.card.version for found in registry.list("local") if found.default] == ["1"]
    assert registry.rollback_default("local").version == "2"
    assert registry.rollback_default("local").name == "nano"
    assert default() == "nano@2"
    with pytest.raises(Conflict):
        registry.rollback_default("local")
    with pytest.raises(UnknownModel):
        registry.set_default("local", "wood")


def test_another_tenants_models_are_absent(registry: ModelRegistry, small: Path) -> None:
    publish(registry, "farm", small, tenant="theirs")
    registry.set_default("theirs", "farm")
    assert registry.find("theirs", None).name == "farm"
    with pytest.raises(UnknownModel) as caught:
        registry.find("local", "farm@1")
    assert caught.value.message.endswith("Offered: nano@2.")
    assert [found.card.name for found in registry.list("local")] == ["nano"]
    assert registry.find("local", None).name == "nano"
    assert registry.reserve("local", "farm", new_job_id(), new_version=False) == "1"


def test_an_unknown_model_is_told_what_is_offered(registry: ModelRegistry, small: Path) -> None:
    publish(registry, "farm", small)
    for wanted in ("wood", "farm@2", "farm@01", "farm@", "nano@3", "FARM", "farm@../1"):
        with pytest.raises(UnknownModel, match=r"Offered: nano@2, farm@1\.$"):
            registry.find("local", wanted)


def with_file(name: str, **facts: Any) -> Callable[[dict[str, Any]], None]:
    """Adds a file to a manifest, whose digest then covers it too: only the file itself is wrong."""

    def change(found: dict[str, Any]) -> None:
        found["files"][name] = found["files"]["model_index.json"] | facts
        hashes = {place: file["sha256"] for place, file in found["files"].items()}
        found["digest"] = model_digest(hashes)

    return change


DAMAGES: list[Callable[[dict[str, Any]], object]] = [
    with_file("../x"),
    with_file("/etc/x"),
    with_file("unet/../../x"),
    with_file("unet/.hidden"),
    with_file("unet/x", sha256="../../theirs/model-files/x"),
    with_file("unet/x", bytes=-1),
    lambda found: found["files"]["model_index.json"].update(sha256="0" * 64),
    lambda found: found.update(name="wood"),
    lambda found: found.update(version="2"),
    lambda found: found.update(category_ids=[99]),
    lambda found: found.clear(),
]


def test_a_manifest_that_leads_elsewhere_is_refused(
    registry: ModelRegistry, storage: Storage, small: Path
) -> None:
    publish(registry, "field", small)
    published = json.loads(storage.read(model_manifest_key("local", "field", "1")))
    for number, damage in enumerate([with_file("unet/x"), *DAMAGES]):
        name = f"farm{number}"
        found = json.loads(json.dumps(published)) | {"name": name}
        damage(found)
        key = model_manifest_key("local", name, "1")
        storage.create(key, json.dumps(found).encode(), "application/json")
    assert (
        "unet/x" in registry.find("local", "farm0@1").sha256
    )  # so that nothing else is wrong with the others
    for number in range(1, 1 + len(DAMAGES)):
        with pytest.raises(ModelUnavailable) as caught:
            registry.find("local", f"farm{number}@1")
        assert caught.value.code == "model_manifest_damaged", number
    assert [listed.card.name for listed in registry.list("local")] == ["nano", "farm0", "field"]


def test_what_ships_is_the_same_as_before(registry: ModelRegistry) -> None:
    assert registry.find("local", "nano") == registry.find("local", "nano@2") == nano_card()
    assert registry.find("local", None).base == str(NANO_CHECKPOINT)
