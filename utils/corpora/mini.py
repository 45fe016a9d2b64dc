"""A small speech corpus made on the spot: 100 synthetic speakers, transcripts, trials, noises, music and rooms.

The speech comes from espeak-ng (package `espeakng-loader`, GPL): good enough to see a model learn and to test every
step of a recipe without a download, no substitute for a real corpus. The same seed gives the same bytes.

FOLDER/{train,test}/<speaker>/<speaker>-NNN.wav   16 kHz mono 16-bit PCM, 1.5 to 5 s
FOLDER/transcripts.tsv                            path<TAB>TEXT
FOLDER/train.txt, FOLDER/test_trials.txt         `speaker path` and `1|0 path path`
FOLDER/musan/{noise,music}/*.wav, FOLDER/rir/*.wav
"""
import ctypes
import itertools
import json
import shutil
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from utils.errors import OutputError, SettingError, UnsupportedError, UserError
from utils.files import write_text
from utils.locks import locked_folder
from utils.paths import encoded
from utils.progress import progress
from utils.texts import read_json

VERSION = 1   # raise it whenever the bytes change: a corpus of another version is made again
RATE = 16000
SECONDS = (1.5, 5.0)
PREFIX = {"train": "s", "test": "t"}
FLOOR = 3e-4   # RMS of the noise under all speech: digital silence would be unlike any recording
UTTERANCES = {"train": 13, "test": 10}
NON_TARGETS = 1100   # against all the 900 target pairs of the test speakers
MARKER, PARTIAL = "mini_corpus.json", "mini_corpus.partial"
LOCK = ".mini_corpus.lock"      # while it is made
CONTENTS = ("train", "test", "musan", "rir", "transcripts.tsv", "train.txt", "test_trials.txt", MARKER, PARTIAL)

# Left out: whispers, robots, echoes and near copies of a voice of the other part.
VARIANTS = {
    "train": [
        "Alex", "Alicia", "Andrea", "Diogo", "Gene", "Hugo", "Jacky", "Mario", "Mike", "adam", "antonio",
        "aunty", "ed", "edward", "edward2", "f1", "f2", "f3", "f4", "grandpa", "iven2", "iven4", "klatt3",
        "klatt4", "linda", "m1", "m2", "m3", "m4", "m5", "m8", "marcelo", "mike2", "norbert", "pablo",
        "pedro", "sandro", "shelby", "travis", "victor"
    ],
    "test": [
        "Annie", "belinda", "f5", "anika", "steph", "grandma", "Andy", "Denis", "m7", "Reed", "john", "paul",
        "quincy", "rob", "david", "Michael", "max", "miguel", "boris", "m6"
    ],
}
ACCENTS = ["en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd"]

DIGIT = ["ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"]
SLOTS = {
    "digit": DIGIT,
    "tens": ["TWENTY", "THIRTY", "FORTY", "FIFTY", "SIXTY", "SEVENTY", "EIGHTY", "NINETY"],
    "letter": list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    "first": ["ROBERT", "MARY", "JOHN", "LINDA", "PETER", "ANNA", "DAVID", "SUSAN"],
    "last": ["SMITH", "JONES", "BROWN", "TAYLOR", "WILSON", "MILLER"],
    "city": ["BOSTON", "LONDON", "DENVER", "CHICAGO", "DALLAS", "PARIS"],
    "month": [
        "JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE", "JULY", "AUGUST", "SEPTEMBER", "OCTOBER",
        "NOVEMBER", "DECEMBER"
    ],
    "day": ["FIRST", "SECOND", "THIRD", "FOURTH", "FIFTH", "TENTH", "TWELFTH", "TWENTIETH"],
    "street": ["MAIN", "OAK", "PARK", "LAKE", "HILL", "CHURCH"],
    "way": ["STREET", "AVENUE", "ROAD"],
    "command": ["YES", "NO", "ENTER", "ERASE", "REPEAT", "HELP", "STOP", "GO", "START", "RUBOUT"],
}
TEMPLATES = [
    "letter letter letter letter letter letter",
    "SPELL letter letter letter letter letter letter",
    "command letter letter letter digit digit",
    "command digit digit digit digit digit",
    "CALL digit digit digit digit digit digit digit",
    "MY NAME IS first last",
    "first last WORKS IN city",
    "first last WAS BORN IN month",
    "digit digit digit street way city",
    "tens digit street way IN city",
    "month day NINETEEN tens digit",
    "THE day OF month NINETEEN tens",
    "command THE NAME first last",
    "command command tens digit",
    "GO IN tens digit HUNDRED",
]


