"""docker-compose.yml as Docker Compose reads it: merged, with the variables of an .env file put in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?:(:?[-?])([^}]*))?\})")


def read_env(text: str) -> dict[str, str]:
    """NAME=value lines; comments and blanks left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def interpolate(value: Any, env: Mapping[str, str]) -> Any:
    """Replaces ${NAME}, ${NAME-default}, ${NAME:-default}, ${NAME:?message} and $$ in every string."""
    if isinstance(value, dict):
        return {key: interpolate(item, env) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item, env) for item in value]
    return _VARIABLE.sub(lambda match: _replace(match, env), value) if isinstance(value, str) else value


def _replace(match: re.Match[str], env: Mapping[str, str]) -> str:
    dollar, name, operator, word = match.groups()
    if dollar:
        return "$"
    missing = name not in env or (operator is not None and operator.startswith(":") and not env[name])
    if missing and operator and operator.endswith("?"):
        raise KeyError(f"{name}: {word}")
    return (word or "") if missing else env[name]


def load_services(env: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The services; an `env_file: .env` is laid under each one's `environment`."""
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services: dict[str, dict[str, Any]] = interpolate(document["services"], env)
    for service in services.values():
        if service.get("env_file") == ".env":
            service["environment"] = dict(env) | service["environment"]
    return services
