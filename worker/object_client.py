"""What every request does to S3 (create, read, look), by `obstore`: a seventh of boto3's CPU time for one PUT.

`Storage` takes it for our own keys and does the rest, which is rarer, by boto3. Both use the same credentials.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import botocore.session
import obstore
from botocore.exceptions import NoCredentialsError
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from models.errors import NotFound, TooLarge, Unavailable
from worker.settings import Settings

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential

# Not "a//b", "a/", "a/../b" or control characters, which obstore refuses or reads as another key; people's own
# names under an import prefix may be such.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
_CREDENTIALS_KEPT = timedelta(minutes=5)  # then boto3 is asked again, which renews those that run out

_RETRIES: RetryConfig = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=1),
        "base": 2,
    },
}


def is_plain(key: str) -> bool:
    """Whether the client takes this key as it is."""
    return _PLAIN_KEY.fullmatch(key) is not None


class ObjectClient:
    """A bucket's objects under plain keys. Every method blocks without holding the interpreter lock.

    Raises Unavailable, with the code `storage_unavailable`, where the store does not answer as it should. A creation
    is sent again when no connection came about or the answer was 5xx, and not when the answer stayed away.
    """

    def __init__(self, settings: Settings) -> None:
        endpoint, bucket = settings.s3_endpoint, settings.s3_bucket
        # obstore (0.12) takes no None: for AWS the endpoint is left out
        elsewhere: S3Config = {} if endpoint is None else {"endpoint": endpoint}
        self._store = S3Store(
            bucket,
            config=elsewhere,
            region=settings.s3_region,
            # of AWS the bucket's own host, as boto3's "auto": a dot in its name would break the certificate
            virtual_hosted_style_request=endpoint is None and "." not in bucket,
            credential_provider=_credentials(settings),
            client_options=_client_options(endpoint),
            retry_config=_RETRIES,
        )

    def create(self, key: str, body: bytes, content_type: str) -> bool:
        """Writes a new object with If-None-Match; False when the key exists already."""
        try:
            obstore.put(
                self._store,
                key,
                body,
                mode="create",
                attributes={"Content-Type": content_type},
                use_multipart=False,  # parts cannot be conditional
            )
        except AlreadyExistsError:
            return False
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error
        return True

    def read(self, key: str, max_bytes: int | None) -> bytes:
        """The object's bytes. Raises NotFound, or TooLarge before it reads them."""
        try:
            found = obstore.get(self._store, key)
            size = found.meta["size"]
            if max_bytes is not None and size > max_bytes:
                raise TooLarge(f"The object has {size} bytes of at most {max_bytes}.")
            return found.bytes().to_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"There is no object {key}.") from error
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def stat(self, key: str) -> tuple[int, str]:
        """The object's size in bytes and its ETag. Raises NotFound."""
        try:
            found: ObjectMeta = obstore.head(self._store, key)
        except FileNotFoundError as error:
            raise NotFound(f"There is no object {key}.") from error
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error
        return found["size"], found["e_tag"] or ""


def _credentials(settings: Settings) -> Callable[[], S3Credential]:
    """Those of the settings, or else boto3's own chain; asked for again when they are old."""
    access, secret = settings.s3_access_key, settings.s3_secret_key
    if access is not None and secret is not None:
        fixed: S3Credential = {
            "access_key_id": access.get_secret_value(),
            "secret_access_key": secret.get_secret_value(),
            "expires_at": None,
        }
        return lambda: fixed
    session = boto3.Session()

    def current() -> S3Credential:
        found = session.get_credentials()
        if found is None:
            raise NoCredentialsError
        frozen = found.get_frozen_credentials()
        return {
            "access_key_id": str(frozen.access_key),
            "secret_access_key": str(frozen.secret_key),
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_KEPT,
        }

    return current


def _client_options(endpoint: str | None) -> ClientConfig:
    options: ClientConfig = {
        "allow_http": (endpoint or "").startswith("http://"),
        "connect_timeout": timedelta(seconds=2),
        "read_timeout": timedelta(seconds=10),
        "timeout": timedelta(minutes=10),  # of a whole object, however large; silence ends sooner
    }
    authorities = botocore.session.get_session().get_config_variable("ca_bundle")  # AWS_CA_BUNDLE, as boto3
    if authorities:
        options["root_certificate"] = Path(authorities).read_bytes()
    return options


def _unavailable(error: Exception) -> Unavailable:
    reason = type(error).__name__
    return Unavailable(
        f"The object storage did not answer as it should ({reason}). Try again.", code="storage_unavailable"
    )
