from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from models.catalog import NANO_CHECKPOINT, nano_card
from models.categories import caption
from models.cfcomp.devices import share_of
from models.cfcomp.noise import draw_noise
from models.cfcomp.recipe import Recipe
from models.cfcomp.steps import StepBatch, StepSource
from models.cfcomp.trainer import MAX_BAD_STEPS, Trained
from models.cfcomp.vault import FolderVault, whole_checkpoints
from models.errors import EarthSynthError, InvalidInput, TrainingFailed
from models.model_card import ModelCard
from tests.models.cfcomp.trainings import (
    Diary,
    DyingVault,
    MadePairs,
    StoppedError,
    differing,
    run,
    small,
    steps_of,
    weights_of,
)


def toy_recipe(**changes: object) -> Recipe:
    return small("earthsynth", **({"trained": "unet", "ema_decay": 0.9} | changes))


# ---- the loss


def naive_losses(
    base: Path, controlnet: Path, recipe: Recipe, vae_class: Any, prediction: str
) -> tuple[float, float]:
    """Step 1's losses with nothing but diffusers, transformers and loops; the noise is the trainer's own draw."""
    parts = {
        "vae": vae_class.from_pretrained(base / "vae"),
        "text": CLIPTextModel.from_pretrained(base / "text_encoder"),
        "unet": UNet2DConditionModel.from_pretrained(base / "unet"),
        "controlnet": ControlNetModel.from_pretrained(controlnet),
    }
    parts = {name: part.float().eval() for name, part in parts.items()}
    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
    schedule = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction
    )
    batch = next(steps_of(MadePairs(), recipe).steps(0, 1, range(4)))
    channels = parts["unet"].config.in_channels
    noise, times, choice = draw_noise(recipe.seed, 0, range(4), (channels, 8, 8), 1000)
    wholes, locals_ = [], []
    with torch.no_grad():
        for k in range(4):
            picture = torch.from_numpy(batch.pictures[k : k + 1]).permute(0, 3, 1, 2).float() / 127.5 - 1
            answer = parts["vae"].encode(picture)
            if prediction == "epsilon":
                latent = answer.latent_dist.mean + answer.latent_dist.std * choice[k : k + 1]
            else:
                latent = answer.latents
            latent = latent * parts["vae"].config.scaling_factor
            noisy = schedule.add_noise(latent, noise[k : k + 1], times[k : k + 1])
            alpha = float(schedule.alphas_cumprod[times[k]])
            target = noise[k : k + 1]
            if prediction != "epsilon":
                target = math.sqrt(alpha) * noise[k : k + 1] - math.sqrt(1 - alpha) * latent
            ids = tokenizer(
                batch.texts[k], padding="max_length", max_length=77, truncation=True, return_tensors="pt"
            ).input_ids
            text = parts["text"](ids)[0]
            shown = np.where(batch.controls[k] == 255, 0, batch.controls[k]).astype(np.float32) / 255
            control = torch.from_numpy(shown)[None, None].repeat(1, 3, 1, 1)
            down, middle = parts["controlnet"](noisy, times[k : k + 1], text, control, return_dict=False)
            predicted = parts["unet"](
                noisy,
                times[k : k + 1],
                text,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            ).sample
            error = (predicted - target)[0].double().square().mean(0).numpy()  # (8, 8)
            cells = np.isin(batch.masks[k], [0, 255], invert=True).reshape(8, 8, 8, 8).mean(axis=(1, 3))
            weight = np.array(
                [
                    [cells[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2].max() for c in range(8)]
                    for r in range(8)
                ]
            )
            wholes.append(error.mean())
            locals_.append((weight * error).sum() / weight.sum() if weight.sum() else 0.0)
    return float(np.mean(wholes)), float(np.mean(locals_))


def test_the_first_loss_of_nano_is_that_of_the_formula(tmp_path: Path) -> None:
    recipe, diary = small(steps=1, trained="controlnet"), Diary()
    run(tmp_path, recipe, diary=diary)
    wanted = naive_losses(
        NANO_CHECKPOINT, NANO_CHECKPOINT / "controlnet", recipe, AutoencoderTiny, "v_prediction"
    )
    assert diary.losses[0] == pytest.approx(wanted, rel=1e-4)
    assert wanted[0] != pytest.approx(wanted[1], rel=1e-2)


