"""The operators in C++, compiled once for this processor into a cache folder."""
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import mindspore as ms
from mindspore import ops

from utils.files import CACHE

SOURCES = Path(__file__).parent / "kernels"
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-pthread",
         "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror",
         "-Wl,-z,nodelete",                # MindSpore closes the library after use, but its threads go on
         "-D_GLIBCXX_USE_CXX11_ABI=0")     # as MindSpore is built


@functools.cache
def library():
    """The path of the compiled operators; None, and the reason said once, where they cannot be compiled."""
    # what the user has set: MindSpore puts OMP_NUM_THREADS to 1 behind Python's back
    os.environ["CPU_OPS_THREADS"] = os.environ.get("OMP_NUM_THREADS", "")
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        return refuse("no C++ compiler")
    dnnl = Path(ms.__file__).parent / "lib" / "libdnnl.so.3"
    command = [compiler, *FLAGS, *sorted(map(str, SOURCES.glob("*.cc"))), str(dnnl), f"-Wl,-rpath,{dnnl.parent}"]
    path = CACHE / f"cpu_ops-{fingerprint(command)}.so"
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            command += ["-o", f"{folder}/{path.name}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
                return refuse(f"{compiler} cannot compile {SOURCES} ({reason})")
            os.replace(f"{folder}/{path.name}", path)     # several processes may compile at once
    except OSError as error:
        return refuse(f"{CACHE}: {error.strerror}")
    return path


def refuse(reason):
    """Says why there are no operators, and what follows."""
    print(f"{reason}: going on with MindSpore's own operators, several times slower", flush=True)


def fingerprint(command):
    """Of all that the compiled operators depend on: sources, compiler, flags, MindSpore and processor."""
    parts = [*command, ms.__version__, subprocess.run([command[0], "--version"], capture_output=True, text=True,
                                                      check=False).stdout]
    parts += [path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.[ch]*"))]
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        parts += [line for line in file if line.startswith(("model name", "flags"))][:2]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def operator(name, settings=(), outputs=1, bprop=None):
    """The operator `name` of float32 tensors, for any sizes; `settings`: the whole numbers it reads."""
    dtype = ms.float32 if outputs == 1 else (ms.float32,) * outputs
    function = ops.Custom(f"{library()}:{name}", None, dtype, "aot", bprop)
    function.add_prim_attr("reg_op_name", name)       # without it MindSpore 2.10 finds no shapes
    function.add_prim_attr("multi_output", outputs > 1)
    if settings:
        function.add_prim_attr("settings", list(settings))
    return function
