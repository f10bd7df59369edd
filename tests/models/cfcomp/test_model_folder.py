from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline
from safetensors.torch import load_file
from torch import Tensor

from models.card_file import read_card
from models.catalog import NANO_CHECKPOINT, nano_card
from models.cfcomp.denoiser import Denoiser
from models.cfcomp.model_folder import card_of, write_model
from models.errors import ModelUnavailable
from models.model_card import ModelCard
from models.synthesis.checkpoint import open_checkpoint
from models.synthesis.pipeline import LoadedPipeline, load_pipeline
from tests.models.cfcomp.trainings import run, small

UNET = "unet/diffusion_pytorch_model.safetensors"
CONTROLNET = "controlnet/diffusion_pytorch_model.safetensors"


def card_for(base: ModelCard) -> ModelCard:
    return card_of(base, name="farm", version="2", category_ids={2, 4}, counts={2: 30, 4: 9})


def answer(loaded: LoadedPipeline) -> Tensor:
    """The networks' answer to fixed noise, in float32."""
    pipe = loaded.pipe
    draw = torch.Generator().manual_seed(3)
    channels, width = pipe.unet.config.in_channels, pipe.unet.config.cross_attention_dim
    with torch.no_grad():
        found: Tensor = Denoiser(pipe.controlnet.float(), pipe.unet.float())(
            torch.randn(2, channels, 8, 8, generator=draw),
            torch.tensor([30, 700]),
            torch.randn(2, 77, width, generator=draw),
            torch.rand(2, 3, 64, 64, generator=draw),
        )
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_finished_nano_is_a_model_like_any_other(tmp_path: Path) -> None:
    base = nano_card()
    recipe = small(steps=2)  # UNet and ControlNet
    trained = run(tmp_path / "vault", recipe)
    card = write_model(trained, card_for(base), recipe, tmp_path / "farm")

    files, own = files_of(tmp_path / "farm"), files_of(NANO_CHECKPOINT)
    assert files.keys() == own.keys()
    changed = {name for name in files if files[name] != own[name]} - {"earthsynth.json"}
    assert {CONTROLNET, UNET} <= changed <= {CONTROLNET, UNET, "controlnet/config.json", "unet/config.json"}

    pins = {
        name: hashlib.sha256(body).hexdigest() for name, body in files.items() if name != "earthsynth.json"
    }
    assert card.sha256 == pins
    assert read_card(tmp_path / "farm").sha256 == pins
    assert read_card(tmp_path / "farm").digest == card.digest
    loaded = load_pipeline(card, device="cpu", dtype=torch.float32)
    assert loaded.digest == card.digest
    for part, place in (("unet", UNET), ("controlnet", CONTROLNET)):
        stored = load_file(tmp_path / "farm" / place)
        for name, value in getattr(trained.loaded.pipe, part).state_dict().items():
            assert stored[name].dtype == torch.float16
            assert torch.equal(stored[name], value.half()), "rounded to half precision, and no further"
    torch.testing.assert_close(answer(loaded), answer(trained.loaded), atol=5e-3, rtol=5e-3)
    assert (
        answer(loaded) - answer(load_pipeline(base, device="cpu", dtype=torch.float32))
    ).abs().max() > 0.02


def test_diffusers_itself_reads_it(toy: ModelCard, tmp_path: Path) -> None:
    recipe = small("earthsynth", steps=1)
    trained = run(tmp_path / "vault", recipe, base=toy)
    write_model(trained, card_for(toy), recipe, tmp_path / "farm")
    from diffusers import ControlNetModel

    pipe = StableDiffusionControlNetPipeline.from_pretrained(
        tmp_path / "farm",
        controlnet=ControlNetModel.from_pretrained(tmp_path / "farm" / "controlnet"),
        safety_checker=None,
        feature_extractor=None,
    )
    for name, value in pipe.controlnet.state_dict().items():
        torch.testing.assert_close(
            value.float(), trained.loaded.pipe.controlnet.state_dict()[name], atol=1e-3, rtol=1e-3
        )


def test_what_is_not_trained_is_the_base_s_own_bytes(toy: ModelCard, tmp_path: Path) -> None:
    recipe = small("earthsynth", steps=2, trained="controlnet", mixed_precision="bf16")
    card = write_model(run(tmp_path / "vault", recipe, base=toy), card_for(toy), recipe, tmp_path / "farm")
    base, files = open_checkpoint(toy), files_of(tmp_path / "farm")
    assert files.keys() == {*base.files, "earthsynth.json"}
    for place in base.files:
        if not place.startswith("controlnet/"):
            assert files[place] == (base.base / place).read_bytes(), place
    assert files[CONTROLNET] != (base.controlnet / Path(CONTROLNET).name).read_bytes()
    assert load_pipeline(card, device="cpu").digest == card.digest