class Speaker(NamedTuple):
    """One voice: `voice` is an espeak accent+variant, `rate` in words per minute, `level` the RMS of full scale 1."""

    name: str
    part: str
    voice: str
    pitch: float
    pitch_range: float
    rate: float
    level: float


def speakers(part: str, rng: np.random.Generator) -> list[Speaker]:
    """The speakers of `part` ("train": two accents and pitches of every variant, "test": one of each)."""
    cast, turns = [], 2 if part == "train" else 1
    for turn, (index, variant) in itertools.product(range(turns), enumerate(VARIANTS[part])):
        voice = f"{ACCENTS[(index + 4 * turn) % len(ACCENTS)]}+{variant}"
        # two speakers of one variant differ in accent and by at least 20 steps in pitch
        low = (25, 65)[turn] if part == "train" else 30 + 15 * (index % 3)
        cast.append(Speaker(f"{PREFIX[part]}{len(cast) + 1:03d}", part, voice, rng.uniform(low, low + 20),
                            rng.uniform(30, 70), rng.uniform(140, 180), rng.uniform(0.05, 0.09)))
    return cast


def sentence(part: str, rng: np.random.Generator) -> str:
    """One sentence in capitals. A checksum of the text says which part it belongs to: no text is in both."""
    while True:
        text = " ".join(str(rng.choice(SLOTS[word])) if word in SLOTS else word
                        for word in str(rng.choice(TEMPLATES)).split())
        if (zlib.crc32(text.encode()) % 6 == 0) == (part == "test"):
            return text


def _espeak_files():
    """Paths of espeak-ng's library and data."""
    try:
        import espeakng_loader
    except ImportError:
        raise UnsupportedError("the mini corpus needs a synthesiser: pip install espeakng-loader (GPL-3.0)") from None
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()


def respell(text: str) -> str:
    """`text` as espeak-ng must read it: a lone A would be the article, and words in capitals abbreviations."""
    return " ".join("eigh" if word == "A" else word.lower() for word in text.split())


def speak(text: str, voice: str, rate: float, pitch: float, pitch_range: float, seed: int) -> np.ndarray:
    """`text` spoken by espeak-ng: float32 [samples] at 16 kHz. Equal arguments give equal samples in any process.

    espeak-ng carries the phase of its flutter and noise from one utterance to the next in static variables, which
    nothing resets: the library is loaded and unloaded around every utterance (3 ms). That needs a
    process in which nothing else holds the library.
    """
    path, data = _espeak_files()
    libc, lib, chunks = ctypes.CDLL(None), ctypes.CDLL(path), []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def collect(wave, count, _events):
        if wave:
            chunks.append(ctypes.string_at(wave, 2 * count))
        return 0

    source_rate = lib.espeak_Initialize(2, 0, data.encode(), 0x8000)   # synchronous; return errors, do not exit
    if source_rate <= 0 or lib.espeak_SetVoiceByName(voice.encode()):
        raise UnsupportedError(f"espeak-ng has no voice {voice} in {data}; reinstall espeakng-loader")
    lib.espeak_SetSynthCallback(collect)
    # volume 40 of 100: the loudest voices clip inside espeak at more; 2 (20 ms) between words: spelled letters blur
    for parameter, value in enumerate((rate, 40, pitch, pitch_range, 0, 0, 2), start=1):
        lib.espeak_SetParameter(parameter, round(value), 0)
    lib.espeak_ng_SetRandSeed(ctypes.c_long(seed))
    libc.srand(seed)
    spelling = respell(text).encode()
    lib.espeak_Synth(spelling, ctypes.c_size_t(len(spelling) + 1), 0, 1, 0, 1, None, None)
    lib.espeak_Terminate()
    libc.dlclose(ctypes.c_void_p(lib._handle))
    samples = np.frombuffer(b"".join(chunks), np.int16).astype(np.float32) / 32768
    return soxr.resample(samples, source_rate, RATE)


