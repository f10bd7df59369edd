"""What `earthsynth train` asks a service for, and what people read while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from deploy.dataset_client import Service
from deploy.dataset_watch import follow
from deploy.exit_codes import wrong_usage
from deploy.training_set_request import keep_training_set, report_lines


def submit(
    service: Service, console: Console, data: str, body: Mapping[str, Any], reading: Mapping[str, Any]
) -> dict[str, Any]:
    """The accepted job. A folder or a zip is uploaded first, and read as `reading` says. Raises Unsuccessful."""
    if data.startswith("tset_"):
        set_id = data
    elif Path(data).exists():
        kept = keep_training_set(service, console, Path(data), reading)
        for line in report_lines(kept):
            _say(console, line)
        set_id = kept["id"]
    else:
        raise wrong_usage(f"--data {data}: there is no such file or folder, and it is no tset_…")
    job = service.post("/v1/trainings", {**body, "training_set_id": set_id})
    _say(console, f"training {job['id']} of {job['model']['name']}@{job['model']['version']}")
    for warning in job["warnings"]:
        _say(console, f"warning: {warning}")
    return job


def tell_training(service: Service, console: Console, job_id: str) -> str:
    """Follows the training to its end; returns "name@version". Raises Unsuccessful, as `follow` does."""
    job = follow(service, console, job_id)
    found = service.get(f"/v1/trainings/{job_id}")
    result = found["result"]
    if result["agreement"] is not None:
        _say(console, f"mask agreement of the last validation: {result['agreement']:.3f}")
    for sheet in found["validations"][-1:]:
        _say(console, f"its pictures: {sheet['sheet']['url']}")
    return f"{job['model']['name']}@{job['model']['version']}"


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
