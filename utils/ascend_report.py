"""What ascend_report.sh needs beside the programs of the models: a corpus, versions, comparisons, a text without names.

    python -m utils.ascend_report versions                  what is installed here
    python -m utils.ascend_report corpus FOLDER             a few seconds of synthetic voices, with lists for all models
    python -m utils.ascend_report reference GRAPH IN OUT    a MINDIR graph on this CPU: the C++ runner's files
    python -m utils.ascend_report compare RESULTS EXPECTED  the largest differences between the results in two folders
    python -m utils.ascend_report clean < LOG               LOG without names of people, machines and folders
"""
import contextlib
import getpass
import importlib.metadata
import io
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from utils.errors import MismatchError, NotFoundError, SettingError, run
from utils.export.runner import read_description
from utils.files import write_text
from utils.texts import open_lines

ROOT = Path(__file__).resolve().parent.parent
RATE, SECONDS, SPEAKERS, EACH = 16000, 2, 8, 4      # of the corpus
WORDS = ("ONE TWO", "THREE FOUR", "FIVE SIX", "SEVEN EIGHT")
PACKAGES = ("mindspore", "mindspore-lite", "numpy", "scipy", "protobuf", "onnx", "sympy", "decorator", "attrs",
            "cloudpickle", "ml_dtypes", "tornado", "jinja2", "cffi", "cython", "psutil")
VARIABLES = ("ASCEND_", "MS_", "HCCL_", "DEVICE_", "RANK_", "SERVER_ID", "GLOG_v", "OMP_NUM_THREADS")
TOOLS = (["npu-smi", "info"], ["g++", "--version"], ["cmake", "--version"])
# files of CANN and of its driver that say their version
CANN = ("compiler/version.info", "version.cfg", "opp/version.info", "../driver/version.info",
        "../../driver/version.info", "/usr/local/Ascend/driver/version.info")
FOLDER, KNOWN = r"[^\s/:'\",;()\[\]]+", r"(?:site-packages|Ascend|cann|mindspore-lite[^/\s]*)"   # in a path
TOLERANCE = 0.05    # of the largest value: what float16 makes of these networks is far below it


def main(argv: list[str]) -> None:
    """Runs the command that the first argument names with the others."""
    if {"-h", "--help"} & set(argv):
        print(__doc__)
        return
    commands = {"versions": versions, "corpus": corpus, "reference": reference, "compare": compare, "clean": clean}
    if not argv or argv[0] not in commands:
        raise SettingError(f"found {argv[0] if argv else 'nothing'!r}, expected one of {', '.join(commands)}")
    commands[argv[0]](*argv[1:])


def versions() -> None:
    """Prints versions of the machine, the driver, CANN and the packages, and the variables that matter to them."""
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {' '.join(platform.libc_ver())}")
    print(f"Python {platform.python_version()}")
    for name in PACKAGES:
        try:
            print(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"{name}: not installed")
    for command in TOOLS:
        print_tool(command)
    home = Path(os.environ.get("ASCEND_HOME_PATH", "/usr/local/Ascend/cann"))
    for path in dict.fromkeys((home / name).resolve() for name in CANN):
        if path.is_file():
            print(f"{path.parent.name}/{path.name}: {'; '.join(path.read_text(errors='replace').split()[:12])}")
    lite = os.environ.get("MS_LITE_HOME", "")
    print(f"MS_LITE_HOME: {Path(lite).name if lite else 'not set'}")
    for name in sorted(os.environ):
        if name.startswith(VARIABLES):
            print(f"{name}={os.environ[name]}")


def print_tool(command: list[str]) -> None:
    """What a tool says of its version; of npu-smi its tables without that of other people's processes."""
    if not shutil.which(command[0]):
        print(f"{command[0]}: not found")
        return
    try:
        text = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False).stdout
    except subprocess.TimeoutExpired:
        print(f"{command[0]}: no answer in 60 s")
        return
    if command[0] == "npu-smi":
        print(re.split(r"^.*Process id", text, maxsplit=1, flags=re.M)[0].rstrip())
    else:
        print(text.splitlines()[0] if text else f"{command[0]}: says nothing")


