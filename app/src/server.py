"""The page and the API: routes, and what an error looks like."""
# an extra
# pyright: reportMissingImports=false
import base64
import io
import re
import sys
import zipfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, Query, Request, Response, UploadFile, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

from app.src import models
from app.src.answers import Meeting, Problem, Transcript, Verdict, Voices
from app.src.limits import IDLE, MEGABYTES, Hosts, Limits, error_response, host_of
from app.src.models import MINUTES, Upload
from app.src.session import Sessions
from app.src.workers import Worker
from utils.audio.audio_file import AudioError
from utils.defects import explained
from utils.errors import RunError, UserError
from utils.version import VERSION

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "app" / "static"
SAMPLES = {     # what the page offers to try, by the name in its address
    "speaker1_a.wav": "ecapatdnn", "speaker1_b.wav": "ecapatdnn", "speaker2.wav": "ecapatdnn",
    "mixture.wav": "conv_tasnet", "command.wav": "deepspeech2", "spelled.wav": "deepspeech2", "meeting.flac": "meeting"}
VOICES = 20     # enrolled ones of a meeting
LOCAL = ("127.0.0.1", "localhost", "[::1]")
# The page takes nothing from elsewhere, and no other page shows it
CONTENT_POLICY = "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; connect-src 'self' ws: wss:; " \
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
DESCRIPTION = f"""Send recordings of any format and rate, up to {MEGABYTES} MB and {MINUTES} minutes.
Every error is `{{"error": "one line"}}`.

Live text is a WebSocket, `/api/live?rate=16000`: send binary messages of mono samples, 16 bits little-endian, at `rate`
Hz (8000 to 192000); `end`, a text message, says that nothing follows. Each answer is
`{{"final": text, "partial": text, "seconds": number}}`: `final` is to be appended to what was final before, `partial`
follows it and may still change. Both begin with the space that separates them from the text before. The last answer has
`"end": true` too. An error is `{{"error": "one line"}}`, after which the socket is closed. It is closed as well where
nothing arrives for {IDLE:g} seconds."""
ERRORS: dict[int | str, dict[str, Any]] = {
    403: {"model": Problem, "description": "a page of another site asks"},
    408: {"model": Problem, "description": f"nothing came for {IDLE:g} seconds"},
    413: {"model": Problem, "description": "larger than is taken"},
    422: {"model": Problem, "description": "not a recording that can be used, or a parameter is wrong"},
    400: {"model": Problem, "description": "the form is malformed, or the host is none of this server's"},
    503: {"model": Problem, "description": "busy: try again later"}}


def make_app(files: Worker, speech: Worker, hosts: tuple[str, ...] = LOCAL, names: tuple[str, ...] = (),
             limits: dict[str, Any] | None = None, live: dict[str, Any] | None = None) -> FastAPI:
    """The server.

    files, speech: what computes recordings, and live text; hosts: the names under which it may be asked, ("*",): any;
    names: further ones, HOST or HOST:PORT, under which a proxy shows the page; limits, live: other ones than those of
    `Limits` and `Sessions`.
    """
    sessions = Sessions(speech, names=names, **(live or {}))
    app = FastAPI(title="MindSpore speech zoo", version=VERSION, description=DESCRIPTION, docs_url=None, redoc_url=None,
                  middleware=[Middleware(SecurityHeaders), Middleware(Hosts, hosts=(*hosts, *map(host_of, names))),
                              Middleware(Limits, names=names, **(limits or {}))])
    _add_errors(app)
    _add_page(app)

    @app.post("/api/verify", responses=ERRORS)
    async def verify(first: UploadFile, second: UploadFile) -> Verdict:
        """Are two recordings of one speaker?"""
        return Verdict(**await files.run(models.verify, await _read(first), await _read(second)))

    @app.post("/api/separate", responses=ERRORS)
    async def separate(file: UploadFile) -> Voices:
        """The voices of a recording in which two speak at once."""
        result = await files.run(models.separate, await _read(file))
        return Voices(**result | {"voices": [base64.b64encode(voice).decode() for voice in result["voices"]]})

    @app.post("/api/separate.zip", responses=ERRORS | {200: {"content": {"application/zip": {}}}},
              response_class=Response)
    async def separate_zip(file: UploadFile) -> Response:
        """The same as a zip of voice1.wav, voice2.wav."""
        result, archive = await files.run(models.separate, await _read(file)), io.BytesIO()
        with zipfile.ZipFile(archive, "w") as target:
            for number, voice in enumerate(result["voices"], 1):
                target.writestr(f"voice{number}.wav", voice)
        return Response(archive.getvalue(), media_type="application/zip")

    @app.post("/api/transcribe", responses=ERRORS)
    async def transcribe(file: UploadFile) -> Transcript:
        """What is said in a recording."""
        return Transcript(**await files.run(models.transcribe, await _read(file)))

    @app.post("/api/meeting", responses=ERRORS)
    async def who_said_what(file: UploadFile, num_speakers: Annotated[int | None, Query(ge=1, le=100)] = None,
                            enrol: Annotated[list[UploadFile], File(max_length=VOICES)] = []) -> Meeting:  # noqa: B006
        """Who said what in a recording of several speakers.

        num_speakers: where it is known; enrol: recordings of voices whose names are known, each in a file NAME.wav or
        of another format.
        """
        voices = [await _read(voice) for voice in enrol]
        return Meeting(**await files.run(models.who_said_what, await _read(file), num_speakers, voices))

    @app.websocket("/api/live")
    async def live_text(socket: WebSocket) -> None:
        await sessions.serve(socket)

    return app


async def _read(file: UploadFile) -> Upload:
    """The recording, by a name that is safe to show; it names nothing on this machine."""
    return Upload(re.sub(r"[^\w.\- ]", "_", Path(file.filename or "").name)[-60:] or "recording", await file.read())


def _add_page(app: FastAPI) -> None:
    """The page and what it needs, all from here."""
    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.api_route("/samples/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def sample(name: str) -> FileResponse:
        if name not in SAMPLES:
            raise HTTPException(404, "no such sample")
        return FileResponse(ROOT / SAMPLES[name] / "samples" / name)

    app.mount("/static", StaticFiles(directory=STATIC), name="static")


class SecurityHeaders:
    """An ASGI middleware: every answer tells a browser what the page may do."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI has it."""
        async def sent(message):
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update({
                    "Content-Security-Policy": CONTENT_POLICY, "X-Content-Type-Options": "nosniff",
                    "Cache-Control": "no-cache"})
            await send(message)

        await self.app(scope, receive, sent)


def _add_errors(app: FastAPI) -> None:
    """Every error becomes one line. What is no client's fault is printed here, and does not show what is inside."""
    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return error_response(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return error_response(422, f"{first['loc'][-1]}: {first['msg']}; /openapi.json says what is expected")

    @app.exception_handler(AudioError)
    async def bad_recording(_: Request, error: AudioError) -> Response:
        return error_response(422, str(error))

    @app.exception_handler(RunError)
    async def unavailable(_: Request, error: RunError) -> Response:
        return error_response(503, str(error))

    @app.exception_handler(UserError)
    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        print(f"error: {error if isinstance(error, UserError) else explained(error)[0]}", file=sys.stderr, flush=True)
        return error_response(500, "the server failed; what it printed says why")
