"""Training sets against a real S3 server: what is kept and refused, and that it comes back as it was."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.catalog import nano_card
from models.cfcomp.composition import compose_batch
from models.cfcomp.dataset import CropOptions, FolderPairs, TrainingSet
from models.cfcomp.options import CfCompOptions
from models.cfcomp.pairs import read_pairs
from models.cfcomp.selection import select_pairs, step_rng
from models.cfcomp.shards import Shard, ShardReport, read_shards, stream_epochs
from models.cfcomp.triple import Triple
from models.errors import Conflict, EarthSynthError, InvalidInput, NotFound, Unavailable
from tests.models.zips import Forged, forge, packed
from tests.pictures import png
from tests.training_pairs import jpeg, pair_files, picture_of, shard_files, tar_of, tile_of, unpacked
from tests.worker.records import WRONG_READINGS
from worker.intake import Intake
from worker.registry import ModelRegistry
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.training_pairs import StoragePairs, pair_shards, shard_reading
from worker.training_preview import preview_training
from worker.training_sets import (
    KeptTrainingSet,
    Layout,
    TrainingSetRequest,
    find_training_set,
    keep_training_set,
)
from worker.training_specs import PreviewRequest

TENANT = "local"
PREFIX = "imports/abc/"


@pytest.fixture
def intake(settings: Settings, store: Store, storage: Storage) -> Intake:
    return Intake(settings, store, storage)


def keep(intake: Intake, data: bytes, **asked: Any) -> KeptTrainingSet:
    return keep_training_set(intake, TENANT, TrainingSetRequest(**asked), io.BytesIO(data))


def imported(intake: Intake, **asked: Any) -> KeptTrainingSet:
    return keep_training_set(intake, TENANT, TrainingSetRequest(prefix=PREFIX, **asked), None)


def put(storage: Storage, files: dict[str, bytes], prefix: str = PREFIX) -> None:
    for name, body in files.items():
        storage.create(f"{TENANT}/{prefix}{name}", body, "application/octet-stream")


def refused(intake: Intake, data: bytes, **asked: Any) -> InvalidInput:
    """The refusal, after which nothing is stored."""
    with pytest.raises(InvalidInput) as caught:
        keep(intake, data, **asked)
    assert list(intake.storage.keys(f"{TENANT}/")) == []
    return caught.value


def codes(error: EarthSynthError) -> dict[str, str]:
    return {fault.pointer: fault.message.partition(":")[0] for fault in error.errors}


def same(one: Triple, other: Triple) -> bool:
    return (
        (one.name, one.text) == (other.name, other.text)
        and np.array_equal(one.picture, other.picture)
        and np.array_equal(one.mask, other.mask)
    )


def naive_table(count: int) -> dict[int, tuple[int, int]]:
    """id → (pairs that hold it, pixels), by counting one by one."""
    table: dict[int, tuple[int, int]] = {}
    for number in range(count):
        flat = tile_of(number).ravel().tolist()
        for found in set(flat) - {0, 255}:
            pairs, pixels = table.get(found, (0, 0))
            table[found] = (pairs + 1, pixels + flat.count(found))
    return table


def test_what_is_kept_of_a_zip(intake: Intake) -> None:
    files = pair_files()
    kept = keep(intake, packed(files))
    record = kept.record
    assert (kept.created, kept.refused, kept.ignored) == (True, (), ())
    assert (record.layout, record.pairs, record.refused_pairs) == (Layout.PAIRS, 6, 0)
    assert {one.id: (one.pairs, one.pixels) for one in record.categories} == naive_table(6)
    assert [one.share for one in record.categories] == pytest.approx(
        [one.pixels / (6 * 96 * 96) for one in record.categories]
    )
    few = {one.name for one in record.categories if one.pairs < 5}
    assert few, "else the next line proves nothing"
    assert {line.removeprefix("few_pairs: ").partition(" is in ")[0] for line in record.warnings} == few
    assert find_training_set(intake.storage, TENANT, record.id) == record
    stored = set(intake.storage.keys(f"{TENANT}/training-files/"))
    for name, content in files.items():
        kind = name.rpartition(".")[2]
        if name.startswith("images/"):
            assert f"{TENANT}/training-files/{hashlib.sha256(content).hexdigest()}.{kind}" in stored
    assert len(stored) == 12
    prefix = f"{TENANT}/training-sets/{record.id.removeprefix('tset_')}/"
    assert list(intake.storage.keys(prefix)) == [f"{prefix}entries-000000.jsonl", f"{prefix}set.json"]
    body = intake.storage.read(f"{prefix}entries-000000.jsonl")
    assert record.id == f"tset_{hashlib.sha256(body).hexdigest()}"
    assert [json.loads(line)["name"] for line in body.splitlines()] == [
        f"images/{number}.{'jpg' if number % 2 else 'png'}" for number in range(6)
    ]


def test_the_same_pairs_are_the_same_set(intake: Intake) -> None:
    files = pair_files()
    first = keep(intake, packed(files))
    turned = dict(reversed([*files.items(), (".DS_Store", b"x"), ("readme.txt", b"hello")]))
    again = keep(intake, packed(turned))
    assert (again.created, again.record) == (False, first.record)
    assert set(again.ignored) == {".DS_Store", "readme.txt"}
    in_a_folder = keep(intake, packed({f"farm/{name}": content for name, content in files.items()}))
    assert (in_a_folder.created, in_a_folder.record) == (False, first.record)
    put(intake.storage, {f"farm/{name}": content for name, content in files.items()})
    by_prefix = imported(intake)
    assert (by_prefix.created, by_prefix.record) == (False, first.record)
    fewer = keep(intake, packed({name: body for name, body in files.items() if "5." not in name}))
    assert fewer.created
    assert fewer.record.id != first.record.id


def test_pairs_come_back_bit_for_bit(intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same samples for the same seed, whether the pairs lie in a folder or in storage."""
    monkeypatch.setattr("worker.manifest_lines.PAGE_LINES", 4)
    monkeypatch.setattr("worker.training_pairs.PAGE_LINES", 4)
    unjudged = tile_of(1)
    unjudged[:20] = 255
    files = {f"images/{n}.png": png(picture_of(tile_of(n), n)) for n in range(9)}
    files |= {f"masks/{n}.png": png(tile_of(n) if n != 1 else unjudged) for n in range(9)}
    files["train.jsonl"] = b"".join(
        json.dumps(
            {"file_name": f"images/{n}.png", "mask_name": f"masks/{n}.png", "text": f"Scene {n}"}
        ).encode()
        + b"\n"
        for n in (4, 1, 8, 2, 3)
    )
    data = packed(files)
    here = FolderPairs(read_pairs(unpacked(data, tmp_path)))
    record = keep(intake, data).record
    there = StoragePairs(intake.storage, TENANT, record)
    assert len(record.pages) == 2
    assert len(there) == len(here) == 5
    assert there.frequencies == here.frequencies
    assert [there.read(number).text for number in range(5)] == [f"Scene {n}" for n in (4, 1, 8, 2, 3)]
    assert all(same(there.read(number), here.read(number)) for number in range(5))
    moved: StoragePairs = pickle.loads(pickle.dumps(there))  # noqa: S301  (our own)
    assert same(moved.read(4), here.read(4))
    crops = CropOptions(size=64)
    one, other = TrainingSet(here, crops, seed=3), TrainingSet(moved, crops, seed=3)
    assert all(same(one[1, index], other[1, index]) for index in range(5))
    for number in (-1, 5):
        with pytest.raises(IndexError):
            there.read(number)