def test_the_first_loss_of_stable_diffusion_is_that_of_the_formula(toy: ModelCard, tmp_path: Path) -> None:
    recipe, diary = toy_recipe(steps=1), Diary()
    run(tmp_path, recipe, base=toy, diary=diary)
    wanted = naive_losses(
        Path(toy.base), Path(toy.controlnet) / "controlnet", recipe, AutoencoderKL, "epsilon"
    )
    assert diary.losses[0] == pytest.approx(wanted, rel=1e-4)


def test_min_snr_weighs_each_sample_s_error(toy: ModelCard, tmp_path: Path) -> None:
    """One sample a step, and a network that answers nothing yet changes nothing but the factor min(snr, 5) / snr."""
    plain, weighted = Diary(), Diary()
    for diary, gamma in ((plain, None), (weighted, 5.0)):
        recipe = toy_recipe(steps=5, batch_size=1, learning_rate=1e-9, min_snr_gamma=gamma)
        run(tmp_path / str(gamma), recipe, base=toy, diary=diary)
    alphas = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    factors = []
    for step, (one, other) in enumerate(zip(plain.losses, weighted.losses, strict=True)):
        _, times, _ = draw_noise(0, step, range(1), (4, 8, 8), 1000)
        alpha = alphas[int(times[0])]
        snr = alpha / (1 - alpha)
        factors.append(min(snr, 5.0) / snr)
        assert other == pytest.approx([part * factors[-1] for part in one], rel=1e-3)
    assert min(factors) < 0.9 < max(factors)


def test_noise_is_a_function_of_seed_step_and_place() -> None:
    whole = draw_noise(3, 7, range(8), (4, 8, 8), 1000)
    part = draw_noise(3, 7, range(5, 8), (4, 8, 8), 1000)
    assert all(torch.equal(one[5:], other) for one, other in zip(whole, part, strict=True))
    for changed in (
        draw_noise(4, 7, range(8), (4, 8, 8), 1000),
        draw_noise(3, 8, range(8), (4, 8, 8), 1000),
    ):
        assert not any(torch.equal(one, other) for one, other in zip(whole, changed, strict=True))
    noise, times, choice = draw_noise(0, 0, range(400), (4, 8, 8), 50)
    for drawn in (noise, choice):
        assert abs(float(drawn.mean())) < 0.02
        assert float(drawn.std()) == pytest.approx(1, abs=0.02)
    assert abs(float((noise * choice).mean())) < 0.02, "they are not the same draw"
    assert set(times.tolist()) == set(range(50))
    assert times.dtype == torch.int64


# ---- stopping and going on


CASES: dict[str, dict[str, object]] = {
    "cosine": {"lr_schedule": "cosine", "ema_decay": None},
    "controlnet, own masks": {"trained": "controlnet", "dropped_mask": "own"},
    "low rank, in parts": {"trained": "lora", "lora_rank": 2, "gradient_accumulation_steps": 2},
}


@dataclass(frozen=True)
class Uninterrupted:
    weights: dict[str, Tensor]
    losses: list[tuple[float, float]]


