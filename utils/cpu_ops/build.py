"""The operators in C++, compiled once for this processor into a cache folder.

They rest upon what MindSpore promises nobody: the layout of a class of its (kernels/common.h) and the oneDNN that it
carries. So they are taken with the versions that are TESTED only, and the environment variable CPU_OPS says otherwise:
0 leaves MindSpore's own layers, 1 takes the operators with any version. Whatever keeps them from being used is printed
in one line on stderr, and the network computes with MindSpore's own.
"""
import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mindspore as ms
from mindspore import ops

from utils.errors import OutputError, SettingError
from utils.files import CACHE, whole_file

TESTED = ("2.10.0",)        # versions of MindSpore with which tests/test_cpu_ops.py was run
SWITCH = "CPU_OPS"
SOURCES = Path(__file__).parent / "kernels"
CPUINFO = Path("/proc/cpuinfo")
PROCESSOR = ("model name", "flags", "CPU implementer", "CPU part", "Features")     # of x86, of Arm
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-pthread",
         "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror",
         "-Wl,-z,defs",                    # a function that this MindSpore's oneDNN lacks is found now, not in training
         "-Wl,-z,nodelete",                # MindSpore closes the library after use, but its threads go on
         "-D_GLIBCXX_USE_CXX11_ABI=0")     # as MindSpore is built
COMPLAINT = r"error: (?!ld returned)|undefined reference"     # of the compiler and of the linker


class Unusable(Exception):
    """Why the operators cannot be used here."""


@functools.cache
def library() -> Path | None:
    """The path of the compiled operators; None, and the reason printed once, where they are not to be used.

    SettingError for a CPU_OPS that is neither 0 nor 1.
    """
    try:
        check_wanted()
        return compiled()
    except (Unusable, OutputError) as error:
        reason = str(error)
    except OSError as error:        # no compiler that can be run; no /proc
        reason = f"{error.filename}: {error.strerror}"
    print(f"{reason}: going on with MindSpore's own operators, several times slower", file=sys.stderr, flush=True)
    return None


def check_wanted() -> None:
    """Unusable where CPU_OPS or the version of MindSpore says so."""
    wanted = os.environ.get(SWITCH, "")
    if wanted not in ("", "0", "1"):
        raise SettingError(f"{SWITCH}: found {wanted!r}, expected 0 for MindSpore's own layers, 1 for the C++ "
                           "operators whatever the version, or nothing")
    if wanted == "0":
        raise Unusable(f"{SWITCH}=0")
    if not wanted and ms.__version__ not in TESTED:
        raise Unusable(f"C++ operators: found MindSpore {ms.__version__}, tested with {', '.join(TESTED)}; {SWITCH}=1 "
                       "takes them all the same")


def compiled() -> Path:
    """The path of the operators, compiled if they are not yet. Unusable or OutputError where that fails."""
    # what the user has set: MindSpore puts OMP_NUM_THREADS to 1 behind Python's back
    os.environ["CPU_OPS_THREADS"] = os.environ.get("OMP_NUM_THREADS", "")
    dnnl = onednn()
    if not dnnl.is_file():
        raise Unusable(f"{dnnl}: not in this MindSpore")
    libraries = [str(dnnl), f"-Wl,-rpath,{dnnl.parent}"]
    key = fingerprint([compiler(), *FLAGS, *libraries])
    path = CACHE / f"cpu_ops-{key}.so"      # one for all copies of this folder
    if not path.exists():
        with whole_file(path, remedy="XDG_CACHE_HOME names another folder") as temporary:    # others may compile, too
            sources = sorted(map(str, SOURCES.glob("*.cc")))
            print("compiling the C++ kernels for this processor, once: some 20 seconds", file=sys.stderr, flush=True)
            done = run([compiler(), *FLAGS, *sources, *libraries, "-o", str(temporary)])
            if done.returncode:
                lines = done.stderr.splitlines()
                reason = next((line for line in lines if re.search(COMPLAINT, line)), lines[0] if lines else "")
                raise Unusable(f"{compiler()} cannot compile {SOURCES} ({reason.strip()})")
    load(path)
    return path


def compiler() -> str:
    """The path of the C++ compiler; Unusable where there is none."""
    path = shutil.which(os.environ.get("CXX", "g++"))
    if path is None:
        raise Unusable("no C++ compiler")
    return path


def version(path: str) -> str:
    """What a compiler says of itself."""
    return run([path, "--version"]).stdout


def onednn() -> Path:
    """MindSpore's own oneDNN: one path, of which a fingerprint is taken, whatever links lead to it."""
    return Path(ms.__file__).parent.resolve() / "lib" / "libdnnl.so.3"


def load(path: str | Path) -> None:
    """Opens a library as MindSpore will, in the middle of a run. Unusable where it cannot be opened."""
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        raise Unusable(f"{path} cannot be loaded ({error}); delete it to compile it again") from None


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """A finished process, with what it printed."""
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def fingerprint(command: Sequence[str]) -> str:
    """Of all that the compiled operators depend on: sources, compiler, flags, MindSpore and processor."""
    parts = [*command, ms.__version__, version(command[0])]
    parts += [path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.[ch]*"))]
    parts += processor().values()
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def processor() -> dict[str, str]:
    """What the system says of the first processor: its name and the instruction sets it has."""
    first = CPUINFO.read_text(encoding="utf-8").split("\n\n", 1)[0]
    lines = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines if name.startswith(PROCESSOR)}


def operator(name: str, settings: Sequence[int] = (), outputs: int = 1, bprop: Callable | None = None,
             bfloat16: bool = False) -> Callable[..., Any]:
    """The operator `name` of float32 tensors, for any sizes; `settings`: the whole numbers it reads.

    With `bfloat16` its products of matrices round what they take to it, and sum in float32.
    """
    dtype = ms.float32 if outputs == 1 else (ms.float32,) * outputs
    function = ops.Custom(f"{library()}:{name}", None, dtype, "aot", bprop)
    function.add_prim_attr("reg_op_name", name)       # without it MindSpore 2.10 finds no shapes
    function.add_prim_attr("multi_output", outputs > 1)
    function.add_prim_attr("bfloat16", bfloat16)
    if settings:
        function.add_prim_attr("settings", list(settings))
    return function
