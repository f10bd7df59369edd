"""`earthsynth train` as shells use it: here in the foreground, and what it asks a service for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import app, main
from models.card_file import read_card
from tests.models.zips import packed
from tests.training_pairs import pair_files, unpacked


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(packed(pair_files(4)), tmp_path_factory.mktemp("pairs"))


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["train", *words])
    return done.exit_code, done.stdout, done.stderr + (str(done.exception) if done.exception else "")


SMALL = ("--steps", "2", "--resolution", "64", "--batch-size", "2", "--trained", "controlnet")


def test_here_it_leaves_a_model_that_loads_and_goes_on_where_it_stopped(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "farm"
    argv = ["--local", "--data", str(pairs), "--name", "farm", "--out", str(out), *SMALL[2:]]
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"ema_decay": None, "validation": {"pictures": 1}, "steps": 9}))
    code, stdout, said = run(*argv, "--recipe", str(recipe), "--steps", "2", "--checkpoint-every", "1")
    assert (code, stdout) == (0, f"{out / 'model'}\n"), said  # standard output is for shells
    assert "4 pairs, 0 left out" in said
    assert "of step 2" in said, "an option goes before the recipe's own steps"
    assert (out / "validation-00000002.png").stat().st_size > 1000
    assert read_card(out / "model").name == "farm"
    assert list((out / "tensorboard").glob("events.out.tfevents.*"))

    code, stdout, said = run(*argv)
    assert (code, stdout) == (1, "")
    assert "is there already" in said

    (out / "model").rename(tmp_path / "first")
    code, stdout, said = run(*argv, "--recipe", str(recipe), "--steps", "3")
    assert code == 0, said
    assert "going on after step 2" in said
    assert read_card(out / "model").digest != read_card(tmp_path / "first").digest


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--base", "nobody"), 1, "--base nobody is neither a folder nor one of nano"),
        (("--steps", "0"), 2, "/steps"),
        (("--learning-rate", "0"), 2, "/learning_rate"),
        (("--learning-rate", "nan"), 2, "/learning_rate"),
        (("--new-version",), 2, "--new-version"),
        (("--mixed-precision", "fp16", "--device", "cpu"), 1, "fp16 needs a GPU"),
        (("--resolution", "1024"), 1, "1024"),
    ],
)
def test_what_is_wrong_is_said(
    pairs: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    out = tmp_path / "out"
    argv = ["--local", "--data", str(pairs), "--name", "farm", "--out", str(out)]
    found, stdout, stderr = run(*argv, *SMALL[4:], *words)
    assert (found, stdout) == (code, ""), stderr
    assert said in stderr
    assert not (out / "model").exists()


def test_data_that_is_not_there_is_wrong_usage(pairs: Path) -> None:
    code, out, said = run("--data", "nowhere", "--name", "farm", "--url", "http://127.0.0.1:9")
    assert (code, out) == (2, "")
    assert "nowhere" in said


def test_bad_pairs_are_named(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "images" / "7.png").write_bytes((pairs / "images" / "0.png").read_bytes())
    (tmp_path / "masks" / "7.png").write_bytes(b"no picture")
    words = ["train", "--local", "--data", str(tmp_path), "--name", "farm", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["earthsynth", *words])
    with pytest.raises(SystemExit, match=r"^1$"):
        main()
    said = capsys.readouterr()
    assert said.out == ""
    first, second = said.err.splitlines()
    assert first.startswith("error: There is no good pair of a picture and its mask, and 1 bad ones.")
    assert second.startswith("  images/7.png: ")


def test_the_share_of_bad_pairs_that_is_borne(pairs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    shutil.copytree(pairs, folder)
    (folder / "masks" / "9.png").write_bytes(b"no picture")
    argv = ["--local", "--data", str(folder), "--name", "farm", "--out", str(tmp_path / "out"), *SMALL]
    code, _, said = run(*argv)
    assert code == 1
    assert "1 of 5 pairs are bad, more than 5%" in said
    code, _, said = run(*argv, "--max-bad-share", "0.25", "--mixed-precision", "fp16", "--device", "cpu")
    assert code == 1
    assert "fp16 needs a GPU" in said, "the pairs were taken"
