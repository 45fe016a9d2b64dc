"""Whole programs from start to end: `main` of the C++ runner, infer.py, and infer.py with a network of PyTorch.

What each loads and compiles is part of it. The networks are the checkpoints that ship, the recordings their samples
over and over.
"""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from side_by_side import ROOT, RUNNER, answer, available, call, cores, in_turns, run_program

PROGRAMS = ["C++ runner", "Python", "PyTorch"]
LENGTHS = {"30 s": 30, "10 min": 600}
SAMPLES = {"ecapatdnn": ["speaker1_a", "speaker1_b"], "conv_tasnet": ["mixture"], "deepspeech2": ["command", "spelled"]}
PAUSE = 0.7     # seconds between the samples


def table(models, folder, args):
    """Prints the table; ratios of CPU seconds, and how far the answers are from each other."""
    programs = available(PROGRAMS)
    others = programs[1:]
    heads = [f"{program}: s | CPU s | real time | MiB" for program in programs]
    heads += [f"{programs[0]} / {other}, CPU" for other in others]
    print(f"| | recording | threads | {' | '.join(heads)} | difference |")
    print("|---" * (4 + 4 * len(programs) + len(others)) + "|")
    for model in models:
        place = Path(folder, model)
        place.mkdir()
        call(["--worker", "programs", model, place], cores())
        for name, seconds in LENGTHS.items():
            recording = place / f"{seconds}.wav"
            write_recording(model, seconds, recording)
            for threads in (1, 2):
                answers = {}

                def once(program, model=model, place=place, recording=recording, threads=threads, answers=answers):
                    times, printed = run_program(command(program, model, place, recording, threads), cores()[:threads])
                    answers[program] = answer_of(program, model, place, recording, printed)
                    return times

                results = in_turns(programs, once, args.rounds)
                columns = [f"{times.seconds:.2f} | {times.processor:.2f} | {times.seconds / seconds:.4f} | "
                           f"{times.mib:.0f}" for times in results.values()]
                columns += [f"{results[programs[0]].processor / results[other].processor:.2f}" for other in others]
                print(f"| {model} | {name} | {threads} | {' | '.join(columns)} | {difference(answers)} |", flush=True)


def worker(model, place, _):
    """What the programs need, in `place`: the graph, the weights for PyTorch."""
    from utils.checkpoints.checkpoint import load_checkpoint

    checkpoint = ROOT / model / "pretrained" / "best.ckpt"
    parameters, _ = load_checkpoint(checkpoint)
    np.savez(Path(place, "weights.npz"), **{name: parameter.asnumpy().astype(np.float32)
                                            for name, parameter in parameters.items()})
    waveform = [] if model == "conv_tasnet" else ["--input", "waveform"]
    subprocess.run([sys.executable, ROOT / model / "export.py", "--checkpoint_path", checkpoint, "--length", "0",
                    "--runtime", "lite2.0-cpu", "--file_name", Path(place, "net.mindir"), *waveform], check=True,
                   stdout=subprocess.DEVNULL)
    answer([0.0], [0.0])


def write_recording(model, seconds, path):
    """The model's samples with pauses, over and over, of so many seconds."""
    parts = []
    for name in SAMPLES[model]:
        samples, rate = soundfile.read(ROOT / model / "samples" / f"{name}.wav", dtype="int16")
        parts += [samples, np.zeros(int(PAUSE * rate), np.int16)]
    soundfile.write(path, np.resize(np.concatenate(parts), seconds * rate), rate)


def command(program, model, place, recording, threads):
    """The command line. Python and PyTorch take as many threads as they may use cores."""
    output = place / program.replace(" ", "_")
    if program == "C++ runner":
        flags = {"ecapatdnn": ["--embed"], "conv_tasnet": ["--output_path", output], "deepspeech2": []}
        return [RUNNER, "--mindir_path", place / "net.mindir", "--device_target", "CPU", "--threads", threads,
                *flags[model], recording]
    if program == "Python":
        flags = {"ecapatdnn": ["--embed", "--output", f"{output}.npz"], "conv_tasnet": ["--output_dir", output],
                 "deepspeech2": []}
        return [sys.executable, ROOT / model / "infer.py", "--device_target", "CPU", *flags[model], recording]
    return [sys.executable, ROOT / "benchmarks" / "torch_program.py", model, place, recording, output]


def answer_of(program, model, place, recording, printed):
    """Text, embedding or the speakers' samples."""
    output = place / program.replace(" ", "_")
    if model == "deepspeech2":
        return printed
    if model == "conv_tasnet":
        return np.stack([soundfile.read(output / f"{recording.stem}_{i}.wav")[0] for i in (1, 2)])
    if program == "Python":
        with np.load(f"{output}.npz", allow_pickle=False) as arrays:
            return arrays["embeddings"][0]
    return np.array(json.loads(printed)["embedding"])


def difference(answers):
    """Of the other answers from the first one, relative to its largest value; or whether texts are the same."""
    first, *others = answers.values()
    if isinstance(first, str):
        return "same text" if all(other == first for other in others) else "other text"
    return f"{max(np.abs(other - first).max() for other in others) / np.abs(first).max():.0e}"