def test_low_rank_updates_are_merged(toy: ModelCard, tmp_path: Path) -> None:
    recipe = small("earthsynth", steps=4, trained="lora", lora_rank=2, learning_rate=0.02)
    trained = run(tmp_path / "vault", recipe, base=toy)
    unmerged = answer(trained.loaded)
    before = answer(load_pipeline(toy, device="cpu", dtype=torch.float32))
    weights = {name: value.clone() for name, value in trained.loaded.pipe.unet.state_dict().items()}
    card = write_model(trained, card_for(toy), recipe, tmp_path / "farm")
    merged = answer(load_pipeline(card, device="cpu", dtype=torch.float32))
    torch.testing.assert_close(merged, unmerged, atol=5e-3, rtol=5e-3)
    assert (merged - before).abs().max() > 0.02

    plain, stored = load_file(Path(toy.base) / UNET), load_file(tmp_path / "farm" / UNET)
    assert stored.keys() == plain.keys()
    updated = {name.partition(".lora_A")[0] for name in weights if ".lora_A" in name}
    for name, value in plain.items():
        module = name.removesuffix(".weight")
        if module in updated:  # W + B A, alpha being the rank
            down, up = (weights[f"{module}.lora_{side}.default.weight"] for side in "AB")
            value = value + up @ down  # noqa: PLW2901
        torch.testing.assert_close(stored[name].float(), value, atol=1e-4, rtol=2**-10)


def test_half_precision_of_a_training_does_not_reach_the_base_s_weights(
    toy: ModelCard, tmp_path: Path
) -> None:
    """bfloat16 keeps 8 bits of a number and the stored float16 11: what is not updated must keep them."""
    recipe = small("earthsynth", steps=1, trained="lora", lora_rank=2, mixed_precision="bf16")
    write_model(run(tmp_path / "vault", recipe, base=toy), card_for(toy), recipe, tmp_path / "farm")
    plain, stored = load_file(Path(toy.base) / UNET), load_file(tmp_path / "farm" / UNET)
    assert torch.equal(stored["conv_in.weight"], plain["conv_in.weight"].half())
    for name, value in plain.items():
        if ".attn" not in name:
            assert torch.equal(stored[name], value.half()), name


def test_the_card_says_what_it_can(tmp_path: Path) -> None:
    base = nano_card()
    card = card_of(base, name="farm", version="3", category_ids={2, 4, 25}, counts={2: 30, 4: 9, 25: 1})
    assert (card.name, card.version) == ("farm", "3")
    assert card.category_ids == tuple(sorted({*base.category_ids, 2, 4, 25}))
    assert dict(card.training_counts) == {**base.training_counts, 2: 30, 25: 1}
    assert (card.defaults, card.native_width, card.max_side) == (
        base.defaults,
        base.native_width,
        base.max_side,
    )


def test_a_stored_card_reads_back(toy: ModelCard, tmp_path: Path) -> None:
    recipe = small("earthsynth", steps=1)
    card = write_model(run(tmp_path / "vault", recipe, base=toy), card_for(toy), recipe, tmp_path / "farm")
    found = read_card(tmp_path / "farm")
    for name in ("name", "version", "title", "licence", "category_ids", "native_width", "native_height"):
        assert getattr(found, name) == getattr(card, name), name
    assert (found.defaults, found.max_side, found.size_multiple) == (
        card.defaults,
        card.max_side,
        card.size_multiple,
    )
    assert (found.batch_size_cpu, found.batch_size_cuda) == (card.batch_size_cpu, card.batch_size_cuda)
    document = json.loads((tmp_path / "farm" / "earthsynth.json").read_text())
    assert str(tmp_path) not in json.dumps(document)


def test_a_base_that_has_changed_since_is_refused(tmp_path: Path, nano_copy: ModelCard) -> None:
    recipe = small(steps=1, trained="controlnet")
    trained = run(tmp_path / "vault", recipe, base=nano_copy)
    with (Path(nano_copy.base) / UNET).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x00")
    with pytest.raises(ModelUnavailable):
        write_model(trained, card_for(nano_copy), recipe, tmp_path / "farm")
    assert not (tmp_path / "farm").exists()


@pytest.fixture
def nano_copy(tmp_path: Path) -> ModelCard:
    import shutil

    return nano_card(Path(shutil.copytree(NANO_CHECKPOINT, tmp_path / "nano")))
