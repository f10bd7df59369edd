"""A client made from the published document by a generator of somebody else does the whole round."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.pictures import png, road_and_buildings

PROGRAM = Path(__file__).with_name("second_program.py")
# The generator knows JSON, text and octets; a PNG is octets.
CONFIG = {"content_type_overrides": {"image/png": "application/octet-stream"}}


GENERATOR = Path(sys.executable).with_name("openapi-python-client")


def module_of(document: dict[str, Any], method: str, path: str) -> str:
    """Where the generator puts an operation."""
    operation = document["paths"][path][method]
    return f"synth.api.{operation['tags'][0]}.{re.sub('_+', '_', operation['operationId'])}"


def test_a_generated_client_submits_polls_and_cancels(client: httpx.Client, tmp_path: Path) -> None:
    answer = client.get("/openapi.json")
    document = answer.json()
    (tmp_path / "openapi.json").write_bytes(answer.content)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "mask.png").write_bytes(png(road_and_buildings()))
    made = subprocess.run(
        [
            *(str(GENERATOR), "generate", "--path", "openapi.json", "--config", "config.json"),
            *("--meta", "none", "--output-path", "synth", "--fail-on-warning"),
        ],
        cwd=tmp_path,
        # it calls ruff by its name
        env=os.environ | {"PATH": f"{GENERATOR.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (made.returncode, "arning" in made.stdout) == (0, False), made.stdout + made.stderr

    modules = [
        module_of(document, "post", "/v1/generations"),
        module_of(document, "get", "/v1/jobs/{job_id}"),
        module_of(document, "post", "/v1/jobs/{job_id}/cancel"),
    ]
    done = subprocess.run(
        [sys.executable, PROGRAM, str(client.base_url), tmp_path / "mask.png", *modules],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "ended": ["succeeded", 1, 5],
        "canceled": "canceled",
        "absent": [404, "job_not_found"],
        "refused": [422, "/num_images"],
    }
