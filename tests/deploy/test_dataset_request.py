"""What is sent: a folder as a zip, the options over the spec."""

from __future__ import annotations

import email
import io
import json
import zipfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deploy.dataset_client import Service
from deploy.dataset_request import dataset_body, mask_set_of
from deploy.exit_codes import Unsuccessful
from tests.deploy.web import reply, serving


@pytest.mark.parametrize("terminal", [False, True])
def test_a_folder_is_sent_as_a_zip_of_its_files(tmp_path: Path, terminal: bool) -> None:
    for name in ("b.png", "deep/a.npy", ".git/config", "__MACOSX/x.png", "deep/.DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name * 1000)
    (tmp_path / "link.png").symlink_to(tmp_path / "b.png")
    sent: dict[str, bytes] = {}

    def answer(request: BaseHTTPRequestHandler) -> None:
        kind = request.headers["Content-Type"].encode()
        form = email.message_from_bytes(b"Content-Type: " + kind + b"\r\n\r\n" + request.body)  # type: ignore[attr-defined]
        for part in form.get_payload():
            sent[str(part.get_param("name", header="content-disposition"))] = part.get_payload(decode=True)
        kept = {"id": "mset_1", "masks": 3, "files": 3, "refused": [], "ignored": [], "warnings": ["odd"]}
        reply(request, 201, json.dumps(kept).encode())

    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with serving(answer) as url, Service(url, lambda _: None) as service:
        reading = {"tile_size": 64, "partial": True, "label_map": '{"1": "road"}'}
        assert mask_set_of(service, console, str(tmp_path), reading) == "mset_1"
    with zipfile.ZipFile(io.BytesIO(sent.pop("file"))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["b.png", "deep/a.npy", "link.png"]
        assert archive.read("link.png") == b"b.png" * 1000
    assert sent == {"tile_size": b"64", "partial": b"true", "label_map": b'{"1": "road"}'}
    assert isinstance(console.file, io.StringIO)
    assert "warning: odd" in console.file.getvalue()
    assert ("━" in console.file.getvalue()) == terminal


def test_an_empty_folder_is_wrong_usage(tmp_path: Path) -> None:
    with (
        Service("http://127.0.0.1:9", lambda _: None) as service,
        pytest.raises(Unsuccessful, match="no file"),
    ):
        mask_set_of(service, Console(quiet=True), str(tmp_path), {})


@pytest.mark.parametrize(
    ("spec", "options", "body"),
    [
        (
            {"name": "a", "seed": 1},
            {"seed": 2, "samples_per_mask": 3},
            {"name": "a", "seed": 2, "samples_per_mask": 3},
        ),
        (
            {"samples_per_mask": 3, "filter": {"max_tries": 2, "policy": "off"}},
            {"filter": {"policy": "strict"}},
            {"samples_per_mask": 3, "filter": {"max_tries": 2, "policy": "strict"}},
        ),
        (
            {"samples_per_mask": 3},
            {"goal": {"accepted_per_category": {"road": 4}}},
            {"goal": {"accepted_per_category": {"road": 4}}},
        ),
        (
            {"goal": {"accepted_per_category": {"road": 4}}},
            {"samples_per_mask": 3},
            {"samples_per_mask": 3},
        ),
        (
            {"goal": {"accepted_per_category": {"road": 4}}},
            {"goal": {"max_tries": 9}},
            {"goal": {"accepted_per_category": {"road": 4}, "max_tries": 9}},
        ),
    ],
)
def test_options_win_over_the_spec(
    spec: dict[str, Any], options: dict[str, Any], body: dict[str, Any]
) -> None:
    before = json.dumps(spec)
    found = dataset_body(spec, options, masks_follow=True)
    del found["masks"]
    assert found == body
    assert json.dumps(spec) == before
