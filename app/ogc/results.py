"""The results of a job in the forms of the standard: a document, the outputs themselves, or links to them."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from app.dependencies import AppResources
from app.ogc.execution import ResponseForm, WantedResults
from app.ogc.links import base
from app.ogc.process import Output, Transmission
from app.openapi import success
from app.problems import answer
from app.schemas import SamplePage, job_problem, sample_view
from models.errors import NotFound
from worker.jobs import Job, JobStatus
from worker.layout import ogc_key
from worker.results import read_result, read_samples
from worker.samples import SampleRecord, SampleStatus
from worker.storage import Storage

KINDS = {Output.IMAGES: "image/png", Output.LABELS: "image/png", Output.SAMPLES: "application/json"}

_LINK: dict[str, Any] = {"Link": {}}
RESULT_ANSWERS = success(
    200,
    "the results, as they are asked for",
    content={"application/json": {"schema": {"type": "object"}}, "image/png": {}, "multipart/related": {}},
    headers=_LINK,
) | success(204, "the results are where the header Link says, or there is no picture", headers=_LINK)


@dataclass(frozen=True, slots=True)
class Part:
    """One value of an output: its bytes, or where they are."""

    name: str
    kind: str
    body: bytes | None
    href: str | None


def keep_wanted(storage: Storage, tenant: str, job_id: str, wanted: WantedResults) -> None:
    """Keeps with the job how its results are wanted, unless that is what is usual."""
    asked = WantedResults(outputs=wanted.outputs, response=wanted.response)
    if asked != WantedResults():
        storage.create(ogc_key(tenant, job_id), asked.model_dump_json().encode(), "application/json")


def read_wanted(storage: Storage, job: Job) -> WantedResults:
    """How the job's results are wanted."""
    try:
        return WantedResults.model_validate_json(storage.read(ogc_key(job.tenant, job.id)))
    except NotFound:
        return WantedResults()


def results(request: Request, found: AppResources, job: Job) -> Response:
    """The results as they were asked for when the job was executed. Blocks.

    A failed job's answer is its problem. Raises NotFound while there are no results, and when there will be none.
    """
    problem = job_problem(job)
    if problem is not None:
        return answer(problem)
    if job.status is JobStatus.CANCELED:
        raise NotFound("The job was dismissed: it has no results.", code="job_dismissed")
    result = read_result(found.intake.storage, job.tenant, job.id) if job.ended else None
    if result is None:
        raise NotFound(f"The job is {job.status}: it has no results yet.", code="result_not_ready")
    records = list(read_samples(found.intake.storage, result))
    wanted = read_wanted(found.intake.storage, job)
    outputs = {
        output: _parts(request, found.intake.storage, job, records, output, how)
        for output, how in wanted.transmissions.items()
    }
    if wanted.response is ResponseForm.DOCUMENT:
        return JSONResponse({output.value: _shown(output, parts) for output, parts in outputs.items()})
    return _raw([part for parts in outputs.values() for part in parts])


def _parts(
    request: Request,
    storage: Storage,
    job: Job,
    records: Sequence[SampleRecord],
    output: Output,
    how: Transmission,
) -> list[Part]:
    kind, by_value = KINDS[output], how is Transmission.VALUE
    if output is Output.SAMPLES:
        body = None if not by_value else _samples(storage, job, records)
        href = None if by_value else f"{base(request)}/v1/jobs/{job.id}/results?limit=200"
        return [Part(output, kind, body, href)]
    keys = [
        record.image.key if output is Output.IMAGES else record.label.key if record.label else record.mask_key
        for record in records
        if record.image is not None and record.status is SampleStatus.ACCEPTED
    ]
    return [
        Part(
            f"{output}.{number}",
            kind,
            storage.read(key) if by_value else None,
            None if by_value else storage.presign(key)[0],
        )
        for number, key in enumerate(keys)
    ]


def _samples(storage: Storage, job: Job, records: Sequence[SampleRecord]) -> bytes:
    page = SamplePage(items=[sample_view(record, job, storage) for record in records])
    return page.model_dump_json().encode()


def _shown(output: Output, parts: Sequence[Part]) -> Any:
    """The output in a results document: pictures are a list, whether there is one or more."""
    shown = [_qualified(part) for part in parts]
    return shown[0] if output is Output.SAMPLES else shown


def _qualified(part: Part) -> dict[str, Any]:
    if part.body is None:
        return {"href": part.href, "type": part.kind}
    if part.kind == "application/json":
        return {"value": json.loads(part.body), "mediaType": part.kind}
    return {
        "value": base64.b64encode(part.body).decode(),
        "mediaType": part.kind,
        "encoding": "base64",
    }


def _raw(parts: Sequence[Part]) -> Response:
    """One value as itself; several as multipart/related (RFC 2387); links alone, or nothing, without a body."""
    if all(part.body is None for part in parts):
        links = ", ".join(f'<{part.href}>; rel="{part.name}"; type="{part.kind}"' for part in parts)
        return Response(status_code=204, headers={"Link": links} if links else {})
    if len(parts) == 1:
        return Response(parts[0].body, media_type=parts[0].kind)
    boundary = uuid.uuid4().hex
    body = b"".join(_in_multipart(part, boundary) for part in parts) + f"--{boundary}--\r\n".encode()
    kind = f'multipart/related; boundary={boundary}; type="{parts[0].kind}"; start="<{parts[0].name}>"'
    return Response(body, headers={"Content-Type": kind})


def _in_multipart(part: Part, boundary: str) -> bytes:
    where = f"Content-Location: {part.href}\r\n" if part.body is None else ""
    head = f"--{boundary}\r\nContent-Type: {part.kind}\r\nContent-ID: <{part.name}>\r\n{where}\r\n"
    return head.encode() + (part.body or b"") + b"\r\n"
