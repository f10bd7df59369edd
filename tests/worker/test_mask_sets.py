"""Mask sets against a real S3 server: what is kept, what is refused, and that nothing is left half done."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import EarthSynthError, InvalidInput, NotFound
from models.mask_tiles import cut_tiles, tile_starts
from models.masks import decode_mask, encode_png
from tests.models.zips import Forged, forge, packed
from tests.pictures import png
from tests.worker.records import WRONG_READINGS
from worker import mask_set_manifest
from worker.intake import Intake, read_mask
from worker.mask_sets import (
    KeptMaskSet,
    MaskSetRequest,
    entries,
    find_mask_set,
    from_mask_ids,
    iterate,
    keep_mask_set,
)
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store

TENANT = "local"


def mask(number: int, side: int = 64) -> NDArray[np.uint8]:
    """Another mask for every number: grass, `number` pixels of road, and a building."""
    ids = np.full((side, side), 2, np.uint8)
    ids.flat[:number] = 4
    ids[-8:, -8:] = 8
    return ids


def naive_table(masks: list[NDArray[np.uint8]]) -> dict[int, tuple[int, int, int]]:
    """id → (masks that hold it, masks with at least 1 % of it, pixels), by counting one by one."""
    table: dict[int, tuple[int, int, int]] = {}
    for ids in masks:
        for number in set(ids.ravel().tolist()) - {255}:
            count = int((ids == number).sum())
            held, labelled, pixels = table.get(number, (0, 0, 0))
            table[number] = (held + 1, labelled + (100 * count >= ids.size), pixels + count)
    return table


@pytest.fixture
def intake(settings: Settings, store: Store, storage: Storage) -> Intake:
    return Intake(settings, store, storage)


def keep(intake: Intake, data: bytes, **asked: Any) -> KeptMaskSet:
    return keep_mask_set(intake, TENANT, MaskSetRequest(**asked), io.BytesIO(data))


def put(storage: Storage, files: dict[str, bytes], prefix: str = "imports/abc/") -> None:
    for name, body in files.items():
        storage.create(f"{TENANT}/{prefix}{name}", body, "application/octet-stream")


def test_60_masks_are_kept_in_natural_order(intake: Intake) -> None:
    masks = [mask(number) for number in range(60)]
    data = packed({f"tile{number}.png": png(ids) for number, ids in enumerate(masks)})
    kept = keep(intake, data)
    record = kept.record
    assert (kept.created, record.masks, record.files, kept.refused, kept.ignored) == (True, 60, 60, (), ())
    assert (record.width, record.height) == (64, 64)
    found = {one.id: (one.masks, one.labelled_masks, one.pixels) for one in record.categories}
    assert found == naive_table(masks)
    assert sum(one.share for one in record.categories) == pytest.approx(1)
    lines = list(iterate(intake.storage, TENANT, record))
    assert [line.name for line in lines] == [f"tile{number}.png" for number in range(60)]
    assert [line.number for line in lines] == list(range(60))
    for line, ids in zip(lines[::20], masks[::20], strict=True):
        assert np.array_equal(read_mask(intake.storage, TENANT, line.mask_id), ids)
        assert line.group == line.mask_id
        assert line.category_ids == tuple(sorted(set(ids.ravel().tolist())))
        assert line.shares == pytest.approx(
            [(ids == number).mean() for number in line.category_ids], abs=1e-6
        )
    assert intake.find_mask(TENANT, lines[7].mask_id).width == 64
    assert find_mask_set(intake.storage, TENANT, record.id) == record


def test_the_same_set_again_is_the_same_set(intake: Intake) -> None:
    first = keep(intake, packed({"a.png": png(mask(1)), "b.png": png(mask(2))}))
    again = keep(intake, packed({"b.png": png(mask(2)), "a.png": png(mask(1)), ".DS_Store": b"x"}))
    other_name = keep(intake, packed({"a.png": png(mask(1)), "c.png": png(mask(2))}))
    assert (first.created, again.created, other_name.created) == (True, False, True)
    assert again.record == first.record
    assert again.ignored == (".DS_Store",)
    assert other_name.record.id != first.record.id


def test_the_id_is_the_sha256_of_the_manifest(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.manifest_lines.PAGE_LINES", 3)
    monkeypatch.setattr("worker.mask_set_manifest.PAGE_LINES", 3)
    record = keep(intake, packed({f"{n}.png": png(mask(n)) for n in range(8)})).record
    prefix = f"{TENANT}/mask-sets/{record.id.removeprefix('mset_')}/"
    keys = list(intake.storage.keys(prefix))
    assert keys == [prefix + name for name in (*(f"entries-00000{n}.jsonl" for n in range(3)), "set.json")]
    bodies = [intake.storage.read(key) for key in keys[:3]]
    assert record.id == "mset_" + hashlib.sha256(b"".join(bodies)).hexdigest()
    assert [body.count(b"\n") for body in bodies] == [3, 3, 2]
    assert [json.loads(line)["number"] for body in bodies for line in body.splitlines()] == list(range(8))

    def numbers(first: int, count: int) -> list[int]:
        return [line.number for line in entries(intake.storage, TENANT, record, first, count)]

    assert numbers(0, 8) == list(range(8))
    assert numbers(2, 2) == [2, 3]
    assert numbers(7, 50) == [7]
    assert numbers(8, 1) == []
    intake.storage.delete(keys[0])
    assert numbers(5, 3) == [5, 6, 7]  # an entry is read without the pages before it


def test_z59_identical_masks_are_stored_once(intake: Intake) -> None:
    record = keep(intake, packed({f"{n}.png": png(mask(5)) for n in range(3)})).record
    lines = list(iterate(intake.storage, TENANT, record))
    assert (record.masks, len({line.mask_id for line in lines})) == (3, 1)
    assert len({line.group for line in lines}) == 1
    assert len([key for key in intake.storage.keys(f"{TENANT}/masks/") if key.endswith(".png")]) == 1


def test_tiles_cover_the_mask_and_stay_one_group(intake: Intake) -> None:
    rng = np.random.default_rng(5)
    whole = rng.integers(0, 9, (150, 200)).astype(np.uint8)
    record = keep(intake, packed({"big.png": png(whole), "one.png": png(mask(3))}), tile_size=64).record
    lines = list(iterate(intake.storage, TENANT, record))
    assert (record.files, record.masks, record.width, record.height) == (2, 13, 64, 64)
    assert [line.name for line in lines[:5]] == [
        *("big.png#0,0", "big.png#64,0", "big.png#128,0", "big.png#136,0", "big.png#0,64")
    ]
    assert lines[12].name == "one.png"
    assert {line.group for line in lines[:12]} == {f"msk_{hashlib.sha256(encode_png(whole)).hexdigest()}"}
    seen = np.zeros(whole.shape, bool)
    for line in lines[:12]:
        left, top = map(int, line.name.partition("#")[2].split(","))
        tile = read_mask(intake.storage, TENANT, line.mask_id)
        assert np.array_equal(tile, whole[top : top + 64, left : left + 64])
        seen[top : top + 64, left : left + 64] = True
    assert seen.all()


@pytest.mark.parametrize(
    ("side", "tile", "starts"),
    [(64, 64, [0]), (65, 64, [0, 1]), (128, 64, [0, 64]), (150, 64, [0, 64, 86]), (644, 256, [0, 256, 388])],
)
def test_where_tiles_begin(side: int, tile: int, starts: list[int]) -> None:
    assert tile_starts(side, tile) == starts
    assert len(list(cut_tiles(np.zeros((side, side), np.uint8), tile))) == len(starts) ** 2


def test_a_mask_smaller_than_a_tile_is_refused(intake: Intake) -> None:
    low = np.ones((48, 200), np.uint8)
    with pytest.raises(InvalidInput) as caught:
        keep(intake, packed({"a.png": png(mask(1)), "low.png": png(low)}), tile_size=64)
    assert caught.value.code == "masks_refused"
    assert [(fault.pointer, fault.message.partition(":")[0]) for fault in caught.value.errors] == [
        ("/low.png", "wrong_size")
    ]


GOOD = {f"{n:04}.png": png(mask(n)) for n in range(20)}


def test_one_bad_mask_refuses_the_set_and_stores_nothing(intake: Intake) -> None:
    """Z57: everything or nothing, unless asked otherwise."""
    data = packed(GOOD | {"x/bad~.png": png(np.full((64, 64), 90, np.uint8))})
    with pytest.raises(InvalidInput) as caught:
        keep(intake, data)
    error = caught.value
    assert error.code == "masks_refused"
    assert error.message.startswith(
        "1 of 21 files cannot be used; the first is x/bad~.png: Pixel (0, 0) is 90"
    )
    (fault,) = error.errors
    assert fault.pointer == "/x~1bad~0.png"
    assert fault.message.startswith("unknown_label: Pixel (0, 0) is 90")
    assert list(intake.storage.keys(f"{TENANT}/")) == []

    kept = keep(intake, data, partial=True)
    assert (kept.created, kept.record.masks, kept.record.files) == (True, 20, 20)
    assert [(line.name, line.code) for line in kept.refused] == [("x/bad~.png", "unknown_label")]
    assert keep(intake, packed(GOOD)).record == kept.record  # what is refused is no part of the set


def test_z58_almost_all_bad(intake: Intake) -> None:
    """The first hundred are listed, all are counted; with `partial` the one good mask is a set."""
    bad = png(np.full((32, 32), 70, np.uint8))
    data = packed({f"{n}.png": bad for n in range(250)} | {"good.png": png(mask(1))})
    with pytest.raises(
        InvalidInput, match=r"^250 of 251 files cannot be used; the first is 0\.png"
    ) as caught:
        keep(intake, data)
    assert [fault.pointer for fault in caught.value.errors] == [f"/{n}.png" for n in range(100)]
    kept = keep(intake, data, partial=True)
    assert (kept.record.masks, len(kept.refused)) == (1, 250)


def test_no_good_mask_is_a_refusal_even_in_part(intake: Intake) -> None:
    with pytest.raises(InvalidInput) as caught:
        keep(intake, packed({"a.png": b"text", "b.png": b""}), partial=True)
    assert caught.value.code == "masks_refused"
    assert [fault.message.partition(":")[0] for fault in caught.value.errors] == [
        "unsupported_format",
        "empty_file",
    ]


def test_every_kind_of_bad_file_has_its_line(intake: Intake) -> None:
    """Z11, Z18, Z34, Z51, Z54 and mask faults, side by side with one good mask."""
    good = png(mask(1))
    data = forge(
        Forged(b"good.png", good),
        Forged(b"inner.zip", packed({"a.png": good})),
        Forged(b"crc.png", good, crc=1),
        Forged(b"../slip.png", good),
        Forged(b"link.png", b"/etc/passwd", mode=0o120777),
        Forged(b"readme.txt", b"hello"),
        Forged(b"labels.json", b"{}"),
        Forged(b"cut.png", good[:-20]),
    )
    kept = keep(intake, data, partial=True)
    assert kept.record.masks == 1
    assert {line.name: line.code for line in kept.refused} == {
        "inner.zip": "unsupported_format",
        "crc.png": "damaged_file",
        "../slip.png": "unsafe_name",
        "link.png": "link_not_supported",
        "readme.txt": "unsupported_format",
        "labels.json": "unsupported_format",
        "cut.png": "damaged_file",
    }
    keys = list(intake.storage.keys(f"{TENANT}/"))
    assert all(key.startswith((f"{TENANT}/masks/", f"{TENANT}/mask-sets/")) for key in keys)
    assert not any("good" in key or "slip" in key for key in keys)


@pytest.mark.parametrize(("asked", "kind", "code"), WRONG_READINGS)
def test_a_wrong_option_is_said_once(
    intake: Intake, asked: dict[str, Any], kind: type[EarthSynthError], code: str
) -> None:
    """It is wrong for every file alike, so it is no list of bad files."""
    with pytest.raises(kind) as caught:
        keep(intake, packed(GOOD), **asked)
    assert caught.value.code == code


def test_files_are_read_as_post_masks_reads_them(intake: Intake) -> None:
    flooded = np.where(mask(9) == 8, 255, 0).astype(np.uint8)
    record = keep(intake, packed({"a.png": png(flooded)}), encoding="binary", category="water").record
    assert {one.id for one in record.categories} == {0, 6}
    (line,) = iterate(intake.storage, TENANT, record)
    alone, _ = intake.keep_mask(TENANT, decode_mask(png(np.where(flooded, 6, 0).astype(np.uint8))))
    assert alone.id == line.mask_id
    assert line.category_ids == (6,)
    unjudged = mask(1)
    unjudged[:32] = 255
    part = keep(intake, packed({"a.png": png(unjudged)}), ignore=True).record
    assert sum(one.pixels for one in part.categories) == 64 * 32
    assert next(iterate(intake.storage, TENANT, part)).category_ids == (2, 8)


def test_warnings_are_summed_up(intake: Intake) -> None:
    plain = {f"{n}.png": png(np.full((64, 64), n + 1, np.uint8)) for n in range(3)}
    record = keep(intake, packed(plain | {"m.png": png(mask(1))})).record
    assert record.warnings == ("single_class: 3 of 4 masks, the first is 0.png: every pixel is 1",)


def test_masks_of_several_sizes(intake: Intake) -> None:
    record = keep(intake, packed({"a.png": png(mask(1)), "b.png": png(mask(1, side=96))})).record
    assert (record.width, record.height) == (None, None)
    assert [line.width for line in iterate(intake.storage, TENANT, record)] == [64, 96]


def test_a_set_has_a_largest_size(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_set_manifest, "MAX_MASKS", 3)
    with pytest.raises(InvalidInput) as caught:
        keep(intake, packed({"a.png": png(mask(1, side=128))}), tile_size=64)
    assert caught.value.code == "too_many_masks"
    assert list(intake.storage.keys(f"{TENANT}/")) == []


def test_import_by_prefix(intake: Intake) -> None:
    put(intake.storage, {"b/m10.png": png(mask(2)), "b/m9.png": png(mask(1)), ".DS_Store": b"x", "b/": b""})
    put(intake.storage, {"m.png": png(mask(7))}, prefix="imports/abcd/")
    kept = keep_mask_set(intake, TENANT, MaskSetRequest(prefix="imports/abc/"), None)
    lines = list(iterate(intake.storage, TENANT, kept.record))
    assert [line.name for line in lines] == ["b/m9.png", "b/m10.png"]
    assert kept.ignored == (".DS_Store",)
    zipped = keep(intake, packed({"b/m9.png": png(mask(1)), "b/m10.png": png(mask(2))}))
    assert zipped.record == kept.record
    assert not zipped.created


def test_bad_objects_are_refused_like_bad_entries(intake: Intake) -> None:
    put(intake.storage, {"a.png": png(mask(2)), "b.png": b"text", "c\u202e.png": b""})
    kept = keep_mask_set(intake, TENANT, MaskSetRequest(prefix="imports/abc/", partial=True), None)
    assert [(line.name, line.code) for line in kept.refused] == [
        ("b.png", "unsupported_format"),
        ("c\\u202e.png", "empty_file"),
    ]
    small = Intake(intake.settings.model_copy(update={"max_upload_bytes": 3}), intake.store, intake.storage)
    with pytest.raises(InvalidInput) as caught:
        keep_mask_set(small, TENANT, MaskSetRequest(prefix="imports/abc/"), None)
    assert caught.value.errors[0].message.startswith("entry_too_large")
    few = Intake(intake.settings.model_copy(update={"max_archive_entries": 2}), intake.store, intake.storage)
    with pytest.raises(InvalidInput) as caught:
        keep_mask_set(few, TENANT, MaskSetRequest(prefix="imports/abc/"), None)
    assert caught.value.code == "too_many_entries"


def test_another_tenants_imports_are_not_there(intake: Intake) -> None:
    put(intake.storage, {"a.png": png(mask(2))})
    with pytest.raises(InvalidInput) as caught:
        keep_mask_set(intake, "other", MaskSetRequest(prefix="imports/abc/"), None)
    assert caught.value.code == "empty_import"


@pytest.mark.parametrize(
    "prefix",
    ["", "masks/", "imports", "imports/abc", "imports/../masks/", "/imports/", "imports//", "imports/./"],
)
def test_only_imports_can_be_imported(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        MaskSetRequest(prefix=prefix)


def test_exactly_one_source(intake: Intake) -> None:
    for asked, archive in ((MaskSetRequest(), None), (MaskSetRequest(prefix="imports/"), io.BytesIO(b"x"))):
        with pytest.raises(InvalidInput) as caught:
            keep_mask_set(intake, TENANT, asked, archive)
        assert caught.value.code == "mask_missing"


def test_a_set_of_mask_ids(intake: Intake) -> None:
    kept = [intake.keep_mask(TENANT, decode_mask(png(mask(number))))[0] for number in (3, 1, 2)]
    ids = [one.id for one in kept]
    record = from_mask_ids(intake, TENANT, [*ids, ids[0]])
    lines = list(iterate(intake.storage, TENANT, record))
    assert [line.mask_id for line in lines] == [*ids, ids[0]]
    assert [line.group for line in lines] == [*ids, ids[0]]
    assert (record.masks, record.files) == (4, 3)
    found = {one.id: (one.masks, one.labelled_masks, one.pixels) for one in record.categories}
    assert found == naive_table([mask(number) for number in (3, 1, 2, 3)])
    assert from_mask_ids(intake, TENANT, [*ids, ids[0]]) == record


def test_absent_mask_ids_are_named(intake: Intake) -> None:
    there = intake.keep_mask(TENANT, decode_mask(png(mask(1))))[0].id
    absent = f"msk_{'0' * 64}"
    with pytest.raises(NotFound, match=f"2 of 3 masks are not there: {absent}, nonsense") as caught:
        from_mask_ids(intake, TENANT, [absent, there, "nonsense"])
    assert caught.value.code == "mask_not_found"
    assert [fault.pointer for fault in caught.value.errors] == ["/masks/mask_ids/0", "/masks/mask_ids/2"]
    with pytest.raises(NotFound):
        from_mask_ids(intake, "other", [there])
    for wrong, code in (([], "mask_missing"), ([there] * 1001, "too_many_masks")):
        with pytest.raises(InvalidInput) as refused:
            from_mask_ids(intake, TENANT, wrong)
        assert refused.value.code == code


def test_an_absent_set_is_not_found(intake: Intake) -> None:
    record = keep(intake, packed({"a.png": png(mask(1))})).record
    for tenant, set_id in (("other", record.id), (TENANT, f"mset_{'0' * 64}"), (TENANT, "../x")):
        with pytest.raises(NotFound) as caught:
            find_mask_set(intake.storage, tenant, set_id)
        assert caught.value.code == "mask_set_not_found"


_CHILD = """
import io, os, sys, threading
from worker.intake import Intake
from worker.mask_sets import MaskSetRequest, keep_mask_set
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.redis_client import connect