def test_masks_of_other_ontologies_are_stored_as_ids(intake: Intake) -> None:
    path = Path(__file__).parents[1] / "assets" / "flair_076201.png"
    picture = png(picture_of(np.zeros((256, 256), np.uint8)))
    data = packed({"images/a.png": picture, "masks/a.png": path.read_bytes()})
    kept = keep(intake, data, encoding="color", ontology="flair")
    found = StoragePairs(intake.storage, TENANT, kept.record).read(0)
    colour = np.asarray(Image.open(path))
    published = {(219, 14, 154): 8, (248, 12, 0): 3, (70, 228, 131): 5, (61, 230, 235): 13}
    for (red, green, blue), number in published.items():
        assert np.array_equal(found.mask == number, (colour == (red, green, blue)).all(axis=2))


def test_damaged_objects_are_not_trained_on(intake: Intake) -> None:
    record = keep(intake, packed(pair_files(2))).record
    there = StoragePairs(intake.storage, TENANT, record)
    key = f"{TENANT}/training-files/{there.entry(0).picture}"
    intake.storage.delete(key)
    with pytest.raises(NotFound):
        there.read(0)
    intake.storage.create(key, png(picture_of(tile_of(0), 77)), "image/png")
    with pytest.raises(Unavailable) as caught:
        there.read(0)
    assert caught.value.code == "object_damaged"


