"""An export on its way from stored samples to files and back into storage; on disk it is whole, in memory never."""

from __future__ import annotations

import importlib.metadata
import mimetypes
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.categories import IGNORE
from models.export.archive import write_archive
from models.export.export import ExportReport, export_dataset
from models.export.info import CategoryAcceptance, DatasetInfo
from models.export.sample import ExportSample
from models.export.splits import assign_splits
from models.instances import read_instances
from models.masks import Encoding, decode_mask
from worker.dataset_specs import DatasetSpec, ExportSpec
from worker.jobs import Job
from worker.mask_sets import find_mask_set, iterate
from worker.pages import read_pages
from worker.results import ExportOutcome
from worker.run import Run, patiently
from worker.samples import FileName, SampleRecord
from worker.selection import Selection, read_selection, tries_of
from worker.storage import Storage

_ANY_SIDE = 65_536
_SOFTWARE = ("earthsynth-service", "torch", "diffusers", "transformers")


def write_export(run: Run, spec: ExportSpec, dataset: Job, folder: Path) -> ExportReport:
    """Writes the selection into `folder` in its format; returns what public readers found in it."""
    storage = run.resources.storage
    selection = read_selection(storage, dataset, spec.selection)
    if selection is None:
        raise LookupError(f"selection {spec.selection} of {dataset.id} is gone")
    asked = DatasetSpec.model_validate(dataset.request)
    masks = find_mask_set(storage, dataset.tenant, asked.mask_set_id)
    groups: dict[str, list[int]] = {}
    for entry in iterate(storage, dataset.tenant, masks):
        groups.setdefault(entry.group, []).extend(entry.category_ids)
    splits = assign_splits(
        {group: sorted(set(ids) - {0, IGNORE}) for group, ids in groups.items()}, spec.splits, asked.seed
    )
    to_sample = partial(_export_sample, storage, dataset, splits)

    def accepted() -> Iterator[ExportSample]:
        records = read_pages(storage, selection.pages)
        return (to_sample(record) for record in records if record.filter.accepted and record.image)

    def unfiltered() -> Iterator[ExportSample]:
        if not selection.report.unfiltered:
            return iter(())
        tries = (record for tries in tries_of(storage, dataset) for record in tries)
        return (to_sample(record) for record in tries if record.unfiltered and record.image)

    return export_dataset(
        accepted,
        folder,
        spec.options,
        _info(dataset, asked, selection),
        unfiltered=unfiltered,
        on_sample=lambda done: run.passed(done, spec.samples),
    )


def store_export(
    run: Run, dataset: Job, spec: ExportSpec, folder: Path, report: ExportReport
) -> ExportOutcome:
    """Uploads the folder as one archive and as plain objects; returns where they are."""
    storage, name = run.resources.storage, f"{dataset.id}-{spec.options.format}.zip"
    archive = folder.parent / name
    written = write_archive(folder, archive)
    key = run.prefix + name
    patiently(lambda: storage.upload(key, archive, "application/zip"))
    run.objects[key] = written.sha256
    archive.unlink()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    prefix = f"{run.prefix}files/"

    def upload(path: Path) -> None:
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        patiently(lambda: storage.upload(prefix + path.relative_to(folder).as_posix(), path, kind))

    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="upload") as pool:
        for done, _ in enumerate(pool.map(upload, files), start=1):
            if done % 50 == 0 or done == len(files):
                run.passed(spec.samples * done // len(files), spec.samples)
    return ExportOutcome(
        archive_key=key,
        archive_sha256=written.sha256,
        archive_bytes=written.bytes,
        files_prefix=prefix,
        report=report.to_json(),
    )


def _export_sample(
    storage: Storage, dataset: Job, splits: dict[str, str], record: SampleRecord
) -> ExportSample:
    assert record.image is not None  # noqa: S101  (only kept pictures are exported)
    image, label = record.image, record.label
    key, sha256 = (record.mask_key, record.mask_sha256) if label is None else (label.key, label.sha256)
    return ExportSample(
        index=record.index,
        group=record.group,
        split=splits[record.group],
        mask_id=record.mask_id,
        prompt=record.prompt,
        seed=record.seed,
        width=image.width,
        height=image.height,
        image_sha256=image.sha256,
        read_image=_reader(storage, image.key, image.sha256),
        read_label=lambda: _label(storage, key, sha256),
        provenance=_provenance(dataset, record),
        georeference=record.georeference,
        read_instances=lambda: _instances(storage, record),
    )


def _instances(storage: Storage, record: SampleRecord) -> NDArray[np.uint32] | None:
    found = record.files.get(FileName.INSTANCES)
    return None if found is None else read_instances(storage.read_verified(found.key, found.sha256))


def _reader(storage: Storage, key: str, sha256: str) -> Callable[[], bytes]:
    return lambda: storage.read_verified(key, sha256)


def _label(storage: Storage, key: str, sha256: str) -> NDArray[np.uint8]:
    body = storage.read_verified(key, sha256)
    return decode_mask(body, encoding=Encoding.CLASS_ID, ignore=True, max_side=_ANY_SIDE).ids


def _provenance(dataset: Job, record: SampleRecord) -> dict[str, Any]:
    """What a sample was made from, by what: enough to make it again."""
    return {
        "mask_id": record.mask_id,
        "mask_name": record.name,
        "mask_sha256": record.mask_sha256,
        "group": record.group,
        "transform": record.transform,
        **_place(record),
        "try": record.try_number,
        "model": dataset.model.model_dump(),
        "rules": [rule.model_dump() for rule in record.filter.rules],
        "scores": {name: value for name, value in record.scores.items() if name not in {"feature", "hash"}},
    }


def _place(record: SampleRecord) -> dict[str, Any]:
    """Where the picture lies, where that is known."""
    found = record.georeference
    if found is None:
        return {}
    crs = None if found.epsg is None else f"EPSG:{found.epsg}"
    return {"georeference": {"crs": crs, "transform": found.transform}}


def _info(dataset: Job, asked: DatasetSpec, selection: Selection) -> DatasetInfo:
    report = selection.report
    return DatasetInfo(
        name=asked.name,
        description=(
            f"{selection.counts.accepted} synthetic satellite pictures with semantic masks, made by "
            f"{dataset.model.name}@{dataset.model.version} from {asked.masks} masks. The label of a picture is the "
            "mask that conditioned it, with 255 where the filter says ignore."
        ),
        licence=asked.licence,
        created_at=selection.created_at.isoformat().replace("+00:00", "Z"),
        seed=asked.seed,
        model_name=dataset.model.name,
        model_version=dataset.model.version,
        model_sha256=dataset.model.sha256 or "",
        filter_policy=selection.filter.policy.value,
        acceptance=[
            CategoryAcceptance(
                category=name,
                tried=tally.generated,
                accepted=tally.accepted,
                requested=None
                if report.goal is None or name not in report.goal
                else report.goal[name].wanted,
                rejected_by=tally.failed_by_rule,
            )
            for name, tally in report.categories.items()
        ],
        counts=selection.counts.model_dump(),
        versions={name: importlib.metadata.version(name) for name in _SOFTWARE},
        parameters=asked.model_dump(mode="json", exclude={"name", "formats", "splits", "seed", "webhook"}),
        dataset_id=dataset.id,
    )
