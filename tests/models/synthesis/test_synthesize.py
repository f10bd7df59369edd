"""synthesize on the shipped checkpoint, small and in few steps: nothing here depends on how good it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from models.catalog import nano_card
from models.errors import InvalidInput, NotFinite, SynthesisError
from models.model_card import Scheduler
from models.sample import Condition, Sample
from models.synthesis.pipeline import LoadedPipeline, load_pipeline
from models.synthesis.prompts import PromptCache
from models.synthesis.synthesize import OnStep, synthesize

# numpy 2.4 warns when diffusers turns a tensor into an array (torch 2.13 lacks the `copy` keyword).
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HEIGHT, WIDTH = 40, 64
STEPS = 3


def conditions(count: int) -> list[Condition]:
    """Pictures that differ in everything that may differ within one batch."""
    random = np.random.default_rng(5)
    prompts = (
        "A satellite image of road, building",
        "A satellite image of water",
        "A satellite image of tree",
    )
    return [
        Condition(
            index=k,
            mask=random.choice(np.array([0, 1, 4, 5, 6, 8, 255], np.uint8), (HEIGHT // 8, WIDTH // 8))
            .repeat(8, 0)
            .repeat(8, 1),
            prompt=prompts[k % 3],
            seed=2**32 - 1 - k,
            negative_prompt=("", "blurry")[k % 2],
        )
        for k in range(count)
    ]


def run(
    loaded: LoadedPipeline,
    wanted: list[Condition],
    *,
    scheduler: Scheduler = Scheduler.UNIPC,
    steps: int = STEPS,
    guidance_scale: float = 7.5,
    batch_size: int = 0,
    on_step: OnStep | None = None,
) -> list[Sample]:
    return list(
        synthesize(
            loaded,
            wanted,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            controlnet_conditioning_scale=1.0,
            scheduler=scheduler,
            batch_size=batch_size,
            on_step=on_step,
        )
    )


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@contextmanager
def hooked(module: torch.nn.Module, hook: Callable[..., Any], *, before: bool = False) -> Iterator[None]:
    handle = (
        module.register_forward_pre_hook(hook, with_kwargs=True)
        if before
        else module.register_forward_hook(hook)
    )
    try:
        yield
    finally:
        handle.remove()


@pytest.fixture
def fresh(nano: LoadedPipeline) -> LoadedPipeline:
    """The session's pipeline with nothing learned yet."""
    return replace(nano, prompts=PromptCache(), batch_limits={}, oom_halvings=0, vae_retries=0)


def test_pictures_are_those_of_a_plain_call_of_the_pipeline(fresh: LoadedPipeline) -> None:
    wanted = conditions(2)
    ours = run(fresh, wanted)
    for condition, sample in zip(wanted, ours, strict=True):
        grey = np.where(condition.mask == 255, 0, condition.mask)
        plain = fresh.pipe(
            condition.prompt,
            image=Image.fromarray(np.stack([grey] * 3, axis=-1)),
            negative_prompt=condition.negative_prompt,
            generator=torch.Generator().manual_seed(condition.seed),
            num_inference_steps=STEPS,
            guidance_scale=7.5,
        ).images[0]
        assert sample.condition is condition
        assert sample.image.shape == (HEIGHT, WIDTH, 3)
        assert sample.image.dtype == np.uint8
        assert difference(sample.image, np.asarray(plain)) <= 1


@pytest.mark.parametrize("scheduler", list(Scheduler))
def test_picture_k_is_the_same_alone_and_in_a_batch(fresh: LoadedPipeline, scheduler: Scheduler) -> None:
    wanted = conditions(4)
    together = run(fresh, wanted, scheduler=scheduler, batch_size=4)
    assert [sample.condition.index for sample in together] == [0, 1, 2, 3]
    for condition, sample in zip(wanted, together, strict=True):
        (alone,) = run(fresh, [condition], scheduler=scheduler)
        assert difference(alone.image, sample.image) <= 1


