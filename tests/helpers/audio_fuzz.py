"""Audio files that are damaged at random, and processes of their own that read them.

A decoder in C may crash or hang for a file, so a worker reads the files one by one, with bounds for time and memory,
and says before each which it is. Who dies is replaced.

    python -m helpers.audio_fuzz reader|ecapatdnn|conv_tasnet|deepspeech2 < names of files
"""
import contextlib
import importlib
import io
import json
import os
import resource
import select
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from helpers.documents import ROOT
from helpers.encode import encode

RATE = 16000
SECONDS = 20                # more for one file is a hang
START = 120                 # likewise, with what is imported for the first
MEMORY = 3 * 2 ** 30        # bytes of address space that a file may take beyond what the programs have
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE,
            0xFFFFFFFF, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1)
# (format, encoding, suffix) of libsndfile
WRITTEN = [*(("WAV", kind, "wav") for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW",
                                               "ALAW", "GSM610", "IMA_ADPCM", "MS_ADPCM", "G721_32")),
           *(("WAVEX", kind, "wav") for kind in ("PCM_16", "PCM_32", "DOUBLE")), ("RF64", "PCM_16", "wav"),
           ("W64", "PCM_16", "w64"), ("FLAC", "PCM_16", "flac"), ("FLAC", "PCM_24", "flac"), ("OGG", "VORBIS", "ogg"),
           ("OGG", "OPUS", "opus"), ("MP3", "MPEG_LAYER_III", "mp3"), ("AIFF", "PCM_16", "aiff"), ("AU", "ULAW", "au"),
           ("CAF", "ALAC_16", "caf"), ("NIST", "PCM_16", "sph")]
# (name, codec, format, options) of FFmpeg
ENCODED = [("aac.m4a", "aac", "ipod", {}), ("aac.mp4", "aac", "mp4", {"movflags": "frag_keyframe"}),
           ("aac.aac", "aac", "adts", {}), ("opus.webm", "libopus", "webm", {}), ("aac.mka", "aac", "matroska", {}),
           ("ac3.ac3", "ac3", "ac3", {}), ("untold.mp3", "libmp3lame", "mp3", {"write_xing": "0"})]
PROGRAMS = ("ecapatdnn", "conv_tasnet", "deepspeech2")


class Outcome(NamedTuple):
    """What became of a file: "read" or "refused"; what must not be: "raised", "wrong", "hung", "died with -11"."""

    file: Path
    kind: str
    text: str


