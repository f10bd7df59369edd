"""`earthsynth keys create | list | revoke`: who may call the service. They work on the storage itself."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from deploy.ports import LOOPBACK
from deploy.stack_error import StackError
from worker.api_keys import ListedKey, Scope, create_key, list_keys, revoke_key
from worker.jobs import now
from worker.settings import Settings, settings
from worker.storage import Storage

keys_app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
_AGE = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Data = Annotated[
    Path | None,
    typer.Option(
        help="Data folder of an `earthsynth up` that runs; absent: the store that EARTHSYNTH_* name."
    ),
]


def _lifetime(text: str) -> timedelta:
    found = _AGE.fullmatch(text)
    if found is None:
        raise typer.BadParameter("a number and s, m, h or d, such as 90d")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


@keys_app.command()
def create(
    tenant: Annotated[str, typer.Option(help="Whose jobs, masks and models it reaches.")],
    name: Annotated[str, typer.Option(help="What it is for, to know it again in the list.")] = "",
    scope: Annotated[
        list[Scope] | None, typer.Option(help="May be repeated; absent: read and write.")
    ] = None,
    expires_in: Annotated[
        str | None, typer.Option(help="How long it is good for, such as 90d; absent: until it is revoked.")
    ] = None,
    not_before: Annotated[
        datetime | None, typer.Option(help="It is good from then on (UTC); absent: at once.")
    ] = None,
    data: Data = None,
) -> None:
    """Make a key. It is printed once and stored nowhere: what is kept is its sha256."""
    storage = _storage(data)
    key, record = create_key(
        storage,
        tenant=tenant,
        name=name,
        scopes=scope or (Scope.READ, Scope.WRITE),
        not_before=not_before and not_before.replace(tzinfo=UTC),
        expires_at=now() + _lifetime(expires_in) if expires_in else None,
    )
    typer.echo(key)
    typer.echo(
        f"{record.id} for {tenant}, {', '.join(record.scopes)}; shown this once. Send it as Authorization: Bearer",
        err=True,
    )


@keys_app.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    data: Data = None,
) -> None:
    """List the keys, revoked ones too; never the keys themselves."""
    for found in list_keys(_storage(data), tenant):
        if as_json:
            fields = found.record.model_dump(mode="json", exclude={"sha256"})
            typer.echo(json.dumps(fields | {"state": _state(found)}))
        else:
            record = found.record
            typer.echo(
                f"{record.id}  {record.tenant}  {','.join(record.scopes)}  {_state(found)}  "
                f"{record.created_at:%Y-%m-%d}  {record.name}"
            )


@keys_app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="key_…, from the list.")],
    data: Data = None,
) -> None:
    """Revoke a key: within 5 s no request is let in with it. Its tenant's jobs go on."""
    found = revoke_key(_storage(data), key_id)
    typer.echo(f"{found.record.id} of {found.record.tenant} is revoked", err=True)


def _state(found: ListedKey) -> str:
    record, at = found.record, now()
    if found.revoked_at is not None:
        return "revoked"
    if record.expires_at is not None and at >= record.expires_at:
        return "expired"
    return "not yet" if record.not_before is not None and at < record.not_before else "good"


def _storage(data: Path | None) -> Storage:
    storage = Storage(settings() if data is None else _settings_of(data))
    storage.prepare()
    return storage


def _settings_of(data: Path) -> Settings:
    """The storage of the local stack on that folder. Raises StackError."""
    file = data / "keys" / "stack.json"
    try:
        found = json.loads(file.read_text())
        return Settings(
            s3_endpoint=f"http://{LOOPBACK}:{found['s3_ports'][0]}",
            s3_access_key=found["s3_access_key"],
            s3_secret_key=found["s3_secret_key"],
        )
    except (OSError, ValueError, KeyError) as error:
        raise StackError(f"no stack's data in {data}: {file} cannot be read") from error
