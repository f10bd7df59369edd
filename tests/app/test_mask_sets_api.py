"""POST /v1/mask-sets through a real server. Test ids begin with the row of the catalogue of hostile inputs."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest

from deploy.localstack import LocalStack
from tests.conftest import settings_of
from tests.models.zips import Forged, forge, packed
from tests.pictures import png, road_and_buildings
from worker.storage import Storage

IDS = road_and_buildings()
NAMES = iter(f"{number:06}" for number in range(10**6))


def fresh() -> dict[str, bytes]:
    """Three masks under names that no other test has used, so that the set is new."""
    word = next(NAMES)
    return {f"{word}/{name}.png": png(IDS) for name in ("a10", "a9", "b")}


def post(client: httpx.Client, data: bytes, **fields: str) -> httpx.Response:
    return client.post("/v1/mask-sets", files={"file": ("masks.zip", data)}, data=fields)


def test_a_set_is_new_once(client: httpx.Client) -> None:
    data = packed(fresh() | {".DS_Store": b"x", "folder/": b""})
    first, second = post(client, data), post(client, data)
    assert (first.status_code, second.status_code) == (201, 200)
    found = first.json()
    assert second.json() == found
    assert first.headers["location"] == second.headers["location"] == f"/v1/mask-sets/{found['id']}"
    assert (found["masks"], found["files"], found["width"], found["height"]) == (3, 3, 64, 64)
    assert (found["refused"], found["ignored"], found["warnings"]) == ([], [".DS_Store"], [])
    values, counts = np.unique(IDS, return_counts=True)
    table = {
        one["id"]: (one["name"], one["masks"], one["labelled_masks"], one["pixels"])
        for one in found["categories"]
    }
    names = {1: "bare land", 4: "road", 8: "building"}
    assert table == {int(v): (names[int(v)], 3, 3, 3 * int(n)) for v, n in zip(values, counts, strict=True)}
    later = client.get(first.headers["location"]).json()
    assert later == {name: value for name, value in found.items() if name not in {"refused", "ignored"}}


def test_form_fields(client: httpx.Client) -> None:
    name = next(NAMES)
    colours = np.zeros((160, 128, 3), np.uint8)
    colours[:80] = (10, 20, 30)
    data = packed({f"{name}.png": png(colours), "readme.txt": b"hello"})
    fields = {"label_map": '{"#0a141e": "road", "#000000": 8}', "tile_size": "128", "partial": "true"}
    found = post(client, data, encoding="color", **fields).json()
    assert (found["masks"], found["files"], found["width"], found["height"]) == (2, 1, 128, 128)
    assert {one["name"] for one in found["categories"]} == {"road", "building"}
    (line,) = found["refused"]
    assert (line["name"], line["code"]) == ("readme.txt", "unsupported_format")
    assert "text" in line["message"]


def test_z57_one_bad_mask(client: httpx.Client) -> None:
    """All or nothing is the default; the file is named, and the remedy."""
    data = packed(fresh() | {"zz/bad.png": png(np.full((64, 64), 90, np.uint8))})
    answer = post(client, data)
    assert (answer.status_code, answer.json()["code"]) == (422, "masks_refused")
    problem = answer.json()
    assert problem["detail"].startswith("1 of 4 files cannot be used; the first is zz/bad.png")
    assert "partial=true" in problem["detail"]
    assert [fault["pointer"] for fault in problem["errors"]] == ["/zz~1bad.png"]
    assert problem["errors"][0]["message"].startswith("unknown_label: Pixel (0, 0) is 90")
    assert post(client, data, partial="true").status_code == 201


def test_z58_bad_masks_by_the_hundred(client: httpx.Client) -> None:
    data = packed({f"{number}.png": b"text" for number in range(300)} | {"good.png": png(IDS)})
    problem = post(client, data).json()
    assert (problem["status"], len(problem["errors"])) == (422, 100)
    assert problem["detail"].startswith("300 of 301 files")


def test_z40_names_never_come_back_raw(client: httpx.Client) -> None:
    data = forge(Forged(b"a\r\n\x1b[31m.png", png(IDS)), Forged("b\u202e\u200b.png".encode(), b"text"))
    answer = post(client, data)
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {
        "/a\\u000d\\u000a\\u001b[31m.png",
        "/b\\u202e\\u200b.png",
    }
    assert not {"\r", "\x1b", "\u202e", "\u200b"} & set(answer.json()["detail"])


WHOLE = {
    "z06": (packed({}), 422, "empty_archive"),
    "z07": (b"", 422, "empty_file"),
    "z13": (forge(Forged(), Forged(b"b.png", offset=0)), 422, "overlapping_entries"),
    "z23": (packed({"a.png": png(IDS)})[:-30], 422, "damaged_file"),
    "z26": (b"#!/bin/sh\n" + packed({"a.png": png(IDS)}), 422, "leading_data"),
    "z27": (packed({"a.png": png(IDS)}) + b"more", 422, "trailing_data"),
    "z28": (forge(Forged(local_name=b"b.png")), 422, "damaged_file"),
    "z55": (packed({"manifest.json": b'{"masks": ["absent.png"]}'}), 422, "masks_refused"),
    "z62": (png(IDS), 415, "unsupported_format"),
}


@pytest.mark.parametrize("row", WHOLE)
def test_archives_that_are_refused(client: httpx.Client, row: str) -> None:
    data, status, code = WHOLE[row]
    answer = post(client, data)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert post(client, data, partial="true").json()["code"] == code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"tile_size": "100"}, "invalid_request"),
        ({"tile_size": "32"}, "out_of_range"),
        ({"tile_size": "x"}, "invalid_request"),
        ({"partial": "perhaps"}, "invalid_request"),
        ({"ontology": "mars"}, "unknown_ontology"),
        ({"label_map": "not json"}, "invalid_request"),
        ({"tenant": "b"}, "unknown_field"),
        ({"prefix": "imports/abc/"}, "mask_missing"),
    ],
)
def test_bad_fields(client: httpx.Client, fields: dict[str, str], code: str) -> None:
    answer = post(client, packed({"a.png": png(IDS)}), **fields)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([("partial", (None, "true"))], "mask_missing"),
        ([("file", (None, "text"))], "file_expected"),
        ([("masks", ("masks.zip", b"x"))], "unexpected_file"),
        ([("file", ("a.zip", b"x")), ("file", ("b.zip", b"x"))], "too_many_files"),
        ([("file", ("a.zip", b"x")), ("partial", (None, "1")), ("partial", (None, "0"))], "repeated_field"),
    ],
)
def test_bad_forms(
    client: httpx.Client, parts: list[tuple[str, tuple[str | None, bytes]]], code: str
) -> None:
    answer = client.post("/v1/mask-sets", files=parts)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


@pytest.fixture
def imports(service: LocalStack) -> Iterator[str]:
    """A prefix with two masks and a text."""
    storage = Storage(settings_of(service))
    prefix = f"imports/{next(NAMES)}/"
    for name, body in {"a.png": png(IDS), "deep/b.png": png(IDS), "notes.txt": b"hello"}.items():
        storage.create(f"local/{prefix}{name}", body, "application/octet-stream")
    yield prefix
    storage.delete(f"local/{prefix}")


def test_import_of_a_prefix(client: httpx.Client, imports: str) -> None:
    refused = client.post("/v1/mask-sets", json={"prefix": imports})
    assert (refused.status_code, refused.json()["code"]) == (422, "masks_refused")
    answer = client.post("/v1/mask-sets", json={"prefix": imports, "partial": True})
    assert answer.status_code in {200, 201}, answer.text
    assert (answer.json()["masks"], answer.json()["refused"][0]["name"]) == (2, "notes.txt")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "mask_missing"),
        ({"prefix": "imports/none/"}, 422, "empty_import"),
        ({"prefix": "masks/"}, 422, "invalid_request"),
        ({"prefix": "imports/../masks/"}, 422, "invalid_request"),
        ({"prefix": "imports/", "partial": "yes"}, 422, "invalid_request"),
        ({"file": "UEsFBg=="}, 422, "unknown_field"),
    ],
)
def test_bad_json(client: httpx.Client, body: dict[str, object], status: int, code: str) -> None:
    answer = client.post("/v1/mask-sets", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_other_bodies(client: httpx.Client) -> None:
    answer = client.post("/v1/mask-sets", content=b"PK", headers={"content-type": "application/zip"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    answer = client.post("/v1/mask-sets", content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")


def test_unknown_sets_are_not_found(client: httpx.Client) -> None:
    for set_id in (f"mset_{'0' * 64}", "nonsense", "mset_..%2f..%2fx"):
        answer = client.get(f"/v1/mask-sets/{set_id}")
        assert (answer.status_code, answer.json()["code"]) in {
            (404, "mask_set_not_found"),
            (404, "not_found"),  # a slash in the path: no such route
        }


def head(service: LocalStack, length: int) -> bytes:
    return (
        f"POST /v1/mask-sets HTTP/1.1\r\nHost: {urlsplit(service.api_url).netloc}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def connected(service: LocalStack) -> socket.socket:
    url = urlsplit(service.api_url)
    return socket.create_connection((url.hostname, url.port), timeout=20)


def test_z08_one_byte_more_than_the_limit(service: LocalStack) -> None:
    """512 MiB + 1 are refused by their declared length, before they are sent."""
    with connected(service) as wire:
        wire.sendall(head(service, (512 << 20) + 1))
        answer = b"".join(iter(lambda: wire.recv(65_536), b""))  # until it is closed
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"too_large"' in answer


def temporary_files(service: LocalStack) -> list[str]:
    """What the service's processes hold open in temporary folders, files without a name included."""
    found = []
    for process in psutil.Process().children(recursive=True):
        for link in Path(f"/proc/{process.pid}/fd").glob("*"):
            try:
                target = str(link.readlink())
            except OSError:  # closed, or its process ended, in between
                continue
            if target.startswith("/tmp/#"):  # noqa: S108  (how Linux shows a file without a name)
                found.append(target)
    return found


