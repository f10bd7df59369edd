"""Examples: liveness, readiness and metrics."""

from __future__ import annotations

from collections.abc import Mapping

from app.examples.example import Example

_METRICS = """\
# HELP earthsynth_queue_entries Entries that wait for a worker: a generation, a training, a shard of a data set.
# TYPE earthsynth_queue_entries gauge
earthsynth_queue_entries{queue="generation"} 3.0
earthsynth_queue_entries{queue="training"} 0.0
"""

EXAMPLES: Mapping[str, Example] = {
    "livez": Example({200: {"status": "ok"}}),
    "metrics": Example({200: _METRICS}),
    "readyz": Example({200: {"status": "ready", "workers": 1}}, codes={503: ("not_ready",)}),
}
