"""Live text over a WebSocket: samples come in, text goes out, and a client that stalls or goes away frees its place."""
# an extra
# pyright: reportMissingImports=false
import asyncio
import json
import secrets
import sys
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from app.src import models
from app.src.limits import IDLE, Refused, require_same_origin
from app.src.live import STEP
from app.src.workers import Worker
from utils.defects import explained
from utils.errors import UserError

SESSIONS = 4        # at once
MOST_PENDING = 30          # seconds that may wait to be computed; then the client has to wait
MINUTES = 30        # of a session's sound, and so long, and IDLE, it may take to send it
RATES = (8000, 192_000)     # Hz
POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013  # codes of RFC 6455 with which a socket is closed


class Sessions:
    """Serves sockets; `worker` runs live_begin, live_push and live_end of models.py.

    names: hosts whose pages may use it besides its own.
    """

    def __init__(self, worker: Worker, sessions: int = SESSIONS, idle: float = IDLE, minutes: float = MINUTES,
                 names: tuple[str, ...] = ()):
        self.worker, self.sessions, self.idle, self.minutes, self.names = worker, sessions, idle, minutes, names
        self.busy = 0

    async def serve(self, socket: WebSocket) -> None:
        """One client, until it ends, stalls or goes away."""
        await socket.accept()
        try:
            require_same_origin(socket.headers, self.names)
            rate = _rate(socket.query_params.get("rate", "16000"))
            if self.busy >= self.sessions:
                raise Refused(TRY_AGAIN_LATER, f"busy: {self.busy} clients speak; try again later")
            self.busy += 1
            try:
                await _Session(self, socket, rate).run()
            finally:
                self.busy -= 1
        except WebSocketDisconnect:
            pass
        except Refused as error:
            code = error.status if error.status == TRY_AGAIN_LATER else POLICY_VIOLATION     # 403 is HTTP's
            await self._refuse(socket, code, str(error))
        except UserError as error:
            await self._refuse(socket, TRY_AGAIN_LATER, str(error))
        except Exception as error:
            print(f"error: {explained(error)[0]}", file=sys.stderr, flush=True)
            await self._refuse(socket, 1011, "the server failed; what it printed says why")

    async def _refuse(self, socket, code, line):
        if socket.client_state == socket.application_state == WebSocketState.CONNECTED:
            try:
                await asyncio.wait_for(socket.send_json({"error": line}), self.idle)
                await asyncio.wait_for(socket.close(code), self.idle)
            except (asyncio.TimeoutError, RuntimeError, WebSocketDisconnect):
                pass        # it has gone


class _Session:
    def __init__(self, sessions: Sessions, socket: WebSocket, rate: int):
        self.sessions, self.socket, self.rate, self.name = sessions, socket, rate, secrets.token_hex(8)
        self.pending = bytearray()      # samples that are not computed
        self.bytes = 0                  # of all samples
        self.ended = False
        self.changed = asyncio.Condition()

    async def run(self) -> None:
        """Reads and computes at once, so that a computation takes all that has come meanwhile."""
        worker = self.sessions.worker
        await worker.run(models.live_begin, self.name, self.rate)
        reading = asyncio.create_task(self._read())
        computing = asyncio.create_task(self._compute())
        try:
            await asyncio.wait({reading, computing}, return_when=asyncio.FIRST_EXCEPTION)
            for task in (reading, computing):
                if task.done():
                    task.result()
        finally:
            reading.cancel()
            computing.cancel()
            await asyncio.shield(worker.run(models.live_end, self.name, False))

    async def _read(self):
        """Samples from the client, until it says that it has ended."""
        limit, now = 2 * self.rate, asyncio.get_running_loop().time
        end = now() + self.sessions.minutes * 60 + self.sessions.idle
        too_long = Refused(POLICY_VIOLATION, f"more than {self.sessions.minutes:g} minutes; begin again")
        while not self.ended:
            async with self.changed:
                await self.changed.wait_for(lambda: len(self.pending) < MOST_PENDING * limit)
            try:
                message = await asyncio.wait_for(self.socket.receive(), min(self.sessions.idle, end - now()))
            except asyncio.TimeoutError:
                if now() >= end:
                    raise too_long from None
                raise Refused(POLICY_VIOLATION, f"nothing came for {self.sessions.idle:g} s; begin again") from None
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1006))
            samples, text = message.get("bytes") or b"", message.get("text")
            if text not in (None, "end") or len(samples) % 2 or text is None and not samples:
                raise Refused(POLICY_VIOLATION, "expected samples of 16 bits in binary messages, or the text: end")
            self.bytes += len(samples)
            if self.bytes > self.sessions.minutes * 60 * limit:
                raise too_long
            async with self.changed:
                self.pending += samples
                self.ended = text == "end"
                self.changed.notify_all()

    async def _compute(self):
        """Text to the client, whenever a step of sound has come."""
        worker, step, done = self.sessions.worker, round(STEP * 2 * self.rate), 0
        while True:
            async with self.changed:
                await self.changed.wait_for(lambda: self.ended or len(self.pending) >= step)
                most = 4 * self.rate        # two seconds: the text of more grows step by step as well
                samples = bytes(self.pending[:most])
                del self.pending[:most]
                self.changed.notify_all()
                last = self.ended and not self.pending
            done += len(samples)
            update = await worker.run(models.live_push, self.name, samples)
            await self._send(update | {"seconds": round(done / 2 / self.rate, 2)})
            if last:
                update = await worker.run(models.live_end, self.name, True)
                await self._send(update | {"seconds": round(done / 2 / self.rate, 2), "end": True})
                await self.socket.close()
                return

    async def _send(self, update: dict[str, Any]):
        try:
            await asyncio.wait_for(self.socket.send_text(json.dumps(update, ensure_ascii=False)), self.sessions.idle)
        except asyncio.TimeoutError:
            raise WebSocketDisconnect(1006) from None       # it does not read


def _rate(text):
    if not (text.isascii() and text.isdecimal() and len(text) < 7 and RATES[0] <= int(text) <= RATES[1]):
        raise Refused(POLICY_VIOLATION, f"rate: found {text[:20]!r}, expected Hz, {RATES[0]} to {RATES[1]}")
    return int(text)
