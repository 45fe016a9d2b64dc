"""The C++ runner over an hour of sound: it takes no more memory than over ten seconds."""
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from helpers.documents import ROOT
from helpers.halves import RATE
from mindspore import nn, ops

import deepspeech2.export
from deepspeech2.src.config import Config as TextConfig
from ecapatdnn.src.config import Config
from utils.config import load_config
from utils.export.graph import Port, export_model

HOUR = 3600
# A process begins with the peak of the one that it was started by, so that must be a small one
MEASURE = """import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)"""
GROWTH = 48 * 2 ** 20       # bytes; the samples of an hour are 230 MB


class Levels(nn.Cell):
    """An embedding of two numbers."""

    def construct(self, x):
        return ops.stack((ops.reduce_mean(ops.abs(x), 1), ops.reduce_mean(x * x, 1)), 1)


class Twice(nn.Cell):
    """Two voices, both half of the sound."""

    def construct(self, x):
        return ops.stack((x / 2.0, x * 0.5), 1)


# {kind: (network, shape of its output, facts of the answer, flags)}
KINDS = {"embedding": (Levels, (1, 2), {"window": 30 * RATE}, ["--embed"]),
         "voices": (Twice, (1, 2, None), {"window": 4 * RATE, "overlap": RATE}, ["--output_path", "{folder}"])}


def peak(program, graph, recording, flags):
    """Bytes of memory that the program has at most."""
    arguments = [program, "--mindir_path", graph, "--device_target", "CPU", *flags, recording]
    done = subprocess.run([sys.executable, "-S", "-c", MEASURE, *arguments], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1]) * 1024


@pytest.mark.slow
def test_an_hour_of_text_needs_little_more_memory_than_a_minute(runner, tmp_path):
    """Of DeepSpeech2's checkpoint that ships: windows of any length, whose convolutions ask for 5 GB each."""
    checkpoint = ROOT / "deepspeech2" / "pretrained" / "best.ckpt"
    graph = deepspeech2.export.main(dataclasses.replace(
        load_config(TextConfig, checkpoint), model_path=str(checkpoint), input="waveform",
        runtime="lite2.0-cpu", length=0, file_name=str(tmp_path / "net")))
    samples, rate = soundfile.read(ROOT / "deepspeech2" / "samples" / "command.wav", dtype="int16")
    peaks = []
    for seconds in (60, HOUR):
        soundfile.write(tmp_path / "long.wav", np.resize(samples, seconds * rate), rate)
        peaks.append(peak(runner, graph, tmp_path / "long.wav", []))
    assert peaks[1] - peaks[0] < 2 * GROWTH, f"{peaks[0] / 2 ** 20:.0f} MiB, then {peaks[1] / 2 ** 20:.0f} MiB"
    print(f"text: {peaks[0] / 2 ** 20:.0f} MiB for a minute, {peaks[1] / 2 ** 20:.0f} MiB for an hour")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_hour_needs_no_more_memory_than_ten_seconds(runner, tmp_path, kind):
    network, shape, facts, flags = KINDS[kind]
    config = dataclasses.replace(Config(), runtime="lite2.0-cpu", file_name=str(tmp_path / "net.mindir"))
    graph = export_model(network(), config, [Port("waveform", "float32", (1, None))],
                         [Port("result", "float32", shape, length=(0, 1) if None in shape else ())], "net",
                         sample_rate=RATE, step_seconds=1 / RATE, wav_multiple=1, shortest=1,
                         answer={"kind": kind, **facts})
    second = np.random.default_rng(0).standard_normal(RATE) / 10
    peaks = []
    for seconds in (10, HOUR):
        with soundfile.SoundFile(tmp_path / f"{seconds}.wav", "w", RATE, 1, "PCM_16") as file:
            for _ in range(seconds):
                file.write(second)
        peaks.append(peak(runner, graph, tmp_path / f"{seconds}.wav",
                          [flag.format(folder=tmp_path / "voices") for flag in flags]))
    assert peaks[1] - peaks[0] < GROWTH, f"{peaks[0] / 2 ** 20:.0f} MiB, then {peaks[1] / 2 ** 20:.0f} MiB"
    print(f"{kind}: {peaks[0] / 2 ** 20:.0f} MiB for 10 s, {peaks[1] / 2 ** 20:.0f} MiB for an hour")
