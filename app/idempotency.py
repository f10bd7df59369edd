"""Idempotency-Key: a POST that is sent again does what it did, once."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, BinaryIO, TypeVar

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from app.auth import Caller, KnownCaller
from app.dependencies import AppResources, resources_of
from app.problems import status_of
from models.errors import EarthSynthError, InProgress, Malformed, NotFound, Unavailable
from worker.idempotency import (
    LOCK_SECONDS,
    KeptAnswer,
    Lock,
    Repeatable,
    begin,
    forget,
    keep_answer,
    kept_answer,
)
from worker.jobs import Job, new_job_id

_Answer = TypeVar("_Answer", bound=BaseModel | Response)
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_REPLAYED = "Idempotent-Replayed"
_KEPT_HEADERS = ("location", "retry-after", "preference-applied")


@dataclass(frozen=True, slots=True)
class Once:
    """This request, and the key with which it may be sent again; without one it is simply done."""

    request: Request
    response: Response
    found: AppResources
    caller: Caller
    key: str | None

    async def job(
        self, asked: BaseModel | None, accept: Callable[[str], Job], *, file: bytes | BinaryIO | None = None
    ) -> Job:
        """The job that `accept` makes of the id it is given, or the one that this key has made already.

        `asked` and `file` are what must be equal for the request to be the same. `accept` blocks.
        """
        if self.key is None:
            return await run_in_threadpool(accept, new_job_id())
        repeatable = await self._begin(asked, file)
        job = await run_in_threadpool(self._find, repeatable) if repeatable.known else None
        if job is None:
            async with self._working_on(repeatable):
                job = await run_in_threadpool(self._find, repeatable) if repeatable.known else None
                if job is None:
                    return await run_in_threadpool(accept, repeatable.begun.job_id)
        self.response.headers[_REPLAYED] = "true"
        return job

    async def answer(
        self, asked: BaseModel | None, make: Callable[[], _Answer], *, file: bytes | BinaryIO | None = None
    ) -> _Answer | Response:
        """What `make` answers, or what this key was answered before, byte for byte. `make` blocks."""
        return await self.answer_of(asked, lambda: run_in_threadpool(make), file=file)

    async def answer_of(
        self,
        asked: BaseModel | None,
        make: Callable[[], Awaitable[_Answer]],
        *,
        file: bytes | BinaryIO | None = None,
    ) -> _Answer | Response:
        """The same, where `make` is awaited."""
        if self.key is None:
            return await make()
        repeatable = await self._begin(asked, file)
        storage = self.found.intake.storage
        kept = await run_in_threadpool(kept_answer, storage, repeatable) if repeatable.known else None
        if kept is None:
            async with self._working_on(repeatable):
                kept = await run_in_threadpool(kept_answer, storage, repeatable) if repeatable.known else None
                if kept is None:
                    made = self._as_sent(await make())
                    await run_in_threadpool(keep_answer, storage, repeatable, made)
                    return _sent(made)
        return _sent(kept, replayed=True)

    async def _begin(self, asked: BaseModel | None, file: bytes | BinaryIO | None) -> Repeatable:
        fingerprint = await run_in_threadpool(self._fingerprint, asked, file)
        storage, caller = self.found.intake.storage, self.caller
        return await run_in_threadpool(
            begin, storage, caller.tenant, caller.key_id, self.key or "", fingerprint
        )

    def _fingerprint(self, asked: BaseModel | None, file: bytes | BinaryIO | None) -> str:
        """Of what is asked, however it is written: order of keys, spaces and boundaries of forms do not count."""
        digest = hashlib.sha256(f"{self.request.method} {self.request.url.path}\n".encode())
        digest.update(b"" if asked is None else asked.model_dump_json().encode())
        if isinstance(file, bytes):
            digest.update(hashlib.sha256(file).digest())
        elif file is not None:
            digest.update(hashlib.file_digest(file, "sha256").digest())  # type: ignore[arg-type]  # wants readinto
            file.seek(0)
        return digest.hexdigest()

    def _find(self, repeatable: Repeatable) -> Job | None:
        try:
            return self.found.intake.find(self.caller.tenant, repeatable.begun.job_id)
        except NotFound:
            return None

    @asynccontextmanager
    async def _working_on(self, repeatable: Repeatable) -> AsyncIterator[None]:
        """Inside, no other request works on the key. A refusal frees the key, since it has started nothing."""
        storage = self.found.intake.storage
        lock = await run_in_threadpool(Lock, self.found.intake.store.redis, storage, repeatable)
        renewing = asyncio.create_task(_renew(lock))
        try:
            yield
        except EarthSynthError as error:
            if status_of(error) < 500 and not isinstance(error, InProgress):
                await run_in_threadpool(forget, storage, repeatable)
            raise
        finally:
            renewing.cancel()
            with suppress(Unavailable):  # then it runs out by itself
                await run_in_threadpool(lock.release)

    def _as_sent(self, made: BaseModel | Response) -> KeptAnswer:
        headers = {
            name: self.response.headers[name] for name in _KEPT_HEADERS if name in self.response.headers
        }
        if isinstance(made, Response):
            body, status, kind = bytes(made.body), made.status_code, made.media_type or "application/json"
        else:
            body, kind = made.model_dump_json().encode(), "application/json"
            status = self.response.status_code or self.request.scope["route"].status_code or 200
        return KeptAnswer.model_construct(status=status, headers=headers, media_type=kind, body=body)


async def _renew(lock: Lock) -> None:
    while True:
        await asyncio.sleep(LOCK_SECONDS / 3)
        try:
            await run_in_threadpool(lock.renew)
        except Unavailable:
            continue


def _sent(kept: KeptAnswer, *, replayed: bool = False) -> Response:
    headers = dict(kept.headers) | ({_REPLAYED: "true"} if replayed else {})
    return Response(kept.body, kept.status, headers, kept.media_type)


async def once(
    request: Request,
    response: Response,
    caller: KnownCaller,
    _: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="1 to 255 visible ASCII characters of your own, kept 24 h for your API key: the same key and "
            "request make one job, however often they are sent",
            json_schema_extra={"pattern": f"^{_KEY.pattern}$"},
        ),
    ] = None,
) -> Once:
    """Raises Malformed for a key that is none, and for two of them."""
    given, found = request.headers.getlist("idempotency-key"), resources_of(request)
    if not given:
        return Once(request, response, found, caller, None)
    key = given[0]
    if len(key) > 1 and key[0] == key[-1] == '"':  # the IETF's draft writes it as a quoted string
        key = key[1:-1]
    if len(given) > 1 or not _KEY.fullmatch(key):
        raise Malformed(
            "Send one Idempotency-Key of 1 to 255 visible ASCII characters.", code="invalid_idempotency_key"
        )
    return Once(request, response, found, caller, key)


Repeats = Annotated[Once, Depends(once)]
