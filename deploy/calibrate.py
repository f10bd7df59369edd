"""`earthsynth calibrate`: R-Filter's thresholds for one segmenter and one CLIP, from real pairs."""

from __future__ import annotations

import logging
from pathlib import Path

from models.errors import InvalidInput

log = logging.getLogger(__name__)


def run_calibrate(
    data: Path,
    out: Path,
    *,
    segmenter: Path | str | None = None,
    clip: Path | str | None = None,
    training: Path | None = None,
    only: tuple[str, ...] = (),
    size: int = 256,
    device: str = "cpu",
    threads: int = 1,
) -> Path:
    """Write `calibration.json` to `out` (a file, or a folder that exists) from real pairs under `data`; return where.

    `data` has `images/` and `masks/` of EarthSynth ids that the segmenter was not trained on; `only` takes those
    whose name begins so. They are cut into squares of `size` px, which should be the size of the pictures to come.
    `training`, of the same layout, is what the generator was trained on, for R7. Without `segmenter` nano's is used.

    Raises:
        InvalidInput: code "no_real_pairs": no picture of that size with a mask of its name.
        ModelUnavailable: a scorer cannot be loaded.
    """
    import torch

    from models.nano.filter import nano_filter
    from models.nano.tiles import load_tiles
    from models.rfilter.calibrate import calibrate, windows
    from models.rfilter.scorers import load_scorers

    torch.set_num_threads(threads)
    scorers = load_scorers(segmenter=segmenter or nano_filter()[0], clip=clip, device=device)
    try:
        tiles = [tile for tile in load_tiles(data) if tile.name.startswith(only or "")]
        seen = load_tiles(training) if training else []
    except FileNotFoundError as error:
        raise InvalidInput(f"There are no real pairs: {error}.", code="no_real_pairs") from error
    pairs = [pair for tile in tiles for pair in windows(tile.image, tile.mask, size=size, stride=size)]
    if not pairs:
        raise InvalidInput(
            f"No picture is as large as {size} px: there are no real pairs.", code="no_real_pairs"
        )
    log.info("%d real pairs from %d pictures", len(pairs), len(tiles))
    made = calibrate(
        pairs,
        scorers,
        source=f"{len(pairs)} squares of {size} px from {len(tiles)} real pictures: "
        + ", ".join(tile.name for tile in tiles[:12])
        + (" …" if len(tiles) > 12 else ""),
        training_windows=(
            image for tile in seen for image, _ in windows(tile.image, tile.mask, size=size, stride=size)
        ),
    )
    path = out / "calibration.json" if out.is_dir() else out
    path.write_text(made.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")
    return path
