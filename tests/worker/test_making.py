"""Samples made by the real pipeline at 64 pixels, judged by scorers that say what the test wants."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rasterio.io import MemoryFile
from redis import Redis

from models.catalog import nano_card
from models.conditions import derive_seed
from models.crs import geokeys_of
from models.errors import NotFinite
from models.georeference import Georeference
from models.rfilter.rules import Policy
from models.rfilter.scorers import Scored
from models.sample import Sample
from models.synthesis.pipeline import LoadedPipeline, load_pipeline
from tests.pictures import road_and_buildings
from tests.worker.records import make_job
from tests.worker.test_lease import take
from worker import making
from worker.gpu import Filter
from worker.keeping import is_unfiltered
from worker.lease_worker import LeaseQueue
from worker.making import make_samples
from worker.queue import enqueue
from worker.rendering import FilterSpec, Rendering
from worker.run import Resources, Run
from worker.samples import FileName, SampleStatus, from_lines, to_lines
from worker.selection import Chooser
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.wanted import Wanted

MASK = road_and_buildings(64)
ACCEPTED, REJECTED, EXHAUSTED = SampleStatus.ACCEPTED, SampleStatus.REJECTED, SampleStatus.EXHAUSTED


@pytest.fixture(scope="module")
def pipeline() -> LoadedPipeline:
    return load_pipeline(nano_card(), device="cpu")


@dataclass
class Says:
    """Scorers whose verdict on a picture is the test's: `good` gets how many it has seen before."""

    good: Callable[[int], bool] = lambda seen: True
    ignore: NDArray[np.bool_] | None = None
    seen: list[str] = field(default_factory=list)

    def score(self, image: NDArray[np.uint8], mask: Any, prompt: str, **options: Any) -> Scored:
        entropy = 5.0 if self.good(len(self.seen)) else 0.0
        self.seen.append(hashlib.sha256(image.tobytes()).hexdigest())
        scores = {"finite": True, "entropy": entropy, "clipped": 0.0, "size_matches": True, "constant": False}
        return Scored(scores | {"categories": {}, "hash": "0" * 16, "feature": ""}, self.ignore)


@dataclass
class Gpu:
    loaded: LoadedPipeline
    says: Says

    def pipeline(self, model: str, tenant: str) -> LoadedPipeline:
        return self.loaded

    def filter(self, model: str, tenant: str) -> Filter:
        scorers: Any = self.says
        return Filter(scorers, None)


@pytest.fixture
def run_with(
    settings: Settings, store: Store, storage: Storage, redis: Redis, pipeline: LoadedPipeline
) -> Iterator[Callable[..., Run]]:
    before = (LeaseQueue.owner, LeaseQueue.lease_seconds)

    def begin(says: Says) -> Run:
        job = make_job(2)
        store.create(job)
        enqueue(redis, job)
        lease = take(redis, "w1")
        assert lease is not None
        gpu: Any = Gpu(pipeline, says)
        one_by_one = settings.model_copy(update={"batch_size": 1})
        resources = Resources(one_by_one, "w1", store, storage, {}, gpu, lambda: None)
        return Run(job, lease, resources, "test/", attempt=1, requested=2)

    yield begin
    LeaseQueue.owner, LeaseQueue.lease_seconds = before


def wanted(count: int = 2) -> list[Wanted]:
    return [
        Wanted(index, MASK, "A satellite image of road", mask_id="m", group="g") for index in range(count)
    ]


def how(**rules: Any) -> Rendering:
    return Rendering.model_validate(
        {
            "model": "nano@2",
            "seed": 9,
            "num_inference_steps": 1,
            "guidance_scale": 1,
            "controlnet_conditioning_scale": 1,
            "scheduler": "ddim",
            "width": 64,
            "height": 64,
            "filter": rules,
        }
    )


def outcome(run: Run) -> list[tuple[int, int, SampleStatus]]:
    return [(record.index, record.try_number, record.status) for record in run.in_order()]


def test_every_try_has_its_own_recorded_seed(run_with: Callable[..., Run]) -> None:
    run = run_with(Says(good=lambda seen: seen not in {1, 2}))  # sample 1 fails twice
    make_samples(run, wanted(), how(max_tries=4), run.resources.gpu.filter("nano@2", "local"))
    assert outcome(run) == [(0, 0, ACCEPTED), (1, 0, REJECTED), (1, 1, REJECTED), (1, 2, ACCEPTED)]
    assert [r.seed for r in run.in_order()] == [9, *(derive_seed(9, 1, number) for number in range(3))]
    assert [record.image is not None for record in run.in_order()] == [True, False, False, True]
    assert (run.made.accepted, run.made.exhausted, run.made.generated) == (2, 0, 4)


def test_the_last_rejected_try_exhausts_its_sample(run_with: Callable[..., Run]) -> None:
    run = run_with(Says(good=lambda seen: False))
    make_samples(
        run, wanted(1), how(max_tries=2, keep_rejected=True), run.resources.gpu.filter("nano@2", "local")
    )
    assert outcome(run) == [(0, 0, REJECTED), (0, 1, EXHAUSTED)]
    assert all(record.image is not None for record in run.in_order()), "keep_rejected"
    assert [rule.passed for rule in run.in_order()[0].filter.rules if rule.name == "technical"] == [False]


def test_a_later_round_goes_on_with_the_next_try(run_with: Callable[..., Run]) -> None:
    run = run_with(Says())
    again = Wanted(5, MASK, "p", mask_id="m", group="g", first_try=2)
    make_samples(run, [again], how(max_tries=4), run.resources.gpu.filter("nano@2", "local"))
    assert outcome(run) == [(5, 2, ACCEPTED)]
    assert run.in_order()[0].seed == derive_seed(9, 5, 2)


