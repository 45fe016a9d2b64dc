"""The programs of tests/native: parts of the C++ runner that need no runtime, built without one."""
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from helpers.documents import ROOT
from helpers.shared import LIBRARIES, has_header, search_path
from utils.files import CACHE

SOURCES = (ROOT / "tests" / "native", ROOT / "ascend310_infer")
WITHOUT_LIBRARIES = ("-DWITH_SNDFILE=OFF", "-DWITH_SOXR=OFF")
SANITIZE = ("-DSANITIZE=ON",)
OPTIONS = {"ASAN_OPTIONS": "detect_leaks=0"}      # libvorbis leaks for damaged files


def json_headers() -> str:
    """The folder of nlohmann's JSON headers, which MindSpore's package carries."""
    spec = importlib.util.find_spec("mindspore")
    assert spec and spec.submodule_search_locations
    return f"{spec.submodule_search_locations[0]}/include/third_party"


def native_program(name: str, *flags: str) -> Path:
    """The program tests/native/`name`.cc, built once for these sources and these `flags` of CMake."""
    files = [path for folder in SOURCES for path in (*folder.glob("*"), *folder.glob("*/*.cc"), *folder.glob("*/*.h"))
             if path.is_file()]
    parts = [*flags, *map(str, map(has_header, LIBRARIES)), *(file.read_text("utf-8") for file in sorted(files))]
    path = CACHE / f"native-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                _cmake("-S", SOURCES[0], "-B", folder, f"-DJSON_INCLUDE_DIR={json_headers()}",
                       "-DCMAKE_BUILD_TYPE=Debug", *flags)
                _cmake("--build", folder, "--parallel", "2")
                shutil.copytree(folder, path, ignore=shutil.ignore_patterns("CMakeFiles"))
    return path / name


def _cmake(*arguments):
    environment = os.environ | {"PATH": search_path()}
    done = subprocess.run(["cmake", *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def answers(program: Sequence[str | Path], commands: Sequence[Sequence[object]], **environment: str) -> list[str]:
    """The line with which a program of tests/native answers each of the commands."""
    done = subprocess.run(program, input="".join("\t".join(map(str, command)) + "\n" for command in commands),
                          capture_output=True, text=True, check=False, env=os.environ | OPTIONS | environment)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == len(commands), (commands[len(lines):][:1], done.stderr[-4000:])
    return lines
