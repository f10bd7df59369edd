"""The client's side of the API: what is asked again while the service is away, and what is never asked twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from deploy.exit_codes import ExitCode, Unsuccessful, problem_lines, wrong_usage

PATIENCE_SECONDS = 120.0
"""How long a service that has answered once may be away."""
_FIRST_PATIENCE_SECONDS = 3.0  # a service that never answered is more likely a wrong --url
_LONGEST_PAUSE_SECONDS = 30.0
_CHECK_SECONDS = 600.0  # ten thousand masks are checked before the answer
_AWAY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})

T = TypeVar("T")


class Away(Unsuccessful):
    """Nobody answered, or someone who says: not now.

    `pause_seconds` is what Retry-After asks for. `nothing_started`: the same request may be sent again in any case.
    """

    def __init__(
        self,
        exit_code: ExitCode,
        *lines: str,
        pause_seconds: float | None = None,
        nothing_started: bool = False,
    ) -> None:
        super().__init__(exit_code, *lines)
        self.pause_seconds, self.nothing_started = pause_seconds, nothing_started


def patiently(ask: Callable[[], T], *, seconds: float, say: Callable[[str], None]) -> T:
    """What `ask` returns, repeated while it raises Away, for so long; the first repetition of a row is said."""

    def tell(details: RetryDetails) -> None:
        if details.retry_num == 1 and isinstance(details.caused_by, Away):
            say(f"{details.caused_by.lines[0].removeprefix('error: ')} Trying again for {seconds:.0f} s …")

    set_on_retry_hooks((tell,))  # stamina's own hook would log to stdout, which belongs to ids and paths
    again = stamina.retry(on=_pause, attempts=None, timeout=seconds, wait_initial=0.2, wait_max=5.0)
    return again(ask)()


def _pause(error: Exception) -> bool | float:
    if not isinstance(error, Away):
        return False
    return min(error.pause_seconds, _LONGEST_PAUSE_SECONDS) if error.pause_seconds else True


class Service:
    """One service, by HTTP. Proxies and certificates are taken from the environment, as clients do."""

    def __init__(self, url: str, say: Callable[[str], None]) -> None:
        """`say` gets the lines for people. Raises Unsuccessful (USAGE) for what is no http(s) URL."""
        self.url, self._say = url.rstrip("/"), say
        self._patience_seconds = _FIRST_PATIENCE_SECONDS
        try:
            parsed = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise wrong_usage(f"--url {url} is not a URL: {error}") from error
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise wrong_usage(f"--url {url} must begin with http:// or https:// and name a host")
        self._client = httpx.Client(base_url=parsed, timeout=httpx.Timeout(60, connect=5))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str) -> dict[str, Any]:
        """The answer to a GET, asked again while the service is away. Raises Unsuccessful."""
        return self._patiently(lambda: self._ask("GET", path))

    def keep_mask_set(self, **content: Any) -> dict[str, Any]:
        """POST /v1/mask-sets, repeated as a GET is: a set's id is its content, so twice is once.

        `content` is what httpx takes: json, or data and files; a file is read again from its beginning.
        """
        return self._keep("/v1/mask-sets", content)

    def keep_training_set(self, **content: Any) -> dict[str, Any]:
        """POST /v1/training-sets, which is as repeatable as that of a mask set."""
        return self._keep("/v1/training-sets", content)

    def _keep(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        wait = httpx.Timeout(60, read=_CHECK_SECONDS)
        return self._patiently(lambda: self._ask("POST", path, timeout=wait, **content))

    def set(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """POST of something that is the same when it is said twice; repeated as a GET is."""
        return self._patiently(lambda: self._ask("POST", path, json=body))

    def undo(self, path: str, look: str) -> dict[str, Any]:
        """POST that goes back further each time, so it is sent again only where the connection never stood.

        `look`: how to see what came of it, where the answer was lost.
        """

        def ask() -> dict[str, Any]:
            try:
                return self._ask("POST", path)
            except Away as away:
                if away.nothing_started:
                    raise
                line = f"POST {path} is not repeated, since it may have been done. Look first: {look}"
                raise Unsuccessful(away.exit_code, *away.lines, line) from away

        return self._patiently(ask)

    def submit_job(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST that makes a job: sent again only where nothing can have been started.

        That is: the connection never stood, or the answer is 429. After 503 or a lost answer the job may exist, since
        it is stored before it is queued.
        """

        def ask() -> dict[str, Any]:
            try:
                return self._ask("POST", path, json=dict(body))
            except Away as away:
                if away.nothing_started:
                    raise
                raise Unsuccessful(away.exit_code, *away.lines, *self._how_to_look(path)) from away

        return self._patiently(ask)

    def _how_to_look(self, path: str) -> tuple[str, ...]:
        return (
            f"POST {path} is not repeated: the job may have been accepted, and would then be made twice.",
            f"Look at your newest jobs before you ask again: curl '{self.url}/v1/jobs?limit=5'",
        )

    def _patiently(self, ask: Callable[[], T]) -> T:
        answer = patiently(ask, seconds=self._patience_seconds, say=self._say)
        self._patience_seconds = PATIENCE_SECONDS
        return answer

    def _ask(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, **content)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise Away(
                ExitCode.UNREACHABLE,
                f"error: {self.url} is not reachable: {error or type(error).__name__}.",
                nothing_started=True,
            ) from error
        except httpx.TransportError as error:
            sentence = f"error: {self.url} did not answer {method} {path}: {error or type(error).__name__}."
            raise Away(ExitCode.UNREACHABLE, sentence) from error
        body = _object(response)
        if response.is_success and body is not None:
            return body
        lines = (
            (
                f"error: {self.url} answered {response.status_code} without a problem document; is it EarthSynth?",
            )
            if body is None or "code" not in body
            else problem_lines(body)
        )
        pause = _retry_after(response)
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise Away(ExitCode.REFUSED, *lines, pause_seconds=pause, nothing_started=True)
        if response.status_code in _AWAY:
            raise Away(ExitCode.UNREACHABLE, *lines, pause_seconds=pause)
        raise Unsuccessful(ExitCode.REFUSED, *lines)


def _object(response: httpx.Response) -> dict[str, Any] | None:
    """The JSON object of the answer; None where it is something else, as a proxy's page."""
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds; None for an absent header, and for its date form, which the service does not send."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None
