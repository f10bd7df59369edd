"""The documents say what the code says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from deploy.api_reference import reference
from tests.conformance import document
from worker.jobs import now
from worker.webhook_sending import Message, signed_headers

ROOT = Path(__file__).parent.parent
NAMES = {"code", "default_code", "_HTTP_CODES", "_FIELD_CODES"}
FLOORS = ("models", "worker", "app", "deploy")


def codes_in(tree: ast.AST) -> Iterator[str]:
    """The codes that a module names: `code=`, `code = `, `default_code = `, and problem(status, code)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "code":
            yield from texts(node.value)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id in NAMES for target in targets):
                yield from texts(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "problem" and len(node.args) > 1:
                yield from texts(node.args[1])
            elif node.func.id == "Refused":
                yield from texts(node.args[0])


def texts(node: ast.AST) -> Iterator[str]:
    """The constant texts of an expression: both branches of a condition, a table's values, the default of `get`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from texts(value)
    elif isinstance(node, ast.BinOp):
        yield from texts(node.left)
        yield from texts(node.right)
    elif (
        isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith((".get", "dict.fromkeys"))
        and node.args[1:]
    ):
        yield from texts(node.args[1])


def documented() -> set[str]:
    rows = [line for line in (ROOT / "docs" / "errors.md").read_text().splitlines() if line.startswith("| `")]
    return {code for row in rows for code in re.findall(r"`([a-z0-9_]+)`", row.split("|")[1])}


def test_every_error_code_is_documented_and_no_other() -> None:
    paths = [path for floor in FLOORS for path in (ROOT / floor).rglob("*.py")]
    named = {code for path in paths for code in codes_in(ast.parse(path.read_text()))}
    named = {code for code in named if re.fullmatch(r"[a-z][a-z0-9_]+", code)}
    assert named - documented() == set(), "each wants a row in docs/errors.md"
    assert documented() - named == set(), "nothing answers with these"


def test_the_http_reference_is_that_of_this_code() -> None:
    assert (ROOT / "docs" / "api.md").read_text() == reference(document()), "run: make docs"


def test_links_within_the_http_reference_lead_somewhere() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    headings = {line.lstrip("#").strip().lower() for line in text.splitlines() if line.startswith("#")}
    assert set(re.findall(r"\]\(#([a-z0-9_]+)\)", text)) <= headings


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
