"""The state machine, against the table in the HTTP contract written out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from models.errors import Conflict
from tests.worker.records import make_job
from worker.jobs import JobStatus, earliest_job_id, new_job_id
from worker.layout import JOB_ID

ALLOWED = {
    ("queued", "running"),
    ("queued", "canceled"),
    ("queued", "failed"),
    ("running", "running"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "canceled"),
}


@pytest.mark.parametrize("before", list(JobStatus))
@pytest.mark.parametrize("after", list(JobStatus))
def test_only_the_contracts_moves_exist(before: JobStatus, after: JobStatus) -> None:
    job = make_job(status=before)
    if (before.value, after.value) in ALLOWED:
        assert job.advance(after).status is after
    else:
        with pytest.raises(Conflict):
            job.advance(after)


def test_an_end_has_a_time_and_no_phase() -> None:
    job = make_job(status=JobStatus.RUNNING, phase="synthesis").advance(JobStatus.SUCCEEDED)
    assert job.finished_at is not None
    assert job.phase is None
    assert job.ended


def test_ids_sort_by_time_and_fit_the_pattern() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [new_job_id(start + timedelta(seconds=second)) for second in range(50)]
    assert ids == sorted(ids)
    assert all(JOB_ID.fullmatch(job_id) for job_id in ids)


def test_earliest_id_separates_before_from_after() -> None:
    moment = datetime(2026, 6, 1, 12, tzinfo=UTC)
    border = earliest_job_id(moment)
    assert new_job_id(moment - timedelta(milliseconds=1)) < border
    assert new_job_id(moment) > border
