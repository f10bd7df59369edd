"""The training task on a real Redis and S3, with nano at toy size; no service around it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from redis import Redis

from models.catalog import nano_card
from models.cfcomp.vault import MARKER, whole_checkpoints
from models.errors import Conflict
from tests.models.zips import packed
from tests.training_pairs import pair_files
from tests.worker.test_lease import take
from worker.intake import Intake
from worker.jobs import Job, JobStatus, new_job_id
from worker.layout import checkpoints_prefix
from worker.lease import GivenBack, Lease, give_back, release, starts_that_count
from worker.process import _NoPipeline
from worker.queue import TRAINING_QUEUE, depth, position
from worker.registry import ModelRegistry
from worker.results import TrainingOutcome, read_result
from worker.run import Resources
from worker.runtime import perform
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.training import train_model
from worker.training_intake import resolve_training, submit_training
from worker.training_reports import read_history, read_validations, tensorboard_files
from worker.training_sets import TrainingSetRequest, keep_training_set
from worker.training_specs import TrainingRequest
from worker.training_vault import StorageVault

SMALL: dict[str, Any] = {
    "resolution": 64,
    "batch_size": 2,
    "steps": 6,
    "checkpoint_every": 2,
    "warmup_steps": 0,
    "learning_rate": 1e-3,
    "trained": "controlnet",  # with the UNet and its average a checkpoint of nano has 256 MB
    "ema_decay": None,
    "validation": {"pictures": 1},
}


class Died(BaseException):
    """Ends an attempt as a kill does: nobody tidies up."""


class Trainings:
    """Submits trainings and takes them from their queue, as one worker would."""

    def __init__(self, settings: Settings, redis: Redis, store: Store, storage: Storage) -> None:
        self.redis, self.store, self.storage = redis, store, storage
        self.registry = ModelRegistry(storage, {"nano": nano_card()}, "nano")
        self.intake = Intake(settings, store, storage)
        gpu = cast("Any", _NoPipeline())
        self.resources = Resources(settings, "trainer", store, storage, self.registry, gpu, lambda: None)

    def submit(self, name: str, **changes: Any) -> Job:
        file = io.BytesIO(packed(pair_files(4)))
        kept = keep_training_set(self.intake, "local", TrainingSetRequest(), file)
        asked = TrainingRequest(training_set_id=kept.record.id, name=name, **(SMALL | changes))
        resolved = resolve_training(self.intake, self.registry, "local", asked)
        return submit_training(self.intake, self.registry, "local", asked, resolved, new_job_id())

    def take(self) -> Lease | None:
        return take(self.redis, "trainer", 60.0, queue_name=TRAINING_QUEUE)

    def attempt(self, pulse: Callable[[], None] = lambda: None) -> None:
        lease = self.take()
        assert lease is not None
        perform(replace(self.resources, pulse=pulse), lease, train_model)
        release(self.redis, lease.entry_id, lease.token)

    def die_at(self, beat: int, *, max_attempts: int = 3) -> str:
        """One attempt that dies at its n-th sign of life; returns what became of its entry."""
        beats = iter(range(1, 10_000))

        def pulse() -> None:
            if next(beats) == beat:
                raise Died

        with pytest.raises(Died):
            self.attempt(pulse)
        (outcome,) = give_back(self.redis, owner="trainer", max_attempts=max_attempts)
        return outcome[1]

    def result(self, job: Job) -> TrainingOutcome:
        found = read_result(self.storage, "local", job.id)
        assert found is not None
        assert found.training is not None, found.job.error
        return found.training


@pytest.fixture
def trainings(settings: Settings, redis: Redis, store: Store, storage: Storage, tmp_path: Path) -> Trainings:
    changes = {"queue": "training", "device": "cpu", "model_cache": tmp_path / "cache"}
    return Trainings(settings.model_copy(update=changes), redis, store, storage)


def test_a_training_waits_on_a_queue_of_its_own(trainings: Trainings) -> None:
    job = trainings.submit("farm")
    assert depth(trainings.redis) == 0, "no picture waits behind it"
    assert depth(trainings.redis, TRAINING_QUEUE) == 1
    assert position(trainings.redis, job.id, TRAINING_QUEUE) == 0
    canceled = trainings.intake.cancel("local", job.id)
    assert canceled.status is JobStatus.CANCELED
    assert depth(trainings.redis, TRAINING_QUEUE) == 0
    again = trainings.submit("farm")
    assert (again.model.name, again.model.version) == ("farm", "2"), "numbers are not given twice"


def test_a_name_that_is_being_made_is_in_use(trainings: Trainings) -> None:
    trainings.submit("farm")
    for new_version in (False, True):
        with pytest.raises(Conflict, match="farm") as caught:
            trainings.submit("farm", new_version=new_version)
        assert caught.value.code == "model_name_in_use"


def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(trainings: Trainings) -> None:
    calm = trainings.submit("calm")
    trainings.attempt()
    undisturbed = trainings.result(calm)
    assert undisturbed.resumed_from == 0

    job = trainings.submit("killed")
    # A sign of life when it begins, and one for each step: it dies in the second step after a checkpoint.
    assert trainings.die_at(5) == "requeued"
    assert whole_steps(trainings, job) == [2]
    assert trainings.die_at(5) == "requeued"
    assert whole_steps(trainings, job) == [2, 4]
    trainings.attempt()
    outcome = trainings.result(job)
    assert outcome.resumed_from == 4
    assert outcome.model.sha256 == undisturbed.model.sha256, "every file of the model is the same"
    assert outcome.loss_global == undisturbed.loss_global
    record = trainings.intake.find("local", job.id)
    assert [attempt.outcome for attempt in record.attempts] == ["worker_lost", "worker_lost", "succeeded"]
    assert [row.step for row in read_history(trainings.storage, record)] == [1, 2, 3, 4, 5, 6]
    assert [one.step for one in read_validations(trainings.storage, record)] == [6]


def test_starts_that_got_further_do_not_count(trainings: Trainings) -> None:
    """With one attempt allowed, a training that saves a checkpoint in each may still be killed again and again."""
    job = trainings.submit("farm", steps=20, checkpoint_every=1)
    for number in range(1, 3):
        assert trainings.die_at(4, max_attempts=1) == "requeued"
        assert starts_that_count(trainings.redis, job.id, number) == 0
    assert trainings.die_at(1, max_attempts=1) == "exhausted", "that one made nothing that stays"


def test_what_was_published_before_a_kill_is_adopted(trainings: Trainings) -> None:
    job = trainings.submit("farm")
    published = trainings.registry.publish

    def publish_and_die(*args: Any, **options: Any) -> Any:
        published(*args, **options)
        raise Died

    trainings.registry.publish = publish_and_die  # type: ignore[method-assign]  # the kill, at its worst moment
    with pytest.raises(Died):
        trainings.attempt()
    trainings.registry.publish = published  # type: ignore[method-assign]
    give_back(trainings.redis, owner="trainer", max_attempts=3)
    first = trainings.registry.manifest("local", "farm", "1")
    trainings.attempt()
    outcome = trainings.result(job)
    assert outcome.resumed_from == 6
    assert outcome.model.sha256 == first.digest
    assert [one.card.version for one in trainings.registry.list("local") if one.card.name == "farm"] == ["1"]
    assert first.training_id == job.id
    assert first.base == "nano@2"
    assert first.data["pairs"] == 4
    assert first.recipe["cf_comp"]["probability"] == 0.5


def test_a_truncated_newest_checkpoint_is_passed_over_with_a_warning(
    trainings: Trainings, tmp_path: Path
) -> None:
    job = trainings.submit("farm")
    trainings.die_at(7)  # after step 5
    prefix = checkpoints_prefix("local", job.id)
    newest = whole_checkpoints(StorageVault(trainings.storage, prefix))[-1]
    assert newest.startswith("00000004-")
    key = f"{prefix}{newest}/optimizer.safetensors"
    body = trainings.storage.read(key)
    trainings.storage.delete(key)
    trainings.storage.create(key, body[: len(body) // 2], "application/octet-stream")
    trainings.attempt()
    assert trainings.result(job).resumed_from == 2
    record = trainings.intake.find("local", job.id)
    assert record.status is JobStatus.SUCCEEDED
    assert any(newest in warning and "passed over" in warning for warning in record.warnings)


def test_a_training_goes_on_from_another_ones_checkpoint(trainings: Trainings) -> None:
    first = trainings.submit("farm")
    trainings.die_at(7)
    trainings.intake.cancel("local", first.id)
    trainings.attempt()  # its entry waits for the next worker, which ends it
    assert trainings.intake.find("local", first.id).status is JobStatus.CANCELED
    second = trainings.submit("farm", resume_from=first.id)
    trainings.attempt()
    assert trainings.result(second).resumed_from == 4
    assert whole_steps(trainings, first)[-1] == 4, "the other's checkpoints stay as they are"


def test_a_worker_that_is_to_stop_saves_and_gives_back(trainings: Trainings) -> None:
    job = trainings.submit("farm", checkpoint_every=100)
    lease = trainings.take()
    assert lease is not None
    beats: list[int] = []
    stopping = replace(trainings.resources, pulse=lambda: beats.append(1), stopping=lambda: len(beats) == 4)
    with pytest.raises(GivenBack):  # RQ's worker then gives the entry back
        perform(stopping, lease, train_model)
    assert whole_steps(trainings, job) == [3], "between two checkpoints: nothing is lost"
    assert give_back(trainings.redis, owner="trainer", max_attempts=1) == [(job.id, "requeued")]
    trainings.attempt()
    assert trainings.result(job).resumed_from == 3


def test_tensorboard_reads_the_losses(trainings: Trainings, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    job = trainings.submit("farm")
    trainings.die_at(5)
    trainings.attempt()
    record = trainings.intake.find("local", job.id)
    for key in tensorboard_files(trainings.storage, record):
        file = tmp_path / "board" / key.rpartition("/")[2]
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(trainings.storage.read(key))
    board = EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    told = {event.step: event.value for event in board.Scalars("loss_global")}
    history = {row.step: row.loss_global for row in read_history(trainings.storage, record)}
    assert set(told) == set(range(1, 7))
    assert told == pytest.approx(history, rel=1e-6)
    assert [event.step for event in board.Scalars("mask_agreement")] == [6]
    (image,) = board.Images("validation")
    assert image.encoded_image_string.startswith(b"\x89PNG")


def test_the_sheet_of_a_validation_can_be_fetched(trainings: Trainings) -> None:
    job = trainings.submit("farm", steps=2)
    trainings.attempt()
    (one,) = read_validations(trainings.storage, trainings.intake.find("local", job.id))
    url, _ = trainings.storage.presign(one.sheet)
    assert httpx.get(url, trust_env=False).content == trainings.storage.read_verified(one.sheet, one.sha256)
    assert one.agreement is not None
    assert 0 <= one.agreement <= 1


def whole_steps(trainings: Trainings, job: Job) -> list[int]:
    keys = trainings.storage.keys(checkpoints_prefix("local", job.id))
    return [int(key.split("/")[-2][:8]) for key in keys if key.endswith(MARKER)]
