"""Where the service is, and who asks: from arguments, else from the environment."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field

import httpx

from earthsynth._version import __version__
from earthsynth.errors import RequestError

LOCAL_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
DEFAULT_MAX_RETRIES = 5
USER_AGENT = f"earthsynth-python/{__version__} Python/{platform.python_version()} httpx/{httpx.__version__}"


@dataclass(frozen=True, slots=True)
class Settings:
    """`base_url` ends without a slash; it may hold a path."""

    base_url: str
    api_key: str | None = field(repr=False)
    timeout: httpx.Timeout
    max_retries: int

    @property
    def headers(self) -> dict[str, str]:
        """What every request to the service carries; none to its storage does."""
        known = {"User-Agent": USER_AGENT, "Accept": "application/json"}
        return known | ({"Authorization": f"Bearer {self.api_key}"} if self.api_key else {})


def settings_of(
    base_url: str | None, api_key: str | None, timeout: float | httpx.Timeout | None, max_retries: int
) -> Settings:
    """Arguments, then EARTHSYNTH_URL and EARTHSYNTH_API_KEY, then the local service. Raises RequestError."""
    url = (base_url or os.environ.get("EARTHSYNTH_URL") or LOCAL_URL).rstrip("/")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise RequestError(f"{url} is not a URL: {error}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise RequestError(f"{url} must begin with http:// or https:// and name a host")
    if parsed.query or parsed.fragment:
        raise RequestError(f"{url} must have neither a query nor a fragment")
    key = (os.environ.get("EARTHSYNTH_API_KEY") if api_key is None else api_key) or None
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise RequestError(
            "the API key holds characters that no key has; is it whole, and without a line break?"
        )
    if max_retries < 0:
        raise RequestError("max_retries must be 0 or more")
    return Settings(url, key, _timeout(timeout), max_retries)


def with_read(timeout: httpx.Timeout, seconds: float) -> httpx.Timeout:
    """The same limits, but so long between two pieces of the answer."""
    return httpx.Timeout(connect=timeout.connect, read=seconds, write=timeout.write, pool=timeout.pool)


def _timeout(given: float | httpx.Timeout | None) -> httpx.Timeout:
    if given is None:
        return DEFAULT_TIMEOUT
    if isinstance(given, httpx.Timeout):
        return given
    return httpx.Timeout(given, connect=min(given, 5.0))
