"""HEAD: what GET would have been answered, without its body."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadRequests:
    """ASGI middleware, inside all other: routes know GET, and need not know HEAD.

    The answer ends with its head; what streams learns then that nobody listens any more.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        asked = {**scope, "method": "GET"}

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope.update({name: value for name, value in asked.items() if name != "method"})  # the route
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(asked, receive, send_head)
