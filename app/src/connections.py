"""The HTTP server under the API: how many connections it has, and how long one may stay that brings nothing.

uvicorn's own timeout runs only from an answer to the next byte. Limits of limits.py begin with the end of a request's
head, so a connection that never gets there is closed here.
"""
# an extra
# pyright: reportMissingImports=false
import asyncio
import functools
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.src.limits import IDLE

CONNECTIONS = 64    # at once, idle ones too


def make_server(app: Any, idle: float = IDLE) -> uvicorn.Server:
    """The server of an ASGI app; idle: seconds in which a request's head has to be whole, and an answer to be read.

    WebSockets are not pinged: session.py sees who is silent, and a busy machine is late with pings of its own.
    """
    config = uvicorn.Config(app, http=functools.partial(_Protocol, idle=idle),  # pyright: ignore[reportArgumentType]
                            log_level="warning", limit_concurrency=CONNECTIONS, ws="websockets-sansio",
                            ws_max_size=2 ** 20, ws_max_queue=8, ws_ping_interval=None,
                            timeout_graceful_shutdown=2)
    return uvicorn.Server(config)


class _Protocol(H11Protocol):
    """uvicorn's HTTP/1.1 with an end to waiting."""

    def __init__(self, *args: Any, idle: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.idle, self.deadline = idle, None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The first request is expected."""
        super().connection_made(transport)
        if hasattr(socket, "TCP_USER_TIMEOUT"):     # of Linux: also ends a connection whose client does not read
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT,
                                                          round(1000 * self.idle))
        self._expect_request()

    def on_response_complete(self) -> None:
        """The next request is expected."""
        super().on_response_complete()
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more is expected."""
        super().connection_lost(exc)
        if self.deadline:
            self.deadline.cancel()

    def _expect_request(self):
        if self.deadline:
            self.deadline.cancel()
        self.deadline = self.loop.call_later(self.idle, self._close_without_request)

    def _close_without_request(self):
        has_request = self.cycle is not None and not self.cycle.response_complete
        if not has_request and self.transport.get_protocol() is self:     # else it is a WebSocket now
            self.transport.close()