def seeds(folder: Path) -> dict[str, bytes]:
    """{name: content} of sound files of half a second, of every container that can be written here."""
    generator = np.random.default_rng(0)
    time = np.arange(RATE // 2) / RATE
    samples = 0.2 * np.sin(2 * np.pi * 220 * time * (1 + time)) + 0.02 * generator.standard_normal(len(time))
    stereo = np.stack((samples, 0.5 * samples + 0.01), axis=1)
    found = {}
    for form, kind, suffix in WRITTEN:
        for channels, sound in ((1, samples), (2, stereo)):
            buffer = io.BytesIO()
            with contextlib.suppress(soundfile.LibsndfileError, ValueError):     # some are for one channel only
                soundfile.write(buffer, sound, RATE, kind, format=form)
                found[f"{form}-{kind}-{channels}.{suffix}"] = buffer.getvalue()
    for name, codec, form, options in ENCODED:
        encode(folder / name, samples, 32000 if codec == "ac3" else RATE, codec, form, **options)
        found[name] = (folder / name).read_bytes()
    streamed = bytearray(found["WAV-PCM_16-1.wav"])
    streamed[4:8] = streamed[40:44] = b"\xff" * 4
    return found | {"streamed.wav": bytes(streamed)}


def damaged(content: bytes, others: Sequence[bytes], generator: np.random.Generator) -> bytes:
    """`content` after one to three of: bits turned, bytes put in or taken out, numbers set to extremes, parts swapped,
    repeated or zeroed, the end cut, another file joined. Mostly within the first bytes, where headers are."""
    data = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        if not data:
            break
        place = int(generator.integers(min(len(data), int(generator.choice((64, 300, len(data)))))))
        length = int(generator.integers(1, 1 + int(generator.choice((4, 60, max(4, len(data) // 2))))))
        other = int(generator.integers(len(data)))
        number = int(generator.choice(np.array(EXTREMES, np.uint64)))
        form = str(generator.choice(("<B", "<H", ">H", "<I", ">I", "<I", "<Q", ">Q")))
        packed = struct.pack(form, number & (256 ** struct.calcsize(form) - 1))
        step = int(generator.integers(9))
        if step == 0:
            data[place] ^= 1 << int(generator.integers(8))
        elif step == 1:
            data[place:place] = generator.bytes(length % 61)
        elif step == 2:
            del data[place:place + length]
        elif step in (3, 4):
            data[place:place + len(packed)] = packed
        elif step == 5:
            data[place:place + length], data[other:other + length] = (data[other:other + length],
                                                                      data[place:place + length])
        elif step == 6:
            data[place:place] = data[other:other + length]
        elif step == 7:
            del data[other:]
        else:
            data += others[int(generator.integers(len(others)))]
    return bytes(data)


def write_damaged(folder: Path, count: int, seed: int, wanted: Callable[[str], bool] = bool,
                  suffix: str = "") -> list[Path]:
    """`count` damaged files of the seeds whose names are wanted, one in ten called as another kind, or all `suffix`."""
    generator, files = np.random.default_rng(seed), []
    whole = {name: content for name, content in seeds(folder).items() if wanted(name)}
    kinds = list(whole)
    for path in folder.iterdir():
        path.unlink()
    for number in range(count):
        name = kinds[number % len(kinds)]
        called = suffix or Path(kinds[int(generator.integers(len(kinds)))] if generator.random() < 0.1 else name).suffix
        path = folder / f"{number:05d}-{Path(name).stem}{called}"
        path.write_bytes(damaged(whole[name], list(whole.values()), generator))
        files.append(path)
    return files


def read_all(target: str, files: Sequence[Path]) -> tuple[list[Outcome], int]:
    """(what became of every file, growth in bytes of the worker that read the most of them between its ends)."""
    outcomes, growth = [], 0
    while len(outcomes) < len(files):
        found, sizes = _worker(target, files[len(outcomes):])
        outcomes += found
        if len(sizes) > 20:     # the first have loaded what all need
            growth = max(growth, sizes[-1] - sizes[len(sizes) // 4])
    return outcomes, growth


def _worker(target, files):
    """(outcomes up to the one that ended the worker, or of all; its resident bytes after each)."""
    environment, outcomes, sizes = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}, [], []
    with tempfile.TemporaryFile("w+") as names, tempfile.TemporaryFile("w+", errors="replace") as errors:
        names.write("".join(f"{path}\n" for path in files))
        names.seek(0)
        with subprocess.Popen([sys.executable, "-m", "helpers.audio_fuzz", target], env=environment, cwd=ROOT,
                              text=True, stdin=names, stdout=subprocess.PIPE, stderr=errors) as process:
            for path in files:
                line = _line(process.stdout, SECONDS if sizes else START)
                if not line:
                    process.kill()
                    code = process.wait()
                    errors.seek(0)
                    return [*outcomes, Outcome(path, "hung" if line is None else f"died with {code}",
                                               errors.read()[-2000:])], sizes
                kind, text, size = json.loads(line)
                outcomes.append(Outcome(path, kind, text))
                sizes.append(size)
    return outcomes, sizes


def _line(stream, seconds):
    """The next line, "" at the end, None where it takes longer."""
    return stream.readline() if select.select([stream], [], [], seconds)[0] else None


def main(target: str) -> None:
    """What a worker does: a line of JSON for every file named on stdin."""
    answers, printed = os.fdopen(os.dup(1), "w"), io.StringIO()
    os.dup2(2, 1)                                   # what libraries print is no answer
    read = {"reader": _reader}.get(target) or _program(target)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for name in sys.stdin.read().splitlines():
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                kind, text = read(Path(name))
        except Exception:       # whatever it is: to be reported
            kind, text = "raised", traceback.format_exc()
        printed.seek(0)
        printed.truncate()
        size = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        print(json.dumps([kind, text, size]), file=answers, flush=True)


def _reader(path):
    """All ways to read a file agree on its length."""
    from utils.audio import audio_file
    from utils.audio.recording import inspect
    from utils.errors import UserError

    try:
        frames, rate = audio_file.header(path)
        samples = audio_file.read(path, rate)
        crop = audio_file.random_crop(path, rate, 1000, np.random.default_rng(0))
        recording = inspect(path, 1, rate)
        blocks = sum(map(len, recording.blocks(rate)))
    except UserError as error:
        return ("refused" if len(str(error).splitlines()) == 1 else "wrong"), str(error)
    fits = frames == len(samples) == recording.samples == blocks and len(crop) == 1000
    return ("read" if fits else "wrong"), (f"{frames} samples by the header, {len(samples)} read, {recording.samples} "
                                           f"inspected, {blocks} in blocks, a crop of {len(crop)}")


def _program(model):
    """The function that runs infer.py of a model on a file, with a network that costs nothing."""
    from helpers.programs import called

    infer = importlib.import_module(f"{model}.infer")
    infer.load = _CHEAP[model]

    def read(path):
        files = [path, path] if model == "ecapatdnn" else [path, "--output_dir", path.parent] \
            if model == "conv_tasnet" else [path]
        code, output = called(infer.main, *files)
        for separated in path.parent.glob(f"{path.stem}_[12].wav"):
            separated.unlink()
        errors = [line for line in output.splitlines() if line.startswith("error: ")]
        if code == 0 and not errors:
            return "read", output
        return ("refused" if code == 2 and len(errors) == 1 and "Traceback" not in output else "wrong"), output

    return read


class _Network:
    """A network that is not there."""

    def set_train(self, _mode):
        return self

    def set_inputs(self, *_inputs):
        pass


def _verifier(config):
    from ecapatdnn.src.inference import Verifier
    from ecapatdnn.src.scoring import unit

    class Cheap(Verifier):
        def outputs(self, features):
            return unit(features.mean(axis=1))

    return Cheap(_Network(), config, threshold=0.5)


def _separator(config):
    from conv_tasnet.src.inference import Separator
    from conv_tasnet.src.windows import Windows, window_sizes

    class Cheap(Separator):
        def windows(self, longest, seconds=16.0):
            size, overlap = window_sizes(seconds, longest, config)
            return Windows(lambda mixture: np.stack((mixture, -mixture / 2)), size, overlap, config.L // 2)

    return Cheap(None, config)


def _recognizer(config):
    from deepspeech2.src.decoder import make_decoder
    from deepspeech2.src.inference import Recognizer
    from deepspeech2.src.model import frames_after
    from deepspeech2.src.text import Alphabet
    from deepspeech2.src.windows import Windows

    alphabet = Alphabet(config.labels)

    def network(features, _length):
        shapes = [(frames_after(len(one)), len(alphabet)) for one in features]
        return [np.resize(one, shape) - 5 for one, shape in zip(features, shapes, strict=True)]

    class Cheap(Recognizer):
        def windows(self, longest):
            return Windows(network, longest)

    return Cheap(None, config, make_decoder(config, alphabet))


_CHEAP = {"ecapatdnn": _verifier, "conv_tasnet": _separator, "deepspeech2": _recognizer}

if __name__ == "__main__":
    main(sys.argv[1])
