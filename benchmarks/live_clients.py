"""How many speak to a server of app/ at once: python benchmarks/live_clients.py, with `speech-app` running.

Each client streams the sample of a meeting, in real time, a tenth of a second at a time. Text answers the sound up to a
place; its delay is how long after that place was sent it came. Who is not behind by more at the end than after a third
is in real time.
"""
import argparse
import json
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

from utils.audio.recording import open_recording
from utils.errors import run

SAMPLE, RATE = "meeting/samples/meeting.flac", 16000


def main(argv: list[str]) -> None:
    """Prints a line for each number of clients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="127.0.0.1:8000")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--seconds", type=float, default=24)
    args = parser.parse_args(argv)
    samples = np.resize(open_recording(SAMPLE, RATE, 1, RATE).whole(RATE), round(args.seconds * RATE))
    pcm = (samples * 2 ** 15).clip(-2 ** 15, 2 ** 15 - 1).astype("<i2").tobytes()
    print("clients | delay of text p50 s | p95 s | in real time")
    for count in args.clients:
        delays = [[] for _ in range(count)]
        threads = [threading.Thread(target=stream, args=(args.address, pcm, row.append)) for row in delays]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        in_time = sum(bool(row) and np.mean(row[-5:]) < np.mean(row[len(row) // 3:][:5]) + 1 for row in delays)
        together = np.concatenate(delays)
        print(f"{count} | {np.quantile(together, 0.5):.2f} | {np.quantile(together, 0.95):.2f} | {in_time} of {count}",
              flush=True)


def stream(address: str, pcm: bytes, report: Callable[[float], None]) -> None:
    """Streams a recording, and hands on the delay of each text."""
    from websockets.sync.client import connect  # pyright: ignore[reportMissingImports]: an extra

    with connect(f"ws://{address}/api/live?rate={RATE}") as client:
        start = time.monotonic()

        def receive():
            while not (update := json.loads(client.recv())).get("end"):
                if "error" in update:
                    raise RuntimeError(update["error"])
                report(time.monotonic() - start - update["seconds"])

        receiving = threading.Thread(target=receive)
        receiving.start()
        for place in range(0, len(pcm), RATE // 5):
            time.sleep(max(0.0, start + (place + RATE // 5) / 2 / RATE - time.monotonic()))
            client.send(pcm[place:place + RATE // 5])
        client.send("end")
        receiving.join()


if __name__ == "__main__":
    run(main, sys.argv[1:])
