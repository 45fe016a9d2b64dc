"""A program beside the tests that calls libspeechzoo, for which MindSpore must not be in the process.

    python library_calls.py LIBRARY GRAPH SETTINGS RATE SAMPLES BLOCK VOICES

Two handles of one graph take the float32 samples of a file in blocks, in turn, which must give the same. Prints the
results and how many samples of each speaker had come before the end, as JSON; writes the speakers' samples to VOICES.
"""
import array
import ctypes
import json
import sys
from pathlib import Path

KIND, TEXT, NUMBER = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64
SAMPLES = ctypes.POINTER(ctypes.c_float)
FUNCTIONS = {"create": (KIND, TEXT, TEXT), "describe": (TEXT, KIND), "start": (ctypes.c_int, KIND, NUMBER, NUMBER),
             "push": (ctypes.c_int, KIND, SAMPLES, ctypes.c_size_t), "finish": (ctypes.c_int, KIND),
             "result": (TEXT, KIND), "samples": (ctypes.c_size_t, KIND, ctypes.c_int, SAMPLES, ctypes.c_size_t),
             "error": (TEXT, KIND), "free": (None, KIND)}
ROOM = 1000


class Handle:
    """One of the library."""

    def __init__(self, library, graph, settings):
        self.library = ctypes.CDLL(library)
        for name, (result, *arguments) in FUNCTIONS.items():
            function = getattr(self.library, f"speechzoo_{name}")
            function.restype, function.argtypes = result, arguments
        self.handle = self.library.speechzoo_create(graph.encode(), settings.encode())
        if not self.handle:
            sys.exit(f"error: {self.library.speechzoo_error(None).decode()}")
        self.facts = json.loads(self.library.speechzoo_describe(self.handle))
        self.results, self.voices = [], [array.array("f") for _ in range(self.facts.get("voices", 0))]

    def call(self, name, *arguments):
        if getattr(self.library, f"speechzoo_{name}")(self.handle, *arguments):
            sys.exit(f"error: {self.library.speechzoo_error(self.handle).decode()}")
        while result := self.library.speechzoo_result(self.handle):
            self.results.append(json.loads(result))
        room = (ctypes.c_float * ROOM)()
        for number, voice in enumerate(self.voices):
            while count := self.library.speechzoo_samples(self.handle, number, room, ROOM):
                voice.extend(room[:count])

    def push(self, samples):
        self.call("push", (ctypes.c_float * len(samples))(*samples), len(samples))


def main(library, graph, settings, rate, path, block, voices):
    samples = array.array("f", Path(path).read_bytes())
    handles = [Handle(library, graph, settings) for _ in range(2)]
    for _ in range(2):      # a second recording knows nothing of the first
        for handle in handles:
            handle.results.clear()
            for voice in handle.voices:
                del voice[:]
            handle.call("start", int(rate), 0)
        for start in range(0, len(samples), int(block)):
            for handle in handles:
                handle.push(samples[start:start + int(block)])
        before = [len(voice) for voice in handles[0].voices]
        for handle in handles:
            handle.call("finish")
    assert handles[0].results == handles[1].results and handles[0].voices == handles[1].voices
    Path(voices).write_bytes(b"".join(voice.tobytes() for voice in handles[0].voices))
    print(json.dumps({"facts": handles[0].facts, "results": handles[0].results, "before": before}))
    for handle in handles:
        handle.library.speechzoo_free(handle.handle)


if __name__ == "__main__":
    main(*sys.argv[1:])
