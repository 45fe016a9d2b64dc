"""Live: `main --stream` beside Python's streams, on one core, with steps of the settings' length.

The networks have random weights: a causal Conv-TasNet of 5.05 M and a unidirectional DeepSpeech2 of 5 x 512. Raw sound
is pushed at the pace of a microphone, 20 ms at a time, and from the moment when a piece is pushed to that when it is
answered, in a wav or a text so far, it takes the latency. Pushed as fast as it is taken, it gives the real-time factor.

With the checkpoint of a run on the mini corpus (`--checkpoint`) a second table says when what is spoken is read: the
first letters of a sentence after its sound begins, and all of its words after that has ended.
"""
import importlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from side_by_side import ROOT, RUNNER, answer, call, cores, wait_for

NAMES = {"conv_tasnet": "Conv-TasNet 5.05 M, causal", "deepspeech2": "DeepSpeech2 5 x LSTM 512"}
PROGRAMS = ["C++ runner", "Python"]
PACED, FAST = 8, 60     # seconds of sound
BLOCK = 0.02            # seconds pushed at once
SENTENCES = 5


def table(models, folder, args):
    """Prints the table, medians of the rounds, and that of words."""
    print("| | step | program | latency: median | longest | real time | of CPU seconds | MiB |\n" + "|---" * 8 + "|")
    for model in (model for model in models if model in NAMES):
        place = Path(folder, model)
        call(["--worker", "live", "export", model, place], cores())
        rate, step = facts(place)
        sound = (3000 * np.random.default_rng(1).standard_normal(FAST * rate)).astype("<i2")
        rows = {program: [] for program in PROGRAMS}
        for number in range(args.rounds):
            for program, found in rows.items():
                paced = Live(command(program, model, place, number), sound[:PACED * rate], rate, paced=True)
                fast = Live(command(program, model, place, f"{number}_fast"), sound, rate, paced=False)
                found.append([*paced.latencies(), fast.seconds / FAST, fast.processor / FAST, fast.mib])
        for program, found in rows.items():
            median, longest, real_time, processor, mib = (statistics.median(values) for values in
                                                          zip(*found, strict=True))
            print(f"| {NAMES[model]} | {step:.2f} s | {program} | {median:.2f} s | {longest:.2f} s | {real_time:.3f} | "
                  f"{processor:.3f} | {mib:.0f} |", flush=True)
    if args.checkpoint and "deepspeech2" in models:
        words_table(Path(args.checkpoint), Path(folder, "words"), args.rounds)


def words_table(checkpoint, place, rounds):
    """Prints when the text of sentences appears that a trained network writes down right."""
    call(["--worker", "live", "export", "deepspeech2", place, str(checkpoint.resolve())], cores())
    call(["--worker", "live", "choose", place], cores())
    rate, step = facts(place)
    sentences = json.loads((place / "sentences.json").read_text())
    print(f"\nTrained on the mini corpus, steps of {step:.2f} s, {len(sentences)} sentences, {rounds} times:\n\n"
          "| program | first letters, after the speech began | all words, after its end | longest |\n|---|---|---|---|")
    for program in PROGRAMS:
        found = []
        for sentence in sentences * rounds:
            sound = np.load(sentence["sound"], allow_pickle=False)
            live = Live(command(program, "deepspeech2", place, 0), sound, rate, paced=True)
            found.append((live.until(lambda text: text != "") - sentence["start"],
                          live.until(lambda text, said=sentence["text"]: text == said) - sentence["end"]))
        first, whole = zip(*found, strict=True)
        times = statistics.median(first), statistics.median(whole), max(whole)
        print(f"| {program} | {' | '.join(f'{seconds:.2f} s' for seconds in times)} |", flush=True)


def facts(place):
    """(rate in Hz, seconds of a step) of the graph in `place`."""
    description = json.loads((place / "inputs.json").read_text())
    rate = description["sample_rate"]
    return rate, description["streaming"]["samples"] / rate


