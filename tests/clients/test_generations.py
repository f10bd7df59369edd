"""`client.generate` against the real service: pictures, waiting, events, saving, and what is refused."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image

from deploy.localstack import LocalStack
from earthsynth import (
    AsyncEarthSynth,
    Conflict,
    EarthSynth,
    EarthSynthError,
    Generation,
    Gone,
    JobCanceled,
    NotFound,
    RequestError,
    UnprocessableRequest,
    WaitTimeout,
)
from earthsynth.types import ProgressEvent, SampleEvent, StatusEvent
from tests.pictures import png, road_and_buildings

QUICK = {"width": 64, "height": 64, "num_inference_steps": 2, "filter": "off"}


@pytest.fixture(scope="module")
def generation(synth: EarthSynth) -> Generation:
    """Two pictures, waited for by the request itself."""
    return synth.generate(png(road_and_buildings()), num_images=2, seed=7, wait=True, **QUICK)


def test_what_comes_back(generation: Generation) -> None:
    assert (generation.kind, generation.status, generation.ended) == ("generation", "succeeded", True)
    assert generation.request["seed"] == 7
    assert generation.counts.accepted == 2
    assert generation.model is not None
    assert generation.model.name == "nano"
    assert [sample.index for sample in generation.samples] == [0, 1]
    assert set(generation.samples[0].labels.categories) == {"bare land", "road", "building"}


def test_pictures_masks_and_labels_are_saved(generation: Generation, tmp_path: Path) -> None:
    paths = generation.save(tmp_path / "out")
    assert [path.name for path in paths] == ["000000.png", "000001.png"]
    for path, sample in zip(paths, generation.samples, strict=True):
        assert sample.image is not None
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sample.image.sha256
        assert np.array_equal(np.asarray(Image.open(path.with_suffix(".mask.png"))), road_and_buildings())
        written = json.loads(path.with_suffix(".json").read_text())
        assert written["seed"] == sample.seed
        assert "X-Amz" not in path.with_suffix(".json").read_text()


def test_what_lies_beside_a_picture_is_saved_too(synth: EarthSynth, tmp_path: Path) -> None:
    """A mask drawn in the world, whose objects are apart, read back by rasterio."""
    square = {"type": "Polygon", "coordinates": [[[0, 0], [32, 0], [32, 32], [0, 32], [0, 0]]]}
    features = [
        {"type": "Feature", "properties": {"category": "building"}, "geometry": square},
        {
            "type": "Feature",
            "properties": {"category": "building"},
            "geometry": square | {"coordinates": [[[x + 32, y] for x, y in square["coordinates"][0]]]},
        },
    ]
    mask = synth.masks.create(
        polygons={"type": "FeatureCollection", "features": features},
        width=64,
        height=64,
        transform=(0.5, 0, 500_000, 0, -0.5, 5_000_000),
        crs="EPSG:32633",
        coordinates="pixel",
    )
    assert mask.georeference is not None
    assert (mask.georeference.crs, mask.instances) == ("EPSG:32633", 2)
    made = synth.generate(mask_id=mask.id, wait=True, **QUICK)
    (path,) = made.save(tmp_path)
    (sample,) = made.samples
    assert sample.georeference == mask.georeference
    assert {found.suffix for found in tmp_path.iterdir()} == {".png", ".json", ".tif", ".pgw", ".prj", ".xml"}
    with rasterio.open(path.with_suffix(".tif")) as picture:
        assert picture.crs.to_epsg() == 32633
        assert picture.transform[:6] == (0.5, 0, 500_000, 0, -0.5, 5_000_000)
        assert np.array_equal(np.moveaxis(picture.read(), 0, 2), np.asarray(Image.open(path)))
    assert np.unique(tifffile.imread(path.with_suffix(".instances.tif"))).tolist() == [0, 1, 2]
    assert "X-Amz" not in path.with_suffix(".json").read_text()


def test_every_way_to_give_a_mask_is_the_same_mask(
    synth: EarthSynth, generation: Generation, tmp_path: Path
) -> None:
    ids = road_and_buildings()
    (tmp_path / "mask.png").write_bytes(png(ids))
    kept = synth.masks.create(ids)
    assert (
        {
            synth.masks.create(mask).id
            for mask in (
                tmp_path / "mask.png",
                str(tmp_path / "mask.png"),
                io.BytesIO(png(ids)),
                Image.fromarray(ids),
            )
        }
        == {kept.id}
        == {generation.samples[0].mask_id}
    )
    assert [category.name for category in kept.categories] == ["bare land", "road", "building"]
    assert Image.open(io.BytesIO(kept.preview())).size == (64, 64)
    assert synth.masks.get(kept.id).id == kept.id


def test_a_job_is_followed_and_waited_for(synth: EarthSynth) -> None:
    job = synth.generate(road_and_buildings(), num_images=2, seed=1, **QUICK)
    assert not job.ended
    with pytest.raises(EarthSynthError, match="wait"):
        _ = job.samples
    seen = list(job.events())
    assert isinstance(seen[0], StatusEvent)
    assert seen[0].job is not None
    assert isinstance(seen[-1], StatusEvent)
    assert seen[-1].status == "succeeded" == job.status
    assert any(isinstance(event, ProgressEvent) for event in seen)
    assert {event.index for event in seen if isinstance(event, SampleEvent)} == {0, 1}
    assert job.counts.accepted == 2
    assert len(job.wait(5).samples) == 2
    assert list(job.events(seen[-1].id)) == []
    assert [sample.seed for sample in job.results(page_size=1)] == [sample.seed for sample in job.samples]
    assert synth.generations.get(job.id).samples[0].image is not None


def test_a_job_is_canceled(synth: EarthSynth) -> None:
    job = synth.generate(road_and_buildings(), num_images=16, **(QUICK | {"num_inference_steps": 100}))
    with pytest.raises(WaitTimeout) as late:
        job.wait(0.01)
    assert isinstance(late.value, TimeoutError)
    job.cancel()
    with pytest.raises(JobCanceled):
        job.wait(30)
    assert job.wait(30, check=False).status == "canceled"
    assert synth.jobs.cancel(job.id).status == "canceled"


def test_a_call_repeated_with_its_key_makes_one_job(synth: EarthSynth) -> None:
    own = {"idempotency_key": uuid.uuid4().hex, "custom_id": "order 7", "metadata": {"field": "north"}}
    first, second = (synth.generate(road_and_buildings(), seed=2, **QUICK, **own) for _ in range(2))
    assert first.id == second.id
    assert (second.custom_id, second.metadata) == ("order 7", {"field": "north"})
    with pytest.raises(UnprocessableRequest) as reused:
        synth.generate(road_and_buildings(), seed=3, **QUICK, **own)
    assert reused.value.code == "idempotency_key_reused"


def test_a_request_is_only_looked_at(synth: EarthSynth) -> None:
    before = synth.jobs.list(page_size=1).to_list(1)[0].id
    report = synth.generations.validate(road_and_buildings(), num_images=3, seed=9, **QUICK)
    assert (report.valid, report.estimate.images, report.request["seed"]) == (True, 3, 9)
    assert synth.jobs.list(page_size=1).to_list(1)[0].id == before


def test_refusals_are_typed(synth: EarthSynth, generation: Generation) -> None:
    with pytest.raises(UnprocessableRequest, match="out_of_range") as refused:
        synth.generate(road_and_buildings(), num_images=99)
    assert (refused.value.status, refused.value.errors[0].pointer) == (422, "/num_images")
    assert refused.value.request_id
    with pytest.raises(NotFound) as absent:
        synth.jobs.get("job_01m8nothing")
    assert absent.value.code == "job_not_found"
    with pytest.raises(Conflict):
        generation.cancel()
    with pytest.raises(RequestError, match="exactly one"):
        synth.generate()
    with pytest.raises(RequestError, match="names nothing"):
        synth.jobs.get("..")


def test_lists_are_read_page_after_page(synth: EarthSynth, generation: Generation) -> None:
    ids = [job.id for job in synth.jobs.list(page_size=1)]
    assert len(ids) == len(set(ids)) >= 2
    assert generation.id in ids
    assert [job.id for job in synth.jobs.list().to_list(1)] == ids[:1]
    own = synth.jobs.list(kind="generation", status="succeeded", page_size=1)
    assert {(job.kind, job.status) for job in own} == {("generation", "succeeded")}
    assert synth.jobs.list(custom_id="nobody's").to_list() == []


def test_what_is_deleted_is_gone(synth: EarthSynth) -> None:
    job = synth.generate(road_and_buildings(), seed=4, custom_id="to go", wait=True, **QUICK)
    assert [found.id for found in synth.jobs.list(custom_id="to go")] == [job.id]
    image = job.samples[0].image
    assert image is not None
    assert image.link is not None
    assert hashlib.sha256(synth.files.read(image.link)).hexdigest() == image.sha256
    run_out = image.model_copy(
        update={"expires_at": datetime(2026, 1, 1, tzinfo=UTC), "url": "http://127.0.0.1:9"}
    )
    assert synth.files.read(run_out) == synth.files.read(image)
    job.delete()
    with pytest.raises(Gone):
        job.reload()


def test_what_was_used_is_counted(synth: EarthSynth, generation: Generation) -> None:
    assert generation.finished_at is not None
    usage = synth.usage(last=generation.finished_at.date())
    assert usage.last == generation.finished_at.date()
    assert usage.total.images_accepted >= 2


def test_what_the_service_knows(synth: EarthSynth) -> None:
    assert [category.name for category in synth.categories()][:2]
    assert {"loveda", "flair"} <= {ontology.name for ontology in synth.ontologies()}
    assert synth.workers()[0].status in {"ready", "busy"}
    nano = synth.models.get("nano")
    assert nano.version in {model.version for model in synth.models.list()}
    assert synth.request("GET", "/v1/models/nano")["name"] == "nano"


def test_the_limits_of_the_service_are_told(synth: EarthSynth) -> None:
    found = synth.capabilities()
    assert found.limits.upload_bytes == 32 * 2**20
    assert found.features.webhooks
    assert not found.features.auth_required
    assert found.models.default in found.models.shipped
    assert {"instance", "class_id"} <= {*found.masks.encodings}


def test_the_same_without_blocking(service: LocalStack, tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=60) as http,
            AsyncEarthSynth(service.api_url, http_client=http) as client,
        ):
            one, other = await asyncio.gather(
                client.generate(road_and_buildings(), seed=7, wait=True, **QUICK),
                client.generate(png(road_and_buildings()), seed=8, **QUICK),
            )
            kinds = [event.type async for event in other.events()]
            assert (kinds[0], kinds[-1]) == ("status", "status")
            await other.wait(30)
            assert (len(one.samples), len(other.samples)) == (1, 1)
            assert [path.name for path in await other.save(tmp_path)] == ["000000.png"]
            listed = [job.id async for job in client.jobs.list()]
            assert {one.id, other.id} <= set(listed)
            with pytest.raises(NotFound):
                await client.masks.get("msk_0")

    asyncio.run(run())
