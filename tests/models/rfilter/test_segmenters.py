"""Segmenters from folders: our U-Net, and a tiny random SegFormer whose labels are partly ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import ModelUnavailable
from models.rfilter.segmenters import load_segmenter
from models.rfilter.unet import UNet, load_unet, save_unet
from tests.models.rfilter.scenes import toy_tile


@pytest.fixture
def unet_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = UNet(3)
    network.center.fill_(0.25)
    save_unet(network, tmp_path / "unet", (1, 4, 8), steps=0)
    return tmp_path / "unet"


def test_the_unet_comes_back_from_its_folder(unet_folder: Path) -> None:
    network, ids = load_unet(unet_folder)
    assert ids == (1, 4, 8)
    assert not network.training
    assert float(network.center[0]) == 0.25
    logits, features = network(torch.zeros(2, 3, 64, 96))
    assert logits.shape == (2, 3, 64, 96)
    assert features.shape == (2, 160)


def test_belief_is_a_distribution_at_the_pictures_size(unet_folder: Path) -> None:
    segmenter = load_segmenter(unet_folder, "cpu")
    belief = segmenter.believe(toy_tile("t", 0, 100).image[:70])
    assert belief.log_probabilities.shape == (3, 70, 100)
    np.testing.assert_allclose(np.exp(belief.log_probabilities).sum(0), 1, rtol=1e-4)
    again = load_segmenter(unet_folder, "cpu").believe(toy_tile("t", 0, 100).image[:70])
    np.testing.assert_array_equal(belief.log_probabilities, again.log_probabilities)


def test_a_transformers_segmenter_answers_for_the_categories_it_knows(segformer_folder: Path) -> None:
    from transformers import SegformerForSemanticSegmentation

    image = toy_tile("t", 0, 64).image
    belief = load_segmenter(segformer_folder, "cpu").believe(image)
    assert belief.category_ids == (6, 8)
    model = SegformerForSemanticSegmentation.from_pretrained(segformer_folder).eval()
    mean, std = (
        np.array([0.485, 0.456, 0.406]),
        np.array([0.229, 0.224, 0.225]),
    )  # no preprocessor file: ImageNet's
    pixels = torch.from_numpy((image / 255 - mean) / std).movedim(-1, 0)[None].float()
    with torch.inference_mode():
        logits = torch.nn.functional.interpolate(model(pixels).logits, size=(64, 64), mode="bilinear")[0]
    chances = logits.softmax(0).numpy()
    np.testing.assert_allclose(np.exp(belief.log_probabilities[0]), chances[2] + chances[3], rtol=1e-3)
    np.testing.assert_allclose(np.exp(belief.log_probabilities[1]), chances[1], rtol=1e-3)


def test_other_weights_have_another_digest(unet_folder: Path, tmp_path: Path) -> None:
    save_unet(UNet(3), tmp_path / "other", (1, 4, 8))
    assert load_segmenter(unet_folder, "cpu").digest != load_segmenter(tmp_path / "other", "cpu").digest


def test_absent_and_damaged_folders_are_refused(unet_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable):
        load_segmenter(tmp_path / "nothing", "cpu")
    (unet_folder / "segmenter.safetensors").write_bytes(b"short")
    with pytest.raises(ModelUnavailable):
        load_segmenter(unet_folder, "cpu")
