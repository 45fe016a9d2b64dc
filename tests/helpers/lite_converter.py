"""MindSpore Lite 2.0.0's own converter to an Ascend, up to CANN's compiler, in whose place there are stubs.

What it shows: that the converter reads a graph, has an adapter of CANN's for each of its operators, and which inputs
these get. What it can't: what CANN makes of them.
"""
import ctypes
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from helpers.documents import ROOT
from utils.ascend_check.elf import read_library
from utils.ascend_check.stubs import can_open, source
from utils.files import CACHE

LITE = CACHE / "mindspore-lite-2.0.0" / "mindspore_lite"
SOURCE = ROOT / "tests" / "helpers" / "lite_converter.cc"
ASCEND = ("libmslite_shared_lib.so", "libascend_pass_plugin.so")     # its libraries that need CANN


class Conversion(NamedTuple):
    """What became of a graph."""

    succeeded: bool
    operators: Counter      # of CANN, by their types
    inputs: set             # (type of an operator, name of an input it was given)
    options: dict           # that CANN's compiler was given
    output: str


def build(folder: Path):
    """Writes the converter, and stubs for CANN's libraries, into `folder`; Lite must have been fetched."""
    libraries = LITE / "lib"
    read = {path.name: read_library(path) for path in libraries.glob("*.so*")}
    wanted = frozenset().union(*(read[name].undefined for name in ASCEND))
    wanted -= frozenset().union(*(library.defined for library in read.values()))
    _compile([SOURCE, "-DCANN", "-shared", "-fPIC"], folder / "recorder.so")
    system = [ctypes.CDLL("libstdc++.so.6"), ctypes.CDLL(None)]
    symbols = [name for name in sorted(wanted - read_library(folder / "recorder.so").defined)
               if not any(hasattr(library, name) for library in system)]
    (folder / "stubs.cc").write_text(source(symbols), encoding="utf-8")
    _compile([folder / "stubs.cc", SOURCE, "-DCANN", "-shared", "-fPIC"], folder / "libcann.so")
    for name in {name for library in ASCEND for name in read[library].needed if name not in read}:
        if not can_open(name):
            (folder / name).symlink_to("libcann.so")
    _compile([SOURCE, f"-I{LITE}", f"-I{LITE}/include", f"-L{libraries}", "-lmindspore_converter",
              "-lmslite_converter_plugin", "-lmindspore_core", "-l:libmindspore_glog.so.0",
              "-Wl,--disable-new-dtags", f"-Wl,-rpath,{libraries}", "-Wl,--allow-shlib-undefined"], folder / "convert")


class Converter:
    """converter_lite --optimize=ascend_oriented, as `build` wrote it into `folder`; its graphs go into `results`."""

    def __init__(self, folder: Path, results: Path):
        self.folder, self.libraries, self.converted = folder, LITE / "lib", results / "converted.mindir"

    def __call__(self, graph: Path, config: Path | str = "") -> Conversion:
        kind = "ONNX" if graph.suffix == ".onnx" else "MINDIR"
        command = [self.folder / "convert", kind, graph, self.converted.with_suffix(""), *([config] if config else [])]
        environment = os.environ | {"GLOG_v": "3", "LD_LIBRARY_PATH": f"{self.folder}:{self.libraries}"}
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              check=False, env=environment)
        lines = [line.split(" ", 2) for line in done.stdout.splitlines()]
        return Conversion(done.returncode == 0, Counter(line[1] for line in lines if line[0] == "operator"),
                          {tuple(line[1:]) for line in lines if line[0] == "input"},
                          {line[1]: line[2] for line in lines if line[0] == "option"}, done.stdout)


def _compile(sources, path):
    subprocess.run(["g++", "-std=c++17", "-O1", "-w", "-D_GLIBCXX_USE_CXX11_ABI=0", *sources, "-o", path], check=True)
