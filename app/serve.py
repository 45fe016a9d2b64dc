"""A local page for the models, and their HTTP and WebSocket API: python app/serve.py, then open what it prints."""
import argparse
import importlib.util
import multiprocessing
import socket
import sys

from utils.command_line import Parser
from utils.errors import OutputError, SettingError, UnsupportedError, run
from utils.ranges import Range, number

NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "websockets": "websockets", "multipart": "python-multipart"}


def main(argv: list[str]) -> None:
    """Serves until it is interrupted."""
    args = parse(argv)
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UnsupportedError(f"{', '.join(missing)} not installed; "
                               f'pip install "mindspore-speech-zoo[app]", or pip install {" ".join(missing)}')
    names = names_of(args.name)
    listening = listen(args.host, args.port)

    from app.src import models
    from app.src.connections import make_server
    from app.src.server import LOCAL, make_app
    from app.src.workers import Worker, executor_factory

    checkpoints = models.Checkpoints(args.ecapatdnn, args.conv_tasnet, args.deepspeech2, args.live, args.device_target)
    files, speech = (Worker(executor_factory(checkpoints)) for _ in range(2))
    try:
        print("loading the models", flush=True)
        for loading in [files.executor.submit(models.load_all), speech.executor.submit(models.load_live)]:
            loading.result()
        name = f"[{args.host}]" if ":" in args.host else args.host
        print(f"http://{name}:{listening.getsockname()[1]}  (Ctrl-C ends it)", flush=True)
        app = make_app(files, speech, LOCAL if name in LOCAL else ("*",), names)
        make_server(app).run([listening])
    finally:
        for process in multiprocessing.active_children():       # one may be in the midst of a long recording
            process.kill()
        for worker in (files, speech):
            worker.executor.shutdown()


def names_of(given: list[str]) -> tuple[str, ...]:
    """The names HOST or HOST:PORT of --name, each of which may hold several. SettingError for what is none."""
    from app.src.limits import host_of  # needs what may be missing

    names = tuple(name.strip().lower() for text in given for name in text.split(","))
    for name in names:
        if not host_of(name):
            raise SettingError(f"name: found {name!r}, expected a host name such as speech.example.org, with :PORT "
                               "where its address has one")
    return names


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. OutputError where it cannot."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise OutputError(f"{host}:{port}: cannot listen there ({error.strerror}); give another --port or --host"
                          ) from None


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; others than this machine's own "
                        "(%(default)s) let everybody in who reaches it")
    parser.add_argument("--name", metavar="HOST", action="append", default=[], help="under which a proxy shows the "
                        "page, with :PORT where its address has one; more than one: again, or with commas")
    parser.add_argument("--port", type=number("--port", Range(0, 65535), int), default=8000,
                        help="0: any that is free (%(default)s)")
    for model in ("ecapatdnn", "conv_tasnet", "deepspeech2"):
        parser.add_checkpoint(f"--{model}")
    parser.add_argument("--live", metavar="CHECKPOINT", help="of DeepSpeech2, for live text: one trained with "
                        "--bidirectional false costs least (default: that of --deepspeech2)")
    parser.add_device_target()
    return parser.parse_args(argv)


def command() -> None:
    """The command speech-app."""
    run(main, sys.argv[1:])


if __name__ == "__main__":
    command()
