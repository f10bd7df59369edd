"""A training for TensorBoard: the losses of every step, and what validations made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.cfcomp.listener import StepReport

if TYPE_CHECKING:  # it brings torch
    from models.cfcomp.validation import Validation


class Board:
    """One event file in a folder, for the steps after `after`; several files are read as one training."""

    def __init__(self, folder: Path, *, after: int = 0) -> None:
        from tensorboardX import SummaryWriter  # it brings torch

        self._writer = SummaryWriter(
            logdir=str(folder), filename_suffix=f".after-{after:08d}", purge_step=after + 1
        )

    def add_step(self, report: StepReport) -> None:
        scalars = {**report.metrics, "grad_norm": report.grad_norm, "composed": report.composed}
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, report.step)

    def add_validation(self, found: Validation) -> None:
        self._writer.add_image("validation", found.sheet, found.step, dataformats="HWC")
        if found.agreement is not None:
            self._writer.add_scalar("mask_agreement", found.agreement, found.step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
