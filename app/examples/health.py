"""Examples: liveness and readiness."""

from __future__ import annotations

from collections.abc import Mapping

from app.examples.example import Example

EXAMPLES: Mapping[str, Example] = {
    "livez": Example({200: {"status": "ok"}}),
    "readyz": Example({200: {"status": "ready", "workers": 1}}, codes={503: ("not_ready",)}),
}
