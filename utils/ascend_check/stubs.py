"""Libraries that stand in for CANN's: with the symbols that MindSpore's Ascend plugin asks for, and nothing in them.

The wheel of MindSpore carries that plugin. Until a kernel is launched it needs nothing of CANN but its symbols, and in
a simulation none is. Which symbols these are is read from the wheel; they are compiled once into a cache folder.
"""
import ctypes
import hashlib
import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from utils.ascend_check.elf import read_library, words
from utils.errors import OutputError, UnsupportedError
from utils.files import CACHE, whole_folder

TESTED = "2.10.0"               # MindSpore, of which the plugin's log and classes are known
MACHINE = "x86_64"
SOURCES = Path(__file__).parent
PLUGINS = ("libmindspore_ascend.so.2", "libhccl_plugin.so", "libmindspore_graph_ir.so", "libmindspore_ge_backend.so")
STUB = "libcann.so"             # all symbols; CANN's own names lead to it
FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-w", "-D_GLIBCXX_USE_CXX11_ABI=0")      # as MindSpore is built

# what the plugin looks up by name: CANN's prefixes, and the helpers of aclnn
LOOKED_UP = re.compile(r"(acl|Hccl|hal[A-Z]|rt[A-Z])\w+")
HELPERS = re.compile(r"[A-Z]\w*(HugeMem|PTA)\w*")
ACLNN = re.compile(r"aclnn[A-Z]\w*")     # each comes with a second function, for its workspace
OPENED = re.compile(r"/?lib64/(lib\w+\.so)")
DATA = ("_ZTI", "_ZTV")                   # symbols of C++ that are no functions

# What stubs must do beyond returning 0: most are objects returned by value, whose place the caller gives first. Their
# sizes are CANN's.
BODIES = (
    (r"ge::StatusFactory::Instance\(\)", "static std::map<unsigned, std::string> names; return &names;"),
    (r"ge::Operator::Get(Name|OpType)\(\)|ge::Graph::GetName\(\)", "new (place) std::string; return place;"),
    (r"ge::Operator::Operator\(|ge::OperatorFactory::CreateOperator\(|ge::Shape::GetDims\(|ge::Graph::GetDirectNode\(|"
     r"ge::GNode::Get(In|Out)ControlNodes\(", "return memset(place, 0, 24);"),
    (r"ge::(AscendString|Graph|Promote|Shape|Tensor|TensorDesc|TensorType)::\1\(|ge::\w+::Get(Origin)?Shape\(|"
     r"ge::Tensor::GetTensorDesc\(", "return memset(place, 0, 16);"),
    (r"ge::(GraphBuffer|Session)::\1\(", "return memset(place, 0, 8);"),
)


def stubs() -> Path:
    """The folder of the libraries, compiled where they are not yet. UserError where they cannot be had."""
    check_machine()
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise UnsupportedError("ascend_check: no C++ compiler found, expected g++; install it, or name one by CXX")
    folder = CACHE / f"ascend_check-{fingerprint(compiler)}"
    if folder.is_dir():
        return folder
    try:
        with whole_folder(folder, remedy="XDG_CACHE_HOME names another folder") as temporary:
            build(compiler, mindspore_folder() / "lib", temporary)
    except OutputError:
        if not folder.is_dir():     # else another process was first
            raise
    return folder


def check_machine() -> None:
    """UnsupportedError where the tool says nothing: with another MindSpore than the tested one, on another machine."""
    try:
        version = metadata.version("mindspore")
    except metadata.PackageNotFoundError:
        version = "none"
    if version != TESTED:
        raise UnsupportedError(f"ascend_check: found MindSpore {version}, expected {TESTED}, whose Ascend plugin it "
                               f"knows; pip install mindspore=={TESTED}")
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", MACHINE):
        raise UnsupportedError(f"ascend_check: found {system} on {machine}, expected Linux on {MACHINE}, the only one "
                               "it is tested on")


def mindspore_folder() -> Path:
    """Where MindSpore is installed; it is not imported for that."""
    return Path(str(metadata.distribution("mindspore").locate_file("mindspore")))


