"""load_pipeline: every source through one function, on files that passed every check."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, StableDiffusionControlNetPipeline
from safetensors.torch import load_file, save_file

from models.catalog import NANO_CHECKPOINT, nano_card
from models.errors import ModelUnavailable
from models.model_card import Scheduler
from models.sample import Condition
from models.synthesis.pipeline import LoadedPipeline, describe, load_pipeline
from models.synthesis.synthesize import synthesize

# numpy 2.4 warns when diffusers turns a tensor into an array (torch 2.13 lacks the `copy` keyword).
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def make_one(loaded: LoadedPipeline) -> np.ndarray[Any, Any]:
    mask = np.zeros((32, 48), np.uint8)
    mask[8:24, 8:40] = 25
    condition = Condition(0, mask, "A satellite image of storage tank", 7)
    (sample,) = synthesize(
        loaded,
        [condition],
        num_inference_steps=2,
        guidance_scale=7.5,
        controlnet_conditioning_scale=1.0,
        scheduler=Scheduler.UNIPC,
    )
    return sample.image


def test_the_shipped_checkpoint_loads_as_the_real_pipeline(nano: LoadedPipeline) -> None:
    assert type(nano.pipe) is StableDiffusionControlNetPipeline
    assert isinstance(nano.pipe.vae, AutoencoderTiny)
    assert nano.pipe.safety_checker is None
    card = nano_card()
    assert describe(nano) == {
        "name": "nano",
        "version": card.version,
        "sha256": card.digest,
        "device": "cpu",
        "dtype": "float32",
    }


def test_every_file_of_the_shipped_checkpoint_is_reported_with_its_sha256(nano: LoadedPipeline) -> None:
    expected = {
        path.relative_to(NANO_CHECKPOINT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in NANO_CHECKPOINT.rglob("*")
        if path.is_file() and path.name != "earthsynth.json"
    }
    assert dict(nano.files) == expected
    lines = "".join(f"{path} {expected[path]}\n" for path in sorted(expected))
    assert nano.digest == hashlib.sha256(lines.encode()).hexdigest()


def test_a_stable_diffusion_base_loads_with_either_controlnet_layout(stable_diffusion: Any) -> None:
    nested = load_pipeline(stable_diffusion.card(), device="cpu")
    flat = load_pipeline(stable_diffusion.card(flat=True), device="cpu")
    assert isinstance(nested.pipe.vae, AutoencoderKL)
    assert nested.pipe.safety_checker is None
    assert nested.digest == flat.digest
    assert "controlnet/diffusion_pytorch_model.safetensors" in nested.files
    picture = make_one(nested)
    assert picture.shape == (32, 48, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, make_one(flat))


def test_the_old_names_of_stable_diffusions_vae_tensors_are_understood(
    stable_diffusion: Any, tmp_path: Path
) -> None:
    """The published SD 1.5 VAE still says query/key/value/proj_attn where diffusers now says to_q/…/to_out.0."""
    base = Path(shutil.copytree(stable_diffusion.base, tmp_path / "base"))
    weights = base / "vae" / "diffusion_pytorch_model.safetensors"
    renames = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    tensors = {}
    for name, tensor in load_file(weights).items():
        for new, old in renames.items():
            name = name.replace(new, old)  # noqa: PLW2901
        tensors[name] = tensor
    assert any(".proj_attn." in name for name in tensors)
    save_file(tensors, weights, metadata={"format": "pt"})
    loaded = load_pipeline(replace(stable_diffusion.card(), base=str(base)), device="cpu")
    reference = load_pipeline(stable_diffusion.card(), device="cpu")
    np.testing.assert_array_equal(make_one(loaded), make_one(reference))


def test_folders_load_without_any_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load_pipeline(nano_card(), device="cpu").digest == nano_card().digest


def test_half_precision_where_it_is_asked_for() -> None:
    loaded = load_pipeline(nano_card(), device="cpu", dtype=torch.float16)
    assert {part.dtype for part in (loaded.pipe.unet, loaded.pipe.vae, loaded.pipe.controlnet)} == {
        torch.float16
    }
    assert describe(loaded)["dtype"] == "float16"


def test_a_file_that_lacks_a_tensor_is_refused_and_not_filled_with_noise(
    stable_diffusion: Any, tmp_path: Path
) -> None:
    controlnet = Path(shutil.copytree(stable_diffusion.flat_controlnet, tmp_path / "controlnet-copy"))
    weights = controlnet / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    del tensors["controlnet_cond_embedding.conv_in.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(ModelUnavailable, match="do not load"):
        load_pipeline(replace(stable_diffusion.card(), controlnet=str(controlnet)), device="cpu")


def test_a_truncated_weight_file_is_refused(stable_diffusion: Any, tmp_path: Path) -> None:
    controlnet = Path(shutil.copytree(stable_diffusion.flat_controlnet, tmp_path / "controlnet-copy"))
    weights = controlnet / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelUnavailable, match="do not load"):
        load_pipeline(replace(stable_diffusion.card(), controlnet=str(controlnet)), device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_asking_for_cuda_where_there_is_none_says_what_to_do() -> None:
    with pytest.raises(ModelUnavailable, match="EARTHSYNTH_DEVICE=cpu") as caught:
        load_pipeline(nano_card(), device="cuda")
    assert caught.value.code == "device_unavailable"


def test_remote_code_is_off_before_diffusers_is_imported() -> None:
    script = (
        "import models.synthesis, diffusers.utils.constants as c, huggingface_hub.constants as h; "
        "print(c.DIFFUSERS_DISABLE_REMOTE_CODE, h.HF_HUB_DISABLE_TELEMETRY)"
    )
    environment = {k: v for k, v in os.environ.items() if "REMOTE_CODE" not in k and "TELEMETRY" not in k}
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert result.stdout.split() == ["True", "True"]


@pytest.mark.gpu
def test_on_cuda_the_weights_are_fp16_and_channels_last() -> None:
    loaded = load_pipeline(nano_card())
    assert loaded.dtype == torch.float16
    assert loaded.fixed_batch_shape
    weight = loaded.pipe.unet.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert make_one(loaded).shape == (32, 48, 3)


@pytest.mark.weights
def test_the_published_weights_load_and_carry_the_pinned_hash() -> None:
    from models.catalog import earthsynth_card

    base = os.environ.get("EARTHSYNTH_EARTHSYNTH_BASE", earthsynth_card().base)
    controlnet = os.environ.get("EARTHSYNTH_EARTHSYNTH_CONTROLNET", earthsynth_card().controlnet)
    loaded = load_pipeline(earthsynth_card(base, controlnet))
    place = "controlnet/diffusion_pytorch_model.safetensors"
    assert loaded.files[place] == loaded.card.sha256[place]
