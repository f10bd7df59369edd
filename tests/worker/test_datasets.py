"""Data sets in shards and rounds: nothing lost, nothing twice, the same samples whatever happens on the way."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from models.errors import Conflict, InvalidInput, ModelUnavailable, Unavailable
from models.rfilter.rules import Policy
from tests.worker.datasets import BAD, GOOD, Steps
from tests.worker.lines import lose_queue, waiting
from tests.worker.records import make_job
from tests.worker.test_lease import take
from worker import conducting
from worker.exporting import exports_of
from worker.jobs import Job, JobStatus, Made
from worker.lease import Canceled
from worker.lease_worker import LeaseQueue
from worker.pages import read_pages
from worker.queue import depth, enqueue, position, shard_of
from worker.reconcile import give_back_lost, reconcile
from worker.rendering import FilterSpec
from worker.results import read_result, read_samples
from worker.rounds import (
    Planned,
    Round,
    ShardResult,
    commit_shard,
    open_round,
    read_shard,
    samples_of,
    shard_results,
)
from worker.run import Run
from worker.samples import SampleRecord, SampleStatus
from worker.selection import current_selection, filter_anew
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store

ROAD, TREE, WATER = 4, 5, 6


@pytest.fixture
def steps(settings: Settings, redis: Redis, store: Store, storage: Storage) -> Iterator[Steps]:
    before = (LeaseQueue.owner, LeaseQueue.lease_seconds)
    yield Steps(settings, redis, store, storage)
    LeaseQueue.owner, LeaseQueue.lease_seconds = before


def job_of(steps: Steps, job: Job) -> Job:
    found = steps.store.load(job.id)
    assert found is not None
    counts = found.counts
    assert counts.requested == counts.accepted + counts.exhausted + counts.failed + counts.pending
    assert counts.generated == counts.accepted + counts.rejected
    return found


def delivered(steps: Steps, job: Job) -> list[SampleRecord]:
    result = read_result(steps.storage, "local", job.id)
    assert result is not None
    records = list(read_samples(steps.storage, result))
    for record in records:
        if record.image is not None:
            steps.storage.read_verified(record.image.key, record.image.sha256)
    return records


def essence(records: list[SampleRecord]) -> list[Any]:
    """All that must be equal between two runs: not which attempt it was, nor where it lies."""
    return [
        (r.index, r.try_number, r.status, r.seed, r.image and r.image.sha256, r.filter, r.scores)
        for r in records
    ]


def test_shards_make_the_whole_once(steps: Steps) -> None:
    job = steps.submit({ROAD}, {TREE}, {ROAD, TREE}, {WATER}, samples_per_mask=3)
    while (entry := steps.one()) is not None:
        current = job_of(steps, job)
        assert depth(steps.redis) <= 1, "without a live worker the window is one shard"
        if shard_of(entry):
            assert current.counts.accepted == 2 * sum(1 for taken in steps.taken if shard_of(taken))
    ended = job_of(steps, job)
    assert ended.status is JobStatus.SUCCEEDED
    assert (ended.counts.requested, ended.counts.accepted, ended.counts.generated) == (12, 12, 12)
    records = delivered(steps, job)
    assert [record.index for record in records] == list(range(12))
    assert [record.mask_number for record in records] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert sum(1 for taken in steps.taken if shard_of(taken)) == 6
    assert sum(1 for taken in steps.taken if "-end-" in taken) == 1
    selection = current_selection(steps.storage, job)
    assert selection is not None
    road = selection.report.categories["road"]
    assert (road.requested, road.accepted, road.generated, road.acceptance) == (6, 6, 6, 1.0)
    # pixels 48 : 48 : 24, so 1/√ gives 1 : 1 : 1.414 of 15 samples that show one
    assert {name: found.quota for name, found in selection.report.categories.items()} == {
        "road": 5,
        "tree": 4,
        "water": 6,
    }
    assert selection.report.histogram_after == {"background": 12 * 40, "road": 48, "tree": 48, "water": 24}


def test_a_shard_counts_once_however_often_it_is_done(steps: Steps) -> None:
    job = steps.submit({ROAD}, {TREE}, samples_per_mask=2)
    steps.one()
    lease = take(steps.redis, "w1")
    assert lease is not None
    steps.do(lease)
    steps.do(lease)
    assert job_of(steps, job).counts.accepted == 2
    steps.all()
    assert len(delivered(steps, job)) == 4


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_killed_worker_costs_one_shard_at_most(steps: Steps, at: int) -> None:
    job = steps.submit({ROAD}, {TREE}, {WATER}, samples_per_mask=2)
    steps.one()
    for _ in range(at):
        steps.one()

    def die(run: Run) -> None:
        raise SystemExit(1)

    steps.before_shard = die
    with pytest.raises(SystemExit):
        steps.one(owner="dead")
    steps.before_shard = lambda run: None
    give_back_lost(steps.redis, steps.store, steps.storage, steps.settings, owner="dead")
    steps.all()
    ended = job_of(steps, job)
    assert ended.status is JobStatus.SUCCEEDED
    assert [attempt.outcome for attempt in ended.attempts] == ["worker_lost", "succeeded"]
    shards = [taken for taken in steps.taken if shard_of(taken)]
    assert len(shards) - len(set(shards)) == 1, "one shard was done twice, the others once"
    undisturbed = steps.submit({ROAD}, {TREE}, {WATER}, samples_per_mask=2)
    steps.all()
    assert essence(delivered(steps, job)) == essence(delivered(steps, undisturbed))


def test_a_redis_lost_whole_in_the_middle(steps: Steps) -> None:
    job = steps.submit({ROAD}, {TREE}, {WATER}, samples_per_mask=4)
    for _ in range(4):
        steps.one()
    made = [result.shard for result in shard_results(steps.storage, job, 0)]
    assert made == [0, 1, 2]
    steps.redis.flushall()
    steps.taken.clear()
    assert reconcile(steps.redis, steps.store, steps.storage, steps.settings) == 1
    steps.all()
    assert job_of(steps, job).status is JobStatus.SUCCEEDED
    assert len(delivered(steps, job)) == 12
    again = [shard_of(taken) for taken in steps.taken if shard_of(taken)]
    assert again == [(0, 3), (0, 4), (0, 5)], "finished shards stay finished"


def test_a_step_that_waits_nowhere_is_found(steps: Steps) -> None:
    job = steps.submit({ROAD}, {TREE}, samples_per_mask=2)
    steps.one()
    lose_queue(steps.redis)  # the shard's entry is gone, its hash is there
    assert reconcile(steps.redis, steps.store, steps.storage, steps.settings) == 1
    assert reconcile(steps.redis, steps.store, steps.storage, steps.settings) == 0
    steps.one()
    steps.one()
    lose_queue(steps.redis)  # now the step that closes the round
    assert reconcile(steps.redis, steps.store, steps.storage, steps.settings) == 1
    steps.all()
    assert job_of(steps, job).status is JobStatus.SUCCEEDED


def test_jobs_take_turns(steps: Steps) -> None:
    """A one-picture job that comes in the middle waits for one shard of each data set."""
    first = steps.submit({ROAD}, {TREE}, samples_per_mask=20)
    second = steps.submit({ROAD}, {WATER}, samples_per_mask=20)
    for _ in range(6):
        steps.one()
    picture = make_job(1)
    steps.store.create(picture)
    enqueue(steps.redis, picture)
    assert position(steps.redis, picture.id) == 2
    assert {entry.partition("-")[0] for entry in waiting(steps.redis)[:2]} == {first.id, second.id}


def test_a_rejected_try_is_repeated_and_recorded(steps: Steps) -> None:
    steps.entropy = lambda index, number: BAD if (index == 1 and number < 2) or index == 3 else GOOD
    job = steps.submit({ROAD}, {TREE}, samples_per_mask=2, filter={"max_tries": 3})
    steps.all()
    ended = job_of(steps, job)
    assert ended.status is JobStatus.SUCCEEDED
    counts = ended.counts
    assert (counts.accepted, counts.exhausted, counts.generated, counts.rejected) == (3, 1, 8, 5)
    records = delivered(steps, job)
    assert [(r.index, r.try_number, r.status) for r in records] == [
        (0, 0, SampleStatus.ACCEPTED),
        (1, 2, SampleStatus.ACCEPTED),
        (2, 0, SampleStatus.ACCEPTED),
        (3, 2, SampleStatus.EXHAUSTED),
    ]
    assert records[3].image is None
    selection = current_selection(steps.storage, job)
    assert selection is not None
    assert selection.report.rules["technical"].failed == 5
    assert selection.report.categories["tree"].failed_by_rule == {"technical": 3}
    assert selection.report.categories["tree"].acceptance == 0.25
    assert selection.report.pictures_not_kept == 5


def test_a_near_duplicate_of_another_mask_is_tried_again(steps: Steps) -> None:
    """Only when all shards are done is it known; the next round makes what is lacking."""

    def hash_of(index: int, number: int) -> str:
        if number == 0 and index in {0, 2}:
            return "00000000ffffffff"
        return hashlib.sha256(f"{index} {number}".encode()).hexdigest()[:16]

    steps.hash_of = hash_of
    job = steps.submit({ROAD}, {TREE}, samples_per_mask=2)
    steps.all()
    ended = job_of(steps, job)
    assert (ended.counts.accepted, ended.counts.generated, ended.counts.rejected) == (4, 5, 1)
    assert [(r.index, r.try_number) for r in delivered(steps, job)] == [(0, 0), (1, 0), (2, 1), (3, 0)]
    assert sum(1 for taken in steps.taken if "-end-" in taken) == 2


def test_a_duplicate_without_tries_left_is_exhausted(steps: Steps) -> None:
    steps.hash_of = lambda index, number: "00000000ffffffff"
    job = steps.submit({ROAD}, {TREE}, samples_per_mask=1, filter={"max_tries": 2})
    steps.all()
    ended = job_of(steps, job)
    assert (ended.counts.accepted, ended.counts.exhausted, ended.counts.generated) == (1, 1, 3)
    failed = [rule.name for rule in delivered(steps, job)[1].filter.rules if rule.passed is False]
    assert failed == ["near_duplicate"]


def test_cancellation_keeps_what_is_finished(steps: Steps) -> None:
    job = steps.submit({ROAD}, {TREE}, {WATER}, samples_per_mask=4)
    for _ in range(3):
        steps.one()
    canceled = steps.intake.cancel("local", job.id)
    assert canceled.status is JobStatus.RUNNING
    steps.all()
    ended = job_of(steps, job)
    assert ended.status is JobStatus.CANCELED
    assert (ended.counts.accepted, ended.counts.failed, ended.counts.pending) == (4, 8, 0)
    assert [record.index for record in delivered(steps, job)] == [0, 1, 2, 3]
    assert steps.intake.cancel("local", job.id).status is JobStatus.CANCELED


def test_a_shard_under_way_at_cancellation_is_kept_as_far_as_it_came(steps: Steps) -> None:
    job = steps.submit({ROAD}, {TREE}, samples_per_mask=4)
    steps.one()

    def cancel(run: Run) -> None:
        steps.intake.cancel("local", job.id)
        run.lease.renew()
        with pytest.raises(Canceled):
            run.lease.check()
        raise Canceled

    steps.before_shard = cancel
    steps.one()
    shard = read_shard(steps.storage, job, 0, 0)
    assert shard is not None
    assert (shard.made.accepted, shard.made.failed, shard.error) == (0, 0, None)
    steps.all()
    assert job_of(steps, job).status is JobStatus.CANCELED


def test_a_failing_shard_costs_its_own_samples(steps: Steps) -> None:
    job = steps.submit({ROAD}, {TREE}, samples_per_mask=4)

    def fail(run: Run) -> None:
        if run.lease.entry_id.endswith("000001"):
            raise RuntimeError("secret detail")

    steps.before_shard = fail
    steps.all()
    ended = job_of(steps, job)
    assert ended.status is JobStatus.SUCCEEDED
    assert (ended.counts.accepted, ended.counts.failed) == (6, 2)
    assert [record.index for record in delivered(steps, job)] == [0, 1, 4, 5, 6, 7]
    assert any("2 samples failed" in warning for warning in ended.warnings)
    assert not any("secret" in warning for warning in ended.warnings)


def test_a_shard_that_storage_failed_is_put_back_and_says_so(steps: Steps) -> None:
    job = steps.submit({ROAD}, samples_per_mask=2)
    steps.one()

    def away(run: Run) -> None:
        raise Unavailable("no storage", code="storage_unavailable")

    steps.before_shard = away
    with pytest.raises(Unavailable):
        steps.one()
    steps.before_shard = lambda run: None
    give_back_lost(steps.redis, steps.store, steps.storage, steps.settings, owner="w1")
    steps.all()
    ended = job_of(steps, job)
    assert [attempt.outcome for attempt in ended.attempts] == ["storage_unavailable", "succeeded"]
    assert ended.counts.accepted == 2


def test_a_hopeless_job_ends_after_three_shards(steps: Steps) -> None:
    job = steps.submit({ROAD}, samples_per_mask=100)

    def fail(run: Run) -> None:
        raise ModelUnavailable("no weights")

    steps.before_shard = fail
    steps.all()
    ended = job_of(steps, job)
    assert ended.status is JobStatus.FAILED
    assert ended.error is not None
    assert ended.error.code == "model_unavailable"
    assert sum(1 for taken in steps.taken if shard_of(taken)) == 3
    assert [attempt.outcome for attempt in ended.attempts] == ["failed"]


def test_a_shard_canceled_between_being_taken_and_being_begun(steps: Steps) -> None:
    job = steps.submit({ROAD}, samples_per_mask=8)
    steps.one()
    lease = take(steps.redis, "w1")
    assert lease is not None
    steps.intake.cancel("local", job.id)
    steps.do(lease)
    steps.all()
    assert job_of(steps, job).status is JobStatus.CANCELED


def test_a_goal_survives_a_lost_redis_in_its_second_round(steps: Steps) -> None:
    """The second round counts from the first one's counts, and they are in storage too."""
    steps.entropy = lambda index, number: BAD if index < 3 else GOOD
    goal = {"accepted_per_category": {"road": 6}}
    job = steps.submit({ROAD}, {TREE}, goal=goal, filter={"max_tries": 1})
    while not any(taken.startswith(f"{job.id}-001-") for taken in steps.taken):
        steps.one()
    before = job_of(steps, job).counts
    steps.redis.flushall()
    reconcile(steps.redis, steps.store, steps.storage, steps.settings)
    steps.one()
    assert job_of(steps, job).counts == before
    steps.all()
    ended = job_of(steps, job)
    selection = current_selection(steps.storage, job)
    assert selection is not None
    assert selection.report.goal is not None
    assert selection.report.goal["road"].reached
    assert len(delivered(steps, job)) == ended.counts.requested


