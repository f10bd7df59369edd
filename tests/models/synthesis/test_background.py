"""Keep-background: what is painted, what stays, and that diffusers' own inpainting does the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.catalog import nano_card
from models.errors import InvalidInput
from models.model_card import Scheduler
from models.sample import Background, Condition, Sample
from models.synthesis.background import cells_to_paint, new_share, pasted
from models.synthesis.denoising import OnStep
from models.synthesis.pipeline import LoadedPipeline, load_pipeline
from models.synthesis.prompts import PromptCache
from models.synthesis.schedulers import make_scheduler
from models.synthesis.synthesize import synthesize
from models.tiling import plan_canvas
from tests.models.synthesis.conftest import StableDiffusionFolders
from tests.models.synthesis.test_synthesize import Cancel, difference

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HEIGHT, WIDTH = 40, 64
PROMPT = "A satellite image of building"


@pytest.fixture
def fresh(nano: LoadedPipeline) -> LoadedPipeline:
    return replace(nano, prompts=PromptCache(), batch_limits={}, oom_halvings=0, vae_retries=0)


def photograph(height: int = HEIGHT, width: int = WIDTH, seed: int = 1) -> NDArray[np.uint8]:
    """Soft colours with grain, every pixel different from what a model would paint."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(60, 200, (height // 8 + 1, width // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)
    return (coarse[:height, :width] + random.normal(0, 12, (height, width, 3))).clip(0, 255).astype(np.uint8)