def test_without_a_filter_nothing_is_scored(run_with: Callable[..., Run]) -> None:
    says = Says()
    run = run_with(says)
    make_samples(run, wanted(), how(policy="off"), None)
    assert says.seen == []
    assert outcome(run) == [(0, 0, ACCEPTED), (1, 0, ACCEPTED)]


def test_a_data_set_is_scored_whatever_the_policy(run_with: Callable[..., Run]) -> None:
    says = Says(good=lambda seen: False)
    run = run_with(says)
    make_samples(
        run, wanted(), how(policy="off"), run.resources.gpu.filter("nano@2", "local"), unfiltered_of=2
    )
    assert len(says.seen) == 2
    assert outcome(run) == [(0, 0, ACCEPTED), (1, 0, ACCEPTED)]
    assert [record.scores["entropy"] for record in run.in_order()] == [0.0, 0.0]


def test_the_random_sample_is_kept_though_rejected(run_with: Callable[..., Run]) -> None:
    run = run_with(Says(good=lambda seen: False))
    make_samples(
        run, wanted(), how(max_tries=2), run.resources.gpu.filter("nano@2", "local"), unfiltered_of=2
    )
    kept = [(r.index, r.try_number, r.image is not None, r.unfiltered) for r in run.in_order()]
    assert kept == [(0, 0, True, True), (0, 1, False, False), (1, 0, True, True), (1, 1, False, False)]


def test_the_random_sample_has_about_32_of_any_data_set() -> None:
    for size in (1000, 10_000):
        chosen = sum(is_unfiltered(7, index, size) for index in range(size))
        assert 16 <= chosen <= 52, "32 expected, four standard deviations allowed"
    assert all(is_unfiltered(7, index, 20) for index in range(20))


def test_ignored_pixels_are_in_the_label_and_not_in_the_mask(
    run_with: Callable[..., Run], storage: Storage
) -> None:
    ignore = np.zeros(MASK.shape, np.bool_)
    ignore[:10] = True
    run = run_with(Says(ignore=ignore))
    make_samples(run, wanted(1), how(), run.resources.gpu.filter("nano@2", "local"))
    (record,) = run.in_order()
    assert record.label is not None
    label = np.asarray(Image.open(io.BytesIO(storage.read_verified(record.label.key, record.label.sha256))))
    assert np.array_equal(label, np.where(ignore, 255, MASK))
    mask = np.asarray(Image.open(io.BytesIO(storage.read_verified(record.mask_key, record.mask_sha256))))
    assert np.array_equal(mask, MASK)
    assert record.ignored == {int(n): int((MASK[:10] == n).sum()) for n in np.unique(MASK[:10])}
    assert record.pixels == {int(n): int((n == MASK).sum()) for n in np.unique(MASK)}


def test_a_picture_that_is_not_finite_is_tried_again(
    run_with: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = making.synthesize

    def overflow(loaded: Any, conditions: Any, **settings: Any) -> Iterator[Sample]:
        for condition in conditions:
            if condition.index == 0 and condition.seed == derive_seed(9, 0, 0):
                raise NotFinite("NaN", indices=[0])
            yield from real(loaded, [condition], **settings)

    monkeypatch.setattr(making, "synthesize", overflow)
    run = run_with(Says())
    make_samples(run, wanted(), how(max_tries=2), run.resources.gpu.filter("nano@2", "local"))
    assert outcome(run) == [(0, 0, REJECTED), (0, 1, ACCEPTED), (1, 0, ACCEPTED)]
    assert run.in_order()[0].scores["finite"] is False
    with pytest.raises(NotFinite):
        make_samples(run_with(Says()), wanted(), how(policy="off"), None)


def test_a_place_and_instances_travel_with_the_sample(run_with: Callable[..., Run], storage: Storage) -> None:
    ids, instances = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint32)
    ids[8:16, 8:40] = 17
    instances[8:16, 8:24], instances[8:16, 24:40] = 90_000, 7
    ignore = np.zeros(ids.shape, np.bool_)
    ignore[:, 26:] = True  # most of ship 7
    place = Georeference((2.0, 0.0, 10.0, 0.0, -2.0, 20.0), 32633, geokeys_of(32633))
    ships = Wanted(0, ids, "p", mask_id="m", group="g", georeference=place, instances=instances)
    run = run_with(Says(ignore=ignore))
    make_samples(run, [ships], how(), run.resources.gpu.filter("nano@2", "local"))
    (record,) = run.in_order()
    assert [(one.instance_id, one.area) for one in record.labels.annotations] == [(90_000, 8 * 16)]
    assert record.georeference == place
    assert record.files.keys() == set(FileName)
    for file in record.files.values():
        assert run.objects[file.key] == file.sha256
        storage.read_verified(file.key, file.sha256)
    assert {key.rpartition("/")[2] for key in run.objects} >= {"000000-0.png", "000000-0.tif", "000000-0.pgw"}
    label = record.files[FileName.LABEL_GEOTIFF]
    with MemoryFile(storage.read(label.key)) as memory, memory.open() as file:
        assert np.array_equal(file.read(1), np.where(instances == 7, 255, ids))
        assert (file.crs.to_epsg(), tuple(file.transform)[:6]) == (32633, place.transform)
    chosen = Chooser(FilterSpec(policy=Policy.OFF), None).choose([record])
    assert chosen.label is None
    assert FileName.LABEL_GEOTIFF not in chosen.files, "without a filter the label is the mask"
    assert from_lines(to_lines([record])) == [record]