def utterances(speaker: Speaker, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the (text, float32 [samples]) of a speaker; pitch, rate and level wander by a few percent."""
    count = 0
    while count < UTTERANCES[speaker.part]:
        text = sentence(speaker.part, rng)
        pitch, rate, level = np.array([speaker.pitch, speaker.rate, speaker.level]) * rng.normal(1, 0.03, 3)
        samples = speak(text, speaker.voice, rate, pitch, speaker.pitch_range, int(rng.integers(2 ** 31)))
        samples = np.pad(samples * min(level / samples.std(), 0.9 / np.abs(samples).max()),
                         rng.integers(RATE // 20, RATE // 5, 2))
        if SECONDS[0] <= len(samples) / RATE <= SECONDS[1]:
            count += 1
            yield text, samples + rng.normal(0, FLOOR, len(samples))


def _coloured(rng, length, slope):
    """Noise [length] with a power spectrum of 1 / f ** slope above 20 Hz."""
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / RATE), 20)
    return np.fft.irfft(np.fft.rfft(rng.normal(size=length)) * frequency ** (-slope / 2), length)


def noise(kind: int, rng: np.random.Generator, seconds: int = 10) -> np.ndarray:
    """Synthetic noise of one of 8 kinds (0 to 7), float64 [samples], not scaled."""
    length = seconds * RATE
    time = np.arange(length) / RATE
    hum = sum(np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 6)) / k for k in (1, 2, 3, 5, 7))
    clicks = np.convolve(rng.normal(size=length) * (rng.random(length) < 5 / RATE), np.exp(-np.arange(400) / 60))
    slow = 1 + np.sin(2 * np.pi * rng.uniform(0.5, 3) * time)
    beeps = np.sin(2 * np.pi * rng.uniform(600, 1500) * time) * (time % 1 < 0.3)
    white, pink, brown = (_coloured(rng, length, slope) for slope in (0, 1, 2))
    fan = brown / brown.std() * (1 + 0.3 * np.sin(2 * np.pi * 23 * time)) + 0.2 * white
    return (white, pink, brown, hum + 0.1 * white, pink * slow, clicks[:length] + 0.01 * white, fan,
            beeps + 0.1 * white)[kind]


def music(kind: int, rng: np.random.Generator, seconds: int = 10) -> np.ndarray:
    """Synthetic music, float64 [samples], not scaled: chords, arpeggios or drums as `kind` % 3 is 0, 1 or 2."""
    beat = int(RATE * rng.uniform(0.25, 0.5))
    time, played = np.arange(2 * beat) / RATE, np.zeros(seconds * RATE + 2 * beat)
    root = rng.uniform(110, 260)
    for index, start in enumerate(range(0, seconds * RATE, beat)):
        chord = root * 2 ** ((rng.choice([0, 5, 7, 9]) + np.array([0, 4, 7, 12])) / 12)
        notes = (chord, chord[[index % 4]], chord[:1] / 3)[kind % 3]
        tone = sum(np.sin(2 * np.pi * note * k * time) / k ** 2 for note in notes for k in (1, 2, 3, 4))
        hit = rng.normal(size=len(time)) * np.exp(-time * 40) if kind % 3 == 2 else 0
        played[start:start + len(time)] += (tone * np.exp(-time * (3 + 9 * (kind % 3 == 2))) + hit)
    return played[:seconds * RATE]


def room(t60: float, rng: np.random.Generator) -> np.ndarray:
    """Room impulse response float64 [samples]: direct peak 1 at sample 0, 6 reflections, a tail of `t60` seconds."""
    time = np.arange(int(t60 * RATE)) / RATE
    tail = rng.normal(size=len(time)) * 10 ** (-3 * time / t60) * np.minimum(1, time / 0.02) * rng.uniform(0.02, 0.06)
    early = rng.integers(int(0.002 * RATE), int(0.04 * RATE), 6)
    tail[early] += rng.choice([-1, 1], 6) * rng.uniform(0.1, 0.5, 6) * 10 ** (-3 * time[early] / t60)
    tail = np.clip(tail, -0.9, 0.9)
    tail[0] = 1.0
    return tail


def _write(path, samples, peak=None):
    """Write a 16-bit wav, its largest sample scaled to `peak` where that is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = samples * (peak / np.abs(samples).max()) if peak else samples
    soundfile.write(encoded(path), samples, RATE, subtype="PCM_16")


def trials(files: Mapping[str, list[str]], rng: np.random.Generator) -> list[str]:
    """Lines `1|0 path path`: every target pair of `files` ({speaker: [path]}) and NON_TARGETS others, shuffled."""
    names = [(speaker, path) for speaker, paths in files.items() for path in paths]
    pairs = list(itertools.combinations(names, 2))
    targets = [pair for pair in pairs if pair[0][0] == pair[1][0]]
    others = [pair for pair in pairs if pair[0][0] != pair[1][0]]
    chosen = targets + [others[i] for i in rng.choice(len(others), NON_TARGETS, replace=False)]
    return [f"{int(a[0] == b[0])} {a[1]} {b[1]}" for a, b in (chosen[i] for i in rng.permutation(len(chosen)))]


def _marker(path):
    try:
        return read_json(path, "the record of a mini corpus")
    except UserError:
        return {}


def _is_whole(root, wanted):
    """Whether a corpus of the `wanted` version and seed is there, with all files that were made."""
    marker = _marker(root / MARKER)
    return wanted.items() <= marker.items() and ("files" not in marker or _measure(root).items() <= marker.items())


def _measure(root):
    """How many files, and bytes in them, the corpus has but for its marker."""
    tops = [root / name for name in CONTENTS if name not in (MARKER, PARTIAL)]
    sizes = [path.stat().st_size for top in tops for path in (top, *top.rglob("*")) if path.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}


def _clear(folder):
    """Make `folder` ready to be filled, deleting only what a mini corpus put there."""
    others = folder.is_dir() and any(path.name != LOCK for path in folder.iterdir())
    if others and not any((folder / name).exists() for name in (MARKER, PARTIAL)):
        raise OutputError(f"{folder}: holds other files and no mini corpus; name an empty or a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PARTIAL).touch()
    for path in (folder / name for name in CONTENTS if name != PARTIAL):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _write_speech(root, seed):
    """Write the wavs, transcripts and lists of all speakers; return the counts for the marker."""
    cast = [speaker for i, part in enumerate(VARIANTS)
            for speaker in speakers(part, np.random.default_rng([seed, 0, i]))]
    transcripts, files, total = [], {part: {} for part in VARIANTS}, 0
    for index, speaker in enumerate(progress(cast, "mini corpus", "speaker")):
        for number, (text, samples) in enumerate(utterances(speaker, np.random.default_rng([seed, 1, index]))):
            path = f"{speaker.name}/{speaker.name}-{number:03d}.wav"
            _write(root / speaker.part / path, samples)
            transcripts.append(f"{speaker.part}/{path}\t{text}")
            files[speaker.part].setdefault(speaker.name, []).append(path)
            total += len(samples)
    train = [f"{name} {path}" for name, paths in files["train"].items() for path in paths]
    pairs = trials(files["test"], np.random.default_rng([seed, 5]))
    for name, lines in (("transcripts.tsv", transcripts), ("train.txt", train), ("test_trials.txt", pairs)):
        (root / name).write_text("\n".join(lines) + "\n")
    return {"speakers": len(cast), "utterances": len(transcripts), "minutes": round(total / RATE / 60, 1)}


def make_mini_corpus(folder: str | Path, seed: int = 0) -> Path:
    """Make the corpus in `folder` (about 20 s) and return its path; a finished one of this seed is left as it is.

    UnsupportedError where espeak-ng is missing, SettingError for a negative seed, OutputError where `folder` is a file
    or holds something else.
    """
    root = Path(folder)
    wanted = {"version": VERSION, "seed": seed}
    if _is_whole(root, wanted):
        return root
    if seed < 0:
        raise SettingError(f"seed is {seed}; give 0 or more")
    _espeak_files()
    if root.exists() and not root.is_dir():
        raise OutputError(f"{root}: is a file; name a folder for the mini corpus")
    with locked_folder(root, "mini corpus", name=LOCK):
        if not _is_whole(root, wanted):     # made by another process meanwhile
            _make(root, wanted, seed)
    return root


def _make(root, wanted, seed):
    _clear(root)
    for i in range(8):
        _write(root / f"musan/noise/noise-{i}.wav", noise(i, np.random.default_rng([seed, 2, i])), peak=0.5)
        _write(root / f"musan/music/music-{i}.wav", music(i, np.random.default_rng([seed, 3, i])), peak=0.5)
    for i, t60 in enumerate(np.linspace(0.15, 0.8, 16)):
        _write(root / f"rir/room-{i:02d}.wav", room(t60, np.random.default_rng([seed, 4, i])), peak=0.9)
    counts = _write_speech(root, seed)
    write_text(root / MARKER, json.dumps(wanted | counts | _measure(root), indent=1))
    (root / PARTIAL).unlink()