def bad_files() -> dict[str, bytes]:
    """One pair of each kind of wrong."""
    good, ids = png(picture_of(tile_of(0))), png(tile_of(0))
    return {
        "images/no_mask.png": good,
        "masks/no_picture.png": ids,
        "images/smaller.png": png(picture_of(tile_of(0))[:95]),
        "masks/smaller.png": ids,
        "images/nothing.png": good,
        "masks/nothing.png": png(np.zeros((96, 96), np.uint8)),
        "images/only_ignore.png": good,
        "masks/only_ignore.png": png(np.full((96, 96), 255, np.uint8)),
        "images/id_67.png": good,
        "masks/id_67.png": png(np.full((96, 96), 67, np.uint8)),
        "images/torn.png": good[:-40],
        "masks/torn.png": ids,
        "images/cut.jpg": jpeg(picture_of(tile_of(0)))[:-300],
        "masks/cut.png": ids,
        "images/text.png": b"hello",
        "masks/text.png": ids,
        "images/empty.png": good,
        "masks/empty.png": b"",
        "images/lossy.png": good,
        "masks/lossy.png": jpeg(picture_of(tile_of(0))),
        "images/twice.png": good,
        "images/twice.jpg": good,
        "masks/twice.png": ids,
    }


BAD_CODES = {
    "images/no_mask.png": "missing_mask",
    "masks/no_picture.png": "missing_picture",
    "images/smaller.png": "sizes_differ",
    "images/nothing.png": "all_background",
    "images/only_ignore.png": "all_background",
    "images/id_67.png": "unknown_label",
    "images/torn.png": "damaged_file",
    "images/cut.jpg": "damaged_file",
    "images/text.png": "unsupported_format",
    "images/empty.png": "empty_file",
    "images/lossy.png": "unsupported_format",
    "twice": "duplicate_name",
}


def test_every_kind_of_bad_pair_is_named(intake: Intake) -> None:
    data = packed(pair_files(2) | bad_files())
    error = refused(intake, data)
    assert error.code == "too_many_bad_pairs"
    assert error.message.startswith("12 of 14 pairs are bad, more than 5%")
    assert codes(error) == {"/" + name.replace("/", "~1"): code for name, code in BAD_CODES.items()}
    kept = keep(intake, data, max_bad_share=0.9)
    assert {one.name: one.code for one in kept.refused} == BAD_CODES
    assert (kept.record.pairs, kept.record.refused_pairs) == (2, 12)
    assert keep(intake, packed(pair_files(2))).record.id == kept.record.id


