"""The API's own web server: uvicorn, which stops at once although streams of events are open."""

from __future__ import annotations

import socket

import typer
import uvicorn
from fastapi import FastAPI

from app.main import create_app
from worker.settings import Settings

_STOP_SECONDS = 3  # what a request in hand is given at SIGTERM


class ApiServer(uvicorn.Server):
    """Ends the streams of events before it waits for open answers: by themselves they last as long as their jobs."""

    def __init__(self, api: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._api = api

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._api.state.resources.doorbell.close()
        await super().shutdown(sockets)


def run_api(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises typer.Exit when the server cannot start, as on a port in use."""
    api = create_app(settings)
    config = uvicorn.Config(
        api,
        host=settings.host,
        port=settings.port,
        timeout_graceful_shutdown=_STOP_SECONDS,
        server_header=False,
        log_config=None,
        access_log=False,
    )
    server = ApiServer(api, config)
    try:
        server.run()
    except KeyboardInterrupt:  # uvicorn raises the signal again once it has stopped
        return
    if not server.started:
        raise typer.Exit(3)  # uvicorn's own code
