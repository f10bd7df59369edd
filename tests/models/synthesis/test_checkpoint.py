"""open_checkpoint: what is refused before anything is loaded, and what it says then."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.catalog import earthsynth_card, nano_card
from models.errors import ModelUnavailable
from models.model_card import model_digest
from models.synthesis.checkpoint import open_checkpoint

CONTROLNET = "controlnet/diffusion_pytorch_model.safetensors"


def refused(folder: Path, *, pinned: bool = False) -> ModelUnavailable:
    """The error for a damaged copy of nano; by default with nothing pinned, so that other checks are seen."""
    card = replace(nano_card(), base=str(folder), controlnet=str(folder))
    if not pinned:
        card = replace(card, sha256={}, digest=None)
    with pytest.raises(ModelUnavailable) as caught:
        open_checkpoint(card)
    assert str(folder) not in caught.value.message  # messages may reach clients
    return caught.value


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_the_shipped_checkpoint_passes_and_its_digest_is_the_cards() -> None:
    card = nano_card()
    checkpoint = open_checkpoint(card)
    assert dict(checkpoint.files) == dict(card.sha256)
    assert checkpoint.digest == card.digest == model_digest(card.sha256)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("_class_name", "EvilPipeline"),
        ("_class_name", ["pipeline", "StableDiffusionPipeline"]),
        ("unet", ["my_unet", "UNet2DConditionModel"]),
        ("unet", ["diffusers", "AutoencoderKL"]),
        ("unet", "UNet2DConditionModel"),
        ("vae", ["diffusers", "VQModel"]),
        ("scheduler", ["models.errors", "NotFound"]),
        ("text_encoder", ["transformers", "AutoModel"]),
        ("text_encoder", ["transformers", "CLIPTextModel", "extra"]),
        ("tokenizer", ["transformers", "AutoTokenizer"]),
        ("safety_checker", ["my_checker", "Checker"]),
        ("image_encoder", ["transformers", "AutoModel"]),
        ("custom", ["diffusers", "UNet2DConditionModel"]),
    ],
)
def test_an_index_that_names_foreign_classes_is_refused(nano_folder: Path, part: str, value: object) -> None:
    edit_json(nano_folder / "model_index.json", lambda index: index.update({part: value}))
    assert refused(nano_folder).code == "remote_code_refused"


@pytest.mark.parametrize("key", ["auto_map", "quantization_config"])
@pytest.mark.parametrize(
    "part", ["unet/config.json", "controlnet/config.json", "tokenizer/tokenizer_config.json"]
)
def test_a_config_that_names_code_is_refused(nano_folder: Path, part: str, key: str) -> None:
    edit_json(nano_folder / part, lambda config: config.update({key: {"AutoModel": "evil.Model"}}))
    assert refused(nano_folder).code == "remote_code_refused"


def test_an_index_without_a_needed_part_is_refused(nano_folder: Path) -> None:
    edit_json(nano_folder / "model_index.json", lambda index: index.pop("vae"))
    assert "vae" in refused(nano_folder).message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_an_index_that_is_no_json_object_is_refused(nano_folder: Path, content: bytes) -> None:
    (nano_folder / "model_index.json").write_bytes(content)
    assert "model_index.json is not" in refused(nano_folder).message


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "executed")


@pytest.mark.parametrize(
    ("part", "suffix"), [("unet", ".bin"), ("vae", ".ckpt"), ("controlnet", ".pt"), ("text_encoder", ".bin")]
)
def test_weights_that_are_only_a_pickle_are_refused_unopened(
    nano_folder: Path, tmp_path: Path, part: str, suffix: str
) -> None:
    (weights,) = (nano_folder / part).glob("*.safetensors")
    weights.unlink()
    canary = tmp_path / "canary"
    weights.with_suffix(suffix).write_bytes(pickle.dumps(Canary(canary)))
    error = refused(nano_folder)
    assert error.code == "weights_pickled"
    assert part in error.message
    assert "safe_serialization=True" in error.message
    assert not canary.exists()


def test_a_missing_weight_file_is_named(nano_folder: Path) -> None:
    (nano_folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert "unet/diffusion_pytorch_model.safetensors is missing" in refused(nano_folder).message


def test_weights_in_several_files_are_refused(nano_folder: Path) -> None:
    (nano_folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text("{}")
    assert "several files" in refused(nano_folder).message


def flip_a_bit(folder: Path) -> None:
    path = folder / CONTROLNET
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (flip_a_bit, CONTROLNET),
        (lambda folder: (folder / "tokenizer" / "merges.txt").unlink(), "tokenizer/merges.txt"),
        (lambda folder: (folder / "tokenizer" / "added_tokens.json").write_text("{}"), "added_tokens.json"),
    ],
    ids=["one bit", "a file less", "a file more"],
)
def test_bytes_that_are_not_the_pinned_ones_are_refused(
    nano_folder: Path, damage: Callable[[Path], object], named: str
) -> None:
    damage(nano_folder)
    error = refused(nano_folder, pinned=True)
    assert error.code == "model_hash_mismatch"
    assert named in error.message


def test_another_controlnet_under_earthsynths_name_is_refused(stable_diffusion: Any) -> None:
    card = earthsynth_card(str(stable_diffusion.base), str(stable_diffusion.controlnet))
    with pytest.raises(ModelUnavailable, match=CONTROLNET) as caught:
        open_checkpoint(card)
    assert caught.value.code == "model_hash_mismatch"


@pytest.mark.parametrize(
    "source", ["/no/such/folder", "../nowhere", "a/b/c", "", "https://example.org/model"]
)
def test_a_source_that_is_neither_folder_nor_hub_id_is_refused(source: str, stable_diffusion: Any) -> None:
    with pytest.raises(ModelUnavailable, match="EARTHSYNTH_EARTHSYNTH_CONTROLNET"):
        open_checkpoint(replace(stable_diffusion.card(), controlnet=source))


SCRIPT = """
import sys
from dataclasses import replace
from models.catalog import earthsynth_card
from models.errors import ModelUnavailable
from models.synthesis.checkpoint import open_checkpoint
try:
    print("files", len(open_checkpoint(replace(earthsynth_card(*sys.argv[1:]), sha256={})).files))
except ModelUnavailable as error:
    print(error.code, error.message)
assert "torch" not in sys.modules
"""


def in_fresh_process(*sources: str, **environment: str) -> str:
    """What open_checkpoint says in a process whose hub client starts with this environment."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, *sources],
        env={**os.environ, "HF_HUB_DISABLE_XET": "1", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return result.stdout


def test_a_hub_that_cannot_be_reached_says_what_to_do(tmp_path: Path) -> None:
    said = in_fresh_process(
        HF_HOME=str(tmp_path), HF_ENDPOINT="http://127.0.0.1:9"
    )  # the discard port: closed
    assert said.startswith("model_unavailable")
    assert "stable-diffusion-v1-5/stable-diffusion-v1-5, could not be fetched" in said
    assert "EARTHSYNTH_EARTHSYNTH_BASE" in said


def test_hub_ids_are_found_in_the_hubs_own_cache(stable_diffusion: Any, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    for hub_id, folder in (("me/base", stable_diffusion.base), ("me/earth", stable_diffusion.controlnet)):
        repository = tmp_path / "hub" / f"models--{hub_id.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(commit)
        (repository / "snapshots").mkdir()
        (repository / "snapshots" / commit).symlink_to(folder, target_is_directory=True)
    expected = open_checkpoint(stable_diffusion.card())
    said = in_fresh_process("me/base", "me/earth", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert said.split() == ["files", str(len(expected.files))]
