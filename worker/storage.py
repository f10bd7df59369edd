"""Objects in any S3 store: immutable keys, conditional creation, presigned reads."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from models.errors import Conflict, NotFound, TooLarge, Unavailable
from worker.layout import PROBE_KEY
from worker.object_client import ObjectClient, is_plain
from worker.object_stream import ObjectStream
from worker.settings import Settings

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_ABSENT = {"404", "NoSuchKey", "NotFound", "NoSuchBucket"}
_EXISTS = {"412", "PreconditionFailed", "ConditionalRequestConflict", "409"}
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """`etag` is the store's own name of these bytes; equal ones under one key mean the same object."""

    bytes: int
    etag: str


class Storage:
    """A bucket. Keys are written once and never again; sha256 sums live in our own records, not in S3 metadata."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.bucket = settings.s3_bucket
        self._presign_seconds = settings.presign_seconds
        self._objects = ObjectClient(settings)
        self._client = _client(settings, settings.s3_endpoint)
        public = settings.s3_public_endpoint
        self._presigner = self._client if public is None else _client(settings, public)

    def __reduce__(self) -> tuple[type[Storage], tuple[Settings]]:
        """Pickled, it travels as its settings: each process has connections of its own."""
        return Storage, (self._settings,)

    def prepare(self) -> None:
        """Creates the bucket if absent, and checks that the store honours If-None-Match.

        Raises Unavailable with code `storage_not_conditional` for a store that does not: the first result of a
        job could then be overwritten by a second one.
        """
        with _translated():
            try:
                self._client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if _code(error) not in _ABSENT:
                    raise
                self._create_bucket()
            self.create(PROBE_KEY, b"probe", "text/plain")
            if self.create(PROBE_KEY, b"probe", "text/plain"):
                raise Unavailable(
                    "The S3 store ignores If-None-Match on PUT. Use one that honours it "
                    "(AWS S3, SeaweedFS, MinIO, Ceph).",
                    code="storage_not_conditional",
                )

    def ping(self) -> None:
        """Raises Unavailable when the bucket cannot be reached."""
        with _translated():
            self._client.head_bucket(Bucket=self.bucket)

    def create(self, key: str, body: bytes, content_type: str) -> bool:
        """Writes a new object; False when the key exists already (it is then left as it is)."""
        if is_plain(key):
            return self._objects.create(key, body, content_type)
        with _translated():
            try:
                self._client.put_object(
                    Bucket=self.bucket, Key=key, Body=body, ContentType=content_type, IfNoneMatch="*"
                )
            except ClientError as error:
                if _code(error) in _EXISTS:
                    return False
                raise
            return True

    def renew(self, key: str, body: bytes, content_type: str) -> None:
        """Writes an object whose name is its content's, so that it counts as new whether or not it was there."""
        with _translated():
            self._client.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)

    def upload(
        self, key: str, path: Path, content_type: str, *, pulse: Callable[[], None] = lambda: None
    ) -> None:
        """Writes a new object from a file, in parts where it is large; the key must be this attempt's own.

        Or its content's: then all who write it write the same. `pulse` is called as bytes go, from several threads.
        """
        with _translated():
            self._client.upload_file(
                str(path),
                self.bucket,
                key,
                ExtraArgs={"ContentType": content_type},
                Callback=lambda _: pulse(),
            )

    def read(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """The object's bytes; raises NotFound, or TooLarge before it reads more than `max_bytes`."""
        if is_plain(key):
            return self._objects.read(key, max_bytes)
        with _translated():
            try:
                found = self._client.get_object(Bucket=self.bucket, Key=key)
                if max_bytes is not None and found["ContentLength"] > max_bytes:
                    found["Body"].close()
                    raise TooLarge(f"The object has {found['ContentLength']} bytes of at most {max_bytes}.")
                body: bytes = found["Body"].read()
            except ClientError as error:
                if _code(error) in _ABSENT:
                    raise NotFound(f"There is no object {key}.") from error
                raise
            return body

    def read_verified(self, key: str, sha256: str) -> bytes:
        """The object's bytes, which must have that sha256; raises Unavailable when they do not."""
        body = self.read(key)
        found = hashlib.sha256(body).hexdigest()
        if found != sha256:
            raise Unavailable(
                f"Object {key} has sha256 {found}, not {sha256} as recorded.", code="object_damaged"
            )
        return body

    def stat(self, key: str) -> ObjectFacts:
        """The object's size and what tells it from another under its key; raises NotFound."""
        if is_plain(key):
            return ObjectFacts(*self._objects.stat(key))
        with _translated():
            try:
                found = self._client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if _code(error) in _ABSENT:
                    raise NotFound(f"There is no object {key}.") from error
                raise
            return ObjectFacts(found["ContentLength"], found["ETag"])

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        """The object as a file that is read once, never all of it in memory; see `ObjectStream`.

        Raises NotFound; Conflict with code `object_changed` for another object than that of `etag`, here or later.
        """
        facts = self.stat(key)
        if etag is not None and facts.etag != etag:
            raise _changed(key)
        stream = ObjectStream(lambda start: self._pieces_from(key, facts.etag, start), facts.bytes)
        return io.BufferedReader(stream, _PIECE_BYTES)

    def _pieces_from(self, key: str, etag: str, start: int) -> Generator[bytes, None, None]:
        with _translated():
            try:
                found = self._client.get_object(
                    Bucket=self.bucket, Key=key, Range=f"bytes={start}-", IfMatch=etag
                )
            except ClientError as error:
                if _code(error) in _ABSENT | _EXISTS:
                    raise _changed(key) from error
                raise
            with contextlib.closing(found["Body"]) as body:
                if found["ETag"] != etag:  # a store that knows no If-Match
                    raise _changed(key)
                yield from body.iter_chunks(_PIECE_BYTES)

    def exists(self, key: str) -> bool:
        try:
            self.stat(key)
        except NotFound:
            return False
        return True

    def keys(self, prefix: str, *, start_after: str = "") -> Iterator[str]:
        """Every key under the prefix in order, page by page."""
        for key, _ in self.listed(prefix, start_after=start_after):
            yield key

    def listed(self, prefix: str, *, start_after: str = "") -> Iterator[tuple[str, datetime]]:
        """Every key under the prefix in order, and when it was written."""
        with _translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, StartAfter=start_after
            )
            for page in pages:
                for item in page.get("Contents", []):
                    yield item["Key"], item["LastModified"]

    def folders(self, prefix: str, *, start_after: str = "") -> Iterator[str]:
        """The names directly under the prefix (which ends in "/" or is empty), without the slash."""
        with _translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, Delimiter="/", StartAfter=start_after
            )
            for page in pages:
                for item in page.get("CommonPrefixes", []):
                    yield item["Prefix"][len(prefix) :].rstrip("/")

    def delete(self, prefix: str) -> int:
        """Deletes every object under the prefix; returns how many."""
        return self.delete_keys(list(self.keys(prefix)))

    def delete_keys(self, doomed: Sequence[str]) -> int:
        """Deletes these objects; returns how many."""
        with _translated():
            for first in range(0, len(doomed), 1000):
                batch: Any = [{"Key": key} for key in doomed[first : first + 1000]]
                self._client.delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})
        return len(doomed)

    def presign(self, key: str) -> tuple[str, datetime]:
        """A URL that reads the object without credentials, and when it ends."""
        url = self._presigner.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=self._presign_seconds
        )
        ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=self._presign_seconds)
        return url, ends

    def presigned_origin(self) -> str:
        """Scheme and host of presigned URLs; the bucket may be part of it. Raises Unavailable without credentials."""
        with _translated():
            url = urlsplit(self.presign(PROBE_KEY)[0])
        return f"{url.scheme}://{url.netloc}"

    def _create_bucket(self) -> None:
        try:
            self._client.create_bucket(Bucket=self.bucket)
        except ClientError as error:  # another process was first
            if _code(error) not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise


def _client(settings: Settings, endpoint: str | None) -> S3Client:
    access, secret = settings.s3_access_key, settings.s3_secret_key
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=access.get_secret_value() if access else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            s3={"addressing_style": "path" if endpoint else "auto"},
            signature_version="s3v4",
            # "when_supported" breaks range reads on several S3 servers; our own sha256 sums are checked instead
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"mode": "standard", "total_max_attempts": 3},
            connect_timeout=2,
            read_timeout=10,
            max_pool_connections=32,
        ),
    )


def _changed(key: str) -> Conflict:
    return Conflict(f"Object {key} is no longer the one that was looked at.", code="object_changed")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


class _translated:  # noqa: N801  (reads as a clause: "with _translated()")
    """Turns what boto3 raises into Unavailable, so that no caller needs to know boto3."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ClientError | BotoCoreError | Boto3Error):
            reason = _code(error) if isinstance(error, ClientError) else type(error).__name__
            raise Unavailable(
                f"The object storage did not answer as it should ({reason}). Try again.",
                code="storage_unavailable",
            ) from error
