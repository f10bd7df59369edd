"""Tells a job how its training goes, and keeps losses, validations and TensorBoard's files in storage."""

from __future__ import annotations

import hashlib
import io
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from models.cfcomp.board import Board
from models.cfcomp.listener import StepReport, StopSoon
from worker.jobs import Progress
from worker.layout import history_prefix, tensorboard_prefix, validations_prefix
from worker.run import Run, patiently
from worker.speeds import note_speed
from worker.training_reports import HistoryRow, ValidationRecord
from worker.training_specs import TrainingSpec

if TYPE_CHECKING:  # it brings torch
    from models.cfcomp.validation import Validation

_HISTORY_ROWS = 50  # between two checkpoints
_MOST_WARNINGS = 20  # that a job keeps; all are logged


class TrainingListener:
    """What happens in one attempt. `folder` holds TensorBoard's file until it is stored."""

    def __init__(self, run: Run, spec: TrainingSpec, folder: Path) -> None:
        self._run, self._spec, self._folder = run, spec, folder
        self._rows: list[HistoryRow] = []
        self.resumed_from = 0

    def began(self, step: int, steps: int) -> None:
        self.resumed_from = step
        self._board = Board(self._folder, after=step)
        self._run.trained(Progress(done=step, total=steps, unit="steps", step=step, steps=steps))
        if step:
            self._run.log("training goes on from a checkpoint", step=step)

    def stepped(self, report: StepReport) -> None:
        self._board.add_step(report)
        recipe, is_finite = self._spec.recipe, math.isfinite(report.whole + report.local)
        every = max(1, recipe.checkpoint_every // _HISTORY_ROWS)
        if is_finite and (report.step % every == 0 or report.step == 1):
            self._rows.append(
                HistoryRow(
                    step=report.step,
                    loss_global=report.whole,
                    loss_local=report.local,
                    learning_rate=report.learning_rate,
                )
            )
        self._run.trained(
            Progress(
                done=report.step,
                total=report.steps,
                unit="steps",
                step=report.step,
                steps=report.steps,
                eta_seconds=report.eta_seconds,
                metrics={name: value for name, value in report.metrics.items() if math.isfinite(value)},
            )
        )
        if report.step == recipe.steps:
            note_speed(
                self._run.resources.store.redis,
                f"training {self._spec.base_model}",
                work=report.images_per_second * recipe.resolution**2,
                seconds=1.0,
            )
        is_stopping = self._run.resources.stopping()
        if is_stopping or report.step % recipe.checkpoint_every == 0 or report.step == recipe.steps:
            self._store_history(report.step)
        if is_stopping:
            raise StopSoon

    def saved(self, step: int, name: str) -> None:
        self._run.lease.spare()
        self._store_board(step)
        self._run.log("checkpoint saved", step=step, checkpoint=name)

    def validated(self, found: Validation) -> None:
        buffer = io.BytesIO()
        Image.fromarray(found.sheet).save(buffer, "PNG")
        png = buffer.getvalue()
        storage, job = self._run.resources.storage, self._run.job
        sha256 = hashlib.sha256(png).hexdigest()
        prefix = validations_prefix(job.tenant, job.id)
        record = ValidationRecord(
            step=found.step,
            sheet=f"{prefix}{found.step:08d}-{sha256[:12]}.png",
            sha256=sha256,
            agreement=found.agreement,
            iou=found.iou,
        )
        patiently(lambda: storage.create(record.sheet, png, "image/png"))
        body = record.model_dump_json().encode()
        patiently(lambda: storage.create(f"{prefix}{found.step:08d}.json", body, "application/json"))
        self._board.add_validation(found)
        self._run.log(
            "validation",
            step=found.step,
            agreement=found.agreement,
            iou=found.iou,
            sheet=f"/v1/trainings/{job.id}/validations/{found.step}",
        )

    def warned(self, message: str) -> None:
        if len(self._run.warnings) < _MOST_WARNINGS:
            self._run.warnings += (message,)
        self._run.log(message, level="warning")

    def working(self) -> None:
        self._run.resources.loading()
        self._run.lease.check()

    def finish(self) -> None:
        """Stores what the last validation wrote for TensorBoard."""
        self._store_board(self._spec.recipe.steps)

    def _store_history(self, step: int) -> None:
        """Stores the losses since the last checkpoint, before the next: none is missing once that is whole."""
        lines = b"".join(row.model_dump_json().encode() + b"\n" for row in self._rows)
        self._rows = []
        storage, job = self._run.resources.storage, self._run.job
        key = f"{history_prefix(job.tenant, job.id)}{step:08d}.jsonl"
        patiently(lambda: storage.create(key, lines, "application/jsonl"))

    def _store_board(self, step: int) -> None:
        """Stores TensorBoard's file, and begins another: TensorBoard reads one after the other."""
        self._board.close()
        storage, job = self._run.resources.storage, self._run.job
        prefix = f"{tensorboard_prefix(job.tenant, job.id)}attempt-{self._run.attempt}/"
        for path in sorted(self._folder.iterdir()):
            body = path.read_bytes()
            patiently(partial(storage.create, prefix + path.name, body, "application/octet-stream"))
            path.unlink()
        self._board = Board(self._folder, after=step)
