"""Which instruction sets oneDNN and our kernels use: as many as are there, but AVX2 where stock convolutions run."""
import os
import re
import shutil
import subprocess
import sys

import mindspore as ms
import pytest
from helpers.documents import ROOT
from mindspore import nn

from ecapatdnn.src.model import EcapaTdnn
from utils import cpu_ops
from utils.cpu_ops import __main__ as program
from utils.cpu_ops import build
from utils.device import CAPPED, MAX_ISA, setup_device
from utils.training.settings import RunSettings
from utils.training.train_step import adapt

PROCESSOR = """processor : 0
model name : Fast CPU
cpu MHz : 2600.1
flags : fpu avx2 fma avx512f avx512_bf16
bugs : none

processor : 1
model name : Fast CPU
cpu MHz : 1400.9
flags : fpu avx2 fma avx512f avx512_bf16
"""

ARM = """processor : 0
BogoMIPS : 2000.00
Features : fp asimd sve bf16
CPU implementer : 0x41
CPU part : 0xd40
"""


@pytest.fixture
def environment(monkeypatch):
    """As a user's shell may have it; a function that sets variables and gives the device as programs set it up."""
    for name in (*MAX_ISA, CAPPED):
        monkeypatch.setenv(name, "")        # to be put back
        monkeypatch.delenv(name)

    def make(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return setup_device("CPU")
    return make


def limits():
    return {name: os.environ[name] for name in MAX_ISA if name in os.environ}


def test_with_our_kernels_onednn_takes_what_there_is(environment):
    environment()
    assert limits() == {"ONEDNN_MAX_CPU_ISA": "AVX2"}, "or stock layers would not be capped"
    cpu_ops.fast(EcapaTdnn(10, 16, 8, 24))
    assert limits() == {}


@pytest.mark.parametrize("name, value", [("ONEDNN_MAX_CPU_ISA", "AVX2"), ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE"),
                                         ("DNNL_MAX_CPU_ISA", "SSE41")])
def test_what_the_user_has_set_stays(environment, name, value):
    environment(**{name: value})
    cpu_ops.fast(nn.Conv1d(2, 2, 1))
    assert limits() == {name: value}


def test_a_cap_of_the_program_that_started_this_one_is_taken_back(environment):
    environment()
    environment()       # as the second process finds it
    cpu_ops.fast(nn.Conv1d(2, 2, 1))
    assert limits() == {}


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_levels_of_stock_layers_stay_capped(environment, level):
    device = environment()
    adapt(nn.Conv1d(2, 2, 1), RunSettings(amp_level=level), device)
    assert limits() == {"ONEDNN_MAX_CPU_ISA": "AVX2"}


def test_without_kernels_it_stays_capped(environment, monkeypatch):
    environment()
    monkeypatch.setattr(cpu_ops, "library", lambda: None)
    cpu_ops.fast(nn.Conv1d(2, 2, 1))
    assert limits() == {"ONEDNN_MAX_CPU_ISA": "AVX2"}


@pytest.mark.parametrize("layer", [lambda: nn.Conv2d(4, 4, 3, group=4), lambda: nn.Conv2d(2, 2, 3, pad_mode="same"),
                                   lambda: nn.Conv2d(2, 2, 3, dilation=(2, 1)), lambda: nn.Conv2dTranspose(2, 2, 3)])
def test_a_convolution_that_the_kernels_do_not_know_keeps_the_cap(environment, layer):
    environment()
    cpu_ops.fast(nn.SequentialCell(nn.Conv1d(2, 2, 1), layer()))
    assert limits() == {"ONEDNN_MAX_CPU_ISA": "AVX2"}


NETWORKS = """
import sys
import mindspore as ms, numpy as np
from mindspore import Tensor, nn
from conv_tasnet.src.config import Config as ConvTasNetConfig
from conv_tasnet.src.model import ConvTasNet
from deepspeech2.src.config import Config as DeepSpeech2Config
from deepspeech2.src.model import DeepSpeech2
from ecapatdnn.src.identification import SpeakerId
from ecapatdnn.src.model import EcapaTdnn
from ecapatdnn.src.speaker_id_config import SpeakerIdConfig
from utils.cpu_ops import exchange
from utils.device import setup_device
from utils.training.loop import trainable
from utils.training.settings import RunSettings
from utils.training.train_step import adapt

device = setup_device("CPU")
ms.set_context(mode=ms.PYNATIVE_MODE)       # the same operators, without minutes of compiling
noise = lambda *shape: Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
sizes = {"in_channels": 10, "channels": 16, "emb_size": 8, "mfa_channels": 24}
small = {"N": 16, "L": 8, "B": 6, "H": 12, "Sc": 6, "X": 2, "R": 1}
lengths = lambda *n: Tensor(n, ms.int32)
runs = [
    (EcapaTdnn(**sizes), (noise(4, 40, 10),)),
    (SpeakerId(SpeakerIdConfig(network="xvector", **sizes), 5), (noise(4, 40, 10), lengths(40, 30, 20, 40))),
    (ConvTasNet(ConvTasNetConfig(**small)), (noise(2, 203),)),
    (ConvTasNet(ConvTasNetConfig(**small, norm="cLN", causal=True)), (noise(2, 203), lengths(203, 150))),
    (DeepSpeech2(DeepSpeech2Config(conv_channels=4, hidden_size=12, hidden_layers=2)), (noise(2, 41, 161),
                                                                                     lengths(41, 30))),
]
for network, inputs in runs:
    adapt(network, RunSettings(), device)
    network.set_train()
    optimizer = nn.Adam(trainable(network), 1e-3)

    def objective(*inputs):
        y = network(*inputs)
        return (y[0] if isinstance(y, tuple) else y).square().mean()

    optimizer(ms.value_and_grad(objective, None, optimizer.parameters)(*inputs)[1])
    network.set_train(False)(*inputs)

layer = exchange(nn.Conv2d(70, 90, (1, 3), pad_mode="pad", padding=(0, 0, 1, 1)), True).set_train(False)
x, weight = noise(2, 70, 1, 50).asnumpy(), layer.weight.asnumpy()
half = lambda array: Tensor(array).astype(ms.bfloat16).astype(ms.float32).asnumpy()
x = np.pad(half(x)[:, :, 0], ((0, 0), (0, 0), (1, 1)))
y = sum(np.einsum("oi,bit->bot", half(weight)[:, :, 0, tap], x[:, :, tap:tap + 50]) for tap in range(3))
print("bfloat16", np.abs(layer(noise(2, 70, 1, 50)).asnumpy()[:, :, 0] - y).max() < 1e-5 * np.abs(y).max())
"""


@pytest.mark.skipif("avx512f" not in build.processor().get("flags", ""),
                    reason="a processor without AVX-512: oneDNN takes no reference convolution on it, capped or not")
def test_no_network_runs_a_reference_convolution_and_onednn_has_avx512():
    """Training step and evaluation of each; and bfloat16 with those instructions."""
    variables = {name: value for name, value in os.environ.items() if name not in MAX_ISA}
    done = subprocess.run([sys.executable, "-c", NETWORKS], env=variables | {"ONEDNN_VERBOSE": "1"}, cwd=ROOT,
                          stdout=subprocess.PIPE, text=True, check=True)
    lines = [line.split(",") for line in done.stdout.splitlines() if line.startswith("onednn_verbose")]
    assert re.search(r"cpu,isa:.*AVX-512", done.stdout)
    kinds = {(line[5], line[6]) for line in lines if line[2:4] == ["primitive", "exec"]}
    assert ("gemm_api", "") in kinds, "or nothing is seen"
    assert {kind for kind in kinds if kind[0] in ("convolution", "deconvolution") and "ref" in kind[1]} == set()
    assert done.stdout.splitlines()[-1] == "bfloat16 True", "wrong with all instructions only"


# the compiled kernels are of one processor


@pytest.fixture
def cpuinfo(monkeypatch, tmp_path):
    """A function that makes this machine one whose /proc/cpuinfo is `text`."""
    def make(text):
        (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(build, "CPUINFO", tmp_path / "cpuinfo")
    return make


@pytest.mark.parametrize("text, other", [
    (PROCESSOR, PROCESSOR.replace(" avx512f avx512_bf16", "")), (PROCESSOR, PROCESSOR.replace(" avx512_bf16", "")),
    (PROCESSOR, PROCESSOR.replace("Fast CPU", "Other CPU")), (ARM, ARM.replace(" bf16", "")),
    (ARM, ARM.replace("0xd40", "0xd0c"))], ids=["no AVX-512", "no bfloat16", "another name", "Arm", "another Arm"])
def test_kernels_of_another_processor_are_not_taken(cpuinfo, text, other):
    """A cache may lie in a home that several machines share."""
    cpuinfo(text)
    first = build.fingerprint(["g++"])
    cpuinfo(other)
    assert build.fingerprint(["g++"]) != first


def test_kernels_of_the_same_processor_are(cpuinfo):
    cpuinfo(PROCESSOR)
    first = build.fingerprint(["g++"])
    cpuinfo(PROCESSOR.replace("2600.1", "1200.0").replace("bugs : none", "bugs : some"))
    assert build.fingerprint(["g++"]) == first


def test_a_lesser_processor_compiles_its_own(cpuinfo, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "CACHE", tmp_path / "cache")
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "one.cc").write_text("int Nothing() { return 0; }\n")
    monkeypatch.setattr(build, "SOURCES", tmp_path / "kernels")
    cpuinfo(PROCESSOR)
    paths = [build.compiled(), build.compiled()]
    cpuinfo(PROCESSOR.replace(" avx512_bf16", ""))
    paths.append(build.compiled())
    assert paths[0] == paths[1] != paths[2] and all(path.is_file() for path in paths)


# python -m utils.cpu_ops


def test_the_program_says_what_is_used_and_why(environment, capsys):
    environment()
    program.main()
    printed = capsys.readouterr().out
    facts = dict(re.findall(r"^(.+?)  +(.+)$", printed, re.M))
    assert build.processor().get("model name", "") in facts["processor"]
    assert str(build.library()) in facts["kernels"] and ms.__version__ == facts["MindSpore"]
    assert "not capped" in facts["oneDNN"]
    for kind in ("float32", "bfloat16"):
        assert float(re.match(r"(\S+) GFLOPS", facts[f"{kind} products"])[1]) > 0
    assert shutil.which("g++") is None or "-march=native" in facts["kernels"]


def test_the_program_says_that_the_user_has_capped_onednn(environment):
    environment(ONEDNN_MAX_CPU_ISA="SSE41")
    assert "ONEDNN_MAX_CPU_ISA=SSE41 (set by you)" in program.facts()["oneDNN"]


def test_the_program_says_that_stock_layers_are_capped(environment, monkeypatch):
    environment()
    monkeypatch.setattr(program, "library", lambda: None)
    facts = program.facts()
    assert "AVX2 (for stock convolutions)" in facts["oneDNN"] and facts["kernels"] == "MindSpore's own"


def test_the_instruction_sets_are_the_processors(cpuinfo):
    cpuinfo(PROCESSOR)
    assert program.instruction_sets() == "avx2 fma avx512f avx512_bf16"
