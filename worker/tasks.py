"""One function for each kind of job; each reads like the method's figure."""

from __future__ import annotations

import io
import math
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import labels as label_mapping
from models.conditions import derive_seed
from models.masks import encode_png, resize_ids
from models.sample import Condition, Sample
from models.synthesis.prompts import prompt_warnings
from models.synthesis.synthesize import synthesize
from worker.intake import read_mask
from worker.jobs import Phase
from worker.runtime import Run
from worker.samples import ImageObject, LabelAnnotation, Labels, Rle, SampleRecord, Segmentation
from worker.specs import GenerationSpec


def generate(run: Run) -> None:
    """Condition sampling → image synthesis → label mapping, for one mask and a few pictures."""
    spec = GenerationSpec.model_validate(run.job.request)
    run.enter(Phase.CONDITIONS)
    pipeline = run.resources.gpu.pipeline(spec.model)
    conditions = _conditions(run, spec)
    mask_object = run.put("mask.png", encode_png(conditions[0].mask), "image/png")
    labels = labels_of(conditions[0])

    on_cuda = pipeline.device.type == "cuda"
    own_batch = pipeline.card.batch_size_cuda if on_cuda else pipeline.card.batch_size_cpu
    batch_size = run.resources.settings.batch_size or own_batch
    run.batches = math.ceil(len(conditions) / batch_size)
    run.warnings = prompt_warnings(pipeline.pipe, spec.prompt)
    run.enter(Phase.SYNTHESIS)
    samples = synthesize(
        pipeline,
        conditions,
        num_inference_steps=spec.num_inference_steps,
        guidance_scale=spec.guidance_scale,
        controlnet_conditioning_scale=spec.controlnet_conditioning_scale,
        scheduler=spec.scheduler,
        batch_size=batch_size,
        on_step=run.step,
    )
    # encoding and upload of one batch overlap with the denoising of the next
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="upload") as uploads:
        stored: list[Future[None]] = []
        try:
            for sample in samples:
                stored.append(uploads.submit(_store, run, spec, sample, mask_object, labels))
            run.enter(Phase.UPLOAD)
        finally:
            for upload in stored:
                upload.result()


def _conditions(run: Run, spec: GenerationSpec) -> list[Condition]:
    stored = read_mask(run.resources.storage, run.job.tenant, spec.mask_id)
    mask = resize_ids(stored, spec.width, spec.height, spec.size_policy)
    return [
        Condition(
            index=index,
            mask=mask,
            prompt=spec.prompt,
            seed=derive_seed(spec.seed, index, 0),
            negative_prompt=spec.negative_prompt,
        )
        for index in range(spec.num_images)
    ]


def _store(
    run: Run, spec: GenerationSpec, sample: Sample, mask_object: tuple[str, str], labels: Labels
) -> None:
    index = sample.condition.index
    mask_at, mask_sha256 = mask_object
    key, sha256 = run.put(f"{index:06d}.png", picture_png(sample.image), "image/png")
    height, width, _ = sample.image.shape
    run.add(
        SampleRecord(
            index=index,
            status="accepted",
            seed=sample.condition.seed,
            prompt=spec.prompt,
            mask_id=spec.mask_id,
            mask_sha256=mask_sha256,
            mask_key=mask_at,
            image=ImageObject(key=key, sha256=sha256, width=width, height=height),
            labels=labels,
            attempt=run.attempt,
        )
    )


def labels_of(condition: Condition) -> Labels:
    """The labels of a condition: a pure function of its mask."""
    return Labels(
        categories=tuple(category.name for category in label_mapping.image_categories(condition.mask)),
        annotations=tuple(
            LabelAnnotation(
                category=found.category,
                category_id=found.category_id,
                box_xywh=found.box_xywh,
                area=found.area,
                segmentation=Segmentation(rle=Rle.model_validate(found.rle), polygons=found.polygons),
            )
            for found in label_mapping.annotations(condition.mask)
        ),
    )


def picture_png(image: NDArray[np.uint8]) -> bytes:
    """The picture, (H, W, 3) uint8 RGB, as a PNG without any time or machine in it: same pixels, same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
