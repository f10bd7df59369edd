"""What an example of an operation is, and the values that stand for path parameters in all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JOB_ID = "job_01m858dxakrsr391cbf0qq9dpk"
DATASET_ID = "job_01m858h2v5ek3w9x4t7y6z8q1n"
EXPORT_ID = "job_01m858k7qhdv2m5c8r0s4j6w3b"
TRAINING_ID = "job_01m858p4zt6n9g3h5x7v1k2d8c"
_SHA256 = "8b71db6f1dab9d8a3eac466eddaff3e6e2670cde9784a1fbc1dc90cdbfb33d63"
MASK_FILE = (  # 16 x 16 pixels: bare land, a road, a building
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAKElEQVR42mNkZEAFLAzsDAwMPxECTGgKMAUYGQmpwBBgYaaBodQQAAARQAEojBSV"
    "sAAAAABJRU5ErkJggg=="
)
MASK_ID = f"msk_{_SHA256}"
MASK_SET_ID = "mset_9c1e5f0b7d3a4862c9e1f7a0b5d2384661f0c7e9a8b3d5421e6f7098c4b2a1d3"
TRAINING_SET_ID = "tset_4d7a90c2e8b1f6357a4c9d0e2b8f6153c7a1e9d4b0f28635e7c1a4d9b3f06285"
ENDPOINT_ID = "whk_s8jv0mad2r0tkc67syvjs5yg59"
DELIVERY_ID = "dlv_4n8c1v7b5m2k9q3w6e0r8t5y2x"

PATH: Mapping[str, str | int] = {
    "job_id": JOB_ID,
    "dataset_id": DATASET_ID,
    "export_id": EXPORT_ID,
    "training_id": TRAINING_ID,
    "mask_id": MASK_ID,
    "set_id": MASK_SET_ID,
    "name": "farmland",
    "step": 2,
    "endpoint_id": ENDPOINT_ID,
    "delivery_id": DELIVERY_ID,
    "process_id": "earthsynth",
    "key": f"masks/{_SHA256}.png",
}


Codes = dict[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Example:
    """One operation as it was used once.

    `answers`: the good ones by status: what the JSON holds, the text of another type, or None for no body. A status
    with both JSON and another type shows JSON. `bodies`: JSON requests by what they show, the plainest first.
    `form`: the same as multipart; a value that begins with @ is a file. `query` and `path`: what the request says
    there, where `PATH` does not say it. `codes`: of problems by status, where they are not those of
    `problems.USUAL`.
    """

    answers: Mapping[int, Any]
    bodies: Mapping[str, Any] = field(default_factory=dict)
    form: Mapping[str, Any] | None = None
    query: Mapping[str, Any] = field(default_factory=dict)
    path: Mapping[str, str | int] = field(default_factory=dict)
    codes: Codes = field(default_factory=dict)
