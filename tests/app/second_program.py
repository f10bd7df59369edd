"""A program of somebody who has only the OpenAPI document: it submits, polls and cancels with generated code alone.

Arguments: the service's URL, a mask file, then the modules of three operations: create a generation, get a
job, cancel it.
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
import time
import typing
from pathlib import Path

ENDED = {"succeeded", "failed", "canceled"}


def main(url: str, mask: Path, *modules: str) -> None:
    synth = importlib.import_module("synth")
    create, get_job, cancel_job = (importlib.import_module(name) for name in modules)
    # The first body that the operation takes is the JSON one.
    json_body, *_ = typing.get_args(typing.get_type_hints(create.sync)["body"])
    picture = base64.b64encode(mask.read_bytes()).decode()
    quick = {"mask": picture, "width": 64, "height": 64, "filter": {"policy": "off"}}

    with synth.Client(base_url=url, timeout=60, httpx_args={"trust_env": False}) as client:
        small = json_body.from_dict({**quick, "num_inference_steps": 2, "seed": 5})
        job = create.sync(client=client, body=small)
        while job.status not in ENDED:
            time.sleep(0.1)
            job = get_job.sync(job.id, client=client)

        large = json_body.from_dict({**quick, "num_inference_steps": 100, "num_images": 16})
        other = create.sync(client=client, body=large)
        canceled = cancel_job.sync(other.id, client=client)
        while canceled.status not in ENDED:
            time.sleep(0.1)
            canceled = get_job.sync(other.id, client=client)

        absent = get_job.sync_detailed("job_01m8nothing", client=client)
        refused = create.sync_detailed(
            client=client, body=json_body.from_dict({"mask": picture, "num_images": 99})
        )

    print(  # noqa: T201  (what the test reads)
        json.dumps(
            {
                "ended": [str(job.status), job.counts.accepted, job.request["seed"]],
                "canceled": str(canceled.status),
                "absent": [absent.status_code, absent.parsed.code],
                "refused": [refused.status_code, refused.parsed.errors[0].pointer],
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
