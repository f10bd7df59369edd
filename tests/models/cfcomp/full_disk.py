"""A child process on a disk of its own that is too small: `python -m tests.models.cfcomp.full_disk FOLDER WHICH`.

WHICH says what lies on the small disk: the vault, or the scratch folder. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from models.cfcomp.vault import FolderVault, load_checkpoint, save_checkpoint, whole_checkpoints
from models.errors import TrainingFailed

SMALL_BYTES, LARGE_BYTES = 400_000, 3_000_000


def main(small_disk: Path, which: str) -> None:
    elsewhere = Path(tempfile.mkdtemp())
    vault_folder, scratch = (small_disk, elsewhere) if which == "vault" else (elsewhere, small_disk)
    vault = FolderVault(vault_folder / "vault")

    def write(size: int, folder: Path) -> None:
        save_file({"weights": torch.full((size // 4,), 7.0)}, folder / "weights.safetensors")
        (folder / "state.json").write_text("{}", encoding="utf-8")

    def save(step: int, size: int) -> None:
        save_checkpoint(vault, step, "r", lambda folder: write(size, folder), scratch=scratch, keep=2)

    save(1, SMALL_BYTES)
    refused = None
    try:
        save(2, LARGE_BYTES)
    except TrainingFailed as error:
        refused = {"code": error.code, "message": error.message}
    left = sorted(path.name for path in scratch.iterdir() if path.name != "vault")
    whole = [name[:8] for name in whole_checkpoints(vault)]
    folders = len(list((vault_folder / "vault").iterdir()))
    save(3, SMALL_BYTES)  # the room that step 2 took is free again
    warnings: list[str] = []
    found = load_checkpoint(vault, "r", scratch=scratch, warn=warnings.append)
    assert found is not None
    value = load_file(found[1] / "weights.safetensors")["weights"].unique().tolist()
    report = {
        "refused": refused,
        "left": left,
        "whole": whole,
        "folders": folders,
        "step": found[0],
        "value": value,
        "warnings": warnings,
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