def test_neighbours_and_place_in_the_batch_do_not_matter(fresh: LoadedPipeline) -> None:
    wanted = conditions(4)
    forwards = run(fresh, wanted, batch_size=4)
    backwards = run(fresh, wanted[::-1], batch_size=3)[::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert difference(one.image, other.image) <= 1


def test_the_same_run_twice_gives_the_same_bytes(fresh: LoadedPipeline) -> None:
    first, second = run(fresh, conditions(3)), run(fresh, conditions(3))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_another_seed_gives_another_picture(fresh: LoadedPipeline) -> None:
    condition = conditions(1)[0]
    one, other = run(fresh, [condition, replace(condition, seed=3)])
    assert difference(one.image, other.image) > 1


@pytest.mark.parametrize("scheduler", list(Scheduler))
@pytest.mark.parametrize("steps", [1, 2])
def test_every_scheduler_works_from_one_step_on(
    fresh: LoadedPipeline, scheduler: Scheduler, steps: int
) -> None:
    (sample,) = run(fresh, conditions(1), scheduler=scheduler, steps=steps)
    assert sample.image.shape == (HEIGHT, WIDTH, 3)


def test_the_controlnet_sees_each_id_over_255_exactly(fresh: LoadedPipeline) -> None:
    wanted = conditions(3)
    seen: list[torch.Tensor] = []

    def look(_module: object, _args: object, named: dict[str, Any]) -> None:
        seen.append(named["controlnet_cond"].clone())

    with hooked(fresh.pipe.controlnet, look, before=True):
        run(fresh, wanted, steps=1, batch_size=3)
    ids = np.stack([np.where(c.mask == 255, 0, c.mask) for c in wanted]).astype(np.float32)  # (3, H, W)
    expected = np.repeat((ids / np.float32(255))[:, None], 3, axis=1)  # (3, 3, H, W)
    # Twice: without and with the prompt, for guidance.
    np.testing.assert_array_equal(seen[0].numpy(), np.concatenate([expected, expected]))


def test_the_control_image_is_embedded_once_a_batch_and_changes_nothing(fresh: LoadedPipeline) -> None:
    sizes: list[int] = []

    def count(_module: object, args: tuple[torch.Tensor, ...], _output: object) -> None:
        sizes.append(args[0].shape[0])

    with hooked(fresh.pipe.controlnet.controlnet_cond_embedding.conv_in, count):
        run(fresh, conditions(3), batch_size=2)
    assert sizes == [2, 1]
    assert "forward" not in vars(fresh.pipe.controlnet.controlnet_cond_embedding)


def test_progress_names_the_finished_pictures_and_every_step(fresh: LoadedPipeline) -> None:
    calls: list[tuple[int, int, int]] = []
    run(fresh, conditions(3), steps=2, batch_size=2, on_step=lambda *call: calls.append(call))
    assert calls == [(0, 1, 2), (0, 2, 2), (2, 1, 2), (2, 2, 2)]


def test_pndm_counts_its_extra_step(fresh: LoadedPipeline) -> None:
    calls: list[tuple[int, int, int]] = []
    run(fresh, conditions(1), steps=3, scheduler=Scheduler.PNDM, on_step=lambda *call: calls.append(call))
    assert calls == [(0, step, 4) for step in (1, 2, 3, 4)]


def test_samples_come_batch_by_batch(fresh: LoadedPipeline) -> None:
    done: list[int] = []
    samples = synthesize(
        fresh,
        conditions(2),
        num_inference_steps=1,
        guidance_scale=1.0,
        controlnet_conditioning_scale=1.0,
        scheduler=Scheduler.DDIM,
        batch_size=1,
        on_step=lambda finished, _step, _steps: done.append(finished),
    )
    assert next(samples).condition.index == 0
    assert done == [0]
    assert next(samples).condition.index == 1
    assert done == [0, 1]


class Cancel(BaseException):
    """As a worker would raise it: no `except Exception` on the way may swallow it."""


@pytest.mark.parametrize(
    ("error", "scheduler"),
    [(Cancel, Scheduler.UNIPC), (KeyboardInterrupt, Scheduler.PNDM), (ValueError, Scheduler.EULER)],
)
def test_an_error_from_on_step_ends_the_run_and_leaves_the_pipeline_ready(
    fresh: LoadedPipeline, error: type[BaseException], scheduler: Scheduler
) -> None:
    expected = run(fresh, conditions(2), scheduler=scheduler)
    calls = 0

    def stop(_done: int, step: int, _steps: int) -> None:
        nonlocal calls
        calls += 1
        if step == 2:
            raise error

    with pytest.raises(error):
        run(fresh, conditions(2), scheduler=scheduler, on_step=stop)
    assert calls == 2
    again = run(fresh, conditions(2), scheduler=scheduler)
    for one, other in zip(expected, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def out_of_memory_above(pictures: int) -> Callable[..., None]:
    """A hook that raises what CUDA raises when more than so many pictures are denoised at once."""

    def hook(_module: object, args: tuple[torch.Tensor, ...], _named: object) -> None:
        if args[0].shape[0] > 2 * pictures:  # guidance doubles the batch
            raise torch.OutOfMemoryError("CUDA out of memory")

    return hook


def test_out_of_memory_halves_the_batch_and_gives_the_same_pictures(fresh: LoadedPipeline) -> None:
    wanted = conditions(3)
    expected = run(fresh, wanted, batch_size=3)
    calls: list[tuple[int, int, int]] = []
    with hooked(fresh.pipe.unet, out_of_memory_above(1), before=True):
        samples = run(fresh, wanted, batch_size=3, on_step=lambda *call: calls.append(call))
        assert fresh.oom_halvings == 1  # 3 to 1
        assert [call[0] for call in calls[::STEPS]] == [0, 1, 2]
        run(fresh, wanted[:2], batch_size=4)
        assert fresh.oom_halvings == 1  # the limit is remembered
    assert [sample.condition.seed for sample in samples] == [condition.seed for condition in wanted]
    for one, other in zip(expected, samples, strict=True):
        assert difference(one.image, other.image) <= 1


def test_out_of_memory_in_the_middle_of_a_batch_starts_it_again_with_the_same_seeds(
    fresh: LoadedPipeline,
) -> None:
    wanted = conditions(4)
    expected = run(fresh, wanted, batch_size=4)
    raised = False

    def once(_done: int, step: int, _steps: int) -> None:
        nonlocal raised
        if step == 2 and not raised:
            raised = True
            raise torch.OutOfMemoryError("CUDA out of memory")

    samples = run(fresh, wanted, batch_size=4, on_step=once)
    assert fresh.batch_limits == {(HEIGHT, WIDTH): 2}
    for one, other in zip(expected, samples, strict=True):
        assert difference(one.image, other.image) <= 1


def test_one_picture_that_does_not_fit_is_an_error_and_the_pipeline_goes_on(fresh: LoadedPipeline) -> None:
    with (
        hooked(fresh.pipe.unet, out_of_memory_above(0), before=True),
        pytest.raises(SynthesisError, match="smaller size") as caught,
    ):
        run(fresh, conditions(2))
    assert caught.value.code == "out_of_memory"
    assert len(run(fresh, conditions(2))) == 2


def test_a_fixed_batch_shape_pads_the_last_batch_and_changes_no_picture(fresh: LoadedPipeline) -> None:
    wanted = conditions(3)
    expected = run(fresh, wanted, batch_size=3)
    sizes: list[int] = []

    def look(_module: object, args: tuple[torch.Tensor, ...], _named: object) -> None:
        sizes.append(args[0].shape[0])

    with hooked(fresh.pipe.unet, look, before=True):
        samples = run(replace(fresh, fixed_batch_shape=True), wanted, steps=STEPS, batch_size=2)
    assert sizes == [4] * (2 * STEPS)
    assert len(samples) == 3
    for one, other in zip(expected, samples, strict=True):
        assert difference(one.image, other.image) <= 1


def test_a_picture_with_nan_is_an_error_and_its_neighbours_are_delivered(fresh: LoadedPipeline) -> None:
    def poison(_module: object, _args: object, output: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        noise = output[0].clone()
        noise[1] = torch.nan  # the second picture
        return (noise,)

    samples = synthesize(
        fresh,
        conditions(3),
        num_inference_steps=STEPS,
        guidance_scale=7.5,
        controlnet_conditioning_scale=1.0,
        scheduler=Scheduler.UNIPC,
        batch_size=3,
    )
    with hooked(fresh.pipe.unet, poison):
        delivered = [next(samples).condition.index, next(samples).condition.index]
        with pytest.raises(NotFinite, match="Picture 1 "):
            next(samples)
    assert delivered == [0, 2]
    assert len(run(fresh, conditions(3))) == 3


def test_a_decoder_that_overflows_in_fp16_is_run_again_in_fp32() -> None:
    half = load_pipeline(nano_card(), device="cpu", dtype=torch.float16)
    with torch.no_grad():
        for name, weight in half.pipe.vae.decoder.named_parameters():
            if name.endswith("weight"):
                weight.mul_(32)  # each weight stays far inside fp16; what they make together does not
    (sample,) = run(half, conditions(1))
    assert half.vae_retries == 1
    assert half.pipe.vae.dtype == torch.float16
    assert sample.image.shape == (HEIGHT, WIDTH, 3)


def test_each_prompt_is_encoded_once(fresh: LoadedPipeline) -> None:
    encoded = 0

    def count(_module: object, _args: object, _output: object) -> None:
        nonlocal encoded
        encoded += 1

    with hooked(fresh.pipe.text_encoder, count):
        run(fresh, conditions(4), steps=1)
        run(fresh, conditions(4), steps=1)
    assert encoded == 5  # three prompts, "" and "blurry"


def test_without_guidance_the_negative_prompt_is_not_looked_at(fresh: LoadedPipeline) -> None:
    run(fresh, conditions(2), guidance_scale=1.0)
    assert "blurry" not in fresh.prompts
    assert conditions(2)[1].prompt in fresh.prompts


def test_masks_of_several_sizes_are_refused_at_once(fresh: LoadedPipeline) -> None:
    one, other = conditions(2)
    with pytest.raises(InvalidInput) as caught:
        synthesize_lazily(fresh, [one, replace(other, mask=other.mask[:, :-8])])
    assert caught.value.code == "mixed_sizes"


@pytest.mark.parametrize("shape", [(36, 64), (64, 36), (64, 520), (0, 64)])
def test_sizes_the_model_cannot_make_are_refused_at_once(
    fresh: LoadedPipeline, shape: tuple[int, int]
) -> None:
    condition = replace(conditions(1)[0], mask=np.zeros(shape, np.uint8))
    with pytest.raises(InvalidInput) as caught:
        synthesize_lazily(fresh, [condition])
    assert caught.value.code == "unsupported_size"


def synthesize_lazily(loaded: LoadedPipeline, wanted: list[Condition]) -> Iterator[Sample]:
    return synthesize(
        loaded,
        wanted,
        num_inference_steps=1,
        guidance_scale=1.0,
        controlnet_conditioning_scale=1.0,
        scheduler=Scheduler.UNIPC,
    )


def test_no_conditions_no_pictures(fresh: LoadedPipeline) -> None:
    assert list(synthesize_lazily(fresh, [])) == []


@pytest.mark.gpu
def test_on_cuda_a_picture_is_the_same_alone_and_in_a_batch() -> None:
    loaded = load_pipeline(nano_card(), device="cuda")
    wanted = conditions(6)
    together = run(loaded, wanted, batch_size=4)
    for condition, sample in zip(wanted, together, strict=True):
        (alone,) = run(loaded, [condition], batch_size=4)
        np.testing.assert_array_equal(alone.image, sample.image)
