"""The published document against the running service: `make contract`.

Schemathesis makes requests from the document, well-formed and not, alone and in sequences, and checks every answer
against it: no server error, no code, type, header or body that the document does not have, no malformed request let
in, no well-formed one refused for its form. CONTRACT_SECONDS (default 150) bounds it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.localstack import LocalStack
from tests.conftest import QUICK, settings_of
from tests.models.zips import packed
from tests.pictures import png, road_and_buildings
from tests.training_pairs import kept_pairs
from worker.api_keys import Scope, create_key
from worker.storage import Storage

SECONDS = int(os.environ.get("CONTRACT_SECONDS", "150"))
FEWEST = 2_000 if SECONDS >= 600 else 300  # cases; a busy machine makes seven a second
SEED = 20_261_126
MASK = png(road_and_buildings())


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A service without a worker, which accepts whatever is asked."""
    data, env = tmp_path_factory.mktemp("contract"), QUICK | {"EARTHSYNTH_MAX_QUEUE_DEPTH": "1000000"}
    with LocalStack(data, parts={"redis", "s3", "api"}, workers=0, env=env) as found:
        yield found


def made(client: httpx.Client) -> dict[str, str]:
    """One of each kind, by the name of the parameter or field that names it."""

    def id_of(answer: httpx.Response) -> str:
        assert answer.status_code in {201, 202}, answer.text
        return str(answer.json()["id"])

    mask = id_of(client.post("/v1/masks", files={"file": ("m.png", MASK)}))
    masks = id_of(client.post("/v1/mask-sets", files={"file": ("m.zip", packed({"a.png": MASK}))}))
    pairs = kept_pairs(client)
    ids = {"mask_id": mask, "mask_set_id": masks, "training_set_id": pairs, "name": "nano", "model": "nano"}
    ids["job_id"] = id_of(client.post("/v1/generations", json={"mask_id": mask}))
    dataset = {"masks": {"mask_set_id": masks}, "samples_per_mask": 1}
    ids["dataset_id"] = id_of(client.post("/v1/datasets", json=dataset))
    training = {"training_set_id": pairs, "name": "contract", "resolution": 64, "batch_size": 2}
    ids["training_id"] = id_of(client.post("/v1/trainings", json=training))
    assert client.post(f"/v1/jobs/{ids['job_id']}/cancel").status_code == 200
    return ids


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 240)
def test_the_document_is_what_the_service_does(stack: LocalStack, tmp_path: Path) -> None:
    key, _ = create_key(Storage(settings_of(stack)), tenant="contract", name="", scopes=[Scope.ADMIN])
    header = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=stack.api_url, trust_env=False, timeout=60, headers=header) as client:
        ids = made(client)
    report = tmp_path / "report.json"
    here = Path(__file__).parent
    command = [
        *(
            str(Path(sys.executable).with_name("schemathesis")),
            "--config-file",
            str(here / "schemathesis.toml"),
        ),
        *("run", f"{stack.api_url}/openapi.json", "--checks", "all", "--seed", str(SEED)),
        *("--header", f"Authorization: Bearer {key}"),
        *("--max-time", str(SECONDS), "--max-examples", "40", "--request-timeout", "60", "--no-color"),
        *("--continue-on-failure", "--no-shrink", "--report-json-path", str(report)),
    ]
    env = os.environ | {
        "CONTRACT_IDS": json.dumps(ids),
        "SCHEMATHESIS_HOOKS": "contract_hooks",
        "PYTHONPATH": str(here),
        "NO_PROXY": "127.0.0.1",
    }
    found = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    print(found.stdout)  # noqa: T201  (pytest shows it when the test fails)
    log = (stack.data.path / "logs" / "api.log").read_text()
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-2_000:] + log[-5_000:]
    cases = json.loads(report.read_text())["test_cases"]
    assert cases["generated"] >= FEWEST, cases
    assert "unexpected error" not in log
    assert "Traceback" not in log
