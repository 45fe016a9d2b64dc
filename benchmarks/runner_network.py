"""Latency of one recording: the C++ runner, MindSpore's graph mode and PyTorch, with the same random weights.

`bf16` is amp_level bf16, in PyTorch autocast.
"""
import os
import resource
import subprocess
from pathlib import Path

import numpy as np
from side_by_side import RUNNER, answer, available, call, cores, in_turns, measure

NAMES = {"ecapatdnn": "ECAPA-TDNN C=512, 3 s", "conv_tasnet": "Conv-TasNet 5.05 M, 4 s",
         "deepspeech2": "DeepSpeech2 5 x biLSTM 512, 5 s"}
PROGRAMS = ["C++ runner", "MindSpore graph", "graph bf16", "PyTorch", "PyTorch bf16"]
RATIOS = [("C++ runner", "PyTorch"), ("MindSpore graph", "PyTorch"), ("graph bf16", "PyTorch bf16")]


def table(models, folder, args):
    """Prints the table, and how far the outputs are from each other; ratios by the clock, in brackets of CPU."""
    programs = available(PROGRAMS)
    ratios = [ratio for ratio in RATIOS if set(ratio) <= set(programs)]
    for model in models:
        run("export", model, folder, cores(), args.repeat)
    heads = [f"{program} | CPU" for program in programs] + [f"{one} / {other}" for one, other in ratios]
    print(f"| | threads | {' | '.join(heads)} | largest difference | in bf16 |")
    print("|---" * (2 * len(programs) + len(ratios) + 4) + "|")
    for model in models:
        for threads in (1, 2):
            results = in_turns(programs, lambda program, model=model, threads=threads: run(
                program, model, folder, cores()[:threads], args.repeat), args.rounds)
            columns = [f"{1000 * times.seconds:.1f} ms | {1000 * times.processor:.1f} ms" for times in results.values()]
            columns += [f"{results[one].seconds / results[other].seconds:.2f} "
                        f"({results[one].processor / results[other].processor:.2f})" for one, other in ratios]
            columns += [f"{difference(folder, model, [program for program in programs if keep(program)]):.0e}"
                        for keep in (lambda program: "bf16" not in program,
                                     lambda program: "bf16" in program or program == programs[0])]
            print(f"| {NAMES[model]} | {threads} | {' | '.join(columns)} |", flush=True)


def run(program, model, folder, bound_to, repeat):
    """The answer of a program in a process bound to some cores."""
    return call(["--repeat", repeat, "--worker", "network", program, model, folder], bound_to)


def worker(program, model, folder, args):
    """Prints the seconds; keeps the first output as <folder>/<model>/<program>.npy."""
    place, repeat = Path(folder, model), args.repeat
    threads = len(os.sched_getaffinity(0))
    if program == "export":
        export(model, place)
        answer([0.0], [0.0])
    elif program == "C++ runner":
        used = [run_cpp(place, threads, repeat, warm_up=5)[2], run_cpp(place, threads, repeat, warm_up=5 + repeat)[2]]
        seconds, output, _ = run_cpp(place, threads, repeat, warm_up=5)
        np.save(place / f"{program}.npy", output)
        answer(seconds, [(used[1] - used[0]) / repeat])     # without loading the graph
    else:
        bfloat16 = program.endswith("bf16")
        infer = torch_module(model, place, threads, bfloat16) if "PyTorch" in program else graph(model, bfloat16)
        x = np.load(place / "input.npy", allow_pickle=False)
        np.save(place / f"{program}.npy", infer(x))
        measure(lambda: infer(x), repeat)


def config_of(model):
    """The settings of the networks that are compared."""
    from conv_tasnet.src.config import Config as ConvTasNetConfig
    from deepspeech2.src.config import Config as DeepSpeech2Config
    from ecapatdnn.src.config import Config as EcapaConfig

    return {"ecapatdnn": EcapaConfig(channels=512, mfa_channels=1536), "conv_tasnet": ConvTasNetConfig(),
            "deepspeech2": DeepSpeech2Config(hidden_size=512)}[model]


