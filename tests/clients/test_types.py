"""The client's records and requests against the published document: no field is missing, none is made up."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from app.main import create_app
from earthsynth import EarthSynth, types
from earthsynth.types import catalogue, datasets, jobs, masks, samples, trainings
from worker.settings import Settings

RECORDS: list[tuple[type[types.Record], str]] = [
    (types.Archive, "ArchiveView"),
    (types.Annotation, "LabelAnnotation"),
    (types.Attempt, "Attempt"),
    (types.Capabilities, "CapabilitiesView"),
    (types.Category, "CategoryView"),
    (types.CategoryTally, "CategoryTally"),
    (types.Counts, "Counts"),
    (types.DatasetReport, "Report"),
    (types.Delivery, "DeliveryView"),
    (types.DryRun, "CheckedView"),
    (types.Estimate, "Estimate"),
    (types.ExportData, "ExportView"),
    (types.Features, "Features"),
    (types.FileRef, "FileView"),
    (types.FilterCapabilities, "FilterCapabilities"),
    (types.FilterVerdict, "FilterVerdict"),
    (types.Georeference, "GeoreferenceView"),
    (types.GoalTally, "GoalTally"),
    (types.HistoryRow, "HistoryRow"),
    (types.ImageFile, "ImageView"),
    (types.JobData, "JobView"),
    (types.Labels, "LabelsView"),
    (types.Limits, "LimitsView"),
    (types.MaskCapabilities, "MaskCapabilities"),
    (types.MaskCategory, "MaskCategory"),
    (types.MaskData, "MaskView"),
    (types.MaskSet, "CreatedMaskSetView"),
    (types.Model, "ModelDetailView"),
    (types.ModelCapabilities, "ModelCapabilities"),
    (types.ModelRef, "ModelRef"),
    (types.Ontology, "OntologyView"),
    (types.Problem, "Problem"),
    (types.Progress, "Progress"),
    (types.Rate, "RateView"),
    (types.Refused, "RefusedFile"),
    (types.RuleTally, "RuleTally"),
    (types.RuleVerdict, "RuleVerdict"),
    (types.Sample, "SampleView"),
    (types.Selection, "SelectionView"),
    (types.TrainingOutcome, "TrainingOutcome"),
    (types.TrainingPreview, "PreviewView"),
    (types.TrainingSet, "CreatedTrainingSetView"),
    (types.Usage, "UsageView"),
    (types.Validation, "ValidationView"),
    (types.WebhookCall, "CallView"),
    (types.WebhookEndpoint, "EndpointWithSecretView"),
    (types.WebhookSecret, "SecretView"),
    (types.Worker, "WorkerView"),
    (catalogue.UsedAmount, "Usage"),
    (catalogue.UsedDay, "DayUsage"),
    (datasets.CategoryCounts, "CategoryCounts"),
    (datasets.DatasetData, "DatasetView"),
    (jobs.QueuePlace, "QueueView"),
    (masks.MaskSetCategory, "MaskSetCategory"),
    (samples.Rle, "Rle"),
    (samples.Segmentation, "Segmentation"),
    (trainings.PreviewedPair, "PreviewedPair"),
    (trainings.TrainingSetCategory, "TrainingSetCategory"),
]
# FileRef is every kind of file at once; a data set is its own job.
OWN = {types.FileRef: {"sha256", "bytes"}, types.ImageFile: {"bytes"}}
THEIRS = {datasets.DatasetData: {"job"}}

RENDERING = {*types.Rendering.__annotations__} - {"idempotency_key", "extra_body"}
REQUESTS: list[tuple[str, set[str], str]] = [
    # `polygons` is the `drawn_mask`, `validate` the `validate_only`
    ("generate", RENDERING | {"drawn_mask", "validate_only"}, "GenerationRequest"),
    ("masks.create", {*types.Reading.__annotations__}, "MaskRequest"),
    ("mask_sets.create", {*types.Reading.__annotations__}, "MaskSetRequest"),
    ("datasets.create", RENDERING | {"masks", "validate_only"}, "DatasetRequest"),
    (
        "trainings.create",
        {*types.Recipe.__annotations__} | {"training_set_id", "validate_only"},
        "TrainingRequest",
    ),
    ("trainings.preview", {*types.PreviewOptions.__annotations__} | {"training_set_id"}, "PreviewRequest"),
    ("training_sets.create", {*types.Reading.__annotations__}, "TrainingSetRequest"),
    ("webhooks.create", set(), "EndpointRequest"),
    ("webhooks.test", set(), "CallRequest"),
]


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    found: dict[str, Any] = create_app(Settings()).openapi()["components"]["schemas"]
    return found


@pytest.mark.parametrize(("record", "schema"), RECORDS, ids=lambda given: getattr(given, "__name__", given))
def test_records(record: type[types.Record], schema: str, schemas: dict[str, Any]) -> None:
    published = {*schemas[schema]["properties"]} - THEIRS.get(record, set())
    assert {*record.model_fields} - OWN.get(record, set()) == published


def test_every_public_record_is_compared() -> None:
    compared = {record.__name__ for record, _ in RECORDS}
    found = {
        name
        for name in types.__all__
        if inspect.isclass(one := getattr(types, name)) and issubclass(one, types.Record)
    }
    left = {name for name in found if not name.endswith("Event")} - compared
    assert left == {"Record", "Page"}, "events have no schema: tests/app/test_events_api.py reads them"


@pytest.mark.parametrize(("method", "more", "schema"), REQUESTS, ids=[method for method, *_ in REQUESTS])
def test_requests(method: str, more: set[str], schema: str, schemas: dict[str, Any]) -> None:
    """Whatever can be asked for can be said."""
    with EarthSynth("http://127.0.0.1:1") as client:
        found: Any = client
        for name in method.split("."):
            found = getattr(found, name)
        said = {*inspect.signature(found).parameters} | more
    assert {*schemas[schema]["properties"]} <= said