def command(program, model, place, number):
    """The command line; each run writes into a folder of its own."""
    if program == "Python":
        return [sys.executable, sys.argv[0], "--worker", "live", "stream", model, place]
    flags = ["--output_path", place / f"wavs_{number}"] if model == "conv_tasnet" else ["--json"]
    return [RUNNER, "--mindir_path", place / "net.mindir", "--device_target", "CPU", "--threads", 1, "--stream", *flags]


class Live:
    """A program on one core that gets `sound` (int16) while its answers are noted.

    seconds, processor: from when it listens to its end, by the clock and of the core
    """

    def __init__(self, line, sound, rate, paced):
        self.rate, self.pushed, self.answered, self.lines = rate, [], [], []
        self.process = subprocess.Popen([*map(str, line)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=False, env=os.environ | {"GLOG_v": "4"},
                                        preexec_fn=lambda: os.sched_setaffinity(0, cores()[:1]))
        while b"listening" not in (note := self.process.stderr.readline()):
            if not note:
                sys.exit(f"{line}: ended with {self.process.wait()}")
        before, self.began = used_by(self.process.pid), time.perf_counter()
        folder = Path(line[line.index("--output_path") + 1]) if "--output_path" in line else None
        noting = [threading.Thread(target=self.read), threading.Thread(target=self.process.stderr.read)]
        noting += [threading.Thread(target=self.watch, args=(folder / "live_1.wav",))] if folder else []
        for thread in noting:
            thread.start()
        self.push(sound, round(BLOCK * rate) if paced else rate, paced)
        self.ended = time.perf_counter()        # the sound
        self.process.stdin.close()
        used = wait_for(self.process)
        self.seconds = time.perf_counter() - self.began
        self.processor, self.mib = used.ru_utime + used.ru_stime - before, used.ru_maxrss / 1024
        for thread in noting:
            thread.join()
        if self.process.returncode:
            sys.exit(f"{line}: exit code {self.process.returncode}")

    def push(self, sound, size, paced):
        """Writes `size` samples at a time, no sooner than they would be spoken where `paced`."""
        for start in range(0, len(sound), size):
            block = sound[start:start + size]
            if paced:
                time.sleep(max(0.0, self.began + (start + len(block)) / self.rate - time.perf_counter()))
            self.pushed.append((time.perf_counter(), (start + len(block)) / self.rate))
            self.process.stdin.write(block.tobytes())
            self.process.stdin.flush()

    def read(self):
        """Notes each line of the answer, and how far in the sound it has come."""
        for line in self.process.stdout:
            if line.startswith(b"{"):
                self.lines.append((time.perf_counter(), json.loads(line)))
                self.answered.append((self.lines[-1][0], self.lines[-1][1]["end"]))

    def watch(self, wav):
        """Notes how a file grows; its header has 80 bytes."""
        size = 0
        while self.process.returncode is None:
            now = wav.stat().st_size if wav.exists() else 0
            if now > size:
                size = now
                self.answered.append((time.perf_counter(), (size - 80) / 2 / self.rate))
            time.sleep(0.001)

    def latencies(self):
        """(median, longest) seconds from pushing a piece to its answer, of those that were answered before the end."""
        found = []
        for moment, end in self.pushed:
            after = next((late for late, until in self.answered if until >= end), self.ended)
            if after < self.ended:
                found.append(after - moment)
        return statistics.median(found), max(found)

    def until(self, wanted):
        """Seconds from the beginning of the sound to the first text so far that is `wanted`."""
        return next(moment for moment, line in self.lines if wanted(line.get("partial", line.get("text")))) - self.began


def used_by(process):
    """CPU seconds of a running process."""
    times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def worker(what, *arguments):
    """A part in a process of its own, with MindSpore; the last argument is the program's."""
    {"export": export, "choose": choose, "stream": stream}[what](*arguments[:-1])


def export(model, place, checkpoint=""):
    """The graph of a step in `place`, and the checkpoint: `checkpoint`, or random weights."""
    import mindspore as ms

    from utils.checkpoints.checkpoint import save_checkpoint
    from utils.config import save_config
    from utils.device import setup_device

    place = Path(place)
    place.mkdir()
    if not checkpoint:
        setup_device("CPU", seed=0)
        ms.set_seed(0)
        config_of = importlib.import_module(f"{model}.src.config").Config
        network_of = importlib.import_module(f"{model}.src.model")
        if model == "conv_tasnet":
            config = config_of(causal=True, norm="cgLN")
            cell = network_of.ConvTasNet(config)
        else:
            config = config_of(bidirectional=False, hidden_size=512)
            cell = network_of.DeepSpeech2(config)
        checkpoint = place / "best.ckpt"
        save_checkpoint(checkpoint, {parameter.name: parameter for parameter in cell.get_parameters()})
        save_config(config, place)
    (place / "checkpoint.txt").write_text(str(checkpoint))
    subprocess.run([sys.executable, ROOT / model / "export.py", "--checkpoint_path", checkpoint, "--streaming", "true",
                    "--runtime", "lite2.0-cpu", "--file_name", place / "net.mindir"], check=True,
                   stdout=subprocess.DEVNULL)
    answer([0.0], [0.0])


def choose(place):
    """sentences.json in `place`: sound, text, and start and end of the speech of some that the network has right.

    Of the run's test manifest, the shortest ones, followed by two seconds of the corpus's noise.
    """
    import deepspeech2
    from deepspeech2.src.features import RATE
    from deepspeech2.src.manifest import read_manifest
    from utils.audio.recording import inspect
    from utils.corpora.mini import FLOOR

    recognizer = deepspeech2.load(Path(place, "checkpoint.txt").read_text(), "CPU")
    config, live = recognizer.config, recognizer.stream(recognizer.config.stream_step)
    generator, chosen = np.random.default_rng(0), []
    for utterance in sorted(read_manifest(config.test_manifest, config.data_folder), key=lambda each: each.seconds):
        sound = inspect(utterance.audio, 1, RATE).whole(RATE)
        loud = np.flatnonzero(np.abs(sound) > 0.03 * np.abs(sound).max()) / RATE
        sound = np.concatenate((sound, generator.normal(0, FLOOR, 2 * RATE))).astype(np.float32)
        if recognizer.decode(np.concatenate(list(live.run([sound])))) == utterance.text:
            path = Path(place, f"{len(chosen)}.npy")
            np.save(path, (32767 * sound.clip(-1, 1)).astype("<i2"))
            chosen.append({"sound": str(path), "text": utterance.text, "start": loud[0], "end": loud[-1]})
        if len(chosen) == SENTENCES:
            break
    Path(place, "sentences.json").write_text(json.dumps(chosen))
    answer([0.0], [0.0])


def stream(model, place):
    """Raw sound from standard input through Python's stream: a JSON line after each step."""
    def blocks():
        rest = b""
        while more := sys.stdin.buffer.read1(16384):
            rest += more
            even = len(rest) // 2 * 2
            block, rest = rest[:even], rest[even:]
            yield np.frombuffer(block, "<i2").astype(np.float32) / 32768

    loaded = importlib.import_module(model).load(Path(place, "checkpoint.txt").read_text(), "CPU")
    live = loaded.stream(loaded.config.stream_step)
    silence = [np.full(2 * loaded.rate, 1e-3, np.float32)]
    run = live.separate if model == "conv_tasnet" else live.run
    list(run(silence))      # compiles
    print("listening", file=sys.stderr, flush=True)
    if model == "conv_tasnet":
        samples = 0
        for mixture, _ in run(blocks()):
            samples += len(mixture)
            print(json.dumps({"end": samples / loaded.rate}), flush=True)
        return
    said = np.zeros((0, len(loaded.alphabet)), np.float32)
    for log_probs in run(blocks()):
        said = np.concatenate((said, log_probs))
        print(json.dumps({"end": 0.02 * len(said), "partial": " ".join(loaded.decode(said).split())}), flush=True)
