"""An example of every operation, one file a resource. A new route is one entry; tests name what is missing."""

from __future__ import annotations

from collections.abc import Mapping

from app.examples import capabilities, datasets, generations, health, jobs, masks, ogc, trainings, webhooks
from app.examples.example import Example

EXAMPLES: Mapping[str, Example] = {
    operation_id: example
    for module in (generations, masks, datasets, trainings, jobs, webhooks, capabilities, health, ogc)
    for operation_id, example in module.EXAMPLES.items()
}
