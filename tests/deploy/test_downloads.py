"""Downloads against a server that breaks off, forgets, lies and forbids."""

from __future__ import annotations

import fcntl
import hashlib
import random
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from rich.console import Console

from deploy.downloads import RemoteFile, download
from deploy.exit_codes import ExitCode, Unsuccessful
from tests.deploy.web import reply, serving

BODY = random.Random(3).randbytes(900_001)  # noqa: S311  (any bytes)
SHA256 = hashlib.sha256(BODY).hexdigest()
QUIET = Console(stderr=True, quiet=True)


class Storage:
    """Serves BODY; breaks off the first `breaks` answers at half of what they should send."""

    def __init__(self, body: bytes = BODY, *, breaks: int = 0, ranges: bool = True) -> None:
        self.body, self.breaks, self.ranges = body, breaks, ranges
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        if request.path == "/run-out":
            reply(request, 403, b"<Error><Code>AccessDenied</Code></Error>")
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        part = self.body[start:]
        headers = {"Content_Length": str(len(part))}
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        if self.breaks:
            self.breaks -= 1
            part = part[: len(part) // 2]
        reply(request, 206 if start else 200, part, **headers)


def names(url: str, path: str = "/a.zip", sha256: str = SHA256) -> Callable[[], RemoteFile]:
    return lambda: RemoteFile(url=url + path, bytes=len(BODY), sha256=sha256)


def test_a_broken_download_goes_on_where_it_broke(tmp_path: Path) -> None:
    storage, path = Storage(breaks=2), tmp_path / "new" / "a.zip"
    with serving(storage) as url:
        assert download(names(url), path, QUIET)
        assert path.read_bytes() == BODY
        half = len(BODY) // 2
        three_quarters = half + (len(BODY) - half) // 2
        assert [wanted for _, wanted in storage.asked] == [
            None,
            f"bytes={half}-",
            f"bytes={three_quarters}-",
        ]
        assert [found.name for found in path.parent.iterdir()] == ["a.zip"]
        assert not download(names(url), path, QUIET)
    assert len(storage.asked) == 3, "what is complete is not fetched again"


def test_a_later_call_goes_on_with_the_part_of_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(BODY[:700_000])
    storage = Storage()
    with serving(storage) as url:
        assert download(names(url), tmp_path / "a.zip", QUIET)
    assert storage.asked == [("/a.zip", "bytes=700000-")]
    assert (tmp_path / "a.zip").read_bytes() == BODY


@pytest.mark.parametrize("kept", [b"x" * 700_000, b"x" * len(BODY), b"x" * (len(BODY) + 1)])
def test_what_was_kept_of_another_file_is_thrown_away(tmp_path: Path, kept: bytes) -> None:
    (tmp_path / "a.zip.part").write_bytes(kept)
    with serving(Storage()) as url:
        assert download(names(url), tmp_path / "a.zip", QUIET)
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_damaged_copy_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"x" * len(BODY))
    with serving(Storage()) as url:
        assert download(names(url), tmp_path / "a.zip", QUIET)
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_server_without_ranges_sends_it_all_again(tmp_path: Path) -> None:
    storage = Storage(breaks=1, ranges=False)
    with serving(storage) as url:
        assert download(names(url), tmp_path / "a.zip", QUIET)
    assert len(storage.asked) == 2
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_url_that_ran_out_is_asked_for_again(tmp_path: Path) -> None:
    storage = Storage(breaks=1)
    paths = iter(["/first", "/fresh"])

    def find() -> RemoteFile:
        return names(url, next(paths))()

    def once(request: BaseHTTPRequestHandler) -> None:
        if request.path == "/first" and storage.asked:
            request.path = "/run-out"
        storage(request)

    with serving(once) as url:
        assert download(find, tmp_path / "a.zip", QUIET)
    rest = f"bytes={len(BODY) // 2}-"
    assert storage.asked == [("/first", None), ("/run-out", rest), ("/fresh", rest)]
    assert (tmp_path / "a.zip").read_bytes() == BODY


@pytest.mark.parametrize(
    ("storage", "path", "sha256", "said"),
    [
        (Storage(), "/a.zip", "0" * 64, "sha256"),
        (Storage(BODY + b"!"), "/a.zip", SHA256, "900002 bytes and not 900001"),
        (Storage(), "/run-out", SHA256, "the storage answers 403"),
    ],
)
def test_wrong_bytes_are_refused(tmp_path: Path, storage: Storage, path: str, sha256: str, said: str) -> None:
    with serving(storage) as url, pytest.raises(Unsuccessful, match=said) as refused:
        download(names(url, path, sha256), tmp_path / "a.zip", QUIET)
    assert refused.value.exit_code is ExitCode.REFUSED
    assert not (tmp_path / "a.zip").exists()


def test_a_part_of_a_changed_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(BODY[:10])
    with serving(Storage(BODY + b"!")) as url, pytest.raises(Unsuccessful, match="has changed"):
        download(names(url), tmp_path / "a.zip", QUIET)


def test_a_storage_that_stays_away_is_unreachable_and_the_part_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(BODY[:10])

    def hang_up(_: BaseHTTPRequestHandler) -> None:
        """No answer."""

    with serving(hang_up) as url, pytest.raises(Unsuccessful) as refused:
        download(names(url), tmp_path / "a.zip", QUIET, patience_seconds=0.5)
    assert refused.value.exit_code is ExitCode.UNREACHABLE
    assert (tmp_path / "a.zip.part").read_bytes() == BODY[:10]


def test_two_processes_do_not_write_one_part(tmp_path: Path) -> None:
    storage = Storage()
    with (tmp_path / "a.zip.part").open("ab") as held, serving(storage) as url:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Unsuccessful, match=r"another process is downloading a\.zip"):
            download(names(url), tmp_path / "a.zip", QUIET)
    assert storage.asked == []
