"""What all processes of a test run share, made by the first that needs it while the others wait."""
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import mindspore as ms
import pytest
from filelock import FileLock

from helpers.documents import ROOT
from utils.files import CACHE

RUNNER = ROOT / "ascend310_infer"
KERNELS = ROOT / "utils" / "cpu_ops" / "kernels"      # of which the runner has some
LIBRARIES = ("sndfile.h", "soxr.h")     # headers of those that the runner is built with where they are installed
MODELS = ("ecapatdnn", "conv_tasnet", "deepspeech2")


def shared_folder(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` among the temporary ones of this test run; `make(folder)` fills it, once for all processes."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent      # each process has its folder in that of the run
    folder, done = base / "shared" / name, base / "shared" / f"{name}.done"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)       # of a process that failed
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def runner_program(sanitize: bool = False) -> Path:
    """The C++ runner, built by build.sh once for these sources, this compiler and this MindSpore.

    The work tree is left alone: a copy of the sources is built in a temporary folder, and the program and its libraries
    are kept in a folder where downloads and the operators of utils/cpu_ops are.
    """
    arguments = ["--sanitize"] if sanitize else []
    path = CACHE / f"runner-{_fingerprint(arguments)}"      # of the folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                copy = Path(folder, RUNNER.name)
                shutil.copytree(RUNNER, copy, ignore=shutil.ignore_patterns("build", "build_sanitize"))
                shutil.copytree(KERNELS, Path(folder, KERNELS.relative_to(ROOT)))
                environment = os.environ | {"PYTHON": sys.executable, "PATH": search_path()}
                done = subprocess.run(["bash", copy / "build.sh", *arguments], env=environment, capture_output=True,
                                      text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
                build = copy / ("build_sanitize" if sanitize else "build")
                shutil.rmtree(build / "CMakeFiles")
                build.rename(path)
    return path / "main"


def _fingerprint(arguments):
    """Of all that the program depends on."""
    compiler = os.environ.get("CXX", "c++")
    parts = [*arguments, ms.__version__, os.environ.get("MS_LITE_HOME", ""),
             subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout,
             *(str(has_header(name)) for name in LIBRARIES)]
    files = [RUNNER / "CMakeLists.txt", RUNNER / "build.sh", *RUNNER.glob("src/*"), *RUNNER.glob("inc/*"),
             *KERNELS.glob("*")]
    parts += [f"{path.name}\0{path.read_text(encoding='utf-8')}" for path in sorted(files)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@functools.cache
def has_header(name: str) -> bool:
    """Whether the C++ compiler finds a header."""
    return subprocess.run([os.environ.get("CXX", "c++"), "-E", "-include", name, "-x", "c++", os.devnull],
                          capture_output=True, check=False).returncode == 0


def search_path() -> str:
    """PATH, with the programs of this Python first."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def copy_tree(folder: Path, runner: Path | None = None) -> Path:
    """A copy of the models, utils and the runner's scripts in `folder`, for scripts that write beside themselves.

    Checkpoints that ship are links. `runner`: what build.sh builds there; without it build.sh fails.
    """
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *MODELS, "utils", RUNNER.name,
                             "ascend_report.sh"], cwd=ROOT, check=True, capture_output=True,
                            text=True).stdout.splitlines()
    for name in listed:
        target = folder / name
        if not (ROOT / name).is_file() or "/results/" in name:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".ckpt":
            target.symlink_to(ROOT / name)
        else:
            shutil.copy(ROOT / name, target)
    build = folder / RUNNER.name / "build.sh"
    build.write_text(f'mkdir -p "$(dirname "$0")/build" && ln -sf {runner} "$(dirname "$0")/build/main"\n' if runner
                     else "exit 1\n")
    return folder