def corpus(folder: str) -> None:
    """Writes FOLDER/wav/*.wav, all of one length, and the lists that the models take; the same bytes every time."""
    from utils.audio.audio_file import write_wav  # the other commands need none of it

    top, generator = Path(folder), np.random.default_rng(0)
    (top / "wav").mkdir(parents=True)
    names = [(speaker, f"s{speaker}-{number}") for speaker in range(SPEAKERS) for number in range(EACH)]
    voices = {}
    for speaker, name in names:
        voices[name] = voice(generator, 90 + 20 * speaker)
        write_wav(top / "wav" / f"{name}.wav", voices[name], RATE)
    write_text(top / "train.txt", "".join(f"s{speaker} {name}.wav\n" for speaker, name in names))
    pairs = [(left, right) for left in names[:EACH] for right in names[:2 * EACH] if left != right]
    write_text(top / "trials.txt", "".join(f"{int(left[0] == right[0])} {left[1]}.wav {right[1]}.wav\n"
                                           for left, right in pairs))
    rows = ["mixture_ID,mixture_path,source_1_path,source_2_path"]
    for (_, left), (_, right) in zip(names[:EACH], names[-EACH:], strict=True):
        write_wav(top / "wav" / f"mix-{left}.wav", voices[left] + voices[right], RATE)
        rows.append(f"{left}_{right},mix-{left}.wav,{left}.wav,{right}.wav")
    write_text(top / "mixtures.csv", "\n".join(rows) + "\n")
    for part, chosen in (("train", names), ("test", names[:EACH])):
        samples = [{"wav_path": f"wav/{name}.wav", "transcript": WORDS[int(name[-1])], "seconds": float(SECONDS)}
                   for _, name in chosen]
        write_text(top / f"{part}.json", json.dumps({"root_path": str(top.resolve()), "samples": samples}))
    print(f"{len(names)} utterances of {SECONDS} s, {len(pairs)} trials, {len(rows) - 1} mixtures")


