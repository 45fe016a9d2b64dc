"""Seconds of a training step at the published sizes: ours, ours as stock MindSpore layers, and PyTorch.

    python benchmarks/training.py [--rounds 3] [--repeat 5] [--only "ECAPA-TDNN C=512"]

A step is forward, loss, gradients and Adam, on random batches with random weights. Every program runs in a process of
its own that is bound to two cores; the programs take turns, `rounds` times, and the median of the rounds' medians
counts: seconds by the clock, of both cores together (CPU), and MiB. `bf16` is amp_level bf16, in PyTorch autocast;
where bfloat16 is no faster than float32 ours takes float32. PyTorch is left out where it is not installed
(pip install torch==2.13.0).

The second table is the share of the limit: what the products of matrices of a step alone would take on these cores, and
what share of each program's step that is.
"""
import argparse
import json

import limit
import numpy as np
from side_by_side import available, call, cores, in_turns, measure, print_machine

SIZES = {"ECAPA-TDNN C=512": "32 x 2 s", "ECAPA-TDNN C=1024": "32 x 2 s", "Conv-TasNet 5.05 M": "4 x 4 s",
         "Conv-TasNet 8.7 M": "4 x 4 s", "DeepSpeech2 5 x biLSTM 512": "8 x 10 s"}
PROGRAMS = ["ours", "ours bf16", "stock", "PyTorch", "PyTorch bf16"]
RATIOS = [("ours", "PyTorch"), ("ours bf16", "PyTorch bf16"), ("ours bf16", "ours"), ("ours", "stock")]
SPEAKERS = 1000


