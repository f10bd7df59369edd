"""The load benchmarks in a short form; docs/benchmarks.md has the long one.

Shares, and not seconds, are asserted: the machine may be busy with something else.
"""

from __future__ import annotations

import pytest

from tests.benchmarks.event_load import measure as follow
from tests.benchmarks.intake_load import SHED, WARM_ROUNDS, lost, measure, requests, stack
from tests.benchmarks.load_client import Load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_accepted_is_never_lost_and_overload_is_shed() -> None:
    first = 25 * WARM_ROUNDS
    with stack() as (running, workers):
        due = requests(running, first + 600, masks=25)
        runs = [
            measure(running, workers, due[:first], rate=50),
            measure(running, workers, due[first:], rate=60),
        ]
        print(f"\n60/s: {runs[-1]}")
        assert runs[-1].load.statuses == {202: 600}
        runs.append(measure(running, workers, due * 4, rate=1000))
        print(f"1000/s: {runs[-1]}")
        assert set(runs[-1].load.statuses) <= {202, *SHED}
        shed = [answer for answer in runs[-1].load.answers if answer.status in SHED]
        assert shed
        assert {answer.header(b"retry-after") for answer in shed} == {b"1"}
        assert {answer.header(b"content-type") for answer in shed} == {b"application/problem+json"}
        assert runs[-1].load.latency(0.5, *SHED) < runs[-1].load.latency(0.5, 202)
        everything = Load(0, [answer for run in runs for answer in run.load.answers])
        assert lost(running, everything) == []


def test_every_follower_receives_every_event() -> None:
    heard = follow(clients=500, jobs=10, rate=4, seconds=5)
    print(f"\n500 clients: p50 {heard.latency(0.5):.0f}, p95 {heard.latency(0.95):.0f} ms")
    assert heard.numbers == [list(range(20))] * 500
    assert heard.ended == 500
