"""The samples of a tar file in WebDataset's convention, read once from beginning to end.

Members whose names are equal up to the first point of the last part are one sample: `7.png`, `7.mask.png`. The
WebDataset library groups them alike; it is not used because it imports torch, and takes members of any size.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Self

from models.archives.names import shown_name
from models.errors import InvalidInput

MAX_SAMPLE_BYTES = 64 << 20  # of the members that are wanted, together
_NAME = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)
_META = re.compile(r"__[^/]*__(?:$|/)")  # names that the convention keeps for itself
_MAX_HEADER_BYTES = 1 << 20  # of a long name or a list of attributes, which tarfile reads into memory whole
_HEADERS = frozenset(
    {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
    | {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
)
_DAMAGES = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    ValueError,
    RecursionError,
)  # of numbers, chains of headers


@dataclass(slots=True)
class TarSample:
    """`members` by suffix in lower case, those that are wanted; none of them where they are `too_large` together."""

    key: str
    members: dict[str, bytes] = field(default_factory=dict)
    total_bytes: int = 0

    @property
    def too_large(self) -> bool:
        return self.total_bytes > MAX_SAMPLE_BYTES


def read_tar(stream: BinaryIO, name: str, wanted: Collection[str]) -> Iterator[TarSample]:
    """Yield the samples of a tar file called `name`: a plain one where that ends in ".tar", else compressed or plain.

    `wanted` are the suffixes to read; other members are passed over. The stream is never sought.

    Raises:
        InvalidInput: damaged_file: no tar, or it ends early; duplicate_name: two members of one name in a sample.
    """
    is_plain = name.lower().endswith(
        ".tar"
    )  # what is compressed may unpack to any size: its name must say it
    try:
        with tarfile.open(fileobj=stream, mode="r|" if is_plain else "r|*", tarinfo=_Member) as tar:
            yield from _samples(tar, wanted)
    except _DAMAGES as error:
        raise InvalidInput(
            f"The shard {shown_name(name)} is no tar file or ends early; send it again.", code="damaged_file"
        ) from error


def _samples(tar: tarfile.TarFile, wanted: Collection[str]) -> Iterator[TarSample]:
    sample: TarSample | None = None
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # it would keep a record of each
        named = _NAME.fullmatch(member.name)
        if named is None or not member.isreg() or _META.match(member.name):
            continue
        key, suffix = named[1], named[2].lower()
        if sample is None or key != sample.key:
            if sample is not None:
                yield sample
            sample = TarSample(key)
        if suffix not in wanted:
            continue
        if suffix in sample.members:
            raise InvalidInput(
                f"A shard holds {shown_name(member.name)} twice; pack it again.", code="duplicate_name"
            )
        sample.total_bytes += member.size
        if sample.too_large:
            sample.members.clear()
            continue
        content = tar.extractfile(member)
        sample.members[suffix] = b"" if content is None else content.read()
    if sample is not None:
        yield sample


class _Member(tarfile.TarInfo):
    """A member whose own headers are of a size that can be meant."""

    def _proc_member(self, tar: tarfile.TarFile) -> Self:
        if self.type == tarfile.GNUTYPE_SPARSE or (self.type in _HEADERS and self.size > _MAX_HEADER_BYTES):
            raise tarfile.ReadError("a header that no shard needs")
        found: Self = super()._proc_member(tar)  # type: ignore[misc]
        return found
