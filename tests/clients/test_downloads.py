"""Downloads over a storage that breaks off, runs out and lies."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

import earthsynth
from earthsynth import Export
from tests.clients.scripted import Answer, Script, hangs_up, says, scripted
from tests.clients.zips import a_zip
from tests.deploy.web import reply, serving

DATA = os.urandom(1000) + b"end"
SHA = hashlib.sha256(DATA).hexdigest()


def part(first: int, upto: int | None = None, data: bytes = DATA) -> Answer:
    """The bytes from `first` on, as a server that honours Range; it breaks off before `upto`."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        assert request.headers["Range"] == (f"bytes={first}-" if first else None)
        assert "Authorization" not in request.headers
        request.send_response(206 if first else 200)
        if first:
            request.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(data) - first))
        request.end_headers()
        request.wfile.write(data[first:upto])

    return answer


def fetch(folder: Path, *answers: Answer, data: bytes = DATA, **options: Any) -> tuple[Path, Script, Script]:
    """What `export.download` of these bytes does; the scripts of the storage and of the API."""
    storage = Script(answers)
    with serving(storage) as url:
        view = {
            "id": "job_e",
            "format": "coco",
            "status": "succeeded",
            "archive": {
                "url": f"{url}/x?sig=1",
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            },
        }
        with scripted(says(200, view), api_key="es_x") as (client, api):
            path = Export.in_dataset(client, "job_d", view).download(folder, **options)
    return path, storage, api


def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path, storage, _ = fetch(
        tmp_path,
        part(0, 400),
        hangs_up,
        part(400, 900),
        part(900),
        progress=lambda *place: seen.append(place),
    )
    assert path == tmp_path / "coco-job_e.zip"
    assert path.read_bytes() == DATA
    assert len(storage.asked) == 4
    assert seen[-1] == (len(DATA), len(DATA))
    assert list(tmp_path.iterdir()) == [path]


def test_a_later_call_goes_on_too_and_a_whole_file_is_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "coco-job_e.zip.part").write_bytes(DATA[:700])
    _, storage, _ = fetch(tmp_path, part(700))
    assert len(storage.asked) == 1
    _, storage, _ = fetch(tmp_path, says(500, {}))
    assert storage.asked == []


def test_what_was_kept_of_another_file_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "coco-job_e.zip.part").write_bytes(b"?" * 700)
    path, storage, _ = fetch(tmp_path, part(700), part(0))
    assert path.read_bytes() == DATA
    assert len(storage.asked) == 2
    (tmp_path / "coco-job_e.zip").unlink()
    (tmp_path / "coco-job_e.zip.part").write_bytes(b"?" * 2000)
    assert fetch(tmp_path, part(0))[0].read_bytes() == DATA


def test_a_url_that_has_run_out_is_renewed(tmp_path: Path) -> None:
    run_out = says(403, {})
    path, _, api = fetch(tmp_path, part(0, 400), run_out, part(400))
    assert path.read_bytes() == DATA
    assert len(api.asked) == 2
    assert api.asked[0].headers["authorization"] == "Bearer es_x"


def test_a_server_without_range_sends_it_all_again(tmp_path: Path) -> None:
    whole: Answer = lambda request: reply(request, 200, DATA)  # noqa: E731
    assert fetch(tmp_path, part(0, 10), whole)[0].read_bytes() == DATA


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda request: reply(request, 200, b"x" * len(DATA)), "sha256"),
        (lambda request: reply(request, 200, b"x"), "1 bytes and not"),
        (says(404, {}), "answers 404"),
        (says(403, {}), "answers 403"),
    ],
)
def test_other_bytes_are_refused_and_leave_nothing(tmp_path: Path, answer: Answer, word: str) -> None:
    with pytest.raises(earthsynth.DownloadError, match=word):
        fetch(tmp_path, answer)
    assert not (tmp_path / "coco-job_e.zip").exists()


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "coco-job_e.zip.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(earthsynth.DownloadError, match="another process"):
            fetch(tmp_path, part(0))


def test_an_archive_is_unpacked_beside_it(tmp_path: Path) -> None:
    data = a_zip(**{"annotations/a.json": b"{}", "images/": b""})
    path, _, _ = fetch(tmp_path, lambda request: reply(request, 200, data), data=data, extract=True)
    assert path == tmp_path / "coco-job_e"
    assert (path / "annotations" / "a.json").read_bytes() == b"{}"
    assert (path / "images").is_dir()


def test_pictures_are_checked(tmp_path: Path) -> None:
    storage = Script((hangs_up, lambda request: reply(request, 200, DATA)))
    with serving(storage) as url, scripted(says(200, {}), api_key="es_x") as (client, _):
        good = earthsynth.FileRef(url=f"{url}/a", sha256=SHA)
        assert client.files.read(good) == DATA
        with pytest.raises(earthsynth.DownloadError, match="sha256"):
            client.files.read(earthsynth.FileRef(url=f"{url}/a", sha256="0" * 64))
        assert client.files.save(good, tmp_path / "a.png").read_bytes() == DATA
    assert all("authorization" not in one.headers for one in storage.asked)


def test_a_key_is_redirected_to_its_file() -> None:
    storage = Script((lambda request: reply(request, 200, DATA),))
    with serving(storage) as url:
        moved: Answer = lambda request: reply(request, 307, b"", Location=f"{url}/x?sig=1")  # noqa: E731
        with scripted(moved) as (client, script):
            assert client.files.read("jobs/a b.png") == DATA
    assert script.asked[0].path == "/v1/files/jobs/a%20b.png"


def test_a_folder_is_packed(tmp_path: Path) -> None:
    for name in ("images/a.png", "masks/a.png", ".DS_Store", "__MACOSX/a.png", ".git/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    kept = says(201, {"id": "tset_1", "pairs": 1})
    with scripted(hangs_up, kept) as (client, script):
        assert client.training_sets.create(tmp_path, max_bad_share=0.5).id == "tset_1"
        with pytest.raises(earthsynth.RequestError, match="no such file"):
            client.training_sets.create(tmp_path / "absent")
    first, second = script.asked
    assert first.body == second.body
    begin = first.body.index(b"PK\x03\x04")
    end = first.body.rindex(b"\r\n--earthsynth-")
    with zipfile.ZipFile(io.BytesIO(first.body[begin:end])) as sent:
        assert sent.namelist() == ["images/a.png", "masks/a.png"]
