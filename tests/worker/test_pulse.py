"""The sign of life between a worker and its supervisor, through a real pipe."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from worker.pulse import Pulse, Watch


@pytest.fixture
def ends() -> Iterator[tuple[Pulse, Watch]]:
    reader, writer = os.pipe()
    yield Pulse(writer), Watch(reader, stall_seconds=0.2, load_seconds=0.6, last=time.monotonic())
    os.close(reader)
    os.close(writer)


def test_silence_is_a_stall(ends: tuple[Pulse, Watch]) -> None:
    pulse, watch = ends
    pulse.alive()
    watch.wait(0.1)
    assert not watch.stalled
    time.sleep(0.25)
    watch.wait(0.01)
    assert watch.stalled


def test_loading_may_take_longer(ends: tuple[Pulse, Watch]) -> None:
    pulse, watch = ends
    pulse.loading()
    watch.wait(0.1)
    time.sleep(0.3)
    assert not watch.stalled
    time.sleep(0.4)
    assert watch.stalled


def test_a_full_pipe_does_not_block_the_worker(ends: tuple[Pulse, Watch]) -> None:
    pulse, watch = ends
    began = time.monotonic()
    for _ in range(100_000):
        pulse.alive()
    assert time.monotonic() - began < 10
    watch.wait(0.1)
    assert not watch.stalled
