"""The C++ runner for aarch64: Debian's cross compiler builds all of it, and qemu runs what needs no runtime."""
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from helpers.native import WITHOUT_LIBRARIES, answers, native_program
from helpers.shared import CACHE, RUNNER, search_path

COMPILER, QEMU = "aarch64-linux-gnu-g++", "qemu-aarch64"
AARCH64 = ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DCMAKE_CXX_COMPILER={COMPILER}")
LIBRARIES = "/usr/aarch64-linux-gnu"
pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not shutil.which(COMPILER), reason="g++-aarch64-linux-gnu is missing")]


@pytest.mark.skipif(not shutil.which(QEMU), reason="qemu-user is missing")
def test_sound_is_read_and_written_as_on_this_machine(tmp_path):
    """The same bytes for wavs of every encoding, and the same lines for what is refused."""
    samples = np.random.default_rng(0).uniform(-0.02, 0.02, (3000, 2)).astype(np.float32)
    for encoding in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "GSM610"):
        sound = samples[:, 0] if encoding == "GSM610" else samples
        soundfile.write(tmp_path / f"{encoding}.wav", sound, 16000, encoding)
    samples.tofile(tmp_path / "in.f32")
    (tmp_path / "cut.wav").write_bytes((tmp_path / "FLOAT.wav").read_bytes()[:5000])
    wavs, results = sorted(tmp_path.glob("*.wav")), []
    for program in ([native_program("sound", *WITHOUT_LIBRARIES)],
                    [QEMU, "-L", LIBRARIES, native_program("sound", *WITHOUT_LIBRARIES, *AARCH64)]):
        lines = answers(program, [*(("read", path, 0, f"{path}.f32") for path in wavs),
                                  ("write", tmp_path / "out.wav", 16000, tmp_path / "in.f32", "whole")])
        # but for the memory that was taken, the fifth number
        results.append(([re.sub(r"^(\S+ \S+ \S+ \S+) \d+", r"\1", line) for line in lines],
                        [path.read_bytes() for path in sorted(tmp_path.glob("*.f32"))],
                        (tmp_path / "out.wav").read_bytes()))
    assert results[0] == results[1]
    assert any(line.startswith("error: ") for line in results[0][0])


def test_the_whole_program_is_built_for_aarch64(tmp_path):
    """By build.sh, with MindSpore Lite's headers and an empty library in the place of its runtime."""
    headers = CACHE / "mindspore-lite-2.0.0" / "mindspore_lite" / "include"
    if not headers.is_dir():
        pytest.skip("MindSpore Lite's headers are not fetched; the first build of the runner does it")
    home, copy = tmp_path / "lite", tmp_path / RUNNER.name
    (home / "lib").mkdir(parents=True)
    (home / "include").symlink_to(headers)
    runtime = home / "lib" / "libmindspore-lite.so"
    subprocess.run([COMPILER, "-shared", "-x", "c++", os.devnull, "-o", runtime], check=True)
    shutil.copytree(RUNNER, copy, ignore=shutil.ignore_patterns("build", "build_sanitize"))
    environment = os.environ | {"PYTHON": sys.executable, "PATH": search_path(), "MS_LITE_HOME": str(home),
                                "CXX": COMPILER, "LDFLAGS": "-Wl,--unresolved-symbols=ignore-all"}
    done = subprocess.run(["bash", copy / "build.sh"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in (copy / "build" / "main", *(copy / "build").glob("*.so")):
        header = path.read_bytes()[:20]
        assert header[:4] == b"\x7fELF" and int.from_bytes(header[18:], "little") == 183, path      # EM_AARCH64