def test_5_percent_may_be_bad_and_no_more(intake: Intake) -> None:
    good = pair_files(19)
    bad = {"images/x.png": png(picture_of(tile_of(0))), "masks/x.png": png(np.zeros((96, 96), np.uint8))}
    assert keep(intake, packed(good | bad)).record.pairs == 19
    two = {name.replace("x", "y"): body for name, body in bad.items()}
    with pytest.raises(InvalidInput, match="2 of 21 pairs are bad"):
        keep(intake, packed(good | bad | two))
    with pytest.raises(InvalidInput):
        keep(intake, packed(good | bad), max_bad_share=0)


PICTURE = png(picture_of(tile_of(0)))


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        ({"readme.txt": b"hello"}, {}),
        ({"images/a.png": PICTURE}, {"/images~1a.png": "missing_mask"}),
        ({"masks/a.png": png(tile_of(0))}, {"/masks~1a.png": "missing_picture"}),
        ({"a.png": PICTURE, "b.png": PICTURE}, {}),
        (
            {"images/a.png": PICTURE, "masks/a.png": png(np.zeros((96, 96), np.uint8))},
            {"/images~1a.png": "all_background"},
        ),
        ({"train.jsonl": b"{}\n", **pair_files(1)}, {"/train.jsonl:1": "malformed_row"}),
    ],
)
def test_nothing_to_train_on(intake: Intake, files: dict[str, bytes], lines: dict[str, str]) -> None:
    error = refused(intake, packed(files), max_bad_share=1)
    assert (error.code, codes(error)) == ("no_pairs", lines)
    assert "Put pictures into images/" in error.message


def test_the_authors_train_jsonl(intake: Intake) -> None:
    """Names from another folder, rows twice, single-category rows, and masks that no row names."""
    files = pair_files(3)
    top = "./data/EarthSynth-180K/train"
    rows = [
        {
            "file_name": f"{top}/images/0.png",
            "mask_name": f"{top}/masks/0.png",
            "text": "A farm",
            "category_masks": [f"{top}/category_masks/0_road.png"],
        },
        {
            "file_name": f"{top}/images/0.png",
            "mask_name": f"{top}/category_masks/0_road.png",
            "text": "A satellite image of road",
        },
        {"file_name": f"{top}/images/9.png", "mask_name": f"{top}/masks/0.png", "text": "gone"},
        {"file_name": "../../etc/passwd", "mask_name": f"{top}/masks/0.png", "text": "out"},
    ]
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in [*rows, *rows])
    kept = keep(
        intake,
        packed(files | {"train.jsonl": lines, "category_masks/0_road.png": files["masks/0.png"]}),
        max_bad_share=0.9,
    )
    assert {one.name: one.code for one in kept.refused} == {
        f"{top}/images/9.png": "missing_picture",
        "../../etc/passwd": "missing_picture",
    }
    there = StoragePairs(intake.storage, TENANT, kept.record)
    assert [there.read(n).text for n in range(len(there))] == ["A farm"]
    assert "category_masks/0_road.png" in kept.ignored
    assert "images/1.jpg" in kept.ignored


