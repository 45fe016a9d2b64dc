"""The answers of a graph to a 16-bit wav file, as JSON lines: python answers.py GRAPH.mindir talk.wav [LIBRARY].

By libspeechzoo through ctypes: with Python's standard library alone.
"""
import array
import ctypes
import sys
import wave
from pathlib import Path

LIBRARY = Path(__file__).parents[1] / "build" / "libspeechzoo.so"
SETTINGS = b'{"device_target": "CPU", "threads": 1}'


def load(path: str) -> ctypes.CDLL:
    """The library, its functions with their types."""
    library = ctypes.CDLL(path)
    handle, text = ctypes.c_void_p, ctypes.c_char_p
    samples = ctypes.POINTER(ctypes.c_float)
    for name, result, *arguments in (
            ("create", handle, text, text), ("start", ctypes.c_int, handle, ctypes.c_int64, ctypes.c_int64),
            ("push", ctypes.c_int, handle, samples, ctypes.c_size_t), ("finish", ctypes.c_int, handle),
            ("result", text, handle), ("error", text, handle), ("free", None, handle)):
        function = getattr(library, f"speechzoo_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def main(graph: str, path: str, library: str = str(LIBRARY)) -> None:
    """Prints what comes out while a second at a time goes in."""
    zoo = load(library)
    handle = zoo.speechzoo_create(graph.encode(), SETTINGS)
    if not handle:
        sys.exit(f"error: {zoo.speechzoo_error(None).decode()}")

    def check(code: int) -> None:
        if code:
            sys.exit(f"error: {zoo.speechzoo_error(handle).decode()}")
        while result := zoo.speechzoo_result(handle):
            print(result.decode(), flush=True)

    with wave.open(path) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            sys.exit(f"error: {path}: found another kind of wav, expected one channel of 16 bit")
        check(zoo.speechzoo_start(handle, file.getframerate(), file.getnframes()))
        while block := file.readframes(file.getframerate()):
            samples = (ctypes.c_float * (len(block) // 2))(*(value / 32768 for value in array.array("h", block)))
            check(zoo.speechzoo_push(handle, samples, len(samples)))
    check(zoo.speechzoo_finish(handle))
    zoo.speechzoo_free(handle)


if __name__ == "__main__":
    main(*sys.argv[1:])
