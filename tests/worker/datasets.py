"""A data set on a real Redis and a real S3 server, taken step by step, with samples that cost nothing to make."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from redis import Redis

from models.catalog import nano_card
from models.categories import CATEGORIES
from models.masks import DecodedMask, Encoding
from models.model_card import ModelCard
from tests.worker.test_lease import take
from worker.conducting import conduct
from worker.dataset_specs import DatasetRequest, DatasetSpec, resolve_dataset
from worker.intake import Intake
from worker.jobs import Job, ModelRef, model_ref
from worker.lease import Lease, release
from worker.mask_sets import from_mask_ids
from worker.queue import shard_of
from worker.registry import ModelRegistry
from worker.rounds import Planned, Round
from worker.run import Resources, Run
from worker.samples import FilterVerdict, ImageObject, Labels, SampleRecord, SampleStatus
from worker.settings import Settings
from worker.sharding import perform_shard
from worker.storage import Storage
from worker.store import Store

MODEL = ModelRef(name="nano", version="1", sha256="ab" * 32)
GOOD, BAD = 5.0, 0.0  # bits of entropy: above and below what R1 asks for

Entropy = Callable[[int, int], float]


@dataclass
class Loaded:
    """Stands where the GPU stands: the runtime asks it only which weights are resident."""

    resident: ModelRef = MODEL


@dataclass
class Steps:
    """Takes the queue's entries one by one, as one worker would. `entropy(index, try)` decides what R1 says."""

    settings: Settings
    redis: Redis
    store: Store
    storage: Storage
    entropy: Entropy = lambda index, number: GOOD
    hash_of: Callable[[int, int], str] | None = None
    taken: list[str] = field(default_factory=list)
    pulse: Callable[[], None] = lambda: None
    before_shard: Callable[[Run], None] = lambda run: None

    @property
    def intake(self) -> Intake:
        return Intake(self.settings, self.store, self.storage)

    @property
    def resources(self) -> Resources:
        gpu: Any = Loaded()
        models = ModelRegistry(self.storage, {"toy": _toy_card()}, "toy")
        return Resources(self.settings, "w1", self.store, self.storage, models, gpu, self.pulse)

    def submit(self, *categories: set[int], shard_images: int = 2, **asked: Any) -> Job:
        """A data set over one 8 x 8 mask for each set of categories, which share its rows."""
        ids = []
        for number, present in enumerate(categories):
            mask = np.zeros((8, 8), np.uint8)
            for row, category_id in enumerate(sorted(present), start=1):
                mask[row] = category_id
            mask[0, : number + 1] = 255  # so that no two masks are equal
            decoded = DecodedMask(mask, Encoding.CLASS_ID, "earthsynth", ())
            ids.append(self.intake.keep_mask("local", decoded)[0].id)
        card = _toy_card()
        request = DatasetRequest.model_validate({"masks": {"mask_ids": ids}, "seed": 3} | asked)
        masks = from_mask_ids(self.intake, "local", ids)
        spec, warnings = resolve_dataset(request, masks, card, shard_images=shard_images)
        return self.intake.submit("local", spec, model_ref(card), warnings)

    def one(self, owner: str = "w1") -> str | None:
        """Takes and does the next step; returns its entry, or None when the queue is empty."""
        lease = take(self.redis, owner)
        if lease is None:
            return None
        self.taken.append(lease.entry_id)
        self.do(lease)
        return lease.entry_id

    def do(self, lease: Lease) -> None:
        if shard_of(lease.entry_id):
            perform_shard(self.resources, lease, self.make)
        else:
            conduct(self.resources, lease)
        release(self.redis, lease.entry_id, lease.token)

    def all(self, limit: int = 200) -> None:
        """Does every step until the queue is empty."""
        while self.one() is not None:
            limit -= 1
            assert limit, "the job goes on for ever"

    def make(self, run: Run, this: Round, planned: list[Planned]) -> None:
        self.before_shard(run)
        spec = DatasetSpec.model_validate(run.job.request)
        for one in planned:
            for number in range(one.first_try, spec.filter.max_tries):
                good = self.entropy(one.index, number) >= 1
                last = number + 1 == spec.filter.max_tries
                status = (
                    SampleStatus.ACCEPTED
                    if good
                    else SampleStatus.EXHAUSTED
                    if last
                    else SampleStatus.REJECTED
                )
                run.add(self._record(run, spec, one, number, status, keep=good or spec.filter.keep_rejected))
                if good:
                    break

    def _record(
        self, run: Run, spec: DatasetSpec, one: Planned, number: int, status: SampleStatus, *, keep: bool
    ) -> SampleRecord:
        name = f"{one.index}-{number}"
        category_ids = _categories_of(self.storage, spec, one.mask)
        image = None
        if keep:
            key, sha256 = run.put(f"{name}.png", f"{spec.seed} {name}".encode(), "image/png")
            image = ImageObject(key=key, sha256=sha256, width=8, height=8)
        hashed = (
            self.hash_of(one.index, number)
            if self.hash_of
            else hashlib.sha256(name.encode()).hexdigest()[:16]
        )
        scores = {
            "finite": True,
            "entropy": self.entropy(one.index, number),
            "clipped": 0.0,
            "size_matches": True,
            "constant": False,
            "categories": {},
            "hash": hashed,
            "feature": "",
        }
        return SampleRecord(
            index=one.index,
            try_number=number,
            status=status,
            seed=number,
            prompt="p",
            mask_id="msk_" + "0" * 64,
            mask_sha256="0" * 64,
            mask_key="none",
            image=image,
            labels=Labels(categories=tuple(CATEGORIES[c].name for c in category_ids), annotations=()),
            attempt=run.attempt,
            group=f"mask {one.mask}",
            mask_number=one.mask,
            filter=FilterVerdict(accepted=status is SampleStatus.ACCEPTED),
            scores=scores,
            pixels={0: 40, **dict.fromkeys(category_ids, 8)},
        )


def _categories_of(storage: Storage, spec: DatasetSpec, number: int) -> tuple[int, ...]:
    from worker.mask_sets import entries, find_mask_set

    (entry,) = entries(storage, "local", find_mask_set(storage, "local", spec.mask_set_id), number, 1)
    return entry.category_ids


def _toy_card() -> ModelCard:
    """A model that has no calibration, so that R1 alone decides."""
    import dataclasses

    return dataclasses.replace(nano_card(), name="toy", native_width=8, native_height=8, filter_of="")
