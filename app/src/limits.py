"""What one client may take from the others: ASGI middlewares around the API.

Requests in progress, the size of a body and the time in which nothing comes are bounded; a client that goes away is
noticed, and its request is cancelled. Pages of other sites cannot use the API: a browser says whose page asks, and
under which name it asks the server.
"""
# an extra
# pyright: reportMissingImports=false
import asyncio
import re
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

MEGABYTES = 64      # of a request
REQUESTS = 8        # with a body at once, also those that wait for their turn
IDLE = 20.0         # seconds without a byte from a client
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[\w.-]+)(:\d+)?", re.ASCII | re.IGNORECASE)      # a name or address, and a port


class Refused(Exception):
    """A request that ends with `status` and one line."""

    def __init__(self, status: int, line: str):
        super().__init__(line)
        self.status = status


class Hosts:
    """Wraps an ASGI app, which may be asked under the names `hosts` alone, whatever the port; ("*",): under any."""

    def __init__(self, app: Any, hosts: tuple[str, ...]):
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI has it."""
        if scope["type"] in ("http", "websocket") and "*" not in self.hosts:
            asked = Headers(scope=scope).get("host", "")
            if host_of(asked) not in self.hosts:
                await error_response(400, f"host: found {asked[:80]!r}, expected {', '.join(self.hosts)}; start the "
                                     "server with --name for others")(scope, receive, send)
                return
        await self.app(scope, receive, send)


class Limits:
    """Wraps an ASGI app. names: hosts whose pages may use it besides its own."""

    def __init__(self, app: Any, megabytes: float = MEGABYTES, requests: int = REQUESTS, idle: float = IDLE,
                 names: tuple[str, ...] = ()):
        self.app, self.max_bytes, self.requests, self.idle = app, round(megabytes * 2 ** 20), requests, idle
        self.names, self.busy = names, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI has it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        headers, body = Headers(scope=scope), _Body(receive, self.max_bytes, self.idle)
        try:
            require_same_origin(headers, self.names)
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


def require_same_origin(headers: Headers, names: tuple[str, ...] = ()) -> None:
    """Refused (403) where a page of another site asks: neither of the host that is asked nor of `names`."""
    if not (origin := headers.get("origin")):
        return
    try:
        site = urlsplit(origin).netloc
    except ValueError:      # such as of http://[
        site = ""
    if not site or site not in (headers.get("host"), *names):
        raise Refused(403, f"origin: found {origin[:80]!r}, expected a page of this server")


def host_of(name: str) -> str:
    """HOST of HOST or HOST:PORT, in lower case; "" of what is neither."""
    match = HOST.fullmatch(name)
    return match[1].lower() if match else ""


def error_response(status: int, line: str) -> JSONResponse:
    """An error as the API gives it: one line."""
    return JSONResponse({"error": line}, status, {"Retry-After": "5"} if status == 503 else None)