@pytest.fixture(scope="module")
def uninterrupted(toy: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    """UNet and ControlNet with averages, six steps, a checkpoint after every second."""
    diary = Diary()
    trained = run(tmp_path_factory.mktemp("whole"), toy_recipe(), base=toy, diary=diary)
    assert diary.begun == 0
    assert diary.checkpoints == [2, 4, 6]
    return Uninterrupted(weights_of(trained), diary.losses)


@pytest.mark.parametrize(("stop", "resumed"), [(1, 0), (3, 2), (4, 2), (5, 4)])
def test_a_stopped_run_ends_with_the_same_weights(
    toy: ModelCard, tmp_path: Path, uninterrupted: Uninterrupted, stop: int, resumed: int
) -> None:
    """Bit for bit on a CPU. At step 4 the run ends before that step's checkpoint is written."""
    stopped, rest = Diary(stop), Diary()
    with pytest.raises(StoppedError):
        run(tmp_path, toy_recipe(), base=toy, diary=stopped)
    found = run(tmp_path, toy_recipe(), base=toy, diary=rest)
    assert rest.begun == resumed
    assert stopped.losses + rest.losses[stop - resumed :] == uninterrupted.losses
    assert not differing(uninterrupted.weights, weights_of(found))
    assert stopped.warnings == rest.warnings == []


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_of_another_kind_does_too(toy: ModelCard, tmp_path: Path, case: str) -> None:
    recipe = toy_recipe(steps=4, **CASES[case])
    whole = weights_of(run(tmp_path / "whole", recipe, base=toy))
    with pytest.raises(StoppedError):
        run(tmp_path / "stopped", recipe, base=toy, diary=Diary(3))
    rest = Diary()
    found = run(tmp_path / "stopped", recipe, base=toy, diary=rest)
    assert rest.begun == 2
    assert not differing(whole, weights_of(found))


def test_nano_stopped_ends_with_the_same_weights(tmp_path: Path) -> None:
    recipe = small(steps=2, checkpoint_every=1, warmup_steps=0, trained="controlnet", ema_decay=None)
    whole = weights_of(run(tmp_path / "whole", recipe))
    run(tmp_path / "stopped", recipe.model_copy(update={"steps": 1}))
    assert not differing(whole, weights_of(run(tmp_path / "stopped", recipe)))


def test_pictures_that_come_again_change_nothing_when_a_run_goes_on(toy: ModelCard, tmp_path: Path) -> None:
    """Whole pictures, not turned: their latents are kept, and a resumed run has to make them anew."""
    same = {"orientations": False, "single_category": 0, "cf_comp": {"probability": 0.5}, "steps": 6}
    recipe, pairs = toy_recipe(**same), MadePairs(5, 64)
    whole = weights_of(run(tmp_path / "whole", recipe, base=toy, pairs=pairs))
    with pytest.raises(StoppedError):
        run(tmp_path / "stopped", recipe, base=toy, pairs=pairs, diary=Diary(5))
    found = run(tmp_path / "stopped", recipe, base=toy, pairs=pairs)
    assert not differing(whole, weights_of(found))


@pytest.mark.parametrize("writes", [0, 3, 4])
def test_a_run_that_dies_while_it_saves(
    toy: ModelCard, tmp_path: Path, uninterrupted: Uninterrupted, writes: int
) -> None:
    """After so many of the second checkpoint's five writes: three tensor files, the rest, and the marker."""
    with pytest.raises(StoppedError):
        run(DyingVault(tmp_path, 5 + writes), toy_recipe(), base=toy)
    rest = Diary()
    found = run(tmp_path, toy_recipe(), base=toy, diary=rest)
    assert rest.begun == 2
    assert not differing(uninterrupted.weights, weights_of(found))
    assert len(list(tmp_path.iterdir())) == toy_recipe().keep_checkpoints


def test_more_steps_later_are_the_same_as_more_steps_at_once(
    toy: ModelCard, tmp_path: Path, uninterrupted: Uninterrupted
) -> None:
    """And a finished run is found finished, with the averages in place."""
    run(tmp_path, toy_recipe(steps=3), base=toy)
    again = run(tmp_path, toy_recipe(), base=toy)
    assert not differing(uninterrupted.weights, weights_of(again))
    diary = Diary()
    found = run(tmp_path, toy_recipe(), base=toy, diary=diary)
    assert diary.begun == 6
    assert diary.reports == []
    assert not differing(uninterrupted.weights, weights_of(found))


def test_a_checkpoint_of_something_else_is_refused(toy: ModelCard, tmp_path: Path) -> None:
    run(tmp_path, toy_recipe(steps=1), base=toy)
    changes: list[dict[str, Any]] = [
        {"recipe": toy_recipe(steps=4, learning_rate=1e-4)},
        {"data": "other"},
        {"base": replace(toy, version="2")},
        {"base": replace(toy, name="other")},
    ]
    for change in changes:
        with pytest.raises(TrainingFailed) as refused:
            run(tmp_path, **({"recipe": toy_recipe(steps=4), "base": toy} | change))
        assert refused.value.code == "checkpoint_of_another_recipe"


# ---- what is trained, and how


@pytest.mark.parametrize(
    ("parts", "changing"),
    [("controlnet", {"controlnet"}), ("unet", {"controlnet", "unet"}), ("lora", {"controlnet", "lora"})],
)
def test_exactly_the_right_weights_change(
    toy: ModelCard, tmp_path: Path, parts: str, changing: set[str]
) -> None:
    begun = weights_of(
        run(tmp_path / "begun", toy_recipe(steps=1, trained=parts, learning_rate=1e-30), base=toy)
    )
    ended = weights_of(run(tmp_path / "ended", toy_recipe(steps=2, warmup_steps=0, trained=parts), base=toy))
    moved = differing(begun, ended)

    def part_of(name: str) -> str:
        return "lora" if ".lora_" in name else name.partition(".")[0]

    assert {part_of(name) for name in moved} == changing
    for part in changing:
        everything = {name for name in begun if part_of(name) == part and begun[name].is_floating_point()}
        assert len(moved & everything) > 0.95 * len(everything), part


def test_parts_of_a_batch_add_up_to_the_batch(toy: ModelCard, tmp_path: Path) -> None:
    """Same steps, whole and in four parts: equal up to the order of sums."""
    found, diaries = [], []
    for parts in (1, 4):
        diaries.append(Diary())
        recipe = toy_recipe(steps=2, warmup_steps=0, gradient_accumulation_steps=parts)
        found.append(weights_of(run(tmp_path / str(parts), recipe, base=toy, diary=diaries[-1])))
    for other, diary in zip(found[1:], diaries[1:], strict=True):
        assert np.allclose(diary.losses, diaries[0].losses, rtol=1e-5)
        assert [report.grad_norm for report in diary.reports] == pytest.approx(
            [report.grad_norm for report in diaries[0].reports], rel=1e-4
        )
        for name, value in other.items():
            # Adam divides by the gradient's size: where that is rounding noise alone, the step is too.
            assert float((value - found[0][name]).abs().median()) < 1e-5, name


def test_the_average_is_that_of_the_formula(toy: ModelCard, tmp_path: Path) -> None:
    """a <- a + (1 - d)(w - a), d = min(0.9, (1 + t) / (10 + t)), over the weights that checkpoints hold."""
    recipe = toy_recipe(steps=4, checkpoint_every=1, keep_checkpoints=4, ema_decay=0.3)
    begun = weights_of(run(tmp_path / "begun", toy_recipe(steps=1, learning_rate=1e-30), base=toy))
    trained = run(tmp_path / "vault", recipe, base=toy)
    average = {name: value.double() for name, value in begun.items()}
    for step, folder in enumerate(whole_checkpoints(FolderVault(tmp_path / "vault")), start=1):
        weights = load_file(tmp_path / "vault" / folder / "weights.safetensors")
        decay = min(0.3, step / (9 + step))
        for name, value in weights.items():
            average[name] += (1 - decay) * (value.double() - average[name])
    for name, value in weights_of(trained).items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), average[name], atol=1e-6, rtol=1e-5)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine(toy: ModelCard, tmp_path: Path) -> None:
    rates = {}
    for schedule in ("constant_with_warmup", "cosine"):
        diary = Diary()
        recipe = toy_recipe(
            steps=8, warmup_steps=2, lr_schedule=schedule, checkpoint_every=100, trained="controlnet"
        )
        run(tmp_path / schedule, recipe, base=toy, diary=diary)
        rates[schedule] = [report.learning_rate / 1e-3 for report in diary.reports]
    assert rates["constant_with_warmup"] == pytest.approx([0, 0.5, 1, 1, 1, 1, 1, 1])
    assert rates["cosine"] == pytest.approx(
        [0, 0.5] + [0.5 + 0.5 * math.cos(math.pi * k / 6) for k in range(6)], abs=1e-9
    )


