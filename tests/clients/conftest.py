"""A client of the real service."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from deploy.localstack import LocalStack
from earthsynth import EarthSynth


@pytest.fixture(scope="session")
def synth(service: LocalStack) -> Iterator[EarthSynth]:
    """The sync client, without the proxies of the machine."""
    with (
        httpx.Client(trust_env=False, timeout=60) as http,
        EarthSynth(service.api_url, http_client=http) as found,
    ):
        yield found
