"""Which samples a data set delivers: R-Filter's rules over stored scores, in pages, without a GPU.

Selection 0 is made when the last shard is done; every refiltering makes a later one. Tries are never changed by it.
"""

from __future__ import annotations

import hashlib
import heapq
import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import groupby

from models.categories import find_category
from models.errors import Conflict, NotFound
from models.rfilter.calibration import Calibration
from models.rfilter.duplicates import Seen
from models.rfilter.rules import Policy, Verdict, accepted, judge
from worker.acceptance import GoalTally, Report, Tally
from worker.jobs import Counts, Frozen, Job, now
from worker.layout import selection_prefix, shard_results_prefix
from worker.lookahead import in_order
from worker.pages import Page, write_pages
from worker.rendering import FilterSpec
from worker.rounds import Round, ShardResult, read_round
from worker.samples import FileName, FilterVerdict, RuleVerdict, SampleRecord, SampleStatus, from_lines
from worker.storage import Storage

_READ_THREADS = 4  # they wait for S3
_FILTERED = {FileName.LABEL_GEOTIFF}  # files that hold what the filter says


class Selection(Frozen):
    """What the data set delivers since `created_at`. `exports`: the jobs that export it without being asked again."""

    number: int
    filter: FilterSpec
    created_at: datetime
    counts: Counts
    pages: tuple[Page, ...]
    report: Report
    exports: tuple[str, ...] = ()


def as_recorded(verdicts: Iterable[Verdict]) -> tuple[RuleVerdict, ...]:
    """The rules' verdicts as records hold them."""
    return tuple(
        RuleVerdict(
            name=verdict.rule,
            score=verdict.score,
            threshold=verdict.threshold,
            passed=verdict.passed,
            detail=verdict.detail,
        )
        for verdict in verdicts
    )


class Chooser:
    """Goes through the tries of one sample after another, in index order, and takes the first good one of each."""

    def __init__(self, wanted: FilterSpec, calibration: Calibration | None) -> None:
        self._wanted, self._calibration = wanted, calibration
        self._seen = Seen(calibration, wanted.policy, wanted.limits)
        self.tally = Tally()

    def choose(self, tries: Iterable[SampleRecord]) -> SampleRecord:
        """The first acceptable try whose picture was kept; else the last one, as exhausted."""
        chosen = last = None
        for record in tries:
            verdicts = judge(record.scores, self._calibration, self._wanted.policy, self._wanted.limits)
            if chosen is None and record.image is not None and accepted(verdicts):
                verdicts = (*verdicts, self._seen.check(record.scores, record.group))
                if accepted(verdicts):
                    chosen = _settled(record, SampleStatus.ACCEPTED, as_recorded(verdicts))
                    if self._wanted.policy is Policy.OFF:  # no rule has a say in the label either
                        files = {name: file for name, file in chosen.files.items() if name not in _FILTERED}
                        chosen = chosen.model_copy(update={"label": None, "ignored": {}, "files": files})
                    self._seen.add(record.scores, record.group)
            last = _settled(record, SampleStatus.EXHAUSTED, as_recorded(verdicts))
            self.tally.tried(record, last.filter.rules)
        decided = chosen or last
        assert decided is not None  # noqa: S101  (groupby gives no empty group)
        self.tally.settled(decided)
        return decided

    @property
    def same_mask_distance(self) -> float | None:
        """Mean distance of the hashes of accepted samples of one mask, bits of 64: how diverse they are."""
        distance = self._seen.diversity()
        return None if distance is None else round(distance, 2)


def _settled(record: SampleRecord, status: SampleStatus, rules: tuple[RuleVerdict, ...]) -> SampleRecord:
    verdict = FilterVerdict(accepted=status is SampleStatus.ACCEPTED, rules=rules)
    return record.model_copy(update={"status": status, "filter": verdict})


def tries_of(
    storage: Storage, job: Job, pulse: Callable[[], None] = lambda: None
) -> Iterator[list[SampleRecord]]:
    """All tries of each sample that was tried at all, in index order; a few shards at a time are in memory."""
    rounds: list[Iterator[SampleRecord]] = []
    number = 0
    while (this := read_round(storage, job, number)) is not None:
        rounds.append(_tries_of_round(storage, job, this, pulse))
        number += 1
    merged = heapq.merge(*rounds, key=lambda record: record.place)
    for _, tries in groupby(merged, key=lambda record: record.index):
        yield list(tries)


