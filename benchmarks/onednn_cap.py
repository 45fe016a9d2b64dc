"""ECAPA-TDNN on this CPU: the training step with oneDNN capped at AVX2 and without, and what one data worker delivers.

    python benchmarks/onednn_cap.py [--channels 512] [--batch 8] [--frames 200] [--repeat 3]

The layers are stock MindSpore. The two settings run in processes of their own, alternating, and the median step over
all of them counts: on shared machines the ratio is worth more than the seconds.
"""
import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np

SETTINGS = {"capped at AVX2 (the default of these)": "AVX2", "not capped": "DEFAULT"}
STEPS = 5


def main():
    """Prints one table."""
    args = parse()
    if args.child:
        print(json.dumps(time_steps(args)))
        return
    seconds = {name: [] for name in SETTINGS}
    for _ in range(args.repeat):
        for name, isa in SETTINGS.items():
            command = [sys.executable, __file__, "--child", *sys.argv[1:]]
            output = subprocess.run(command, env=os.environ | {"ONEDNN_MAX_CPU_ISA": isa, "DEVICE_TARGET": "CPU"},
                                    check=True, stdout=subprocess.PIPE, text=True).stdout
            seconds[name] += json.loads(output.splitlines()[-1])
    capped, free = (float(np.median(seconds[name])) for name in SETTINGS)
    print(f"ECAPA-TDNN C={args.channels}, {args.batch} x {args.frames} frames, {os.cpu_count()} cores, "
          f"AVX-512 {'present' if has_avx512() else 'absent: the cap then makes no difference'}")
    for name, value in zip(SETTINGS, (capped, free), strict=True):
        print(f"training step, {name:<34} {value:7.3f} s  {args.batch / value:6.1f} utterances/s")
    print(f"ratio not capped / capped {free / capped:.2f}")
    print(f"one data worker, crop + noise + features {' ' * 14} {pipeline_speed(args):6.1f} utterances/s")


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def time_steps(args):
    """Seconds of STEPS training steps, the first left out: it compiles."""
    import mindspore as ms
    from mindspore import Tensor, nn

    from ecapatdnn.src.loss import AamSoftmax
    from ecapatdnn.src.model import EcapaTdnn
    from utils.device import setup_device
    from utils.training.loop import trainable
    from utils.training.train_step import TrainStep

    setup_device()
    model, loss = EcapaTdnn(80, args.channels).set_train(), AamSoftmax(192, 1000)

    def objective(features, speaker):
        return loss(model(features), speaker)

    step = TrainStep(objective, nn.Adam(trainable(model, loss), 1e-3))
    generator = np.random.default_rng(0)
    features = Tensor(generator.standard_normal((args.batch, args.frames, 80)).astype(np.float32))
    speaker = Tensor(np.arange(args.batch), ms.int32)
    seconds = []
    for _ in range(STEPS + 1):
        started = time.perf_counter()
        float(step(features, speaker)[0])
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def pipeline_speed(args):
    """Crops a second that one process makes of 3 s wavs, with reverberation and noise as in training."""
    import dataclasses
    import tempfile
    from pathlib import Path

    from ecapatdnn.src.config import Config
    from ecapatdnn.src.dataset import TrainSet
    from utils.audio.audio_file import write_wav

    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for name, count, length in (("speech", 64, 48000), ("noise/noise", 8, 80000), ("rir", 8, 8000)):
            for i in range(count):
                write_wav(f"{folder}/{name}/{i}.wav", 0.1 * generator.standard_normal(length), 16000)
        Path(folder, "train.txt").write_text("".join(f"s{i % 8} {i}.wav\n" for i in range(64)))
        dataset = TrainSet(dataclasses.replace(
            Config(), train_list=f"{folder}/train.txt", train_path=f"{folder}/speech", musan_path=f"{folder}/noise",
            rir_path=f"{folder}/rir", crop=args.frames, minibatch_size=32))
        dataset.batch(1, 0)
        started = time.perf_counter()
        for epoch in range(1, 5):
            for index in range(dataset.steps):
                dataset.batch(epoch, index)
        return 4 * dataset.steps * 32 / (time.perf_counter() - started)


def has_avx512():
    """Whether the processor says so."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return "avx512f" in file.read()


if __name__ == "__main__":
    main()
