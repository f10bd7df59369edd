"""What the worker process does before it works."""

from __future__ import annotations

import gc

from worker.process import _uncollected


def test_the_collector_rests_while_torch_comes_in_and_never_looks_through_it_again() -> None:
    frozen = gc.get_freeze_count()
    with _uncollected():
        assert not gc.isenabled()
        made = [[number] for number in range(10_000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen + len(made)
