"""Damaged audio files through the reader, the three infer.py and the C++ runner: read or refused, nothing else."""
import collections
import re
import struct

import numpy as np
import pytest
from helpers.audio_fuzz import PROGRAMS, RATE, read_all, write_damaged
from helpers.halves import export_halves
from helpers.programs import run_runner
from helpers.shared import runner_program

from utils.audio.recording import inspect
from utils.errors import UserError

GROWTH = 100 * 2 ** 20      # bytes that a process may grow by; a leak of each file would be more


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A graph that gives half of a recording."""
    return export_halves(tmp_path_factory.mktemp("halves"))


def assert_read_or_refused(target, files):
    outcomes, growth = read_all(target, files)
    bad = [outcome for outcome in outcomes if outcome.kind not in ("read", "refused")]
    assert not bad, "\n".join(f"{outcome.file}: {outcome.kind}: {outcome.text[-1000:]}" for outcome in bad[:5])
    kinds = collections.Counter(outcome.kind for outcome in outcomes)
    assert min(kinds["read"], kinds["refused"]) > len(files) / 10, kinds     # the damage is neither nothing nor all
    assert growth < GROWTH, f"{growth / 2 ** 20:.0f} MiB after {len(files)} files"


@pytest.mark.parametrize("count", [300, pytest.param(6000, marks=pytest.mark.slow)])
def test_reader(tmp_path, count):
    """All ways to read a file agree: its length, its samples, its blocks."""
    assert_read_or_refused("reader", write_damaged(tmp_path, count, seed=count))


@pytest.mark.slow
@pytest.mark.parametrize("model", PROGRAMS)
def test_program(model, tmp_path):
    """2000 files through infer.py, one by one."""
    assert_read_or_refused(model, write_damaged(tmp_path, 2000, seed=PROGRAMS.index(model)))


def contradicts_itself(wav):
    """Whether the header gives frames another size than their samples have: each decoder believes another number."""
    channels, _, _, frame, bits = struct.unpack_from("<HIIHH", wav, wav.index(b"fmt ") + 10)
    return frame != channels * bits // 8


@pytest.mark.parametrize("count, sanitize", [(300, False), pytest.param(6000, False, marks=pytest.mark.slow),
                                             pytest.param(2000, True, marks=pytest.mark.slow)])
def test_runner(graph, runner, tmp_path, count, sanitize):
    """Each file, all called .wav, has results or a line; what it reads is what Python reads, to the last bits."""
    files = write_damaged(tmp_path, count, seed=count + 1, suffix=".wav",
                          wanted=lambda name: count > 1000 or "WAV" in name or "RF64" in name)
    results = tmp_path / "results"
    flags = {"ASAN_OPTIONS": "detect_leaks=0:alloc_dealloc_mismatch=0"} if sanitize else {}    # of the runtime
    code, output = run_runner(runner_program(sanitize=True) if sanitize else runner, graph, tmp_path, results,
                              "--warmup", "0", **flags)
    assert code == 2 and "Sanitizer" not in output and "runtime error" not in output, output[-2000:]
    refused = re.findall(r"^error: (\S+\.wav): .", output, re.M)
    assert len(set(refused)) == len(refused) and f"error: {len(refused)} of {count} items not run" in output
    compared = 0
    for file in files:
        path = results / f"{file.stem}_0.bin"
        assert path.is_file() != (str(file) in refused), file
        if not path.is_file() or contradicts_itself(file.read_bytes()):
            continue
        try:
            expected = inspect(file, 1, RATE).whole(RATE)
        except UserError:       # of chunks that the runner passes over
            continue
        np.testing.assert_allclose(2 * np.fromfile(path, np.float32), expected, rtol=1e-5, atol=1e-5, err_msg=file)
        compared += 1
    assert compared > count / 20