def test_gradients_are_clipped(toy: ModelCard, tmp_path: Path) -> None:
    """What is reported is the norm before it is cut. Adam divides a gradient by its own size, so one step would not
    tell; moments over several steps, each cut by another factor, do.
    """
    plain, clipped = Diary(), Diary()
    one = run(tmp_path / "1", toy_recipe(steps=2, warmup_steps=0, max_grad_norm=1000), base=toy, diary=plain)
    two = run(
        tmp_path / "2", toy_recipe(steps=2, warmup_steps=0, max_grad_norm=0.01), base=toy, diary=clipped
    )
    assert clipped.reports[0].grad_norm == plain.reports[0].grad_norm > 0.01
    assert differing(weights_of(one), weights_of(two))


@pytest.mark.parametrize("parts", ["controlnet", "unet", "lora"])
def test_bf16_and_gradient_checkpointing_agree_loosely(toy: ModelCard, tmp_path: Path, parts: str) -> None:
    plain, half, again = Diary(), Diary(), Diary()
    recipe = {"steps": 3, "trained": parts, "learning_rate": 1e-4}
    run(tmp_path / "plain", toy_recipe(**recipe), base=toy, diary=plain)
    run(tmp_path / "half", toy_recipe(**recipe, mixed_precision="bf16"), base=toy, diary=half)
    run(tmp_path / "again", toy_recipe(**recipe, gradient_checkpointing=True), base=toy, diary=again)
    assert np.allclose(again.losses, plain.losses, rtol=1e-5)
    assert np.allclose(half.losses, plain.losses, rtol=0.03)
    assert half.losses != plain.losses


