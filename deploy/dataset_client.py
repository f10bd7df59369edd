"""A running service as commands see it: the published client, patient, its errors as lines and exit codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, BinaryIO, Self

from deploy.exit_codes import ExitCode, Unsuccessful, problem_lines, wrong_usage
from deploy.patience import PATIENCE_SECONDS, Patience
from earthsynth import (
    APIConnectionError,
    APIError,
    EarthSynth,
    EarthSynthError,
    RequestError,
    ServiceUnavailable,
)

_FIRST_PATIENCE_SECONDS = 3.0  # a service that never answered is more likely a wrong --url


class Service:
    """One service, by HTTP. The API key, proxies and certificates are taken from the environment, as clients do.

    Every POST has an idempotency key, so that what is sent again is done once.
    """

    def __init__(self, url: str, say: Callable[[str], None]) -> None:
        """`say` gets the lines for people. Raises Unsuccessful (USAGE) for what is no http(s) URL."""
        self._patience = Patience(_FIRST_PATIENCE_SECONDS, say)
        try:
            self._client = EarthSynth(url, retry_policy=self._patience)
        except RequestError as error:
            raise wrong_usage(f"--url {url}: {error}") from error
        self.url = self._client.base_url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str) -> dict[str, Any]:
        """The answer to a GET. Raises Unsuccessful."""
        with self._asking():
            return self._client.request("GET", path)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer to a POST. Raises Unsuccessful."""
        with self._asking():
            return self._client.request("POST", path, body)

    def keep_mask_set(self, source: BinaryIO | None = None, **fields: Any) -> dict[str, Any]:
        """The set of an open zip, or of the `prefix` among the fields. Raises Unsuccessful."""
        with self._asking():
            return self._client.mask_sets.create(source, **fields).model_dump(mode="json")

    def keep_training_set(self, source: BinaryIO | None = None, **fields: Any) -> dict[str, Any]:
        """As `keep_mask_set`."""
        with self._asking():
            return self._client.training_sets.create(source, **fields).model_dump(mode="json")

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with in_words():
            yield
        self._patience.seconds = PATIENCE_SECONDS


@contextmanager
def in_words() -> Iterator[None]:
    """Turns the client's errors into lines and exit codes. Raises Unsuccessful."""
    try:
        yield
    except APIError as error:
        away = isinstance(error, ServiceUnavailable)
        raise Unsuccessful(
            ExitCode.UNREACHABLE if away else ExitCode.REFUSED, *problem_lines(_problem(error))
        ) from error
    except APIConnectionError as error:
        raise Unsuccessful(ExitCode.UNREACHABLE, f"error: {error}.") from error
    except RequestError as error:
        raise wrong_usage(str(error)) from error
    except EarthSynthError as error:
        raise Unsuccessful(ExitCode.REFUSED, f"error: {error}") from error


def _problem(error: APIError) -> dict[str, Any]:
    fields = [{"pointer": field.pointer, "message": field.message} for field in error.errors]
    return {"code": error.code, "detail": error.detail, "errors": fields, "request_id": error.request_id}