def test_z64_a_broken_upload_leaves_nothing(client: httpx.Client, service: LocalStack) -> None:
    before = temporary_files(service)
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="m.zip"\r\n\r\n'
    data = packed(fresh())
    with connected(service) as wire:
        wire.sendall(head(service, 8 << 20) + part + bytes(4 << 20))
        ends = time.monotonic() + 10
        while temporary_files(service) == before and time.monotonic() < ends:
            time.sleep(0.05)
        assert len(temporary_files(service)) == len(before) + 1  # it goes to disk, not to memory
    while temporary_files(service) != before and time.monotonic() < ends:
        time.sleep(0.05)
    assert temporary_files(service) == before
    assert post(client, data).status_code == 201


def test_the_id_names_the_content(client: httpx.Client, service: LocalStack) -> None:
    found = post(client, packed(fresh())).json()
    storage = Storage(settings_of(service))
    sha256 = found["id"].removeprefix("mset_")
    body = storage.read(f"local/mask-sets/{sha256}/entries-000000.jsonl")
    assert hashlib.sha256(body).hexdigest() == sha256


def test_a_zip_may_be_larger_than_other_bodies(client: httpx.Client) -> None:
    """40 MB of masks: over the limit of other bodies, which JSON to this path still has."""
    noise = np.random.default_rng(1).integers(0, 60, (1200, 1200)).astype(np.uint8)
    data = packed({f"{next(NAMES)}/{number}.png": png(np.roll(noise, number)) for number in range(36)})
    assert 33 << 20 < len(data) < 60 << 20
    answer = post(client, data)
    assert (answer.status_code, answer.json()["masks"]) == (201, 36)
    assert client.post("/v1/masks", files={"file": ("m.png", data)}).status_code == 413
    text = client.post("/v1/mask-sets", content=data, headers={"content-type": "application/json"})
    assert (text.status_code, text.json()["code"]) == (413, "too_large")