# ---- what goes wrong


def test_fp16_needs_a_gpu(toy: ModelCard, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="fp16") as refused:
        run(tmp_path, toy_recipe(mixed_precision="fp16"), base=toy)
    assert refused.value.code == "mixed_precision_unsupported"


@pytest.mark.parametrize("resolution", [328, 64])
def test_a_size_the_model_cannot_make_is_refused(tmp_path: Path, resolution: int) -> None:
    base = replace(nano_card(), size_multiple=128)
    with pytest.raises(InvalidInput) as refused:
        run(tmp_path, small(resolution=resolution), base=base)
    assert refused.value.code == "unsupported_size"


def test_shares_by_hand() -> None:
    assert [share_of(12, process, 3) for process in range(3)] == [range(4), range(4, 8), range(8, 12)]
    with pytest.raises(TrainingFailed) as refused:
        share_of(12, 0, 5)
    assert refused.value.code == "batch_not_divisible"


def test_a_listener_s_exception_ends_the_training_within_a_step(toy: ModelCard, tmp_path: Path) -> None:
    class Canceled(BaseException):  # as the worker's own
        pass

    class Canceling(Diary):
        def stepped(self, report: Any) -> None:
            super().stepped(report)
            if report.step == 3:
                raise Canceled

    diary = Canceling()
    with pytest.raises(Canceled):
        run(tmp_path, toy_recipe(steps=1000, checkpoint_every=2), base=toy, diary=diary)
    assert len(diary.reports) == 3
    assert diary.checkpoints == [2]
    rest = Diary()
    run(tmp_path, toy_recipe(steps=4), base=toy, diary=rest)
    assert rest.begun == 2


class Poisoned:
    """A step source whose steps in `bad` ask for a word that the base answers with not-a-number."""

    def __init__(self, source: StepSource, bad: range) -> None:
        self._source, self._bad = source, bad

    def steps(self, first: int, last: int, share: range) -> Iterator[StepBatch]:
        for number, batch in enumerate(self._source.steps(first, last, share), start=first):
            if number in self._bad:
                yield replace(batch, texts=(caption([29]), *batch.texts[1:]))
            else:
                yield batch


