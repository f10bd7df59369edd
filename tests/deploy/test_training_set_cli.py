"""`earthsynth training-set …` as shells use it; against the real service."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from deploy import ports
from deploy.cli import app
from deploy.localstack import LocalStack
from deploy.prepare import run_prepare
from deploy.training_set_request import belongs
from earthsynth.archives import zip_folder
from tests.conftest import settings_of
from tests.models.zips import packed
from tests.pictures import png
from tests.training_pairs import pair_files, picture_of, shard_files, tile_of, unpacked
from worker.storage import Storage


def invoke(url: str, *words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["training-set", *words], env={"EARTHSYNTH_URL": url})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_a_folder_and_a_zip_are_one_set(service: LocalStack, client: httpx.Client, tmp_path: Path) -> None:
    data = packed(pair_files(5))
    folder = unpacked(data, tmp_path / "farm")
    (tmp_path / "farm.zip").write_bytes(data)
    code, out, said = invoke(service.api_url, "create", str(folder))
    assert code == 0, said
    set_id = out.strip()
    assert out == f"{set_id}\n"
    assert client.get(f"/v1/training-sets/{set_id}").json()["pairs"] == 5
    assert "packed 10 files" in said
    assert f"training set {set_id}: 5 pairs, kept as pairs" in said
    roads = sum(bool((tile_of(number) == 4).any()) for number in range(5))
    assert f"\nroad: in {roads} of 5 pairs, " in said
    assert invoke(service.api_url, "create", str(tmp_path / "farm.zip"))[1] == out
    code, out, _ = invoke(service.api_url, "show", set_id)
    assert code == 0
    assert out.startswith(f"training set {set_id}: 5 pairs, kept as pairs\n")
    assert f"\nroad: in {roads} of 5 pairs, " in out


def test_what_was_prepared_is_the_same_pairs(service: LocalStack, tmp_path: Path) -> None:
    """`prepare` adds train.jsonl and single-category masks: they stay behind, and nothing else changes."""
    folder = unpacked(packed(pair_files(3)), tmp_path)
    before = invoke(service.api_url, "create", str(folder))[1]
    run_prepare(folder)
    assert any((folder / "category_masks").iterdir())
    buffer = io.BytesIO()
    assert zip_folder(folder, buffer, belongs(folder)) == 7
    with zipfile.ZipFile(buffer) as archive:
        assert not any(name.startswith("category_masks/") for name in archive.namelist())
    assert invoke(service.api_url, "create", str(folder))[1] == before


def test_masks_that_train_jsonl_names_elsewhere_are_sent(tmp_path: Path) -> None:
    folder = unpacked(packed(pair_files(1)), tmp_path)
    (folder / "id_masks").mkdir()
    (folder / "masks" / "0.png").rename(folder / "id_masks" / "0.png")
    (folder / "id_masks" / "1.png").write_bytes(b"in no pair")
    row = {"file_name": "images/0.png", "mask_name": "id_masks/0.png", "text": "A farm"}
    (folder / "train.jsonl").write_text(json.dumps(row) + "\n")
    buffer = io.BytesIO()
    zip_folder(folder, buffer, belongs(folder))
    with zipfile.ZipFile(buffer) as archive:
        assert archive.namelist() == ["id_masks/0.png", "images/0.png", "train.jsonl"]


def test_bad_pairs_are_listed(service: LocalStack, tmp_path: Path) -> None:
    bad = {"images/x.png": png(picture_of(tile_of(0))), "masks/x.png": png(np.zeros((96, 96), np.uint8))}
    folder = unpacked(packed(pair_files(3) | bad), tmp_path)
    code, out, said = invoke(service.api_url, "create", str(folder))
    assert (code, out) == (1, "")
    summary, line = said.splitlines()[2:]
    assert summary.startswith("error: 1 of 4 pairs are bad, more than 5%")
    assert summary.endswith("[too_many_bad_pairs]")
    assert line.startswith("  /images~1x.png: all_background: ")
    code, out, said = invoke(service.api_url, "create", str(folder), "--max-bad-share", "0.25")
    assert (code, out[:5]) == (0, "tset_")
    assert "left out images/x.png: " in said
    assert "[all_background]" in said


def test_shards_by_prefix(service: LocalStack, client: httpx.Client) -> None:
    storage = Storage(settings_of(service))
    for name, body in shard_files().items():
        storage.create(f"local/imports/shards-by-cli/{name}", body, "application/x-tar")
    code, out, said = invoke(service.api_url, "create", "--prefix", "imports/shards-by-cli")
    assert code == 0, said
    assert client.get(f"/v1/training-sets/{out.strip()}").json()["layout"] == "shards"
    assert ": 8 pairs, kept as shards" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "one of them"),
        ([".", "--prefix", "imports/a"], "one of them"),
        (["--prefix", "masks/"], "/prefix: "),
        (["."], "neither images/ nor masks/"),
        ([".", "--encoding", "jpeg"], "/encoding: "),
        ([".", "--max-bad-share", "2"], "/max_bad_share: "),
    ],
)
def test_wrong_usage_sends_nothing(tmp_path: Path, words: list[str], said: str) -> None:
    """No service is there: whatever is sent would end with 5."""
    (port,) = ports.choose(1)
    with contextlib.chdir(tmp_path):
        code, out, lines = invoke(f"http://127.0.0.1:{port}", "create", *words)
    assert (code, out) == (2, "")
    assert said in lines


def test_an_unknown_set(service: LocalStack) -> None:
    code, out, said = invoke(service.api_url, "show", f"tset_{'0' * 64}")
    assert (code, out, said) == (1, "", "error: There is no such training set. [training_set_not_found]\n")
