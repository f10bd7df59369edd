"""The checkers at the end of every chaos test."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import Any

import httpx

from worker.results import read_request, read_result, read_samples
from worker.rounds import read_round, shard_results
from worker.samples import SampleRecord, SampleStatus, from_lines
from worker.selection import current_selection
from worker.storage import Storage

ENDED = {"succeeded", "failed", "canceled"}


def wait_for(client: httpx.Client, job_id: str, seconds: float = 120) -> dict[str, Any]:
    """The job once it has ended; an API that is away meanwhile is asked again."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            answer = client.get(f"/v1/jobs/{job_id}")
        except httpx.TransportError:
            time.sleep(0.2)
            continue
        if answer.status_code == 200 and answer.json()["status"] in ENDED:
            found: dict[str, Any] = answer.json()
            return found
        time.sleep(0.1)
    raise AssertionError(f"{job_id} did not end within {seconds} s")


@dataclass(frozen=True, slots=True)
class Delivered:
    """All of a data set that must be equal in two runs of one request: no id, time, attempt or key is in it."""

    counts: dict[str, int]
    rounds: int
    tries: list[Any]
    samples: list[Any]
    report: dict[str, Any]

    def difference(self, other: Delivered) -> dict[str, tuple[str, str]]:
        """The fields that are not equal, and the first words of what is not equal in them."""
        return {
            each.name: _first_difference(getattr(self, each.name), getattr(other, each.name))
            for each in fields(self)
            if getattr(self, each.name) != getattr(other, each.name)
        }


def check_dataset(storage: Storage, job: dict[str, Any]) -> Delivered:
    """What the data set delivers, after checking that it is whole.

    Every object is there with its sha256, each shard has one result and each sample is settled once, the counts add
    up, and neither pictures nor manifests name an object that no winning attempt has made.
    """
    assert job["status"] == "succeeded", job
    result = read_result(storage, "local", job["id"])
    assert result is not None
    selection = current_selection(storage, result.job)
    assert selection is not None
    assert all(attempt.outcome for attempt in result.job.attempts), "no attempt of an ended job is open"
    counts = result.job.counts
    assert counts == selection.counts
    assert counts.pending == 0
    assert counts.requested == counts.accepted + counts.exhausted + counts.failed
    assert counts.generated == counts.accepted + counts.rejected
    objects, tries, number = dict(result.objects), list[SampleRecord](), 0
    while (this := read_round(storage, result.job, number)) is not None:
        shards = list(shard_results(storage, result.job, number))
        assert [shard.shard for shard in shards] == list(range(this.shards)), "each shard has one result"
        for shard in shards:
            objects |= shard.objects
            made = [] if shard.records_key is None else from_lines(storage.read(shard.records_key))
            assert len(made) == shard.made.generated
            tries += made
        number += 1
    assert len(tries) == counts.generated
    for key, sha256 in objects.items():
        assert hashlib.sha256(storage.read(key)).hexdigest() == sha256
    samples = list(read_samples(storage, result))
    assert [sample.index for sample in samples] == list(range(counts.requested)), "each is settled once"
    assert sum(sample.status is SampleStatus.ACCEPTED for sample in samples) == counts.accepted
    for sample in [*tries, *samples]:
        for kept in filter(None, (sample.image, sample.label)):
            assert objects[kept.key] == kept.sha256
    return Delivered(
        counts=counts.model_dump(),
        rounds=number,
        tries=[_timeless(record) for record in sorted(tries, key=lambda record: record.place)],
        samples=[_timeless(record) for record in samples],
        report=selection.report.model_dump(),
    )


def _timeless(record: SampleRecord) -> dict[str, Any]:
    """The record without its attempt and its keys, which begin with job and attempt."""
    return record.model_dump(
        exclude={"attempt": True, "mask_key": True, "image": {"key"}, "label": {"key"}, "files": True}
    )


def _first_difference(ours: Any, theirs: Any) -> tuple[str, str]:
    if isinstance(ours, list) and isinstance(theirs, list):
        pairs: Iterable[tuple[Any, Any]] = zip_longest(ours, theirs)
    elif isinstance(ours, dict) and isinstance(theirs, dict):
        pairs = ((ours.get(name), theirs.get(name)) for name in ours | theirs)
    else:
        return repr(ours)[:200], repr(theirs)[:200]
    return next(_first_difference(mine, other) for mine, other in pairs if mine != other)


def check_whole(storage: Storage, job: dict[str, Any], *, pictures: int) -> list[str]:
    """The job's pictures' sha256, after checking that its result is there once, whole, and nothing else is."""
    job_id = job["id"]
    assert job["status"] == "succeeded", job
    result = read_result(storage, "local", job_id)
    assert result is not None
    assert result.job.attempts[-1].outcome == "succeeded"
    for key, sha256 in result.objects.items():
        assert hashlib.sha256(storage.read(key)).hexdigest() == sha256
    assert read_request(storage, "local", job_id) is not None
    samples = list(read_samples(storage, result))
    assert [sample.index for sample in samples] == list(range(pictures))
    images = [sample.image for sample in samples if sample.image is not None]
    assert len(images) == pictures
    assert {image.key for image in images} <= result.objects.keys()
    return [image.sha256 for image in images]
