"""How a data set ends: its first selection, its result, and the exports that follow."""

from __future__ import annotations

from dataclasses import dataclass

from worker.acceptance import GoalTally
from worker.dataset_specs import DatasetSpec
from worker.exporting import promise_exports, start_exports
from worker.intake import Intake
from worker.jobs import Counts, JobError, JobStatus, ModelRef, new_job_id, now
from worker.lease import Lease
from worker.pages import Page
from worker.rounds import last_round, shard_results
from worker.run import Resources, Run
from worker.runtime import end_as
from worker.selection import Chooser, Selection, keep_selection, read_selection


def finish_dataset(
    run: Run,
    status: JobStatus,
    chooser: Chooser,
    pages: tuple[Page, ...],
    goal: dict[str, GoalTally] | None,
    error: JobError | None = None,
    *,
    requested: int,
) -> None:
    """Makes selection 0 durable, then the result. `requested`: samples of all rounds."""
    job, storage, tally = run.job, run.resources.storage, chooser.tally
    counts = Counts(
        requested=requested,
        accepted=tally.accepted,
        exhausted=tally.exhausted,
        failed=requested - tally.accepted - tally.exhausted,
        pending=0,
        generated=tally.generated,
        rejected=tally.generated - tally.accepted,
    )
    spec = DatasetSpec.model_validate(job.request)
    report = tally.report(same_mask_distance=chooser.same_mask_distance, goal=goal)
    wanted = spec.formats if status is JobStatus.SUCCEEDED and tally.accepted else ()
    selection = Selection(
        number=0,
        filter=spec.filter,
        created_at=now(),
        counts=counts,
        pages=pages,
        report=report,
        exports=tuple(new_job_id() for _ in wanted),
    )
    if not keep_selection(storage, job, selection):  # a conductor before us died between the two documents
        run.discard()
        run.objects.clear()
        selection = read_selection(storage, job, 0) or selection
    made = _Shards.read(run)
    if status is JobStatus.SUCCEEDED and made.error is not None and not tally.generated:
        status, error = JobStatus.FAILED, made.error
    job = job.model_copy(update={"counts": selection.counts, "model": made.model or job.model})
    if selection.exports:
        promise_exports(_intake(run.resources), job, selection, spec)
    end_as(
        run,
        job,
        status,
        error=error,
        warnings=(*job.warnings, *made.warnings, *selection.report.warnings),
        progress=job.progress.model_copy(
            update={"done": requested, "total": requested, "eta_seconds": None, "step": 0, "steps": 0}
        ),
        pages=selection.pages,
    )


@dataclass(slots=True)
class _Shards:
    """What the shards of all rounds say beside their samples."""

    model: ModelRef | None = None
    error: JobError | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, run: Run) -> _Shards:
        found, failed, said = cls(), 0, dict[str, None]()
        last = last_round(run.resources.storage, run.job)
        for number in range(0 if last is None else last.number + 1):
            for result in shard_results(run.resources.storage, run.job, number, run.resources.pulse):
                found.model = found.model or result.model
                said |= dict.fromkeys(result.warnings)
                if result.error is not None:
                    found.error = found.error or result.error
                    failed += result.made.failed
        if found.error is not None:
            said[f"{failed} samples failed, the first ones with {found.error.code}: {found.error.detail}"] = (
                None
            )
        found.warnings = tuple(said)
        return found


def fail_dataset(run: Run, error: JobError) -> None:
    end_as(run, run.resources.store.load(run.job.id) or run.job, JobStatus.FAILED, error=error)


def after_end(resources: Resources, lease: Lease) -> None:
    """Queues the exports that were promised. May be repeated."""
    job = resources.store.load(lease.job_id)
    if job is not None and job.status is JobStatus.SUCCEEDED:
        start_exports(_intake(resources), job)


def _intake(resources: Resources) -> Intake:
    return Intake(resources.settings, resources.store, resources.storage)