def _tries_of_round(
    storage: Storage, job: Job, this: Round, pulse: Callable[[], None]
) -> Iterator[SampleRecord]:
    def read(key: str) -> list[SampleRecord]:
        result = ShardResult.model_validate_json(storage.read(key))
        if result.records_key is None:  # nothing was made
            return []
        return from_lines(storage.read_verified(result.records_key, result.objects[result.records_key]))

    keys = storage.keys(shard_results_prefix(job.tenant, job.id, this.number))
    with ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="read") as threads:
        for records in in_order(threads, read, keys, ahead=2 * _READ_THREADS):
            pulse()
            yield from records


def filter_anew(storage: Storage, job: Job, wanted: FilterSpec) -> Selection:
    """The data set chosen again from its stored scores, as its current selection: no picture is made or changed.

    Raises Conflict while the data set has not ended, or when another refiltering came first.
    """
    before = current_selection(storage, job) if job.ended else None
    if before is None:
        raise Conflict(
            f"The data set is {job.status}; it can be filtered again when it has ended.",
            code="dataset_not_ready",
        )
    chooser = Chooser(wanted, read_calibration(storage, job))
    number = before.number + 1
    prefix = f"{selection_prefix(job.tenant, job.id)}{number:04d}-{secrets.token_hex(4)}/"

    def put(name: str, body: bytes, content_type: str) -> tuple[str, str]:
        storage.create(prefix + name, body, content_type)
        return prefix + name, hashlib.sha256(body).hexdigest()

    pages = write_pages(put, (chooser.choose(tries) for tries in tries_of(storage, job)))
    tally, counts = chooser.tally, before.counts
    selection = Selection(
        number=number,
        filter=wanted,
        created_at=now(),
        counts=counts.model_copy(
            update={
                "accepted": tally.accepted,
                "exhausted": tally.exhausted,
                "rejected": tally.generated - tally.accepted,
            }
        ),
        pages=pages,
        report=tally.report(same_mask_distance=chooser.same_mask_distance, goal=_goal(before, tally)),
    )
    if not keep_selection(storage, job, selection):
        storage.delete(prefix)
        raise Conflict(
            "Another refiltering of this data set came first. Try again.", code="refilter_conflict"
        )
    return selection


def _goal(before: Selection, tally: Tally) -> dict[str, GoalTally] | None:
    """Where each category of the goal stands now."""
    if before.report.goal is None:
        return None
    return {
        name: standing.model_copy(
            update={
                "accepted": accepted,
                "reached": accepted >= standing.wanted,
                "reason": None if accepted >= standing.wanted else standing.reason or "filtered again",
            }
        )
        for name, standing in before.report.goal.items()
        for accepted in (tally.accepted_with(find_category(name).id),)
    }


def keep_selection(storage: Storage, job: Job, selection: Selection) -> bool:
    """Makes the selection the data set's current one; False when that number is taken."""
    body = selection.model_dump_json().encode()
    return storage.create(_key(job, selection.number), body, "application/json")


def read_selection(storage: Storage, job: Job, number: int) -> Selection | None:
    try:
        return Selection.model_validate_json(storage.read(_key(job, number)))
    except NotFound:
        return None


def selections(storage: Storage, job: Job) -> Iterator[Selection]:
    """Every selection, the first one first."""
    number = 0
    while (found := read_selection(storage, job, number)) is not None:
        yield found
        number += 1


def current_selection(storage: Storage, job: Job) -> Selection | None:
    """The newest selection; None until the job has ended."""
    numbers = [
        int(name.removesuffix(".json"))
        for name in (
            key.removeprefix(selection_prefix(job.tenant, job.id))
            for key in storage.keys(selection_prefix(job.tenant, job.id))
        )
        if name.removesuffix(".json").isdecimal()
    ]
    return read_selection(storage, job, max(numbers)) if numbers else None


def keep_calibration(storage: Storage, job: Job, calibration: Calibration | None) -> Calibration | None:
    """Keeps the thresholds beside the data set, unless some are there; returns those that are."""
    if calibration is not None:
        storage.create(_calibration_key(job), calibration.model_dump_json().encode(), "application/json")
    return read_calibration(storage, job)


def read_calibration(storage: Storage, job: Job) -> Calibration | None:
    try:
        return Calibration.model_validate_json(storage.read(_calibration_key(job)))
    except NotFound:
        return None


def _calibration_key(job: Job) -> str:
    return f"{selection_prefix(job.tenant, job.id)}calibration.json"


def _key(job: Job, number: int) -> str:
    return f"{selection_prefix(job.tenant, job.id)}{number:04d}.json"
