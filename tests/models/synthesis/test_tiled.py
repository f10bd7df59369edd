"""Pictures in tiles, by the shipped checkpoint with tiles of 64 pixels, so that a few steps take no time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.errors import NotFinite, SynthesisError
from models.model_card import Scheduler
from models.sample import Condition, Sample
from models.synthesis.pipeline import LoadedPipeline
from models.synthesis.prompts import PromptCache
from models.synthesis.synthesize import OnStep, synthesize
from tests.models.synthesis.test_synthesize import Cancel, difference, hooked

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TILE, STEPS = 64, 4


@pytest.fixture
def small(nano: LoadedPipeline) -> LoadedPipeline:
    """The session's pipeline with a native size of 64 pixels and nothing learned yet."""
    card = replace(nano.card, native_width=TILE, native_height=TILE)
    return replace(nano, card=card, prompts=PromptCache(), batch_limits={}, oom_halvings=0, vae_retries=0)


def land(height: int, width: int, index: int = 0, seed: int = 5) -> Condition:
    mask = np.ones((height, width), np.uint8)
    mask[:, width // 3 : width // 3 + 12] = 4
    return Condition(index, mask, "A satellite image of bare land, road", seed)


def run(
    loaded: LoadedPipeline,
    wanted: list[Condition],
    *,
    tiled: bool = True,
    batch_size: int = 4,
    on_step: OnStep | None = None,
) -> list[Sample]:
    return list(
        synthesize(
            loaded,
            wanted,
            num_inference_steps=STEPS,
            guidance_scale=3.0,
            controlnet_conditioning_scale=1.0,
            scheduler=Scheduler.UNIPC,
            tiled=tiled,
            batch_size=batch_size,
            on_step=on_step,
        )
    )


def test_a_picture_of_one_tile_is_the_ordinary_one(small: LoadedPipeline) -> None:
    (tiled,) = run(small, [land(TILE, TILE)])
    (plain,) = run(small, [land(TILE, TILE)], tiled=False)
    np.testing.assert_array_equal(tiled.image, plain.image)


def test_where_a_tile_sees_alone_its_first_prediction_is_its_own(small: LoadedPipeline) -> None:
    """One step from the same noise: cells that one tile covers hold what the model says of that tile by itself."""
    pipe, condition = small.pipe, land(TILE, 112)
    predicted: list[torch.Tensor] = []

    def look(_module: object, _args: object, output: tuple[torch.Tensor, ...]) -> None:
        predicted.append(output[0])

    with hooked(pipe.unet, look):
        run(small, [condition])
    whole = predicted[0]  # (2, C, 8, 14): without and with the prompt
    noise = torch.randn((1, 12, 8, 14), generator=torch.Generator().manual_seed(condition.seed))
    control = torch.from_numpy(np.stack([condition.mask[:, :TILE]] * 3)[None] / np.float32(255))
    texts = torch.cat([small.prompts.embed(pipe, ""), small.prompts.embed(pipe, condition.prompt)])
    with torch.inference_mode():
        latents = torch.cat([noise[..., :8]] * 2) * pipe.scheduler.init_noise_sigma
        time = pipe.scheduler.timesteps[0]
        down, middle = pipe.controlnet(
            latents, time, texts, controlnet_cond=torch.cat([control] * 2), return_dict=False
        )
        alone = pipe.unet(
            latents,
            time,
            texts,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
    # The second tile begins at pixel 48, cell 6.
    np.testing.assert_allclose(whole[..., :6], alone[..., :6], atol=1e-4)
    assert not np.allclose(whole[..., 6:8], alone[..., 6:8], atol=1e-2)


def test_a_picture_is_the_same_alone_in_a_batch_and_by_one_tile_at_a_time(small: LoadedPipeline) -> None:
    wanted = [land(72, 112, index, seed=9 + index) for index in range(3)]  # four tiles each
    together = run(small, wanted, batch_size=8)
    for condition, sample in zip(wanted, together, strict=True):
        assert sample.image.shape == (72, 112, 3)
        assert sample.condition is condition
        (alone,) = run(small, [condition], batch_size=3)
        assert difference(alone.image, sample.image) <= 1
    (slowly,) = run(small, wanted[:1], batch_size=1)
    assert difference(slowly.image, together[0].image) <= 1
    assert difference(together[0].image, together[1].image) > 1


def test_padded_batches_change_no_picture(small: LoadedPipeline) -> None:
    wanted = [land(TILE, 160)]  # three tiles
    (expected,) = run(small, wanted, batch_size=3)
    rows: list[int] = []

    def look(_module: object, args: tuple[torch.Tensor, ...], _output: object) -> None:
        rows.append(args[0].shape[0])

    with hooked(small.pipe.unet.conv_in, look):
        (padded,) = run(replace(small, fixed_batch_shape=True), wanted, batch_size=2)
    assert set(rows) == {4}, "two tiles, without and with the prompt, also where one is left"
    assert difference(padded.image, expected.image) <= 1


def test_any_size_is_filled_up_and_cut_back(small: LoadedPipeline) -> None:
    (odd,) = run(small, [land(70, 101)])
    assert odd.image.shape == (70, 101, 3)


def test_progress_counts_every_call_and_a_cancel_leaves_the_pipeline_ready(small: LoadedPipeline) -> None:
    wanted = [land(TILE, 160, index) for index in range(2)]  # three tiles each, two at a time
    calls: list[tuple[int, int, int]] = []
    expected = run(small, wanted, batch_size=2, on_step=lambda *call: calls.append(call))
    steps = 2 * STEPS
    decoding = [steps] * 3  # the last step again, for each tile
    assert calls == [(done, step, steps) for done in (0, 1) for step in [*range(1, steps + 1), *decoding]]

    def stop(_done: int, step: int, _steps: int) -> None:
        if step == 3:  # in the middle of a denoising step
            raise Cancel

    with pytest.raises(Cancel):
        run(small, wanted, batch_size=2, on_step=stop)
    for module in (small.pipe.unet, small.pipe.controlnet, small.pipe.controlnet.controlnet_cond_embedding):
        assert "forward" not in vars(module)
    again = run(small, wanted, batch_size=2)
    for one, other in zip(expected, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_out_of_memory_halves_the_tiles_and_gives_the_same_picture(small: LoadedPipeline) -> None:
    wanted = [land(TILE, 160)]
    (expected,) = run(small, wanted, batch_size=3)

    def at_most(tiles: int) -> object:
        def hook(_module: object, args: tuple[torch.Tensor, ...], _named: object) -> None:
            if args[0].shape[0] > 2 * tiles:
                raise torch.OutOfMemoryError("CUDA out of memory")

        return hook

    with hooked(small.pipe.unet.conv_in, at_most(1), before=True):  # type: ignore[arg-type]
        (halved,) = run(small, wanted, batch_size=3)
    assert (small.oom_halvings, small.batch_limits) == (1, {(TILE, TILE): 1})
    assert difference(halved.image, expected.image) <= 1
    with (
        hooked(small.pipe.unet.conv_in, at_most(0), before=True),  # type: ignore[arg-type]
        pytest.raises(SynthesisError) as caught,
    ):
        run(small, wanted)
    assert caught.value.code == "out_of_memory"


def test_one_tile_that_is_not_finite_spoils_its_picture_alone(small: LoadedPipeline) -> None:
    wanted = [land(TILE, 112, index) for index in range(2)]

    def poison(_module: object, _args: object, output: torch.Tensor) -> torch.Tensor:
        found = output.clone()
        found[1::2] = torch.nan  # rows alternate between the two pictures
        return found

    with hooked(small.pipe.unet.conv_out, poison), pytest.raises(NotFinite) as caught:
        run(small, wanted, batch_size=4)
    assert caught.value.indices == (1,)


def roughness(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Entry x - 1: how much column x differs from the one before it, in the mean over rows and colours."""
    return np.abs(np.diff(image.astype(np.float64), axis=1)).mean(axis=(0, 2))


def test_there_is_no_seam(small: LoadedPipeline) -> None:
    """Against the naive way: two pictures made by themselves, side by side."""
    width, height = 112, 128
    mask = np.ones((height, width), np.uint8)
    whole = Condition(0, mask, "A satellite image of bare land", 21)
    (tiled,) = run(small, [whole])
    halves = [replace(whole, mask=mask[:, :56], seed=21), replace(whole, mask=mask[:, 56:], seed=22)]
    naive = np.concatenate([run(small, [half])[0].image for half in halves], axis=1)

    def excess(image: NDArray[np.uint8], columns: list[int]) -> float:
        rough = roughness(image)
        return float(max(rough[column - 1] for column in columns) / np.median(rough))

    assert excess(naive, [56]) > 2, "the naive seam shows"
    assert excess(tiled.image, [48, 64]) < 1.5, "tiles end at 48 and 64, and it does not show"