def main():
    """Prints the table; ratios by the clock, in brackets of CPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=5, help="timed steps per round")
    parser.add_argument("--only", nargs="+", help="some networks instead of all", choices=SIZES)
    parser.add_argument("--programs", nargs="+", default=PROGRAMS, choices=PROGRAMS)
    parser.add_argument("--worker", nargs=2, metavar=("PROGRAM", "NAME"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        program, name = args.worker
        if program == "operations":
            print(json.dumps(operations(name)))
            return
        bfloat16 = program.endswith("bf16")
        step = torch_step(name, bfloat16) if "PyTorch" in program else our_step(name, program == "stock", bfloat16)
        measure(step, args.repeat, warm_up=2)
        return
    programs = available(args.programs)
    ratios = [ratio for ratio in RATIOS if set(ratio) <= set(programs)]
    print_machine()
    heads = [f"{program} | CPU | MiB" for program in programs] + [f"{one} / {other}" for one, other in ratios]
    print(f"| | batch | {' | '.join(heads)} |")
    print("|---" * (2 + 3 * len(programs) + len(ratios)) + "|")
    bound_to, results, gflop = cores()[:2], {}, {}
    for name in args.only or SIZES:
        results[name] = times = in_turns(programs, lambda program, name=name: call(
            ["--worker", program, name, "--repeat", args.repeat], bound_to), args.rounds)
        columns = [f"{took.seconds:.3f} s | {took.processor:.3f} s | {took.mib:.0f}" for took in times.values()]
        columns += [f"{times[one].seconds / times[other].seconds:.2f} "
                    f"({times[one].processor / times[other].processor:.2f})" for one, other in ratios]
        print(f"| {name} | {SIZES[name]} | {' | '.join(columns)} |", flush=True)
        gflop[name] = call(["--worker", "operations", name], bound_to)
    limit.print_limits(gflop, results, len(bound_to))


def batch(name, items=None):
    """Arrays of a batch of the network `name`, or of as many items."""
    generator = np.random.default_rng(0)
    if name.startswith("ECAPA"):
        items = items or 32
        return (generator.standard_normal((items, 200, 80)).astype(np.float32), np.arange(items, dtype=np.int32))
    if name.startswith("Conv"):
        sources = generator.standard_normal((items or 4, 2, 32000)).astype(np.float32)
        return sources.sum(1), sources, np.full(len(sources), 32000, np.int32)
    items = items or 8
    labels = generator.integers(1, 29, (items, 100)).astype(np.int32)
    return (generator.standard_normal((items, 1000, 161)).astype(np.float32), np.full(items, 1000, np.int32), labels,
            np.full(items, 100, np.int32))


def conv_tasnet_config(name):
    """Settings of either size."""
    from conv_tasnet.src.config import Config

    return Config(variant="kaituoxu", B=256, Sc=0, R=4) if name.endswith("8.7 M") else Config()


def our_network(name):
    """Network, loss and `objective(*batch)` -> loss, metric."""
    from conv_tasnet.src.loss import PitSiSnr
    from conv_tasnet.src.model import ConvTasNet
    from deepspeech2.src.config import Config as DeepSpeech2Config
    from deepspeech2.src.loss import CtcLoss
    from deepspeech2.src.model import DeepSpeech2
    from ecapatdnn.src.loss import AamSoftmax
    from ecapatdnn.src.model import EcapaTdnn
    from utils.device import setup_device

    setup_device("CPU", seed=0)
    if name.startswith("ECAPA"):
        model, loss = EcapaTdnn(80, int(name.split("=")[1])), AamSoftmax(192, SPEAKERS)

        def objective(features, speaker):
            return loss(model(features), speaker)
    elif name.startswith("Conv"):
        model, loss = ConvTasNet(conv_tasnet_config(name)), PitSiSnr(2)

        def objective(mixture, sources, lengths):
            return loss(model(mixture), sources, mixture, lengths)
    else:
        model, loss = DeepSpeech2(DeepSpeech2Config(hidden_size=512)), CtcLoss()

        def objective(features, frames, labels, counts):
            log_probs, frames = model(features, frames)
            return loss(log_probs, frames, labels, counts)
    return model, loss, objective


def our_step(name, stock, bfloat16=False):
    """A function that trains one step, compiled as train.py compiles it."""
    from utils.cpu_ops import fast

    model, loss, objective = our_network(name)
    model.set_train()
    if not stock:
        fast(model, bfloat16)
    if bfloat16:
        fast(loss, bfloat16)
    return step_of(model, loss, objective, batch(name))


def step_of(model, loss, objective, arrays):
    """A function that trains one step on the batch `arrays`."""
    from mindspore import Tensor, nn

    from utils.training.loop import trainable
    from utils.training.train_step import TrainStep

    step = TrainStep(objective, nn.Adam(trainable(model, loss), 1e-4))
    tensors = [Tensor(array) for array in arrays]
    return lambda: float(step(*tensors)[0])


def inputs(name, items=None):
    """What the network itself takes of a `batch`."""
    return batch(name, items)[:2 if name.startswith("Deep") else 1]


def operations(name):
    """GFLOP of a step: of one item as often as there are in a batch."""
    import mindspore as ms
    from mindspore import Tensor

    model, *_ = our_network(name)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    return len(batch(name)[0]) * limit.gflop_of(model, *map(Tensor, inputs(name, 1)))


def torch_step(name, bfloat16=False):
    """The same in PyTorch; `bfloat16`: its autocast around the network, the loss in float32."""
    import torch
    import torch_models
    from torch.nn import functional

    from deepspeech2.src.config import Config as DeepSpeech2Config

    torch.set_num_threads(2)
    torch.manual_seed(0)
    tensors = [torch.from_numpy(array) for array in batch(name)]
    if name.startswith("ECAPA"):
        model = torch_models.EcapaTdnn(int(name.split("=")[1]), 1536, 192)
        classes = torch.nn.Parameter(torch.randn(SPEAKERS, 192))

        def objective(features, speaker):
            return torch_models.aam_softmax(run(features), classes, speaker.long())
    elif name.startswith("Conv"):
        model, classes = torch_models.ConvTasNet(conv_tasnet_config(name)), None

        def objective(mixture, sources, lengths):
            return torch_models.pit_si_snr(run(mixture), sources)
    else:
        model, classes = torch_models.DeepSpeech2(DeepSpeech2Config(hidden_size=512)), None

        def objective(features, frames, labels, counts):
            return functional.ctc_loss(run(features), labels, (frames + 1) // 2, counts, zero_infinity=True)
    model.train()

    def run(x):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return model(x).float()

    optimizer = torch.optim.Adam([*model.parameters(), *([classes] if classes is not None else [])], 1e-4)

    def step():
        optimizer.zero_grad()
        loss = objective(*tensors)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


if __name__ == "__main__":
    main()
