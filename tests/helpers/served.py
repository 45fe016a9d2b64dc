"""The server of app/ in this process, with networks that take no time: each answers with facts of what it was given."""
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import soundfile

from deepspeech2.src.text import Alphabet
from helpers.documents import ROOT

WORDS = ("one", "two", "three", "four")


def networks(monkeypatch):
    """Puts such networks in the place of those of app.src.models. The event holds what computes until it is set."""
    from app.src import models

    go = threading.Event()
    go.set()
    calls = []

    def begun(name):
        calls.append(name)
        assert go.wait(20)

    def verify(first, second):
        begun("verify")
        score = 0.9 if soundfile.info(first).frames == soundfile.info(second).frames else 0.1
        same = score > 0.5
        return SimpleNamespace(_asdict=lambda: {"score": score, "threshold": 0.5, "same": same,
                                                "llr": 3.0 if same else None})

    def separate(path, rate):
        begun("separate")
        samples, found = soundfile.read(path, dtype="float32")
        assert found == rate
        return np.stack([0.01 * samples, 4 * samples])

    def transcribe(source, rate=16000, timestamps=False):
        """A word for each second."""
        begun("transcribe")
        seconds = soundfile.info(source).duration if isinstance(source, str) else len(source) / rate
        words = [word(text, i + 0.2, i + 0.9) for i, text in enumerate(WORDS[:int(seconds)])]
        return SimpleNamespace(text=" ".join(item.text for item in words), words=words)

    recognizer = SimpleNamespace(config=SimpleNamespace(bidirectional=True), alphabet=Alphabet(),
                                 fewest=320, transcribe=transcribe)
    monkeypatch.setattr(models, "_verifier", lambda: SimpleNamespace(verify=verify))
    monkeypatch.setattr(models, "_separator",
                        lambda checkpoint: SimpleNamespace(separate=separate, checkpoint=checkpoint))
    monkeypatch.setattr(models, "_recognizer", lambda checkpoint: recognizer)
    return SimpleNamespace(go=go, calls=calls)


def word(text, start, end):
    """As the recogniser's."""
    fields = {"text": text, "start": start, "end": end}
    return SimpleNamespace(**fields, _asdict=lambda: fields)


@contextmanager
def serving(host="127.0.0.1", idle=20, **settings):
    """The host and port of a server, of make_app(..., **settings), that runs in a thread; idle: of connections."""
    from app.serve import listen
    from app.src.connections import make_server
    from app.src.server import make_app
    from app.src.workers import Worker

    executors = [ThreadPoolExecutor(1), ThreadPoolExecutor(1)]
    files, speech = (Worker(lambda executor=executor: executor) for executor in executors)
    listening = listen(host, 0)
    server = make_server(make_app(files, speech, **settings), idle)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield f"{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        for executor in executors:
            executor.shutdown(wait=False, cancel_futures=True)


@contextmanager
def running(port=0):
    """The process of the program with the networks that ship, and its host and port."""
    with subprocess.Popen([sys.executable, ROOT / "app" / "serve.py", "--port", str(port)], text=True,
                          stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout
            line = next(line for line in process.stdout if line.startswith("http://"))
            yield process, line.split()[0].removeprefix("http://")
        finally:
            process.kill()


def children(process):
    """The ids of the processes that a `running` one has started and that have not ended."""
    listed = subprocess.run(["ps", "-o", "pid=", "-s", str(process.pid)], capture_output=True, text=True,
                            check=False).stdout.split()
    return [int(number) for number in listed if int(number) != process.pid and os.path.exists(f"/proc/{number}")]


def wait_for(fact, seconds=10):
    """Until `fact()`; fails where that takes longer."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
