"""Requests whose pictures have their mask's size: given pictures, and tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.catalog import earthsynth_card, nano_card
from models.errors import InvalidInput
from models.masks import SizePolicy, resize_ids
from worker.dataset_specs import DatasetRequest, resolve_dataset
from worker.mask_records import StoredMask
from worker.mask_sets import MaskSetCategory, MaskSetRecord
from worker.painting import InitImageFacts
from worker.placed_masks import placed
from worker.specs import GenerationRequest, MaskFacts, resolve

NANO = nano_card()
IDS = [0, 1, 8, 255]


def facts(width: int = 250, height: int = 180, ids: list[int] | None = None) -> MaskFacts:
    return MaskFacts("msk_" + "0" * 64, width, height, IDS if ids is None else ids)


def given(width: int = 250, height: int = 180) -> InitImageFacts:
    return InitImageFacts("ab" * 32, width, height)


def request(**fields: Any) -> GenerationRequest:
    return GenerationRequest.model_validate(fields)


def refusal(asked: GenerationRequest, mask: MaskFacts, **more: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        resolve(asked, mask, more.pop("card", NANO), **more)
    return caught.value


def test_a_given_picture_sets_the_size_and_the_defaults() -> None:
    spec, warnings = resolve(request(), facts(), NANO, init_image=given())
    assert (spec.width, spec.height) == (250, 180)
    assert (spec.init_image_sha256, spec.strength, spec.feather_pixels) == ("ab" * 32, 1.0, 0)
    assert warnings == ()
    spec, _ = resolve(request(strength=0.3, feather_pixels=5), facts(), NANO, init_image=given())
    assert (spec.strength, spec.feather_pixels) == (0.3, 5)
    without, _ = resolve(request(), facts(256, 256), NANO)
    assert (without.init_image_sha256, without.strength, without.feather_pixels) == (None, None, 0)


def test_the_region_is_what_is_asked_for() -> None:
    mask = np.array([[0, 1, 8, 255]], np.uint8)
    every, _ = resolve(request(prompt="anything"), facts(), NANO, init_image=given())
    assert every.region(mask).tolist() == [[False, True, True, False]]
    one, _ = resolve(request(categories=("building",)), facts(), NANO, init_image=given())
    assert one.region(mask).tolist() == [[False, False, True, False]]


def test_what_of_a_given_picture_is_refused() -> None:
    assert refusal(request(strength=0.5), facts(256, 256)).code == "init_image_missing"
    assert refusal(request(feather_pixels=0), facts(256, 256)).code == "init_image_missing"
    assert refusal(request(), facts(), init_image=given(251)).code == "sizes_differ"
    assert refusal(request(), facts(ids=[0, 255]), init_image=given()).code == "nothing_to_paint"
    asked = request(categories=("road",), on_mismatch="warn")
    assert refusal(asked, facts(), init_image=given()).code == "nothing_to_paint"
    few = request(strength=0.3, num_inference_steps=3)
    assert refusal(few, facts(), init_image=given()).code == "strength_too_small"
    assert refusal(request(width=256), facts(), init_image=given()).code == "wrong_size"
    large = refusal(request(), facts(600, 180), init_image=given(600))
    assert large.code == "unsupported_size"
    assert "size_policy=tile" in large.message
    spec, _ = resolve(request(size_policy="tile"), facts(600, 180), NANO, init_image=given(600))
    assert (spec.width, spec.height, spec.tiled) == (600, 180, True)


@pytest.mark.parametrize("strength", [0.0, -1.0, 1.01, float("nan")])
def test_strengths_out_of_range(strength: float) -> None:
    with pytest.raises(ValueError, match="strength"):
        request(strength=strength)


def test_tiles_have_the_masks_size() -> None:
    spec, warnings = resolve(request(size_policy="tile"), facts(1001, 777), NANO)
    assert (spec.width, spec.height, warnings) == (1001, 777, ())
    same, _ = resolve(request(size_policy="tile", width=1001, height=777), facts(1001, 777), NANO)
    assert (same.width, same.height) == (1001, 777)
    other = refusal(request(size_policy="tile", width=1000), facts(1001, 777))
    assert (other.code, other.errors[0].pointer) == ("wrong_size", "/width")


def test_tiles_are_limited() -> None:
    # 640 = 256 + 2 * 192: 3 x 3 tiles of nano.
    tile = request(size_policy="tile", num_images=4)
    assert resolve(tile, facts(640, 640), NANO, max_tiles=36)[0].num_images == 4
    over = refusal(tile, facts(640, 640), max_tiles=35)
    assert (over.code, over.errors[0].pointer) == ("too_many_tiles", "/num_images")
    alone = refusal(request(size_policy="tile"), facts(4096, 4096), max_tiles=256)
    assert (alone.code, alone.errors[0].pointer) == ("too_many_tiles", "/size_policy")
    assert resolve(request(size_policy="tile"), facts(4096, 4096), earthsynth_card())[0].width == 4096


def test_a_tiled_label_is_the_mask_or_nothing() -> None:
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert resize_ids(ids, 4, 3, SizePolicy.TILE) is ids
    with pytest.raises(InvalidInput) as caught:
        resize_ids(ids, 8, 6, SizePolicy.TILE)
    assert caught.value.code == "wrong_size"


def set_of(width: int | None, height: int | None) -> MaskSetRecord:
    found = MaskSetCategory(id=8, name="building", masks=2, labelled_masks=2, pixels=9, share=0.5)
    return MaskSetRecord(
        id="mset_" + "0" * 64, masks=2, files=2, width=width, height=height, categories=(found,), pages=()
    )


def test_in_a_shard_a_tile_counts_as_a_picture() -> None:
    body = {"masks": {"mask_set_id": "m"}, "samples_per_mask": 1, "size_policy": "tile"}
    asked = DatasetRequest.model_validate(body)
    sizes = {(640, 640), (256, 256)}  # nine tiles, and one
    spec, _ = resolve_dataset(asked, set_of(None, None), NANO, shard_images=20, sizes=sizes)
    assert (spec.width, spec.height, spec.shard_images) == (None, None, 2)
    spec, _ = resolve_dataset(asked, set_of(None, None), NANO, shard_images=8, sizes=sizes)
    assert spec.shard_images == 1
    ids = np.zeros((5, 7), np.uint8)
    assert placed(StoredMask(ids), spec.width, spec.height, spec.size_policy).ids is ids
    with pytest.raises(InvalidInput) as caught:
        resolve_dataset(asked, set_of(None, None), NANO, shard_images=8, sizes=sizes, max_tiles=8)
    assert caught.value.code == "too_many_tiles"
    narrow = DatasetRequest.model_validate(body | {"width": 256, "height": 256})
    with pytest.raises(InvalidInput) as caught:
        resolve_dataset(narrow, set_of(None, None), NANO, shard_images=8, sizes=sizes)
    assert caught.value.code == "wrong_size"


def test_work_counts_what_the_model_looks_at() -> None:
    ten = request(num_inference_steps=10, size_policy="tile")
    spec, _ = resolve(ten, facts(640, 250), NANO)  # three tiles of 256 x 256: 250 is filled up
    assert spec.work_of(NANO, 640, 250) == 3 * 256 * 256 * 10
    half = request(num_inference_steps=10, strength=0.55)
    spec, _ = resolve(half, facts(), NANO, init_image=given())
    assert spec.work_of(NANO, 250, 180) == 256 * 184 * 5
