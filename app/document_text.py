"""What the published contract says about itself."""

from __future__ import annotations

from collections.abc import Mapping

VERSION = "1.0.0"
CONTACT = {"name": "The operator of this service"}
LICENSE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}

DESCRIPTION = """\
Masks in, satellite pictures with exact labels out. Whatever takes longer is a **job**: the answer is 202 with the
job, `Location` and `Retry-After`; `Prefer: wait=30` (or `?wait=30`, at most 60 s) waits for its end. 202 means that
the job is stored: it ends as `succeeded`, `failed` or `canceled`, whatever dies meanwhile.

Every answer from 400 on is a problem document (RFC 9457) with a stable `code`. Any 4xx means that nothing was
started; 503 or a broken connection means unknown: ask again. HEAD is answered wherever GET is.

Where keys are asked for (a service on a loopback address may do without), send `Authorization: Bearer es_…`.

Times are RFC 3339 in UTC, sizes and durations carry their unit in the name. Lists are `items` and `next_cursor`,
which goes back as `cursor`. Answers may get new fields; requests with unknown fields are refused."""

TAGS: Mapping[str, str] = {
    "generations": "One mask, a few pictures, now.",
    "masks": "Semantic masks, alone or as sets, stored under the sha256 of their content.",
    "datasets": "Many masks: pictures, filtered, labelled, exported.",
    "trainings": "Training sets, and ControlNets trained on them with CF-Comp.",
    "models": "What pictures can be made with.",
    "jobs": "Whatever takes longer: state, events, results, cancellation.",
    "webhooks": "Who is told what happens to jobs, by Standard Webhooks 1.0.",
    "files": "What was made, under addresses that stay the same.",
    "usage": "What jobs have used.",
    "catalogue": "What masks may hold, and what this service takes and makes.",
    "workers": "Who does the work.",
    "health": "Whether the service is alive and ready, and how it does.",
    "ogc": "The same jobs as OGC API Processes, Part 1: Core 1.0.",
}

PARAMETERS: Mapping[str, str] = {
    "Prefer": "`wait=N`: wait so many seconds for the end, at most 60; `respond-async`: do not (RFC 7240)",
    "wait": "seconds to wait for the end; the header goes before it",
    "limit": "entries of the page",
    "cursor": "`next_cursor` of the page before",
}
"""What parameters mean that many operations share."""

ANSWERS: Mapping[int, str] = {
    200: "done",
    201: "made",
    202: "accepted: the job",
    204: "nothing more",
    307: "there",
}
"""What a good status means where the route says no more."""