def house(
    index: int = 0,
    seed: int = 3,
    strength: float = 1.0,
    feather: int = 0,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> Condition:
    mask = np.zeros(size, np.uint8)
    mask[11:27, 18:43] = 8  # not on the borders of latent cells
    background = Background(photograph(*size, seed=1 + index), mask == 8, strength, feather)
    return Condition(index, mask, PROMPT, seed, background=background)


def run(
    loaded: LoadedPipeline,
    wanted: list[Condition],
    *,
    scheduler: Scheduler = Scheduler.UNIPC,
    steps: int = 3,
    batch_size: int = 0,
    tiled: bool = False,
    on_step: OnStep | None = None,
) -> list[Sample]:
    return list(
        synthesize(
            loaded,
            wanted,
            num_inference_steps=steps,
            guidance_scale=3.0,
            controlnet_conditioning_scale=1.0,
            scheduler=scheduler,
            batch_size=batch_size,
            tiled=tiled,
            on_step=on_step,
        )
    )


def given(condition: Condition) -> Background:
    assert condition.background is not None
    return condition.background


@pytest.mark.parametrize("scheduler", list(Scheduler))
def test_the_rest_stays_bit_for_bit_and_the_region_is_new(
    fresh: LoadedPipeline, scheduler: Scheduler
) -> None:
    condition = house()
    (sample,) = run(fresh, [condition], scheduler=scheduler)
    background = given(condition)
    np.testing.assert_array_equal(sample.image[~background.region], background.image[~background.region])
    changed = (sample.image != background.image).any(-1)[background.region]
    assert changed.mean() > 0.95


@pytest.mark.parametrize("scheduler", list(Scheduler))
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_picture_is_the_same_alone_and_in_a_batch(
    fresh: LoadedPipeline, scheduler: Scheduler, strength: float
) -> None:
    wanted = [house(index, seed=7 + index, strength=strength) for index in range(3)]
    together = run(fresh, wanted, scheduler=scheduler, batch_size=3)
    for condition, sample in zip(wanted, together, strict=True):
        (alone,) = run(fresh, [condition], scheduler=scheduler)
        assert difference(alone.image, sample.image) <= 1
    same_place = [replace(wanted[0], seed=seed) for seed in (1, 2)]
    one, other = run(fresh, same_place, scheduler=scheduler, batch_size=2)
    assert difference(one.image, other.image) > 1, "another seed paints another house"


def test_the_model_sees_the_surroundings(fresh: LoadedPipeline) -> None:
    """Painted into another picture the same seed gives another house: the kept latents are before its eyes."""
    condition = house()
    background = given(condition)
    dark = replace(condition, background=replace(background, image=background.image // 4))
    one, other = (sample.image[background.region] for sample in run(fresh, [condition, dark], batch_size=2))
    assert np.abs(one.astype(int) - other).mean() > 1


def test_less_strength_stays_nearer(fresh: LoadedPipeline) -> None:
    away: list[float] = []
    for strength in (0.2, 0.6, 1.0):
        condition = house(strength=strength)
        (sample,) = run(fresh, [condition], steps=10)
        background = given(condition)
        moved = np.abs(sample.image.astype(int) - background.image)[background.region]
        away.append(float(moved.mean()))
    assert away == sorted(away)
    assert away[0] < 0.8 * away[2]


def test_strength_is_the_share_of_steps(fresh: LoadedPipeline) -> None:
    calls: list[tuple[int, int, int]] = []
    run(fresh, [house(strength=0.5)], steps=6, on_step=lambda *call: calls.append(call))
    assert calls == [(0, 1, 3), (0, 2, 3), (0, 3, 3)]


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("scheduler", [Scheduler.UNIPC, Scheduler.EULER, Scheduler.DDIM])
def test_it_is_diffusers_own_inpainting(
    stable_diffusion: StableDiffusionFolders, scheduler: Scheduler, strength: float
) -> None:
    """A Stable Diffusion of four latent channels, by a plain call of the library with the same start."""
    from diffusers import StableDiffusionControlNetInpaintPipeline as Inpaint

    loaded = load_pipeline(stable_diffusion.card(), device="cpu")
    condition = house(strength=strength)
    background = given(condition)
    (ours,) = run(loaded, [condition], scheduler=scheduler, steps=5)

    plain = Inpaint(**loaded.pipe.components, requires_safety_checker=False)
    plain.scheduler = make_scheduler(scheduler, loaded.scheduler_config)
    plain.set_progress_bar_config(disable=True)
    noise = torch.randn(
        (1, 4, HEIGHT // 8, WIDTH // 8), generator=torch.Generator().manual_seed(condition.seed)
    )
    image = torch.from_numpy(background.image).permute(2, 0, 1)[None].float() / 255
    control = torch.from_numpy(np.stack([condition.mask] * 3)[None]).float() / 255
    cells = np.zeros((HEIGHT, WIDTH), np.float32)
    cells[8:32, 16:48] = 1  # the cells of 8 pixels that the house touches
    plain._encode_vae_image = (
        lambda image, generator: (  # its own draws from the posterior, we take the middle
            plain.vae.encode(image).latent_dist.mode() * plain.vae.config.scaling_factor
        )
    )
    start: dict[str, torch.Tensor] = {"latents": noise} if strength == 1 else {}
    generator = torch.Generator().manual_seed(condition.seed)  # the first that it draws is the noise
    theirs = plain(
        PROMPT,
        image=image,
        mask_image=torch.from_numpy(cells)[None, None],
        control_image=control,
        strength=strength,
        num_inference_steps=5,
        guidance_scale=3.0,
        controlnet_conditioning_scale=1.0,
        generator=generator,
        output_type="np",
        **start,
    ).images[0]
    expected = (theirs * 255).round().astype(np.uint8)
    assert difference(ours.image[background.region], expected[background.region]) <= 1


def test_networks_are_there_once(fresh: LoadedPipeline) -> None:
    run(fresh, [house()], steps=1)
    for part in ("unet", "vae", "controlnet", "text_encoder"):
        assert getattr(fresh.painter, part) is getattr(fresh.pipe, part)
    assert not {"given", "_noise", "_cells"} & set(vars(fresh.painter)), "no tensor outlives its call"


def test_cancel_leaves_both_pipelines_ready(fresh: LoadedPipeline) -> None:
    expected = run(fresh, [house()])

    def stop(*_call: int) -> None:
        raise Cancel

    with pytest.raises(Cancel):
        run(fresh, [house()], on_step=stop)
    np.testing.assert_array_equal(run(fresh, [house()])[0].image, expected[0].image)
    plain = replace(house(), background=None)
    assert run(fresh, [plain])[0].image.shape == (HEIGHT, WIDTH, 3)


def test_odd_sizes_and_tiles(fresh: LoadedPipeline) -> None:
    condition = house(size=(45, 67), feather=3)
    (whole,) = run(fresh, [condition])
    background = given(condition)
    far = new_share(background) == 0
    assert whole.image.shape == (45, 67, 3)
    np.testing.assert_array_equal(whole.image[far], background.image[far])
    small = replace(fresh, card=replace(fresh.card, native_width=32, native_height=32))
    (tiled,) = run(small, [condition], tiled=True)
    np.testing.assert_array_equal(tiled.image[far], background.image[far])
    assert (tiled.image != background.image).any(-1)[background.region].mean() > 0.95
    (again,) = run(small, [condition], tiled=True, batch_size=1)
    assert difference(again.image, tiled.image) <= 1


def test_large_given_pictures_are_encoded_in_tiles_as_in_one_piece(fresh: LoadedPipeline) -> None:
    """Nano's encoder looks at 8 x 8 pixels at a time, so tiles must give what the whole gives."""
    from models.synthesis.autoencoding import decode, encode

    picture = photograph(72, 112)
    small = replace(fresh.card, native_width=64, native_height=64)
    whole = encode(fresh, picture, plan_canvas(small, 112, 72, tiled=False))
    tiled = encode(fresh, picture, plan_canvas(small, 112, 72, tiled=True))
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    shown = [decode(fresh, whole, plan_canvas(small, 112, 72, tiled=tiles)) for tiles in (False, True)]
    assert shown[0] is not None
    assert shown[1] is not None
    # The decoder sees some pixels beyond a cell, so it differs where a tile ends, which is where it hardly counts.
    assert np.abs(shown[0].astype(int) - shown[1]).mean() < 2


def test_the_feather_falls_evenly() -> None:
    region = np.zeros((9, 9), np.bool_)
    region[4, 4] = True
    background = Background(np.zeros((9, 9, 3), np.uint8), region, feather_pixels=3)
    np.testing.assert_allclose(new_share(background)[4], [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0])
    picture = np.full((9, 9, 3), 200, np.uint8)
    assert pasted(background, picture)[4, :, 0].tolist() == [0, 50, 100, 150, 200, 150, 100, 50, 0]
    sharp = replace(background, feather_pixels=0)
    assert pasted(sharp, picture)[4, :, 0].tolist() == [0, 0, 0, 0, 200, 0, 0, 0, 0]


def test_every_cell_that_a_region_touches_is_painted() -> None:
    region = np.zeros((20, 20), np.bool_)
    region[7, 16] = True
    cells = cells_to_paint(
        Background(np.zeros((20, 20, 3), np.uint8), region), plan_canvas(nano_card(), 20, 20, tiled=False), 8
    )
    expected = np.zeros((24, 24), np.float32)
    expected[:8, 16:] = 1
    np.testing.assert_array_equal(cells, expected)


def test_what_does_not_belong_together_is_refused(fresh: LoadedPipeline) -> None:
    for others in (replace(house(1), background=None), house(1, strength=0.5)):
        with pytest.raises(InvalidInput) as caught:
            run(fresh, [house(), others])
        assert caught.value.code == "mixed_strengths"
