"""What middleware does that looks at answers' heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class AnswerHeads(ABC):
    """ASGI middleware that sees each request as it comes, and the head of its answer before that is sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    @abstractmethod
    def begin(self, scope: Scope) -> Callable[[Message], None]:
        """What is called with the head (`http.response.start`), which it may change."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        at_head = self.begin(scope)

        async def send_noticing(message: Message) -> None:
            if message["type"] == "http.response.start":
                at_head(message)
            await send(message)

        await self._app(scope, receive, send_noticing)
