"""Who is let in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.main import create_app
from deploy.localstack import LocalStack
from tests.conftest import GuardedService
from tests.waiting import until
from worker.api_keys import Scope, create_key, revoke_key
from worker.settings import Settings

_OPEN = {"/livez", "/readyz"}


def cli(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *words],
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_route_says_who_may_call_it() -> None:
    document = create_app(Settings()).openapi()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) == (path not in _OPEN), path
            assert ({"401", "403"} <= operation["responses"].keys()) == (path not in _OPEN), path


def test_without_a_key_nobody_comes_in(guarded: GuardedService) -> None:
    key = guarded.keys["acme"]
    refused = [
        ({}, "missing_key"),
        ({"Authorization": ""}, "missing_key"),
        ({"Authorization": "Bearer"}, "missing_key"),
        ({"Authorization": f"Basic {key}"}, "missing_key"),
        ({"Authorization": f"Bearer  {key}"}, "invalid_key"),
        ({"Authorization": f"Bearer {key}x"}, "invalid_key"),
        ({"Cookie": f"key={key}"}, "missing_key"),
    ]
    with guarded.client() as client:
        for headers, code in refused:
            answer = client.get("/v1/jobs", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, code), headers
            assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert client.get("/v1/jobs", params={"key": key}).status_code == 401
        two = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {guarded.keys['zenith']}")]
        assert client.get("/v1/jobs", headers=two).status_code == 401
        assert client.get("/v1/jobs", headers={"Authorization": f"bearer {key}"}).status_code == 200
        assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
    log = (guarded.stack.data.path / "logs" / "api.log").read_text()
    assert key not in log


@pytest.mark.parametrize(
    ("scope", "answers"),
    [
        (Scope.READ, {"get": 200, "mask": 403, "training": 403}),
        (Scope.WRITE, {"get": 403, "mask": 422, "training": 403}),
        (Scope.TRAIN, {"get": 403, "mask": 403, "training": 422}),
        (Scope.ADMIN, {"get": 200, "mask": 422, "training": 422}),
    ],
)
def test_a_scope_allows_what_it_says(guarded: GuardedService, scope: Scope, answers: dict[str, int]) -> None:
    key, _ = create_key(guarded.storage, tenant="scopes", name="", scopes=[scope])
    with guarded.client(key=key) as client:
        found = {
            "get": client.get("/v1/jobs"),
            "mask": client.post("/v1/masks", json={}),
            "training": client.post("/v1/trainings", json={}),
        }
    assert {name: answer.status_code for name, answer in found.items()} == answers
    for answer in found.values():
        if answer.status_code == 403:
            assert answer.json()["code"] == "missing_scope"
            assert f"yours has {scope}" in answer.json()["detail"]
            assert "insufficient_scope" in answer.headers["www-authenticate"]


def test_a_revoked_key_is_out_within_5_seconds(guarded: GuardedService) -> None:
    key, record = create_key(guarded.storage, tenant="acme", name="", scopes=[Scope.READ])
    with guarded.client(key=key) as client:
        assert client.get("/v1/jobs").status_code == 200
        revoke_key(guarded.storage, record.id)
        until(lambda: client.get("/v1/jobs").status_code == 401, seconds=5)


def test_the_api_starts_beyond_loopback_only_with_a_key(servers: LocalStack) -> None:
    env = servers.environment | {
        "EARTHSYNTH_S3_BUCKET": "keyless",
        "EARTHSYNTH_HOST": "192.0.2.7",  # documentation's own: nothing listens there
        "EARTHSYNTH_LOG_FORMAT": "json",
    }
    refused = cli("serve", env=env)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: there is no API key, ")
    assert refused.stderr.count("\n") == 1
    assert cli("keys", "create", "--tenant", "acme", env=env).returncode == 0
    tried = cli("serve", env=env)
    assert "there is no API key" not in tried.stderr
    assert tried.returncode == 3  # uvicorn: the address is not this machine's


def test_keys_on_the_command_line(servers: LocalStack, tmp_path: Path) -> None:
    env = servers.environment | {"EARTHSYNTH_S3_BUCKET": "keys-cli"}
    made = cli(
        "keys",
        "create",
        "--tenant",
        "acme",
        "--name",
        "ci",
        "--scope",
        "train",
        "--expires-in",
        "90d",
        env=env,
    )
    key = made.stdout.strip()
    assert key.startswith("es_")
    assert key not in made.stderr
    (line,) = cli("keys", "list", "--json", env=env).stdout.splitlines()
    listed = json.loads(line)
    assert (listed["tenant"], listed["name"], listed["scopes"], listed["state"]) == (
        "acme",
        "ci",
        ["train"],
        "good",
    )
    assert key[30:] not in line
    assert cli("keys", "revoke", listed["id"], env=env).returncode == 0
    assert "revoked" in cli("keys", "list", env=env).stdout
    assert cli("keys", "list", "--tenant", "other", env=env).stdout == ""
    assert "lower-case" in cli("keys", "create", "--tenant", "A B", env=env).stderr
    assert cli("keys", "create", "--tenant", "a", "--expires-in", "soon", env=env).returncode == 2
    absent = cli("keys", "list", "--data", str(tmp_path), env=env)
    assert absent.returncode == 1
    assert absent.stderr.startswith("error: no stack's data in ")
    with_data = cli("keys", "list", "--data", str(servers.data.path), env={})
    assert with_data.returncode == 0, with_data.stderr