def test_the_conductor_of_many_shards_shows_life_while_it_reads(
    settings: Settings, redis: Redis, store: Store, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its supervisor would kill it otherwise: never a hundred reads of storage without a sign of life."""
    silent, longest = 0, 0
    read = Storage.read

    def counted(self: Storage, key: str, **options: Any) -> bytes:
        nonlocal silent, longest
        silent += 1
        longest = max(longest, silent)
        return read(self, key, **options)

    def pulse() -> None:
        nonlocal silent
        silent = 0

    steps = Steps(settings, redis, store, storage, pulse=pulse)
    job = steps.submit({ROAD}, samples_per_mask=600)
    steps.one()
    for shard in range(300):
        lost = ShardResult(round=0, shard=shard, attempt=1, worker="", made=Made(failed=2))
        commit_shard(storage, job, lost)
    steps.redis.flushall()
    monkeypatch.setattr(Storage, "read", counted)
    reconcile(redis, store, storage, settings)
    steps.all()
    assert job_of(steps, job).counts.failed == 600
    assert longest < 100


def test_a_shard_that_kills_every_worker_fails_alone(steps: Steps) -> None:
    job = steps.submit({ROAD}, {TREE}, samples_per_mask=2)

    def die(run: Run) -> None:
        if run.lease.entry_id.endswith("000001"):
            raise SystemExit(1)

    steps.before_shard = die
    for _ in range(20):
        try:
            if steps.one() is None:
                break
        except SystemExit:
            give_back_lost(steps.redis, steps.store, steps.storage, steps.settings, owner="w1")
    ended = job_of(steps, job)
    assert ended.status is JobStatus.SUCCEEDED
    assert (ended.counts.accepted, ended.counts.failed) == (2, 2)
    assert any("worker_lost" in warning for warning in ended.warnings)


def test_a_goal_is_reached_and_no_more(steps: Steps) -> None:
    steps.entropy = lambda index, number: BAD if index % 3 == 0 else GOOD
    goal = {"accepted_per_category": {"road": 6, "water": 2}}
    job = steps.submit({ROAD}, {TREE}, {ROAD, WATER}, goal=goal, filter={"max_tries": 1})
    steps.all()
    ended = job_of(steps, job)
    assert ended.status is JobStatus.SUCCEEDED
    selection = current_selection(steps.storage, job)
    assert selection is not None
    standing = selection.report.goal
    assert standing is not None
    assert standing["road"].reached
    assert standing["water"].reached
    assert 6 <= standing["road"].accepted <= 8
    assert "tree" not in selection.report.categories, "no picture is made of a mask that nobody asked for"
    roads = sum("road" in r.labels.categories for r in delivered(steps, job) if r.filter.accepted)
    assert roads == standing["road"].accepted


def test_a_goal_that_cannot_be_reached_says_why(steps: Steps) -> None:
    steps.entropy = lambda index, number: BAD
    job = steps.submit({ROAD}, {TREE}, goal={"accepted_per_category": {"road": 40}}, filter={"max_tries": 1})
    steps.all()
    ended = job_of(steps, job)
    assert ended.status is JobStatus.SUCCEEDED
    assert ended.counts.accepted == 0
    assert ended.counts.generated == 40
    selection = current_selection(steps.storage, job)
    assert selection is not None
    assert selection.report.goal is not None
    assert not selection.report.goal["road"].reached
    assert selection.report.goal["road"].reason == "none of 40 samples was accepted"


def test_a_goal_stops_at_max_tries(steps: Steps) -> None:
    steps.entropy = lambda index, number: GOOD if index % 10 == 0 else BAD
    goal = {"accepted_per_category": {"road": 40}, "max_tries": 60}
    job = steps.submit({ROAD}, goal=goal, filter={"max_tries": 2})
    steps.all()
    selection = current_selection(steps.storage, job)
    assert selection is not None
    assert selection.report.goal is not None
    assert job_of(steps, job).counts.generated <= 60
    reason = selection.report.goal["road"].reason
    assert reason is not None
    assert reason.startswith("max_tries is used up")


def test_a_plan_that_died_before_its_round_is_not_met_again(steps: Steps) -> None:
    """The conductor died between the plan's pages and the round's document; the next one plans otherwise."""
    job = steps.submit({ROAD}, {TREE}, samples_per_mask=1)
    fresh = Round(number=0, samples=1, shard_images=2, base=job.counts)
    died = [Planned(index=7, mask=1), Planned(index=8, mask=1)]
    create = steps.storage.create
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            steps.storage,
            "create",
            lambda key, *rest: sys.exit() if key.endswith("/000.json") else create(key, *rest),
        )
        with pytest.raises(SystemExit):
            open_round(steps.storage, job, fresh, died)
    this = open_round(steps.storage, job, fresh, [Planned(index=0, mask=0)])
    assert samples_of(steps.storage, job, this, 0) == [Planned(index=0, mask=0)]


def test_a_goal_that_no_mask_shows_is_refused(steps: Steps) -> None:
    with pytest.raises(InvalidInput) as caught:
        steps.submit({ROAD}, goal={"accepted_per_category": {"water": 1}})
    assert caught.value.code == "goal_unreachable"
    assert caught.value.errors[0].pointer == "/goal/accepted_per_category/water"
    assert depth(steps.redis) == 0


@pytest.mark.parametrize("dies", ["_conduct", "after_end"])
def test_exports_that_were_asked_for_are_made_whoever_dies(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    """The conductor dies when the data set has ended, before or while its exports are queued."""
    job = steps.submit({ROAD}, {TREE}, samples_per_mask=1, formats=["coco", {"format": "semantic"}])
    steps.one()
    steps.one()
    real = getattr(conducting, dies)

    def die(*arguments: Any) -> None:
        if dies == "_conduct":
            real(*arguments)
        raise SystemExit(1)

    monkeypatch.setattr(conducting, dies, die)
    with pytest.raises(SystemExit):
        steps.one(owner="dead")
    monkeypatch.undo()
    assert job_of(steps, job).status is JobStatus.SUCCEEDED
    assert depth(steps.redis) == 0
    give_back_lost(steps.redis, steps.store, steps.storage, steps.settings, owner="dead")
    assert reconcile(steps.redis, steps.store, steps.storage, steps.settings) == 2
    assert reconcile(steps.redis, steps.store, steps.storage, steps.settings) == 0
    selection = current_selection(steps.storage, job)
    assert selection is not None
    assert set(waiting(steps.redis)) == set(selection.exports) == set(exports_of(steps.storage, job))


def test_refiltering_goes_there_and_back(steps: Steps) -> None:
    steps.entropy = lambda index, number: {0: 1.5, 1: 3.0, 2: 0.5}.get(index + number, 5.0)
    job = steps.submit({ROAD}, {TREE}, samples_per_mask=2, filter={"keep_rejected": True})
    with pytest.raises(Conflict) as caught:
        filter_anew(steps.storage, job, FilterSpec())
    assert caught.value.code == "dataset_not_ready"
    steps.all()
    ended = job_of(steps, job)
    first = current_selection(steps.storage, ended)
    assert first is not None
    harder = filter_anew(steps.storage, ended, FilterSpec.model_validate({"thresholds": {"technical": 2.0}}))
    assert (harder.number, harder.counts.accepted) == (1, 3)
    back = filter_anew(steps.storage, ended, FilterSpec())
    assert back.number == 2
    assert essence(list(read_pages(steps.storage, back.pages))) == essence(
        list(read_pages(steps.storage, first.pages))
    )
    assert (back.counts, back.report) == (first.counts, first.report)
    everything = filter_anew(steps.storage, ended, FilterSpec(policy=Policy.OFF))
    assert everything.counts.accepted == 4
    assert [r.try_number for r in read_pages(steps.storage, everything.pages)] == [0, 0, 0, 0]
