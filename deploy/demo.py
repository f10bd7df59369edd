"""`earthsynth demo`: one real mask through a stack of its own, by HTTP alone, and what came back as files."""

from __future__ import annotations

import json
import tempfile
import time
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy import readiness
from deploy.contact_sheet import building_boxes, contact_sheet
from deploy.localstack import LocalStack
from deploy.stack_error import StackError, StackStopped
from deploy.stop_signals import stop_on_signals
from earthsynth import EarthSynth, EarthSynthError, Job, Sample
from models import nano
from models.overlay import draw_overlay

MASK = Path(nano.__file__).with_name("sample_mask.png")
_SEED = 7
_BATCH = 2  # small, so that the first pictures are there early and progress is seen
_POLL_SECONDS = 0.15
_JOB_SECONDS = 600.0


def run_demo(out: Path, num_images: int, console: Console | None = None) -> None:
    """Make `num_images` pictures of the shipped mask and write them, their labels and overlays to `out`.

    Raises: StackError when a part does not come up, or the job does not succeed.
    """
    console = console or Console(highlight=False)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="earthsynth-demo-") as data:
        stack = LocalStack(
            data,
            env={
                "EARTHSYNTH_MODELS": "nano",
                "EARTHSYNTH_DEFAULT_MODEL": "nano",
                "EARTHSYNTH_BATCH_SIZE": str(_BATCH),
            },
        )
        stop_on_signals(stack)
        console.print("starting Redis, S3, the API and a worker …")
        with stack:
            _check_worker(stack)
            console.print(f"ready {stack.api_url} after {time.monotonic() - began:.1f} s")
            asked = time.monotonic()
            try:
                with (
                    httpx.Client(trust_env=False) as http,
                    EarthSynth(stack.api_url, "", timeout=30, max_retries=0, http_client=http) as client,
                ):
                    job = client.generate(MASK, num_images=num_images, seed=_SEED)
                    _follow(stack, job, console)
                    seconds = time.monotonic() - asked
                    samples = [sample for sample in job.results() if sample.status == "accepted"]
                    if not samples:
                        raise StackError("R-Filter accepted none of the pictures; try again")
                    rows = _write(out, job, samples, client)
            except EarthSynthError as error:
                raise StackError(f"the stack does not do as it is asked: {error}") from error
            console.print("stopping …")
    _tell(console, out, job, rows, seconds=seconds, seconds_in_all=time.monotonic() - began)


def _check_worker(stack: LocalStack) -> None:
    for worker in readiness.worker_states(stack.api_url):
        if worker["status"] == "failed":
            raise StackError(f"the worker cannot work: {worker['reason']}")


def _follow(stack: LocalStack, job: Job, console: Console) -> None:
    """Poll the job until it has succeeded, with a bar in units of pictures."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
    )
    deadline = time.monotonic() + _JOB_SECONDS
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("queued", total=job.progress.total, text="")
        while not job.ended:
            if time.monotonic() > deadline:
                raise StackError(f"the job did not end within {_JOB_SECONDS:.0f} s")
            if stack.stop_requested.wait(_POLL_SECONDS):
                raise StackStopped
            progress = job.reload().progress
            done, total, step, steps = progress.done, progress.total, progress.step, progress.steps
            denoising = min(_BATCH, total - done) * step / steps if steps else 0
            eta = progress.eta_seconds
            bar.update(
                task,
                description=job.phase or job.status,
                completed=min(total, done + denoising),
                text=f"{done}/{total} pictures, step {step}/{steps}"
                + ("" if eta is None else f", {eta:.0f} s left"),
            )
    if job.status != "succeeded":
        raise StackError(f"the job {job.status}: {job.error.detail if job.error else 'no reason given'}")


def _write(out: Path, job: Job, samples: list[Sample], client: EarthSynth) -> list[tuple[str, str, str]]:
    """Download every picture and its mask, check their hashes, and write them with what is made of them.

    Returns, per picture, its file name, its sha256 and its mask's.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows, pictures, overlays = [], [], []
    first = samples[0]
    assert first.mask is not None  # noqa: S101  (every accepted sample has one)
    mask = client.files.read(first.mask.model_copy(update={"sha256": first.mask_sha256}))
    (out / "mask.png").write_bytes(mask)
    ids = np.asarray(Image.open(BytesIO(mask)))
    boxes = building_boxes(ids)
    for sample in samples:
        assert sample.image is not None  # noqa: S101
        assert sample.image.sha256 is not None  # noqa: S101
        name = f"image-{sample.index:03d}.png"
        picture = client.files.read(sample.image)
        (out / name).write_bytes(picture)
        pictures.append(np.asarray(Image.open(BytesIO(picture)).convert("RGB")))
        overlays.append(draw_overlay(pictures[-1], ids, boxes))
        Image.fromarray(overlays[-1]).save(out / name.replace("image", "overlay"))
        rows.append((name, sample.image.sha256, sample.mask_sha256))
    contact_sheet(ids, pictures, overlays).save(out / "contact_sheet.png")
    labels = {
        "job": job.id,
        "model": job.model and job.model.model_dump(mode="json"),
        "prompt": first.prompt,
        "mask": {"file": "mask.png", "sha256": first.mask_sha256},
        "images": [
            {
                "file": name,
                "sha256": sha256,
                "seed": sample.seed,
                "filter": sample.filter.model_dump(mode="json"),
            }
            for (name, sha256, _), sample in zip(rows, samples, strict=True)
        ],
        "labels": first.labels.model_dump(mode="json"),
        "drawn_boxes": [
            {"category": box.category, "box_xywh": box.box_xywh, "area": box.area} for box in boxes
        ],
    }
    (out / "labels.json").write_text(json.dumps(labels, indent=2) + "\n")
    return rows


def _tell(
    console: Console,
    out: Path,
    job: Job,
    rows: list[tuple[str, str, str]],
    *,
    seconds: float,
    seconds_in_all: float,
) -> None:
    table = Table("picture", "sha256", "mask_sha256", box=None, pad_edge=False, header_style="bold")
    for name, sha256, mask_sha256 in rows:
        table.add_row(name, sha256[:16], mask_sha256[:16])
    console.print(table)
    request = job.request
    console.print(
        f"model {request['model']}, {request['num_inference_steps']} steps, "
        f"seed {request['seed']}, prompt: {request['prompt']}"
    )
    tries = job.counts.generated
    console.print(
        f"{len(rows)} of {tries} pictures accepted by R-Filter in {seconds:.1f} s ({seconds / tries:.1f} s each)"
    )
    console.print(f"wrote {out}/: image-*.png, mask.png, overlay-*.png, labels.json, contact_sheet.png")
    console.print(f"look at {out / 'contact_sheet.png'}; all done in {seconds_in_all:.1f} s")
