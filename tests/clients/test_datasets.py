"""Data sets and training sets through the client, against the real service."""

from __future__ import annotations

import asyncio
import io
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from deploy.localstack import LocalStack
from earthsynth import AsyncEarthSynth, Dataset, EarthSynth, RequestError
from tests.models.zips import packed
from tests.pictures import png, road_and_buildings
from tests.training_pairs import pair_files, unpacked

SIDE = 64


def mask(number: int) -> np.ndarray:
    return np.roll(road_and_buildings(SIDE), 3 * number, axis=1)


@pytest.fixture(scope="module")
def dataset(synth: EarthSynth, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two masks of a folder, two samples each, exported as semantic PNGs."""
    folder = tmp_path_factory.mktemp("masks")
    for number in range(2):
        (folder / f"client_{number}.png").write_bytes(png(mask(number)))
    mask_set = synth.mask_sets.create(folder)
    assert (mask_set.masks, mask_set.refused) == (2, [])
    assert synth.mask_sets.get(mask_set.id).masks == 2
    found = synth.datasets.create(
        mask_set=mask_set,
        samples_per_mask=2,
        name="of the client",
        seed=3,
        width=SIDE,
        height=SIDE,
        num_inference_steps=2,
        filter="off",
        formats=["semantic"],
    )
    assert found.status in {"queued", "running"}
    return found.wait(90)


def test_what_a_data_set_delivers(dataset: Dataset) -> None:
    assert (dataset.name, dataset.status) == ("of the client", "succeeded")
    assert dataset.selection is not None
    assert dataset.selection.counts.accepted == 4
    assert set(dataset.selection.report.categories) == {"bare land", "road", "building"}
    assert [sample.index for sample in dataset.samples(page_size=3)] == [0, 1, 2, 3]
    assert dataset.job.links["self"] == f"/v1/jobs/{dataset.id}"


def test_it_is_downloaded_and_unpacked(dataset: Dataset, tmp_path: Path) -> None:
    folder = dataset.download(folder=tmp_path, extract=True)
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive) as found:
        names = {name for name in found.namelist() if not name.endswith("/")}
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == names
    before = archive.stat().st_mtime_ns
    assert dataset.download("semantic", tmp_path, extract=True) == folder
    assert archive.stat().st_mtime_ns == before


def test_a_format_that_is_not_there_is_exported(dataset: Dataset, tmp_path: Path) -> None:
    assert dataset.download("imagefolder", tmp_path).name.startswith("imagefolder-job_")
    assert {export.format for export in dataset.exports()} == {"semantic", "imagefolder"}


def test_a_selection_is_made_anew(synth: EarthSynth, dataset: Dataset) -> None:
    assert dataset.selection is not None
    number = dataset.selection.number
    assert dataset.refilter({"policy": "balanced", "thresholds": {"technical": None}}).selection is not None
    assert dataset.selection.number == number + 1
    assert dataset.refilter("off").selection.counts.accepted == 4
    assert synth.datasets.get(dataset.id).selection == dataset.selection


def test_what_makes_no_request_is_said_before_anything_is_sent(synth: EarthSynth) -> None:
    with pytest.raises(RequestError, match="mask_set and mask_ids"):
        synth.datasets.create(samples_per_mask=1)
    with pytest.raises(RequestError, match="exactly one"):
        synth.mask_sets.create()


def test_the_same_without_blocking(service: LocalStack, dataset: Dataset, tmp_path: Path) -> None:
    async def run() -> Path:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=60) as http,
            AsyncEarthSynth(service.api_url, http_client=http) as client,
        ):
            found = await client.datasets.get(dataset.id)
            assert [sample.index async for sample in found.samples()] == [0, 1, 2, 3]
            assert found.id in [one.id async for one in client.datasets.list()]
            return await found.download("semantic", tmp_path)

    assert zipfile.is_zipfile(asyncio.run(run()))


def test_pairs_are_kept_and_previewed(synth: EarthSynth, tmp_path: Path) -> None:
    data = packed(pair_files(4))
    kept = synth.training_sets.create(data)
    assert (kept.pairs, kept.layout, kept.refused) == (4, "pairs", [])
    assert synth.training_sets.create(unpacked(data, tmp_path)).id == kept.id
    assert synth.training_sets.get(kept.id).pairs == 4
    preview = synth.trainings.preview(
        kept, base_model="nano", resolution=64, count=2, cf_comp={"probability": 1.0}
    )
    sheet = Image.open(io.BytesIO(synth.files.read(preview.sheet)))
    assert sheet.width > 64
    assert len(preview.composed) == preview.pairs
