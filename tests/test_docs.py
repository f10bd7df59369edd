"""The documents say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

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
