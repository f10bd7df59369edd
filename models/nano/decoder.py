"""The decoder: `python -m models.nano.decoder --data DUBAI/train --out runs/nano [--minutes 40]`.

Learns to draw pictures from the fitted encoder's latents; first by distance alone, then also against a patch
discriminator, which brings back the grain and the edges that a plain L1 loss averages away. The encoder stays
as it is, so this can run beside the diffusion training: each export takes the newest decoder.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from models.nano.architecture import build_autoencoder
from models.nano.autoencoder import fit_encoder, read_encoder
from models.nano.budget import Budget
from models.nano.tiles import Tile, draw_crops, load_tiles, to_signal

log = logging.getLogger(__name__)
_CROP = 96  # pixels
_BORDER = 8  # pixels that see the crop's zero padding, not its surroundings
_PEAK = 1e-3  # learning rate


class PatchDiscriminator(nn.Module):
    """Real or drawn, for each patch of some 30 pixels: (B, 3, H, W) to scores (B, 1, H/8, W/8)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 96)
        self.layers = nn.ModuleList(
            nn.Conv2d(inward, outward, 4, stride=2, padding=1) for inward, outward in pairwise(widths)
        )
        self.score = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the scores and the features of each layer."""
        features, x = [], images
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


def train_decoder(
    vae: AutoencoderTiny,
    tiles: Sequence[Tile],
    budget: Budget,
    out: Path,
    *,
    adversarial_from: float = 0.4,
    save_steps: int = 400,
    batch_size: int = 8,
    device: str = "cpu",
    seed: int = 2,
) -> None:
    """Train the decoder of `vae` in place and write it to `out/vae` every `save_steps` and at the end.

    From `adversarial_from` of the budget on, distance in the discriminator's features and its verdict join the
    loss. The decoder sees latents with a little noise, as the denoiser will not hit them exactly.
    """
    rng = np.random.default_rng(seed)
    encode = read_encoder(vae)
    critic = PatchDiscriminator().to(device)
    for module in (vae.to(device), critic):
        torch.nn.utils.convert_conv2d_weight_memory_format(module, torch.channels_last)
    decoder = list(vae.decoder.parameters())
    make = torch.optim.AdamW(decoder, lr=_PEAK, betas=(0.9, 0.99), weight_decay=0.0)
    tell = torch.optim.AdamW(critic.parameters(), lr=_PEAK, betas=(0.5, 0.99), weight_decay=0.0)
    inner = np.s_[:, :, _BORDER:-_BORDER, _BORDER:-_BORDER]
    likeness = mistakes = torch.zeros(())
    while not budget.over:
        rate = budget.learning_rate(_PEAK)
        for group in (*make.param_groups, *tell.param_groups):
            group["lr"] = rate
        images, _ = draw_crops(tiles, rng, count=batch_size, size=_CROP, largest_zoom_out=1.5)
        signal = to_signal(images)  # (B, 3, 96, 96)
        latents = encode(signal)  # (B, 12, 12, 12)
        real = signal.to(device, memory_format=torch.channels_last)
        noisy = (latents + 0.1 * torch.randn_like(latents)).to(device, memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16):
            drawn = vae.decode(noisy).sample
        difference = pyramid_difference(drawn.float(), real)
        loss = difference
        adversarial = budget.progress >= adversarial_from
        if adversarial:
            with torch.autocast(device, torch.bfloat16):
                verdict, seen = critic(drawn[inner])
                with torch.no_grad():
                    _, wanted = critic(real[inner])
            pairs = zip(seen, wanted, strict=True)
            likeness = torch.stack([F.l1_loss(a.float(), b.float()) for a, b in pairs]).sum()
            loss = difference + likeness - 0.1 * verdict.float().mean()
        make.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(decoder, 1.0)
        make.step()

        if adversarial:
            with torch.autocast(device, torch.bfloat16):
                on_real, on_drawn = critic(real[inner])[0].float(), critic(drawn[inner].detach())[0].float()
            mistakes = F.relu(1 - on_real).mean() + F.relu(1 + on_drawn).mean()
            tell.zero_grad(set_to_none=True)
            mistakes.backward()  # type: ignore[no-untyped-call]
            tell.step()
        budget.steps += 1
        if budget.steps % 50 == 0:
            numbers = (float(value.detach()) for value in (difference, likeness, mistakes))
            log.info("decoder step %d  distance %.3f  likeness %.3f  critic %.3f", budget.steps, *numbers)
        if budget.steps % save_steps == 0:
            write_autoencoder(vae, out)
    write_autoencoder(vae, out)


def pyramid_difference(a: Tensor, b: Tensor) -> Tensor:
    """Return the sum of mean absolute differences of (B, C, H, W) at full, half and quarter size.

    Full size alone lets the sensor's noise drown the colours.
    """
    difference = a - b
    half = F.avg_pool2d(difference, 2)
    return difference.abs().mean() + half.abs().mean() + F.avg_pool2d(half, 2).abs().mean()


@torch.no_grad()
def rebuilding_psnr(vae: AutoencoderTiny, images: Tensor) -> float:
    """Return the PSNR in dB of pictures (B, 3, H, W) in [-1, 1] after encoding and decoding."""
    rebuilt = vae.decode(vae.encode(images).latents).sample.clamp(-1, 1)
    return float(-10 * torch.log10(F.mse_loss(rebuilt, images) / 4))


def write_autoencoder(vae: AutoencoderTiny, out: Path) -> None:
    """Write `out/vae`, replacing what is there in one rename."""
    fresh, old = out / "vae.new", out / "vae.old"
    shutil.rmtree(fresh, ignore_errors=True)
    vae.save_pretrained(fresh)
    if (out / "vae").exists():
        (out / "vae").rename(old)
    fresh.rename(out / "vae")
    shutil.rmtree(old, ignore_errors=True)


def prepare_autoencoder(out: Path, tiles: Sequence[Tile]) -> AutoencoderTiny:
    """Return the autoencoder under `out/vae`, with a fitted encoder and an untrained decoder if it is new."""
    if not (out / "vae").exists():
        vae = build_autoencoder()
        fit_encoder(vae, tiles)
        write_autoencoder(vae, out)
    return AutoencoderTiny.from_pretrained(out / "vae")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the decoder under OUT/vae from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    torch.manual_seed(2)
    options.out.mkdir(parents=True, exist_ok=True)
    tiles = load_tiles(options.data)
    vae = prepare_autoencoder(options.out, tiles)
    budget = Budget(options.minutes, options.max_steps)
    train_decoder(vae, tiles, budget, options.out, device=options.device)
    signal = to_signal(draw_crops(tiles, np.random.default_rng(9), count=32, size=128)[0])
    log.info("training crops come back at %.2f dB", rebuilding_psnr(vae.to("cpu"), signal))


if __name__ == "__main__":
    main()