def test_z_hostile_zips(intake: Intake) -> None:
    """Names that leave the archive, links, wrong sums: the pair is refused by name, and nothing is written for it."""
    picture, ids = png(picture_of(tile_of(0))), png(tile_of(0))
    data = forge(
        Forged(b"images/a.png", picture),
        Forged(b"masks/a.png", ids),
        Forged(b"images/../../b.png", picture),
        Forged(b"/masks/b.png", ids),
        Forged(b"images/crc.png", picture, crc=1),
        Forged(b"masks/crc.png", ids),
        Forged(b"images/link.png", b"/etc/passwd", mode=0o120777),
        Forged(b"masks/link.png", ids),
        Forged(b"images/bomb.png", bytes(1 << 20), size=10),
        Forged(b"masks/bomb.png", ids),
    )
    error = refused(intake, data)
    assert codes(error) == {
        "/images~1..~1..~1b.png": "unsafe_name",
        "/~1masks~1b.png": "unsafe_name",
        "/images~1crc.png": "damaged_file",
        "/images~1link.png": "link_not_supported",
        "/images~1bomb.png": "damaged_file",
    }
    assert keep(intake, data, max_bad_share=0.9).record.pairs == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (packed({}), "empty_archive"),
        (b"", "empty_file"),
        (forge(Forged(b"images/a.png"), Forged(b"masks/a.png", offset=0)), "overlapping_entries"),
        (packed(pair_files(1))[:-30], "damaged_file"),
        (
            forge(*(Forged(b"images/%d.png" % number, size=0xF000_0000) for number in range(2))),
            "archive_too_large",
        ),
    ],
)
def test_archives_that_are_refused_whole(intake: Intake, data: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        keep(intake, data, max_bad_share=1)
    assert caught.value.code == code


@pytest.mark.parametrize(("asked", "kind", "code"), WRONG_READINGS)
def test_a_wrong_option_is_said_once(
    intake: Intake, asked: dict[str, Any], kind: type[EarthSynthError], code: str
) -> None:
    """It is wrong for every mask alike, so it is no list of bad pairs."""
    put(intake.storage, shard_files())
    for bring in (lambda: keep(intake, packed(pair_files(2)), **asked), lambda: imported(intake, **asked)):
        with pytest.raises(kind) as caught:
            bring()
        assert caught.value.code == code


def test_255_is_no_label_here_unless_asked_otherwise(intake: Intake) -> None:
    ids = tile_of(0)
    ids[:10] = 255
    data = packed({"images/a.png": PICTURE, "masks/a.png": png(ids)})
    assert codes(refused(intake, data, ignore=False)) == {"/images~1a.png": "ignore_not_allowed"}
    assert (StoragePairs(intake.storage, TENANT, keep(intake, data).record).read(0).mask[:10] == 255).all()


def test_exactly_one_source(intake: Intake) -> None:
    for asked, archive in ((TrainingSetRequest(), None), (TrainingSetRequest(prefix=PREFIX), io.BytesIO())):
        with pytest.raises(InvalidInput) as caught:
            keep_training_set(intake, TENANT, asked, archive)
        assert caught.value.code == "pairs_missing"


def test_limits_of_an_import(intake: Intake) -> None:
    put(intake.storage, pair_files(2))
    for changes, code in (
        ({"max_archive_entries": 3}, "too_many_entries"),
        ({"max_upload_bytes": 100}, "no_pairs"),
    ):
        small = Intake(intake.settings.model_copy(update=changes), intake.store, intake.storage)
        with pytest.raises(InvalidInput) as caught:
            imported(small)
        assert caught.value.code == code
    assert set(codes(caught.value).values()) == {"entry_too_large"}
    with pytest.raises(InvalidInput) as caught:
        keep_training_set(intake, "other", TrainingSetRequest(prefix=PREFIX), None)
    assert caught.value.code == "empty_import"


def test_an_absent_set_is_not_found(intake: Intake) -> None:
    record = keep(intake, packed(pair_files(1))).record
    for tenant, set_id in (("other", record.id), (TENANT, f"tset_{'0' * 64}"), (TENANT, "../x")):
        with pytest.raises(NotFound) as caught:
            find_training_set(intake.storage, tenant, set_id)
        assert caught.value.code == "training_set_not_found"


def test_shards_are_read_once_and_named(intake: Intake) -> None:
    shards = shard_files()
    put(intake.storage, shards | {"card.md": b"hello"})
    kept = imported(intake)
    record = kept.record
    assert (kept.created, kept.refused, kept.ignored) == (True, (), ("card.md",))
    assert (record.layout, record.pairs) == (Layout.SHARDS, 8)
    assert {one.id: (one.pairs, one.pixels) for one in record.categories} == naive_table(8)
    assert list(intake.storage.keys(f"{TENANT}/training-files/")) == []
    assert not imported(intake).created

    there = list(
        read_shards(pair_shards(intake.storage, TENANT, record), ShardReport(), reading=shard_reading(record))
    )
    local = [Shard(name, lambda body=body: io.BytesIO(body)) for name, body in shards.items()]  # type: ignore[misc]
    here = list(read_shards(local, ShardReport()))
    assert len(there) == 8
    assert all(same(one, other) for one, other in zip(there, here, strict=True))
    otherwise = imported(intake, label_map={str(number): number for number in range(67)})
    assert otherwise.created
    assert otherwise.record.id != record.id
    assert shard_reading(otherwise.record).label_map == {str(number): number for number in range(67)}


def test_a_shard_that_is_not_what_it_was(intake: Intake) -> None:
    shards = shard_files()
    put(intake.storage, shards)
    first, second = pair_shards(intake.storage, TENANT, imported(intake).record)
    intake.storage.delete(f"{TENANT}/{PREFIX}train-000001.tar")
    with pytest.raises(NotFound) as gone:
        second.open()
    assert gone.value.code == "object_gone"
    intake.storage.create(f"{TENANT}/{PREFIX}train-000001.tar", shards["train-000000.tar"], "x/tar")
    with pytest.raises(Conflict) as changed:
        second.open()
    assert changed.value.code == "object_changed"
    with first.open() as stream:
        assert stream.read() == shards["train-000000.tar"]


def test_bad_shards(intake: Intake) -> None:
    good = {"1.png": PICTURE, "1.mask.png": png(tile_of(0))}
    cases = {
        "imports/a/": ({"x.tar": b"no tar" * 200}, "damaged_file"),
        "imports/b/": ({"x.tar": gzip.compress(tar_of(good))}, "damaged_file"),  # it may unpack to anything
        "imports/c/": ({"x.tar": tar_of({"1.png": PICTURE})}, "no_pairs"),
        "imports/d/": ({"x.tar": tar_of(good | {"2.png": PICTURE})}, "too_many_bad_pairs"),
        "imports/e/": ({"x.tar": tar_of(good), "images/a.png": PICTURE}, "mixed_layouts"),
    }
    for prefix, (files, code) in cases.items():
        put(intake.storage, files, prefix)
        with pytest.raises(InvalidInput) as caught:
            keep_training_set(intake, TENANT, TrainingSetRequest(prefix=prefix), None)
        assert caught.value.code == code, prefix
    allowed = TrainingSetRequest(prefix="imports/d/", max_bad_share=0.5)
    kept = keep_training_set(intake, TENANT, allowed, None)
    assert {one.name: one.code for one in kept.refused} == {"x.tar#2": "missing_mask"}
    stream = read_shards(
        pair_shards(intake.storage, TENANT, kept.record), ShardReport(), reading=shard_reading(kept.record)
    )
    with pytest.raises(InvalidInput):  # whoever reads them again says again how many may be bad
        list(stream)


@pytest.fixture
def registry(storage: Storage) -> ModelRegistry:
    return ModelRegistry(storage, {"nano": nano_card()}, "nano")


@pytest.mark.parametrize("layout", list(Layout))
def test_a_preview_shows_what_a_training_composes(
    intake: Intake, registry: ModelRegistry, layout: Layout
) -> None:
    if layout is Layout.SHARDS:
        put(intake.storage, shard_files(3, 4))
        record = imported(intake).record
    else:
        record = keep(intake, packed(pair_files(12))).record
    options = CfCompOptions(probability=0.8)
    asked = PreviewRequest(
        training_set_id=record.id, resolution=64, seed=5, count=6, batch_size=20, cf_comp=options
    )
    made = preview_training(intake.storage, registry, TENANT, asked)

    crops = CropOptions(size=64, max_zoom_out=1.6)  # what a training of nano is given where nothing is said
    if layout is Layout.SHARDS:
        stream = stream_epochs(pair_shards(intake.storage, TENANT, record), crops, seed=5)
    else:
        stream = TrainingSet(StoragePairs(intake.storage, TENANT, record), crops, seed=5).epochs()
    expected = []
    for step in range(8):
        batch = [next(stream) for _ in range(20 if len(expected) < 6 else 0)]
        for group, members in enumerate((batch[:16], batch[16:])):
            pairs = select_pairs(members, options, step_rng(5, step, group), record.frequencies)
            composed = compose_batch(members, pairs)
            expected += [(step, members[one.first], members[one.second], one, composed) for one in pairs]
    assert [(one.step, one.first, one.second, one.score) for one in made.composed] == [
        (step, first.name, second.name, pair.score) for step, first, second, pair, _ in expected[:6]
    ]
    with Image.open(io.BytesIO(made.sheet)) as sheet:
        assert sheet.size == (4 * 328 + 6, 6 * 202 + 6)
        _, _, _, pair, composed = expected[0]
        # The first composite of the first row, below its two lines of words, 160 px wide.
        shown = np.asarray(sheet)[42 : 42 + 160, 6 + 2 * 328 : 6 + 2 * 328 + 160]
    wanted = Image.fromarray(composed[pair.first].picture).resize((160, 160), Image.Resampling.BICUBIC)
    assert np.abs(shown.astype(int) - np.asarray(wanted).astype(int)).max() <= 1
    assert made.sha256 == hashlib.sha256(made.sheet).hexdigest()
    assert intake.storage.read(made.key) == made.sheet
    assert preview_training(intake.storage, registry, TENANT, asked) == made
    with pytest.raises(NotFound) as caught:
        preview_training(intake.storage, registry, "other", asked)
    assert caught.value.code == "training_set_not_found"


def test_a_preview_of_pairs_that_share_nothing(intake: Intake, registry: ModelRegistry) -> None:
    grass, water = np.full((96, 96), 2, np.uint8), np.full((96, 96), 6, np.uint8)
    files = {"images/a.png": PICTURE, "masks/a.png": png(grass)}
    files |= {"images/b.png": PICTURE, "masks/b.png": png(water)}
    record = keep(intake, packed(files)).record
    with pytest.raises(InvalidInput) as caught:
        preview_training(
            intake.storage, registry, TENANT, PreviewRequest(training_set_id=record.id, resolution=64)
        )
    assert caught.value.code == "no_partners"


_CHILD = """
import resource, sys
from worker.intake import Intake
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.redis_client import connect
from worker.training_sets import TrainingSetRequest, keep_training_set

settings = Settings()
intake = Intake(settings, Store(connect(settings)), Storage(settings))
for path in sys.argv[1:]:
    with open(path, "rb") as archive:
        print(keep_training_set(intake, "local", TrainingSetRequest(), archive).record.pairs)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
_NEEDED = ("redis_url", "s3_endpoint", "s3_bucket", "s3_access_key", "s3_secret_key")


def test_memory_holds_a_few_pairs(intake: Intake, settings: Settings, tmp_path: Path) -> None:
    """300 pairs of 200 kB, 60 MB as files and 80 MB as pixels, take no more memory than 30 of them."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    ids = png(tile_of(0, 96).repeat(3, axis=0)[:256].repeat(3, axis=1)[:, :256])
    paths = [tmp_path / "few.zip", tmp_path / "many.zip"]
    for path, numbers in zip(paths, (range(30), range(30, 330)), strict=True):
        with zipfile.ZipFile(path, "w") as archive:
            for number in numbers:
                buffer = io.BytesIO()
                Image.fromarray(np.roll(noise, number)).save(buffer, "PNG", compress_level=0)
                archive.writestr(f"images/{number}.png", buffer.getvalue())
                archive.writestr(f"masks/{number}.png", ids)
    assert paths[1].stat().st_size > 55 << 20
    environment = {
        f"EARTHSYNTH_{name.upper()}": getattr(value, "get_secret_value", lambda found=value: str(found))()
        for name, value in settings.model_dump(include=set(_NEEDED)).items()
    }
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *paths],
        env=os.environ | environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    few, after_few, many, after_many = map(int, done.stdout.split())
    assert (few, many) == (30, 300)
    assert after_many - after_few < 25, done.stdout
