"""The documents say what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from worker.jobs import now
from worker.webhook_sending import Message, signed_headers

ROOT = Path(__file__).parent.parent
FLOORS = ("models", "worker", "app", "deploy")


def test_every_error_code_is_documented_and_no_other() -> None:
    source = "\n".join(path.read_text() for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
    named = set(re.findall(r'\bcode="([a-z][a-z0-9_]+)"', source))
    named |= set(re.findall(r'default_code(?:: ClassVar\[str\])? = "([a-z_]+)"', source))
    named |= set(re.findall(r'problem\(\s*\d+,\s*"([a-z_]+)"', source))
    child = (ROOT / "models" / "tiff_child.py").read_text()
    named |= set(re.findall(r'Refused\(\s*"([a-z_]+)"', child))
    problems = (ROOT / "app" / "problems.py").read_text()
    named |= set(re.findall(r'\d{3}: "([a-z_]+)"', problems))
    named |= set(
        re.findall(r'"(unknown_field|missing_field|invalid_text|http_error|out_of_range)"', problems)
    )
    generations = (ROOT / "app" / "routes" / "generations.py").read_text()
    named |= set(re.findall(r'code = "([a-z_]+)" if \w+ else "[a-z_]+"', generations))
    named |= set(re.findall(r'code = "[a-z_]+" if \w+ else "([a-z_]+)"', generations))
    rows = [line for line in (ROOT / "docs" / "errors.md").read_text().splitlines() if line.startswith("| `")]
    documented = {code for row in rows for code in re.findall(r"`([a-z0-9_]+)`", row.split("|")[1])}
    assert named - documented == set()
    assert documented - named == set()


def test_the_documents_receiver_verifies_what_the_service_sends() -> None:
    """docs/webhooks.md's example, run as it stands."""
    secret = "whsec_" + "A" * 43 + "="
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "webhooks.md").read_text(), flags=re.S)
    room: dict[str, Any] = {}
    exec(code.replace("whsec_…", secret), room)  # noqa: S102  (our own document)
    message = Message("msg_1", '{"type":"job.succeeded","data":{"id":"job_1"}}', [secret])
    headers = signed_headers(message, now())
    with TestClient(room["app"]) as receiver:
        for _ in range(2):
            assert receiver.post("/earthsynth", content=message.body, headers=headers).status_code == 200
        assert receiver.post("/earthsynth", content="{}", headers=headers).status_code == 401
    assert room["seen"] == {"msg_1"}
