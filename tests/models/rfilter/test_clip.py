"""The plumbing of a tiny random CLIP: embeddings against CLIPModel's own forward, ranks against a naive formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.categories import CATEGORIES, caption
from models.errors import ModelUnavailable
from models.rfilter.clip import Clip, rank_and_margin
from tests.models.rfilter.scenes import toy_tile


@pytest.fixture(scope="session")
def clip(clip_folder: Path) -> Clip:
    return Clip(clip_folder, "cpu")


def test_similarities_equal_those_of_the_model_itself(clip: Clip, clip_folder: Path) -> None:
    import torch
    from transformers import CLIPModel, CLIPTokenizer

    image = toy_tile("t", 0, 32).image
    model = CLIPModel.from_pretrained(clip_folder).eval()
    tokens = CLIPTokenizer.from_pretrained(clip_folder)([caption([8])], return_tensors="pt")
    pixels = torch.from_numpy((image / 255 - 0.5) / 0.25).movedim(-1, 0)[None].float()
    with torch.inference_mode():
        output = model(**tokens, pixel_values=pixels)
    expected = float(output.image_embeds[0] @ output.text_embeds[0])
    cosines = clip.similarities(clip.embed([image]))
    assert cosines.shape == (1, len(CATEGORIES))
    assert cosines[0, 8] == pytest.approx(expected, abs=1e-5)


def test_rank_and_margin_are_against_absent_categories_only() -> None:
    cosines = np.linspace(-0.5, 0.5, len(CATEGORIES)).astype(np.float32)
    rng = np.random.default_rng(0)
    rng.shuffle(cosines)
    present = {4, 8, 21}
    for category in present:
        absent = [cosines[c.id] for c in CATEGORIES if c.id and c.id not in present]
        rank, margin = rank_and_margin(cosines, category, present)
        assert rank == 1 + sum(value > cosines[category] for value in absent)
        assert margin == pytest.approx(cosines[category] - max(absent))


def test_regions_are_large_enough_and_not_the_whole_picture(clip: Clip) -> None:
    mask = np.full((128, 128), 1, np.uint8)  # bare land: more than half of the picture
    mask[10:50, 10:42] = 8
    mask[80:100, 80:100] = 8  # 20 px: too small for a CLIP
    mask[60:62, 10:100] = 4  # long enough
    found = clip.regions(toy_tile("t", 0, 128).image, mask)
    assert [(region.category, region.component.area) for region in found] == [(8, 1280), (4, 180)]
    assert all(1 <= region.rank <= 66 for region in found)


def test_a_region_is_judged_on_its_own_crop(clip: Clip) -> None:
    image = toy_tile("t", 0, 128).image
    mask = np.zeros((128, 128), np.uint8)
    mask[40:80, 40:80] = 8
    other = image.copy()
    other[:30], other[90:] = 0, 255  # beyond 1.3 times the box
    assert clip.regions(image, mask)[0].margin == clip.regions(other, mask)[0].margin
    vectors = clip.embed([image[34:86, 34:86]])
    expected = rank_and_margin(clip.similarities(vectors)[0], 8, {8})
    assert (clip.regions(image, mask)[0].rank, clip.regions(image, mask)[0].margin) == expected


def test_a_folder_that_is_no_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="CLIP"):
        Clip(tmp_path, "cpu")
