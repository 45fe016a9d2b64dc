"""What one client may take from the others: an ASGI middleware around the API.

Requests in progress, the size of a body and the time in which nothing comes are bounded; a client that goes away is
noticed, and its request is cancelled. Pages of other sites cannot use the API: a browser says whose page asks.
"""
# an extra
# pyright: reportMissingImports=false
import asyncio
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

MEGABYTES = 64      # of a request
REQUESTS = 8        # with a body at once, also those that wait for their turn
IDLE = 20.0         # seconds without a byte from a client


class Refused(Exception):
    """A request that ends with `status` and one line."""

    def __init__(self, status: int, line: str):
        super().__init__(line)
        self.status = status


class Limits:
    """Wraps an ASGI app."""

    def __init__(self, app: Any, megabytes: float = MEGABYTES, requests: int = REQUESTS, idle: float = IDLE):
        self.app, self.max_bytes, self.requests, self.idle = app, round(megabytes * 2 ** 20), requests, idle
        self.busy = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI has it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        headers, body = Headers(scope=scope), _Body(receive, self.max_bytes, self.idle)
        try:
            require_same_origin(headers)
            body.require_size(int(headers.get("content-length") or 0))
            if self.busy >= self.requests:
                raise Refused(503, f"busy: {self.busy} requests in progress; try again later")
            self.busy += 1
            try:
                await self._run(scope, body, send)
            finally:
                self.busy -= 1
        except Refused as error:
            await error_response(error.status, str(error))(scope, receive, send)

    async def _run(self, scope, body, send):
        """Runs the app until it is done, the body is refused or the client has gone."""
        app = asyncio.create_task(self.app(scope, body.receive, send))
        stop = asyncio.create_task(body.stopped())
        try:
            await asyncio.wait({app, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not app.done():
                app.cancel()
                await asyncio.wait({app})
                if body.refused:
                    raise body.refused
                return
            app.result()
        finally:
            app.cancel()
            stop.cancel()


class _Body:
    """The messages of a request, counted and timed."""

    def __init__(self, receive: Any, max_bytes: int, idle: float):
        self.source, self.max_bytes, self.idle = receive, max_bytes, idle
        self.bytes, self.complete, self.closed, self.refused = 0, asyncio.Event(), asyncio.Event(), None

    def require_size(self, count: int) -> None:
        """Refused where a body of `count` bytes is too large."""
        if count > self.max_bytes:
            raise Refused(413, f"the request has more than {self.max_bytes / 2 ** 20:g} MB; send less, or "
                               "a compressed format")

    async def receive(self) -> dict[str, Any]:
        """The next message of the body, for the app."""
        if self.complete.is_set():
            await self.closed.wait()
            return {"type": "http.disconnect"}
        try:
            message = await asyncio.wait_for(self.source(), self.idle)
            self.bytes += len(message.get("body", b""))
            self.require_size(self.bytes)
        except (asyncio.TimeoutError, Refused) as error:
            self.refused = error if isinstance(error, Refused) else \
                Refused(408, f"nothing came for {self.idle:g} s; send the request again")
            self.closed.set()
            await asyncio.Event().wait()        # until this is cancelled
        if message["type"] == "http.disconnect":
            self.closed.set()
        elif not message.get("more_body"):
            self.complete.set()
        return message

    async def stopped(self) -> None:
        """Waits until the body is refused or the client has gone."""
        closed, complete = asyncio.create_task(self.closed.wait()), asyncio.create_task(self.complete.wait())
        try:
            await asyncio.wait({closed, complete}, return_when=asyncio.FIRST_COMPLETED)
            while not self.closed.is_set():
                if (await self.source())["type"] == "http.disconnect":
                    self.closed.set()
        finally:
            closed.cancel()
            complete.cancel()


def require_same_origin(headers: Headers) -> None:
    """Refused (403) where a page of another site asks."""
    origin = headers.get("origin")
    if origin and urlsplit(origin).netloc != headers.get("host"):
        raise Refused(403, f"origin: found {origin[:80]!r}, expected a page of this server")


def error_response(status: int, line: str) -> JSONResponse:
    """An error as the API gives it: one line."""
    return JSONResponse({"error": line}, status, {"Retry-After": "5"} if status == 503 else None)
