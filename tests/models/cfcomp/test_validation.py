from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray

from models.cfcomp.denoiser import make_denoiser
from models.cfcomp.recipe import ValidationPlan
from models.cfcomp.validation import Validation, conditions_of, draw_sheet, validate
from models.model_card import ModelCard
from models.rfilter.agreement import Belief
from models.sample import Condition, Sample
from models.synthesis.pipeline import LoadedPipeline, load_pipeline
from models.synthesis.synthesize import synthesize
from tests.models.cfcomp.trainings import Diary, MadePairs, differing, run, small, weights_of

KNOWN = (1, 4, 8)


class Judge:
    """Sees category 4 in the left half of every picture and 8 in the right; knows bare land too."""

    digest = "judge"

    def believe(self, image: NDArray[np.uint8]) -> Belief:
        height, width = image.shape[:2]
        seen = np.full((3, height, width), -9, np.float32)
        seen[1, :, : width // 2] = 0
        seen[2, :, width // 2 :] = 0
        return Belief(seen, KNOWN, np.zeros(1, np.float32))


def condition(mask: NDArray[np.uint8], index: int = 0) -> Condition:
    return Condition(index, mask, "A satellite image of road", 5 + index)


def halves(left: int, right: int) -> NDArray[np.uint8]:
    mask = np.empty((64, 64), np.uint8)
    mask[:, :32], mask[:, 32:] = left, right
    return mask


@pytest.fixture
def loaded(toy: ModelCard) -> LoadedPipeline:
    return load_pipeline(toy, device="cpu", dtype=torch.float32)


def look(
    loaded: LoadedPipeline, averages: bool, conditions: list[Condition], steps: list[int] | None = None
) -> tuple[Validation, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A validation, and the weights before and after it."""
    denoiser = make_denoiser(loaded, small("earthsynth", trained="unet"), half=None)
    average = EMAModel(list(denoiser.trained().values()), decay=0.9) if averages else None
    if average is not None:
        for value in average.shadow_params:
            value.mul_(1.5)
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    found = validate(
        7,
        loaded=loaded,
        denoiser=denoiser,
        averages=average,
        conditions=conditions,
        half=None,
        segmenter=Judge(),
        on_step=lambda *_: None if steps is None else steps.append(1),
    )
    assert denoiser.training
    assert all(part.training for part in denoiser.modules())
    return found, before, denoiser.state_dict()


def test_agreement_by_hand(loaded: LoadedPipeline) -> None:
    """Two pictures. Road: 2048 hits in the first mask; in the second it was seen where trees are, which the judge
    does not know, so that half does not count. Buildings: 2048 hits, and 2048 seen where the mask has bare land.
    """
    masks = [halves(4, 8), halves(5, 1)]
    found, _, _ = look(loaded, False, [condition(mask, k) for k, mask in enumerate(masks)])
    assert found.step == 7
    assert found.iou == {"bare land": 0.0, "building": 0.5, "road": 1.0}
    assert found.agreement == 0.5


@pytest.mark.parametrize("averages", [True, False])
def test_weights_and_mode_are_put_back(loaded: LoadedPipeline, averages: bool) -> None:
    steps: list[int] = []
    found, before, after = look(loaded, averages, [condition(halves(4, 8))], steps)
    assert not differing(before, after)
    assert len(steps) == loaded.card.defaults.num_inference_steps
    with torch.no_grad():
        for part in (loaded.pipe.unet, loaded.pipe.controlnet):
            part.eval()
            for value in part.parameters():
                value.mul_(1.5 if averages else 1)
    defaults = loaded.card.defaults
    (sample,) = synthesize(
        loaded,
        [condition(halves(4, 8))],
        num_inference_steps=defaults.num_inference_steps,
        guidance_scale=defaults.guidance_scale,
        controlnet_conditioning_scale=defaults.controlnet_conditioning_scale,
        scheduler=defaults.scheduler,
    )
    picture = found.sheet[264:520, 4:260][2::4, 2::4]  # a 64 px picture, every pixel four times
    assert np.abs(picture.astype(int) - sample.image).max() <= 1, "made with the averaged weights"


def test_they_are_put_back_when_it_is_interrupted(loaded: LoadedPipeline) -> None:
    class Canceled(BaseException):
        pass

    def cancel(*_: int) -> None:
        raise Canceled

    denoiser = make_denoiser(loaded, small("earthsynth", trained="unet"), half=None)
    average = EMAModel(list(denoiser.trained().values()), decay=0.9)
    for value in average.shadow_params:
        value.zero_()
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    with pytest.raises(Canceled):
        validate(
            1,
            loaded=loaded,
            denoiser=denoiser,
            averages=average,
            conditions=[condition(halves(4, 8))],
            half=None,
            segmenter=None,
            on_step=cancel,
        )
    assert denoiser.training
    assert not differing(before, denoiser.state_dict())


def test_a_sheet_shows_masks_over_pictures() -> None:
    picture = np.full((64, 64, 3), (0, 0, 200), np.uint8)
    sheet = draw_sheet([Sample(condition(halves(0, 8), k), picture) for k in range(3)])
    assert sheet.shape == (2 * 260 + 4, 3 * 260 + 4, 3)
    for column in range(3):
        left = 4 + column * 260
        assert sheet[400, left + 60].tolist() == [0, 0, 200]
        assert sheet[400, left + 200].tolist() == [0, 0, 200]
        assert sheet[100, left + 200].tolist() != [0, 0, 200], "the building's colour lies over it"
    assert sheet[0, 0].tolist() == [255, 255, 255]


def test_conditions_are_cut_from_the_middle_and_small_masks_enlarged() -> None:
    pairs = [MadePairs(3, 96).read(number) for number in range(3)]
    small_mask = np.array([[4, 8], [0, 255]], np.uint8)
    masks = [*((pair.mask, pair.text) for pair in pairs), (small_mask, "a text")]
    found = conditions_of(masks, ValidationPlan(seed=3, prompts=("My own",)), 64)
    assert [one.index for one in found] == [0, 1, 2, 3]
    for one, pair in zip(found[:3], pairs, strict=True):
        assert np.array_equal(one.mask, pair.mask[16:80, 16:80])
    assert np.array_equal(found[3].mask, np.kron(small_mask, np.ones((32, 32), np.uint8)))
    assert [one.prompt for one in found] == ["My own", pairs[1].text, pairs[2].text, "a text"]
    assert len({one.seed for one in found}) == 4
    again = conditions_of(masks, ValidationPlan(seed=4), 64)
    assert not {one.seed for one in again} & {one.seed for one in found}
    assert again[0].prompt == pairs[0].text


def test_a_training_validates_when_asked_and_is_not_changed_by_it(toy: ModelCard, tmp_path: Path) -> None:
    pairs = [MadePairs().read(number) for number in range(2)]
    conditions = conditions_of([(pair.mask, pair.text) for pair in pairs], ValidationPlan(), 64)
    plain = small("earthsynth", trained="unet", ema_decay=0.9, steps=2, warmup_steps=0)
    watched = plain.model_copy(update={"validation": plain.validation.model_copy(update={"every": 1})})
    diary = Diary()
    one = run(tmp_path / "1", plain, base=toy)
    two = run(tmp_path / "2", watched, base=toy, diary=diary, conditions=conditions, segmenter=Judge())
    assert [found.step for found in diary.validations] == [1, 2]
    assert two.validation is diary.validations[-1]
    assert not differing(weights_of(one), weights_of(two))
    assert not np.array_equal(diary.validations[0].sheet, diary.validations[1].sheet)
    assert diary.signs >= 2 * 20, "every denoising step is a sign of life"