def voice(generator: np.random.Generator, pitch: float) -> np.ndarray:
    """SECONDS of syllables of a voice: harmonics of `pitch` Hz below 4 kHz through random resonances, in noise."""
    time = np.arange(RATE * SECONDS) / RATE
    phase = 2 * np.pi * pitch * (time + 0.002 * np.sin(2 * np.pi * 4 * time))
    resonances = generator.uniform((300, 900, 2000), (900, 2000, 3500))
    sound = sum(np.sin(number * phase) / (1 + (np.abs(resonances - number * pitch) / 200).min())
                for number in range(1, int(4000 / pitch)))
    syllables = np.repeat(generator.uniform(0, 1, 4 * SECONDS), RATE // 4) * np.sin(4 * np.pi * time) ** 2
    sound = sound * syllables / np.abs(sound).max()
    return (0.3 * sound + 0.003 * generator.standard_normal(len(time))).astype(np.float32)


def reference(graph: str, inputs: str, outputs: str) -> None:
    """Writes to the folder `outputs` what the C++ runner writes, computed by MindSpore on this CPU.

    graph:  a .mindir that export.py wrote for no runtime in particular, inputs.json beside it
    inputs: preprocess_Result of preprocess.py
    """
    import mindspore as ms  # likewise

    ms.set_device("CPU")
    ports = read_description(Path(graph))["inputs"]
    network = ms.nn.GraphCell(ms.load(graph))
    target = Path(outputs)
    target.mkdir(parents=True, exist_ok=True)
    for first in sorted(Path(inputs, "00_data").rglob("*.bin")):
        name = first.relative_to(Path(inputs, "00_data"))
        arrays = [np.fromfile(Path(inputs, f"{number:02d}_data") / name, port["dtype"])
                  .reshape([size or -1 for size in port["shape"]]) for number, port in enumerate(ports)]
        result = network(*map(ms.Tensor, arrays))
        for number, output in enumerate(result if isinstance(result, tuple) else (result,)):
            path = target / f"{name.with_suffix('')}_{number}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            output.asnumpy().tofile(path)
    print(f"{len(list(target.rglob('*.bin')))} files")


def compare(results: str, expected: str) -> None:
    """Prints, for every kind of result, the largest difference as a part of the largest value.

    Results are scores_*.txt, log_probs.npz, *_separated_*.wav and the runner's *.bin. UserError where a file is
    missing, has another size or numbers that are none, or differs by more than TOLERANCE.
    """
    kinds, wrong = {}, []
    for path in sorted(Path(expected).rglob("*")):
        if (kind := kind_of(path)) is None:
            continue
        result = Path(results) / path.relative_to(expected)
        difference = distance(numbers(result), numbers(path)) if result.exists() else np.nan
        kinds.setdefault(kind, []).append(difference)
        if not difference <= TOLERANCE:
            wrong.append(f"{result.name}: {difference:.2g}" if result.exists() else f"{result.name}: missing")
    if not kinds:
        raise NotFoundError(f"{expected}: no results in it to compare with")
    for kind, differences in kinds.items():
        print(f"{kind}: {len(differences)} files, largest difference {np.max(differences):.1e} of the largest value")
    if wrong:
        raise MismatchError(f"{len(wrong)} of {sum(map(len, kinds.values()))} files differ by more than {TOLERANCE:g}: "
                            f"{', '.join(wrong[:3])}")


def kind_of(path: Path) -> str | None:
    """What the numbers of a file are; None for one that is no result."""
    if path.name.startswith("scores_") and path.suffix == ".txt":
        return "scores"
    if "_separated_" in path.name and path.suffix == ".wav":
        return "separated wavs"
    if path.name == "log_probs.npz":
        return "log probabilities"
    return "outputs of the graph" if path.suffix == ".bin" else None


def numbers(path: Path) -> np.ndarray:
    """The numbers in a result, flat float64."""
    if path.suffix == ".txt":
        return np.array([float(line.split()[0]) for line in open_lines(path, "scores of eval.py", names=True)])
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as data:
            return np.concatenate([data[name].ravel() for name in data.files if name.startswith("log_probs.")])
    if path.suffix == ".wav":
        import soundfile

        return soundfile.read(path)[0].ravel()
    # a single number is DeepSpeech2's number of frames
    return np.fromfile(path, np.int32 if path.stat().st_size == 4 else np.float32).astype(np.float64)


def distance(result: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference as a part of the largest value; NaN for another size, or where a number is none."""
    if result.shape != expected.shape or not expected.size:
        return float("nan")
    return float(np.abs(result - expected).max() / np.abs(expected).max())


def clean() -> None:
    """Standard input without names of people, machines and folders, and without what a progress bar overwrote."""
    names = own_names()
    for line in io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="backslashreplace", newline="\n"):
        if text := without_names(line.rstrip("\n").rsplit("\r", 1)[-1], names).rstrip():
            print(text)


def without_names(text: str, names: Iterable[tuple[str, str]]) -> str:
    """`text` with each (name, what stands for it) replaced, other folders cut to where they are known, no addresses."""
    for name, word in names:
        domain = r"(?:\.[\w-]+)*" if word == "HOST" else ""
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}{domain}(?![\w-])", word, text)
    text = re.sub(rf"(?<![\w.~/])/(?:{FOLDER}/)*?(?={KNOWN}\b)", "", text)
    text = re.sub(rf"(?<![\w.~/<])/(?:{FOLDER}/)+(?=[^\s/])", ".../", text)
    text = re.sub(r"(?i)(?<![\w:])[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){4,7}(?![\w:])", "ADDRESS", text)     # IPv6, MAC
    return re.sub(r"(?<![\d.])(?!127\.)\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)", "ADDRESS", text)


def own_names() -> list[tuple[str, str]]:
    """(name, what stands for it) of this repository, this person and this machine, the longest first."""
    host = socket.gethostname()
    names = [(str(ROOT), "."), (os.environ.get("REPORT_WORK", ""), "WORK"), (os.path.expanduser("~"), "~"),
             (host, "HOST"), (host.split(".")[0], "HOST")]
    with contextlib.suppress(KeyError, OSError):        # of a user without a name, as in containers
        names.append((getpass.getuser(), "USER"))
    known = {"root", "localhost", "/", ""}
    return sorted({pair for pair in names if pair[0] not in known}, key=lambda pair: -len(pair[0]))


if __name__ == "__main__":
    run(main, sys.argv[1:])
