"""Makes the samples of one shard: image synthesis, R-Filter, the next try; the same for every kind of job."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby

from models.conditions import derive_seed
from models.errors import NotFinite
from models.model_card import ModelCard
from models.sample import Condition, Sample
from models.synthesis.prompts import prompt_warnings
from models.synthesis.synthesize import synthesize
from models.tiling import plan_canvas
from worker.gpu import Filter
from worker.jobs import Phase
from worker.keeping import Keeper
from worker.rendering import Rendering
from worker.run import Run
from worker.samples import (
    SampleStatus,
)
from worker.speeds import note_speed
from worker.wanted import Wanted


def make_samples(
    run: Run, wanted: Sequence[Wanted], how: Rendering, rules: Filter | None, *, unfiltered_of: int = 0
) -> None:
    """Adds a record to the run for every try at every sample, until each is accepted or has had its last one.

    `rules`: what scores the pictures; None scores nothing, and accepts all. `unfiltered_of`: the size of the data
    set, where a random sample of first tries is kept; 0 keeps none.
    """
    pipeline = run.resources.gpu.pipeline(how.model, run.job.tenant)
    on_cuda = pipeline.device.type == "cuda"
    own_batch = pipeline.card.batch_size_cuda if on_cuda else pipeline.card.batch_size_cpu
    batch_size = run.resources.settings.batch_size or own_batch
    prompts = dict.fromkeys(one.prompt for one in wanted)
    run.warn(
        tuple(
            dict.fromkeys(warning for prompt in prompts for warning in prompt_warnings(pipeline.pipe, prompt))
        )
    )
    keeper = Keeper(run, how, rules, unfiltered_of)
    tries = [(one, one.first_try) for one in wanted]
    began, work = time.monotonic(), 0
    while tries:
        sizes = Counter(one.mask.shape for one, _ in tries)
        run.batches = sum(
            math.ceil(count / _pictures_at_once(pipeline.card, size, how, batch_size))
            for size, count in sizes.items()
        )
        work += sum(
            count * how.work_of(pipeline.card, width, height) for (height, width), count in sizes.items()
        )
        run.enter(Phase.SYNTHESIS)

        def pictures(conditions: Sequence[Condition]) -> Iterator[Sample]:
            before = 0

            def step(done: int, step: int, steps: int) -> None:
                run.step(before + done, step, steps)

            for _, of_one_size in groupby(conditions, key=lambda condition: condition.mask.shape):
                group = list(of_one_size)
                yield from synthesize(
                    pipeline,
                    group,
                    num_inference_steps=how.num_inference_steps,
                    guidance_scale=how.guidance_scale,
                    controlnet_conditioning_scale=how.controlnet_conditioning_scale,
                    scheduler=how.scheduler,
                    tiled=how.tiled,
                    batch_size=batch_size,
                    on_step=step,
                )
                before += len(group)

        statuses = _one_pass(tries, how, pictures, keeper, tolerant=rules is not None)
        tries = [
            (one, number + 1)
            for (one, number), status in zip(tries, statuses, strict=True)
            if status is SampleStatus.REJECTED
        ]
    note_speed(
        run.resources.store.redis,
        how.model,
        work=work,
        seconds=time.monotonic() - began,
    )


def _pictures_at_once(card: ModelCard, size: tuple[int, ...], how: Rendering, batch_size: int) -> int:
    """Pictures (H, W) of one denoising batch."""
    height, width = size
    return plan_canvas(card, width, height, tiled=how.tiled).pictures_at_once(batch_size)


def _one_pass(
    tries: Sequence[tuple[Wanted, int]],
    how: Rendering,
    pictures: Callable[[Sequence[Condition]], Iterator[Sample]],
    keeper: Keeper,
    *,
    tolerant: bool,
) -> list[SampleStatus]:
    """One picture for each try. Filtering, encoding and upload of one batch overlap with the denoising of the next.

    `tolerant`: a picture that is not finite counts as rejected; else NotFinite is raised.
    """
    conditions = [
        Condition(
            index=one.index,
            mask=one.mask,
            prompt=one.prompt,
            seed=derive_seed(how.seed, one.index, number),
            negative_prompt=how.negative_prompt,
            background=one.background,
        )
        for one, number in tries
    ]
    of_index = {one.index: (one, number) for one, number in tries}
    stored: dict[int, Future[SampleStatus]] = {}
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="keep") as pool:
        try:
            rest: Sequence[Condition] = conditions
            while rest:
                broken: tuple[int, ...] = ()
                try:
                    for sample in pictures(rest):
                        index = sample.condition.index
                        stored[index] = pool.submit(keeper.keep, *of_index[index], sample)
                except NotFinite as error:
                    if not tolerant:
                        raise
                    broken = error.indices
                for index in broken:
                    stored[index] = pool.submit(keeper.reject_broken, *of_index[index])
                rest = [condition for condition in rest if condition.index not in stored]
        finally:
            for upload in stored.values():
                upload.exception()  # every upload in hand ends before the attempt does
    return [stored[one.index].result() for one, _ in tries]