def fingerprint(compiler: str) -> str:
    """Of all that the libraries depend on: MindSpore, the compiler, and this folder's sources."""
    parts = [metadata.version("mindspore"), str(mindspore_folder()), compiler,
             subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout]
    parts += [(SOURCES / name).read_text(encoding="utf-8") for name in ("elf.py", "stubs.py", "chip.cc")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def build(compiler: str, wheel: Path, folder: Path) -> None:
    """Writes into `folder`: cann/, by which MindSpore knows CANN's place, python/ with its hccl, and libchip.so."""
    symbols, libraries = missing(wheel)
    (folder / "cann/lib64").mkdir(parents=True)
    (folder / "cann/opp").mkdir()
    (folder / "python/hccl").mkdir(parents=True)
    (folder / "python/hccl/__init__.py").touch()
    (folder / "python/hccl/sys_version.py").write_text('__sys_version__ = "0.0"\n', encoding="utf-8")
    (folder / "stubs.cc").write_text(source(symbols), encoding="utf-8")
    compile_library(compiler, [folder / "stubs.cc"], folder / "cann/lib64" / STUB)
    for name in libraries:
        (folder / "cann/lib64" / name).symlink_to(STUB)
    compile_library(compiler, [SOURCES / "chip.cc", f"-L{wheel}", "-lmindspore_core", f"-Wl,-rpath,{wheel}",
                               "-Wl,--allow-shlib-undefined"], folder / "libchip.so")


def compile_library(compiler: str, sources: list, path: Path) -> None:
    """Compiles a library. UnsupportedError with the compiler's first complaint."""
    done = subprocess.run([compiler, *FLAGS, *map(str, sources), "-o", str(path)], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise UnsupportedError(f"{compiler} cannot compile {path.name} ({reason})")


def missing(wheel: Path) -> tuple[list, list]:
    """The symbols that the plugin wants of CANN, and the names of the libraries it looks for them in."""
    paths = {path.name: path for path in wheel.parent.rglob("*.so*")}
    read, absent, names = {}, set(), list(PLUGINS)
    while names:
        name = names.pop()
        if name not in paths:
            absent.add(name)
        elif name not in read:
            read[name] = read_library(paths[name])
            names += read[name].needed
    strings = frozenset().union(*(words(paths[name]) for name in read if (wheel / "plugin") in paths[name].parents))
    aclnn = {word for word in strings if ACLNN.fullmatch(word)}
    wanted = frozenset().union(*(library.undefined for library in read.values())) | aclnn
    wanted |= {word for word in strings if LOOKED_UP.fullmatch(word)} | {f"{name}GetWorkspaceSize" for name in aclnn}
    # the linker keeps a string that is the end of another one there only
    wanted |= {word[i:] for word in strings if HELPERS.fullmatch(word) for i in range(len(word)) if word[i].isupper()}
    wanted -= frozenset().union(*(library.defined for library in read.values()))
    here = ctypes.CDLL("libstdc++.so.6")        # which finds what Python itself is linked with too
    process = ctypes.CDLL(None)
    absent = {name for name in absent if not can_open(name)} | {match[1] for word in strings
                                                                 if (match := OPENED.fullmatch(word))}
    return (sorted(name for name in wanted if not hasattr(here, name) and not hasattr(process, name)),
            sorted(absent - paths.keys()))


def can_open(name: str) -> bool:
    """Whether the dynamic linker finds the library `name`."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def source(symbols: list) -> str:
    """C++ that defines `symbols`: functions that return 0, or what BODIES says, and room for data."""
    demangle = ctypes.CDLL("libstdc++.so.6")["__cxa_demangle"]
    demangle.restype = ctypes.c_void_p
    lines = ["#include <cstring>", "#include <map>", "#include <new>", "#include <string>", 'extern "C" {']
    for number, symbol in enumerate(symbols):
        if symbol.startswith(DATA):
            lines.append(f'char data{number}[256] __asm__("{symbol}");')
            continue
        name = _demangled(demangle, symbol)
        body = next((body for pattern, body in BODIES if re.match(pattern, name)), "return nullptr;")
        lines.append(f'void* f{number}(void* place) __asm__("{symbol}"); void* f{number}(void* place) {{ {body} }}')
    return "\n".join([*lines, "}", ""])


def _demangled(demangle, symbol):
    text = demangle(symbol.encode(), None, None, None)
    if not text:
        return symbol
    try:
        return ctypes.string_at(text).decode()
    finally:
        ctypes.CDLL(None).free(ctypes.c_void_p(text))
