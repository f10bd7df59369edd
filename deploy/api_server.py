"""The API's own web server: uvicorn, which stops at once although streams of events are open."""

from __future__ import annotations

import gc
import signal
import socket
import sys

import typer
import uvicorn
from fastapi import FastAPI

from app.main import create_app
from deploy.api_processes import helped_by
from deploy.http_protocol import StrictHttp
from deploy.stack_error import StackError
from models.errors import Unavailable
from worker.api_keys import KeyRing
from worker.logs import get_logger
from worker.settings import Settings
from worker.storage import Storage

log = get_logger(__name__)

_SWITCH_SECONDS = (
    0.0005  # threads give way to the loop, which all requests wait for, ten times sooner than by default
)
_IDLE_SECONDS = (
    75  # longer than proxies keep an idle connection (60): none of them sends into one that we close
)
_STOP_SECONDS = 3  # what a request in hand is given at SIGTERM


class ApiServer(uvicorn.Server):
    """Ends the streams of events before it waits for open answers: by themselves they last as long as their jobs."""

    def __init__(self, api: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._api = api

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._api.state.resources.doorbell.close()
        await super().shutdown(sockets)


def run_api(settings: Settings, *, descriptor: int | None = None) -> None:
    """Serves until SIGTERM or SIGINT, from the listening socket with that descriptor where one is given.

    Raises StackError on an address that others reach while there is no API key; typer.Exit when the server cannot
    start, as on a port in use.
    """
    _refuse_without_keys(settings)
    server = api_server(settings)
    gc.collect()
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()  # what was imported stays: the collector would go through all of it while requests wait
    try:
        listening: socket.socket | None = None
        if descriptor is not None:
            listening = socket.socket(fileno=descriptor)
        elif settings.api_processes > 1:
            listening = server.config.bind_socket()
        if listening is not None and settings.api_processes > 1:
            # uvicorn raises SIGTERM again once it has stopped, which would end this process before its helpers
            signal.signal(signal.SIGTERM, lambda _number, _frame: None)
            with helped_by(settings.api_processes - 1, listening):
                server.run([listening])
        else:
            server.run(None if listening is None else [listening])
    except KeyboardInterrupt:  # uvicorn raises the signal again once it has stopped
        return
    if not server.started:
        raise typer.Exit(3)  # uvicorn's own code


def api_server(settings: Settings) -> ApiServer:
    """The server of these settings, which has not started."""
    api = create_app(settings)
    _make_routes_ready(api)
    config = uvicorn.Config(
        api,
        host=settings.host,
        port=settings.port,
        http=StrictHttp,
        ws="none",
        proxy_headers=False,  # links are relative, and nobody is believed who says where a request comes from
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
        server_header=False,
        log_config=None,
        access_log=False,
    )
    return ApiServer(api, config)


def _make_routes_ready(api: FastAPI) -> None:
    """FastAPI (0.165) builds its routes when a request first looks for one, and all others would wait meanwhile."""
    nowhere = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "root_path": "",
        "query_string": b"",
        "headers": [],
    }
    for route in api.routes:
        route.matches(nowhere)


def _refuse_without_keys(settings: Settings) -> None:
    if settings.on_loopback:
        return
    storage = Storage(settings)
    try:
        storage.prepare()
        has_keys = KeyRing(storage).needs_key()
    except Unavailable as error:  # it starts, asks everybody for a key, and lets nobody in until it knows
        log.warning("whether there are API keys is not known yet", code=error.code, detail=error.message)
        return
    if not has_keys:
        raise StackError(
            f"there is no API key, so whoever reaches {settings.host} could use this service; make one with "
            "`earthsynth keys create --tenant NAME`, or set EARTHSYNTH_HOST=127.0.0.1"
        )
