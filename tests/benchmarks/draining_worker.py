"""A worker without a model: takes entries with the real lease and ends their jobs, so many a second.

Started as `python -m tests.benchmarks.draining_worker JOBS_A_SECOND`; ends with its parent.
"""

from __future__ import annotations

import sys
import time

from worker.jobs import JobStatus
from worker.lease import release, take
from worker.queue import QUEUE_NAME
from worker.redis_client import connect
from worker.results import end
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.turns import queue_key

if __name__ == "__main__":
    settings = Settings()
    redis = connect(settings, patient=True)
    store, storage = Store(redis), Storage(settings)
    pause, due = 1 / float(sys.argv[1]), time.monotonic()
    while True:
        due = max(due + pause, time.monotonic() - 1)
        time.sleep(max(0.0, due - time.monotonic()))
        taken = take(redis, queue_key(QUEUE_NAME), owner="draining", seconds=30)
        if taken is None:
            continue
        entry_id, token = taken
        job = store.update(entry_id, lambda known: known.advance(JobStatus.RUNNING))
        if job is not None:
            end(store, storage, job, JobStatus.SUCCEEDED)
        release(redis, entry_id, token)
