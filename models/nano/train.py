"""The recipe: `python -m models.nano.train --data DUBAI/train --out runs/nano`.

Fits the encoder, trains the decoder unless it is being trained beside (`--decoder-minutes 0` and
`models.nano.decoder`), then UNet, ControlNet and text encoder together from scratch, and exports to
`OUT/checkpoint`. A second run goes on from the last state under OUT.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from models.nano.architecture import LATENT_CHANNELS, training_scheduler
from models.nano.autoencoder import read_encoder
from models.nano.budget import Budget
from models.nano.conditions import augment_conditions, control_signal, loss_weights, tokenize
from models.nano.decoder import prepare_autoencoder, train_decoder
from models.nano.export import Parts, build_parts, export
from models.nano.state import Averages, load_state, save_state
from models.nano.tiles import Tile, draw_crops, load_tiles, to_signal

log = logging.getLogger(__name__)
VERSION = "1"


def train_diffusion(
    parts: Parts,
    tiles: Sequence[Tile],
    budget: Budget,
    out: Path,
    *,
    small_share: float = 0.8,
    small_batch: int = 20,
    batch: int = 6,
    sizes: tuple[int, int] = (128, 256),
    export_minutes: float = 8.0,
    device: str = "cpu",
    seed: int = 0,
) -> None:
    """Train UNet, ControlNet and text encoder together on velocity, until the budget is used.

    The first `small_share` of the budget sees crops of `sizes[0]` pixels, the rest `sizes[1]`. The
    averaged weights are exported to `out/checkpoint` and the state to `out/state.pt` every `export_minutes`
    and at the end.
    """
    rng = np.random.default_rng(seed)
    encode = read_encoder(parts.vae)
    schedule = training_scheduler()
    modules = torch.nn.ModuleDict(parts.trained_jointly()).to(device).train()
    torch.nn.utils.convert_conv2d_weight_memory_format(modules, torch.channels_last)
    parameters = list(modules.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
    averages = Averages(modules)
    # Component 0 is the mean colour, all that shows from afar and most that a mask tells; the others are texture.
    component_weights = torch.ones(LATENT_CHANNELS, 1, 1, device=device)
    component_weights[0] = 4.0
    load_state(out / "state.pt", modules, optimizer, averages, budget, rng)
    exported_at, running = budget.seconds, 0.0

    while not budget.over:
        for group in optimizer.param_groups:
            group["lr"] = budget.learning_rate(1e-3)
        small = budget.progress < small_share
        size, count = (sizes[0], small_batch) if small else (sizes[1], batch)

        images, masks = draw_crops(tiles, rng, count=count, size=size, largest_zoom_out=1.6)
        latents = encode(to_signal(images))  # (B, 12, h, w)
        controls, prompts = augment_conditions(masks, rng)
        latents = latents.to(device, memory_format=torch.channels_last)
        control = control_signal(controls).to(device, memory_format=torch.channels_last)  # (B, 3, H, W)
        tokens = tokenize(parts.tokenizer, prompts).to(device)  # (B, 77)
        # Strong noise more often than weak: there the mask decides, below it is mostly the sensor's grain.
        times = (1000 * torch.rand(count, device=device).sqrt()).long().clamp(max=999)  # (B,)
        noise = torch.randn_like(latents)
        noisy = schedule.add_noise(latents, noise, times)
        with torch.autocast(device, torch.bfloat16):
            predicted = predict_velocity(parts, noisy, times, tokens, control)  # (B, 12, h, w)

        velocity = schedule.get_velocity(latents, noise, times)
        error = component_weights * (predicted.float() - velocity).square()  # (B, 12, h, w)
        loss = (loss_weights(masks).to(device) * error).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        averages.update()
        budget.steps += 1

        running = 0.98 * running + 0.02 * float(loss.detach()) if running else float(loss.detach())
        if budget.steps % 20 == 0:
            log.info("step %d  %d px  loss %.4f  %.1f%%", budget.steps, size, running, 100 * budget.progress)
        if budget.seconds - exported_at > 60 * export_minutes:
            save_state(out / "state.pt", modules, optimizer, averages, budget, rng)
            export_averages(parts, averages, out)
            exported_at = budget.seconds
    save_state(out / "state.pt", modules, optimizer, averages, budget, rng)
    export_averages(parts, averages, out)


def export_averages(parts: Parts, averages: Averages, out: Path) -> None:
    """Write the averaged weights, with the newest decoder under `out/vae`, to `out/checkpoint`."""
    newest = parts.with_autoencoder(AutoencoderTiny.from_pretrained(out / "vae"))
    with averages.in_place():
        export(newest, out / "checkpoint", version=VERSION)


def predict_velocity(parts: Parts, noisy: Tensor, times: Tensor, tokens: Tensor, control: Tensor) -> Tensor:
    """Return what UNet and ControlNet together answer to `noisy`, (B, 12, h, w)."""
    text = parts.text_encoder(tokens)[0]  # (B, 77, 64)
    down, middle = parts.controlnet(noisy, times, text, control, return_dict=False)
    predicted: Tensor = parts.unet(
        noisy,
        times,
        text,
        down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
        return_dict=False,
    )[0]
    return predicted


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the recipe from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and masks/")
    parser.add_argument(
        "--out", type=Path, required=True, help="work folder; the checkpoint ends in OUT/checkpoint"
    )
    parser.add_argument("--decoder-minutes", type=float, default=40.0)
    parser.add_argument("--minutes", type=float, default=75.0, help="of diffusion training")
    parser.add_argument("--max-steps", type=int, help="upper limit of steps for each stage")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    options.out.mkdir(parents=True, exist_ok=True)

    tiles = load_tiles(options.data)
    vae = prepare_autoencoder(options.out, tiles)
    if options.decoder_minutes > 0:
        budget = Budget(options.decoder_minutes, options.max_steps)
        train_decoder(vae, tiles, budget, options.out, device=options.device)
    parts = build_parts(options.out).with_autoencoder(vae.to("cpu"))
    budget = Budget(options.minutes, options.max_steps)
    train_diffusion(parts, tiles, budget, options.out, device=options.device)


if __name__ == "__main__":
    main()