@pytest.fixture(scope="module")
def poisoned_base(toy: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    """The toy with not-a-number in the embeddings of the tokens that only "helipad" has."""
    folder = tmp_path_factory.mktemp("poisoned") / "base"
    shutil.copytree(toy.base, folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    used = {token for number in (1, 4, 5, 6, 8) for token in tokenizer(caption([number])).input_ids}
    weights = load_file(folder / "text_encoder" / "model.safetensors")
    name = next(name for name in weights if name.endswith("token_embedding.weight"))
    weights[name][[*{*tokenizer(caption([29])).input_ids} - used]] = torch.nan
    save_file(weights, folder / "text_encoder" / "model.safetensors", metadata={"format": "pt"})
    return replace(toy, base=str(folder))


def poisoned_run(base: ModelCard, vault: Path, bad: range, diary: Diary, **changes: object) -> Trained:
    recipe = toy_recipe(**changes)
    return run(vault, recipe, base=base, diary=diary, samples=Poisoned(steps_of(MadePairs(), recipe), bad))


@pytest.mark.parametrize("bad", [range(1), range(2, 5), range(3, 3 + MAX_BAD_STEPS - 1)])
def test_steps_that_are_not_finite_are_left_out(poisoned_base: ModelCard, tmp_path: Path, bad: range) -> None:
    diary = Diary()
    trained = poisoned_run(poisoned_base, tmp_path, bad, diary, steps=bad.stop + 2, checkpoint_every=100)
    assert len(diary.warnings) == len(bad)
    for number, warning in zip(bad, diary.warnings, strict=True):
        assert f"Step {number + 1} " in warning
    assert [not math.isfinite(report.whole) for report in diary.reports] == [
        number in bad for number in range(bad.stop + 2)
    ]
    for part in ("unet", "controlnet"):
        for value in getattr(trained.loaded.pipe, part).parameters():
            assert torch.isfinite(value).all()


def test_a_step_left_out_changes_no_weight_and_no_average(poisoned_base: ModelCard, tmp_path: Path) -> None:
    """The weights, averages and moments after the bad step are those before it."""
    recipe = {"steps": 3, "checkpoint_every": 1, "keep_checkpoints": 3}
    poisoned_run(poisoned_base, tmp_path, range(1, 2), Diary(), **recipe)
    before, after, later = (
        {path.name: path for path in (tmp_path / folder).glob("*.safetensors")}
        for folder in whole_checkpoints(FolderVault(tmp_path))
    )
    for name, path in before.items():
        assert not differing(load_file(path), load_file(after[name])), name
        assert differing(load_file(path), load_file(later[name])), name


def test_a_run_of_bad_steps_ends_the_training_and_leaves_the_last_checkpoint(
    poisoned_base: ModelCard, tmp_path: Path
) -> None:
    diary = Diary()
    with pytest.raises(TrainingFailed) as failed:
        poisoned_run(poisoned_base, tmp_path, range(3, 100), diary, steps=100, checkpoint_every=3)
    assert failed.value.code == "training_diverged"
    assert len(diary.reports) < 3 + MAX_BAD_STEPS <= len(diary.reports) + 1
    assert len(diary.warnings) == MAX_BAD_STEPS
    assert diary.checkpoints[0] == 3
    rest = Diary()  # the data is mended, and the training goes on with sound weights
    trained = poisoned_run(poisoned_base, tmp_path, range(0), rest, steps=14, checkpoint_every=3)
    assert rest.begun == diary.checkpoints[-1]
    assert all(math.isfinite(report.whole) for report in rest.reports)
    assert all(torch.isfinite(value).all() for value in trained.loaded.pipe.controlnet.parameters())


def test_a_base_that_answers_nothing_finite_is_given_up(toy: ModelCard, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(toy.base, tmp_path / "base"))
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_out.weight"][0] = torch.inf
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(TrainingFailed) as failed:
        run(tmp_path / "vault", toy_recipe(steps=50), base=replace(toy, base=str(folder)))
    assert failed.value.code == "training_diverged"


def test_what_cannot_be_read_while_training_is_said(toy: ModelCard, tmp_path: Path) -> None:
    class Refusing(MadePairs):
        def read(self, number: int) -> Any:
            raise InvalidInput("gone", code="damaged_file")

    with pytest.raises(EarthSynthError) as failed:
        run(tmp_path, toy_recipe(), base=toy, pairs=Refusing())
    assert failed.value.code == "damaged_file"