class Dying(Storage):
    left = int(sys.argv[2])
    lock = threading.Lock()
    def create(self, key, body, content_type):
        with Dying.lock:
            if Dying.left == 0:
                os.kill(os.getpid(), 9)
            Dying.left -= 1
        return super().create(key, body, content_type)

settings = Settings()
intake = Intake(settings, Store(connect(settings)), Dying(settings))
keep_mask_set(intake, "local", MaskSetRequest(), open(sys.argv[1], "rb"))
"""


@pytest.mark.parametrize("calls", [3, 9, 10])
def test_z67_killed_midway_there_is_no_set_and_the_next_try_makes_it_whole(
    intake: Intake, settings: Settings, tmp_path: Path, calls: int
) -> None:
    """Four masks are eight objects, then the page, then the record: killed among them, or not at all."""
    data = packed({f"{n}.png": png(mask(n)) for n in range(4)})
    (tmp_path / "masks.zip").write_bytes(data)
    environment = {
        f"EARTHSYNTH_{name.upper()}": getattr(value, "get_secret_value", lambda found=value: str(found))()
        for name, value in settings.model_dump(include=set(_NEEDED)).items()
    }
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, tmp_path / "masks.zip", str(calls)],
        env=os.environ | environment,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    records = [key for key in intake.storage.keys(f"{TENANT}/mask-sets/") if key.endswith("set.json")]
    assert (done.returncode, len(records)) == ((-9, 0) if calls < 10 else (0, 1))
    kept = keep(intake, data)
    assert kept.created == (calls < 10)
    assert len(list(iterate(intake.storage, TENANT, kept.record))) == 4
    for line in iterate(intake.storage, TENANT, kept.record):
        read_mask(intake.storage, TENANT, line.mask_id)


_NEEDED = ("redis_url", "s3_endpoint", "s3_bucket", "s3_access_key", "s3_secret_key")


def open_files(folder: Path) -> list[str]:
    """What this process holds open in the folder, files without a name included."""
    return [
        target
        for link in Path("/proc/self/fd").iterdir()
        if link.is_symlink() and (target := str(link.readlink())).startswith(str(folder))
    ]


@pytest.mark.parametrize("wrong", [False, True])
def test_temporary_files_are_gone(
    intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with tempfile.TemporaryFile():
        assert len(open_files(tmp_path)) == 1
    if wrong:
        with pytest.raises(InvalidInput):
            keep(intake, packed(GOOD | {"bad.png": b"text"}))
    else:
        keep(intake, packed(GOOD))
    assert open_files(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_make_one_set(intake: Intake) -> None:
    data = packed(GOOD)
    with ThreadPoolExecutor(4) as threads:
        found = [one.result() for one in [threads.submit(keep, intake, data) for _ in range(4)]]
    assert [one.created for one in found].count(True) == 1
    assert len({one.record.id for one in found}) == 1
