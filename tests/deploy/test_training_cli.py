"""`earthsynth prepare` and `preview`, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from deploy.cli import app
from models.errors import InvalidInput
from tests.models.cfcomp.samples import with_boxes, write_pair


def invoke(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(words))
    if isinstance(done.exception, InvalidInput):  # `main` turns it into one line
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_prepare_twice_is_prepare_once(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", with_boxes((25, 0, 0, 8, 8), (4, 16, 0, 4, 32)))
    write_pair(tmp_path, "b", with_boxes((25, 20, 20, 8, 8)))
    (tmp_path / "images" / "lonely.png").write_bytes((tmp_path / "images" / "a.png").read_bytes())
    code, out, said = invoke("prepare", str(tmp_path), "--max-bad-share", "0.5")
    assert (code, out) == (0, f"{tmp_path / 'train.jsonl'}\n")
    assert "storage tank: in 2 of 2 pairs" in said
    assert "left out images/lonely.png" in said
    before = (tmp_path / "train.jsonl").read_bytes()
    assert invoke("prepare", str(tmp_path), "--max-bad-share", "0.5")[0] == 0
    assert (tmp_path / "train.jsonl").read_bytes() == before


def test_preview_shows_the_exchange(tmp_path: Path) -> None:
    for number in range(4):
        write_pair(tmp_path, str(number), with_boxes((25, 12 * (number % 2), 10 * (number // 2), 10, 10)))
    sheet = tmp_path / "sheet.png"
    code, out, said = invoke(
        "preview", str(tmp_path), "--out", str(sheet), "--size", "32", "--batch-size", "4"
    )
    assert (code, out) == (0, f"{sheet}\n")
    assert said.endswith("pairs\n")
    assert np.asarray(Image.open(sheet)).std() > 1


def test_what_cannot_be_composed_is_said(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", with_boxes((25, 0, 0, 10, 10)))
    write_pair(tmp_path, "b", with_boxes((4, 0, 0, 10, 10)))
    with pytest.raises(InvalidInput) as caught:
        invoke("preview", str(tmp_path), "--size", "32", "--batch-size", "2")
    assert caught.value.code == "no_partners"