def network(model):
    """(our network with fixed random weights, its first input)."""
    import mindspore as ms

    from conv_tasnet.src.model import ConvTasNet
    from deepspeech2.src.model import DeepSpeech2
    from ecapatdnn.src.model import make_network
    from utils.device import setup_device

    setup_device("CPU", seed=0)
    generator = np.random.default_rng(0)
    make, shape = {"ecapatdnn": (make_network, (1, 300, 80)), "conv_tasnet": (ConvTasNet, (1, 32000)),
                   "deepspeech2": (DeepSpeech2, (1, 500, 161))}[model]
    cell = make(config_of(model))
    ms.set_seed(0)
    return cell.set_train(False), generator.standard_normal(shape).astype(np.float32)


def export(model, place):
    """The graph for the runner, its input as .bin and .npy, and the weights for PyTorch."""
    from conv_tasnet.src.model import WholeStrides
    from utils.export.graph import Port, export_model

    class Settings:
        file_format, runtime, file_name, model_path = "MINDIR", "lite2.0-cpu", str(place / "net"), ""

    cell, x = network(model)
    np.savez(place.with_suffix(".npz"), **{parameter.name: parameter.asnumpy() for parameter in cell.get_parameters()})
    place.mkdir()
    ports = [Port("x", "float32", x.shape)]
    (place / "in" / "00_data").mkdir(parents=True)
    x.tofile(place / "in" / "00_data" / "0.bin")
    np.save(place / "input.npy", x)
    if model == "deepspeech2":
        ports.append(Port("frames", "int32", (1,)))
        (place / "in" / "01_data").mkdir()
        np.array([x.shape[1]], np.int32).tofile(place / "in" / "01_data" / "0.bin")
    export_model(WholeStrides(cell) if model == "conv_tasnet" else cell, Settings, ports, [], "net", sample_rate=16000,
                 step_seconds=0.01, branches=2 if model == "deepspeech2" else 1)


def run_cpp(place, threads, repeat, warm_up):
    """(its own report of `repeat` items, links to one file, the first output, CPU seconds of all it did)."""
    for source in (place / "in").glob("*/0.bin"):
        for i in range(1, repeat):
            link = source.with_name(f"{i}.bin")
            if not link.exists():
                os.link(source, link)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([RUNNER, "--mindir_path", place / "net.mindir", "--input_path",
                    place / "in", "--output_path", place / "out", "--device_target", "CPU", "--threads", str(threads),
                    "--warmup", str(warm_up)], check=True, stdout=subprocess.DEVNULL, env=os.environ | {"GLOG_v": "4"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report = dict(line.split() for line in (place / "out" / "time_report.txt").read_text().splitlines())
    return [float(report["p50_ms"]) / 1000], np.fromfile(place / "out" / "0_0.bin", np.float32), used


def graph(model, bfloat16):
    """Our network, compiled."""
    import mindspore as ms

    from utils.cpu_ops import fast

    cell, x = network(model)
    fast(cell, bfloat16)
    more = (ms.Tensor([x.shape[1]], ms.int32),) if model == "deepspeech2" else ()

    def run(x):
        output = cell(ms.Tensor(x), *more)
        return (output[0] if isinstance(output, tuple) else output).asnumpy()
    return run


def torch_module(model, place, threads, bfloat16):
    """The same network in PyTorch, with the same weights."""
    import torch
    import torch_models

    torch.set_num_threads(threads)
    module = torch_models.loaded(model, config_of(model), place.with_suffix(".npz"))

    def run(x):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return module(torch.from_numpy(x)).float().numpy()
    return run


def difference(folder, model, programs):
    """Between the first program's output and the others', relative to the largest value."""
    outputs = [np.load(Path(folder, model, f"{program}.npy"), allow_pickle=False).ravel() for program in programs]
    return max(np.abs(output - outputs[0]).max() for output in outputs) / np.abs(outputs[0]).max()

