"""`earthsynth models`: those of this release; `… list | promote | rollback | default`: those of a running service.

Standard output is for shells: what was set is printed as name@version, and nothing else.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from deploy.connection import LOCAL_URL, connected
from deploy.dataset_options import Url
from deploy.exit_codes import EXIT_CODES_HELP, wrong_usage

models_app = typer.Typer(
    help="List the models of this release; or list, promote and roll back those of a running service.",
    invoke_without_command=True,
    epilog=EXIT_CODES_HELP,
)


@models_app.callback()
def models(context: typer.Context) -> None:
    """List the models of this release: what they know, their size, hash, and where their weights are."""
    if context.invoked_subcommand is None:
        from deploy.model_table import print_models

        print_models()


@models_app.command("list", epilog=EXIT_CODES_HELP)
def list_models(url: Url = LOCAL_URL) -> None:
    """List the models of a running service: its own, and every version that was trained."""
    from deploy.model_table import print_service_models

    with connected(url) as (service, _):
        print_service_models(service.get("/v1/models")["items"])


@models_app.command(epilog=EXIT_CODES_HELP)
def promote(
    model: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="What NAME is to mean.")],
    url: Url = LOCAL_URL,
) -> None:
    """Make a name mean that version from now on, for every request; the service goes on running."""
    with connected(url) as (service, _):
        name, _, version = model.partition("@")
        if not (name and version):
            raise wrong_usage("say which version, as in: earthsynth models promote farm@2")
        _say(service.post(f"/v1/models/{name}/promote", {"version": version}))


@models_app.command(epilog=EXIT_CODES_HELP)
def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model, without a version.")],
    url: Url = LOCAL_URL,
) -> None:
    """Make a name mean what it meant before the last promotion."""
    with connected(url) as (service, _):
        _say(service.post(f"/v1/models/{name}/rollback"))


@models_app.command(epilog=EXIT_CODES_HELP)
def default(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|NAME@VERSION]", help="The model of requests that name none."),
    ] = None,
    back: Annotated[bool, typer.Option("--rollback", help="Make it what it was before.")] = False,
    url: Url = LOCAL_URL,
) -> None:
    """Set the model of requests that name none, or take the last setting back."""
    with connected(url) as (service, _):
        if (model is None) != back:
            raise wrong_usage("say a model, or --rollback; one of them")
        if back:
            _say(service.post("/v1/models/default/rollback"))
        else:
            _say(service.post(f"/v1/models/{model}/default"))


def _say(model: dict[str, Any]) -> None:
    typer.echo(f"{model['name']}@{model['version']}")
