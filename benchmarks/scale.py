"""Lists of VoxCeleb2's size and what comes of them, without audio: start-up, memory of workers, time a batch, shards.

    python benchmarks/scale.py [--utterances 1200000] [--speakers 7205] [--workers 2] [--models ecapatdnn ...]

Every model reads a simulated list in a process of its own, forks workers as utils/training/loader.py does, and makes
batches through its own dataset code in which only the reading of audio is left out. Memory is what Linux counts as
private to a worker: what it does not share with the process that read the list. Seconds are those of the processor.
"""
import argparse
import json
import multiprocessing
import os
import pickle
import queue
import resource
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from copy import copy
from dataclasses import replace
from functools import cache

import numpy as np

from utils.audio.packed import shard_name

RANKS = (1, 8, 64)
BATCH = {"ecapatdnn": 100, "conv_tasnet": 4, "deepspeech2": 8}      # the default presets'
IN_A_SHARD = 4500   # utterances: a GB before packing
ITEMS = 100_000     # made by each worker: enough to touch all of a list that lies in pages of 4 kB
LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ     ", np.uint8)


def main():
    """Prints two tables and a line."""
    args = parse()
    if args.child:
        print(json.dumps(measure_index(args.folder) if args.child == "index" else measure(args.child, args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_lists(folder, args)
        results = {model: run_child(model, folder) for model in args.models}
        write_shards(f"{folder}/audio.mindrecord", args.utterances)
        index = run_child("index", folder)
    print(f"{args.utterances:,} utterances of {args.speakers:,} speakers, {os.cpu_count()} cores")
    print("| | list on disk | start-up | peak memory | kept of the list | private to a worker at its start | "
          "after its batches | list handling a batch | a spawned worker would get |")
    print("|---|---|---|---|---|---|---|---|---|")
    for model, measures in results.items():
        print("| {} | {disk:.0f} MB | {start:.2f} s | {peak:.0f} MiB | {kept:.0f} MiB | {fresh:.0f} MiB "
              "| {used:.0f} MiB | {milliseconds:.2f} ms of {batch} | {pickled:.0f} MB |".format(model, **measures))
    print("\n| | ranks | steps of each | utterances an epoch | left out | twice |\n|---|---|---|---|---|---|")
    for model, measures in results.items():
        for row in measures["shards"]:
            print("| {} | {ranks} | {steps:,} | {used:,} | {left:,} | {twice} |".format(model, **row))
    print("\npacked, {shards} shards: index read in {start:.2f} s, {kept:.0f} MiB; a path looked up in "
          "{microseconds:.1f} us".format(**index))


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=1_200_000)
    parser.add_argument("--speakers", type=int, default=7205)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--models", nargs="+", choices=list(BATCH), default=list(BATCH))
    parser.add_argument("--child", choices=[*BATCH, "index"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def run_child(model, folder):
    """What `measure` finds in a fresh process."""
    command = [sys.executable, __file__, *sys.argv[1:], "--child", model, "--folder", folder]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def write_lists(folder, args):
    """train.txt as prepare.py writes it of VoxCeleb2, and train.json with texts of LibriSpeech's length."""
    generator = np.random.default_rng(0)
    speakers = np.sort(generator.integers(args.speakers, size=args.utterances))
    speakers[:args.speakers] = np.arange(args.speakers)     # each at least once
    with open(f"{folder}/train.txt", "w", encoding="utf-8") as file:
        for number, speaker in enumerate(speakers):
            video = f"{number // 8 * 2654435761 % 2 ** 44:011x}"
            file.write(f"id{speaker:05d} id{speaker:05d}/{video}/{number % 1000:05d}.wav\n")
    letters = generator.choice(LETTERS, 10_000).tobytes().decode()
    with open(f"{folder}/train.json", "w", encoding="utf-8") as file:
        file.write('{"root_path": "/corpus", "samples": [\n')
        for number in range(args.utterances):
            start, length = number * 7919 % 9_700, 20 + number * 6007 % 280
            sample = {"wav_path": f"train-960/{number // 100}/{number:08d}.flac", "transcript_path": "",
                      "transcript": f"A{letters[start:start + length]}Z", "seconds": round(length / 14, 2)}
            file.write(json.dumps(sample) + ("," if number + 1 < args.utterances else "]}") + "\n")


def write_shards(folder, utterances):
    """Shards as utils/corpora/pack.py writes them, of files of 120 kB, without the audio."""
    os.mkdir(folder)
    count = -(-utterances // IN_A_SHARD)
    for number in range(count):
        path = f"{folder}/{shard_name(number, count)}"
        header = json.dumps({"header_size": 2 ** 20, "page_size": 2 ** 22}).encode()
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(2 ** 20 + 2 ** 22 * (IN_A_SHARD // 34 + 3))
        with closing(sqlite3.connect(f"{path}.db")) as table:
            table.execute("CREATE TABLE INDEXES(ROW_ID INT, PAGE_ID_RAW INT, PAGE_OFFSET_RAW_END INT, "
                          "PAGE_ID_BLOB INT, PAGE_OFFSET_BLOB INT, PAGE_OFFSET_BLOB_END INT, INC_0 INT, path_0 TEXT, "
                          "PRIMARY KEY(ROW_ID, INC_0))")
            first = number * IN_A_SHARD
            table.executemany("INSERT INTO INDEXES VALUES(?, 1, 100, ?, ?, ?, 0, ?)", (
                (row, row // 34 + 2, row % 34 * 120_000, row % 34 * 120_000 + 120_000, key_of(first + row))
                for row in range(min(IN_A_SHARD, utterances - first))))
            table.commit()


def key_of(number):
    """The path of a simulated record."""
    return f"id{number // 160:05d}/{number // 8:011x}/{number % 1000:05d}.wav"


# ---- the datasets, without audio


def ecapatdnn(folder):
    """A function that makes the TrainSet of (rank, ranks)."""
    from ecapatdnn.src import dataset
    from ecapatdnn.src.config import Config

    class Listed(dataset.TrainSet):
        """Items are the number of their utterance; where `counting`, nothing random is drawn for them."""

        counting = False

        def _crop(self, file, generator):
            self.path(file)
            return np.array([file]), self.speaker[file]

        def _crop_of_any(self, file, seed, bad):
            if self.counting:
                return np.array([file]), 0
            return super()._crop_of_any(file, seed, bad)

    dataset.read_train_list = cache(dataset.read_train_list)    # for the 73 ranks; the list is the same
    config = replace(Config(), train_list=f"{folder}/train.txt", train_path="/corpus",
                     minibatch_size=BATCH["ecapatdnn"])
    return lambda rank=0, size=1: Listed(config, rank, size)


def conv_tasnet(folder):
    """A function that makes the TrainSet of (rank, ranks), mixing on the fly."""
    from conv_tasnet.src import dataset
    from conv_tasnet.src.config import Config

    class Listed(dataset.SpeakerMixer):
        """Items are the number of the mixture."""

        def make(self, epoch, position, generator, bad):
            super().make(epoch, position, generator, bad)
            return np.array([position]), np.zeros(1), 1

        def _crop(self, path, length, generator):
            return np.ones(1, np.float32)

    dataset.read_train_list, dataset.SpeakerMixer = cache(dataset.read_train_list), Listed
    config = replace(Config(), train_dir=f"{folder}/train.txt", train_path="/corpus",
                     minibatch_size=BATCH["conv_tasnet"])
    return lambda rank=0, size=1: dataset.TrainSet(config, rank, size)


def deepspeech2(folder):
    """A function that makes the TrainSet of (rank, ranks)."""
    from deepspeech2.src import dataset, manifest
    from deepspeech2.src.config import Config

    class Listed(dataset.TrainSet):
        """Items have no frames."""

        def _make(self, item, epoch):
            np.random.default_rng((self.config.seed, epoch, item))
            self.path(item)
            return np.zeros((1, 1)), self.labels[item]

    manifest.require_files = lambda *_: None    # the simulated files; a look-up takes some microseconds on a local disk
    config = replace(Config(), train_manifest=f"{folder}/train.json", minibatch_size=BATCH["deepspeech2"])
    first = cache(lambda: Listed(config))

    def of_rank(rank=0, size=1):
        made = copy(first())    # the manifest is read once
        made.rank, made.size, made.steps = rank, size, made.files // (config.minibatch_size * size)
        return made
    return of_rank


# ---- what is measured

def measure(model, args):
    """One row of the tables."""
    make = globals()[model](args.folder)
    before, started = memory("Rss"), time.process_time()
    dataset = make()
    measures = {"start": time.process_time() - started, "batch": BATCH[model], "peak": peak(),
                "kept": memory("Rss") - before, "pickled": pickled(dataset) / 1e6,
                "disk": os.path.getsize(dataset.config.train_manifest if model == "deepspeech2" else
                                        f"{args.folder}/train.txt") / 1e6}
    workers = run_workers(dataset, args.workers)
    measures |= {name: float(np.max([worker[name] for worker in workers]))
                 for name in ("fresh", "used", "milliseconds")}
    measures["shards"] = [] if model == "conv_tasnet" else [shards(make, ranks) for ranks in RANKS]
    return measures


def pickled(dataset):
    """Bytes that a spawned worker would read before it could begin."""
    lists = vars(getattr(dataset, "items", dataset))
    return len(pickle.dumps({name: value for name, value in lists.items() if name != "augmenter"}))


def run_workers(dataset, count):
    """[{fresh, used: MiB private to the worker; milliseconds a batch}] of workers that are forked at once."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()

    def work(number):
        fresh, steps = memory("Private"), min(dataset.steps, ITEMS // dataset.config.minibatch_size)
        dataset.batch(1, 0)
        started = time.process_time()
        for index in range(steps):
            dataset.batch(1, (index * count + number) % dataset.steps)
        results.put({"fresh": fresh, "used": memory("Private"),
                     "milliseconds": 1e3 * (time.process_time() - started) / steps})

    processes = [context.Process(target=work, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    answers = []
    while len(answers) < count:
        try:
            answers.append(results.get(timeout=1))
        except queue.Empty:
            if any(process.exitcode for process in processes):      # one that failed never answers
                raise SystemExit("a worker failed, as printed above") from None
    for process in processes:
        process.join()
    return answers


def shards(make, ranks):
    """How an epoch is shared out: every utterance of every batch of every rank is counted."""
    counts, steps = 0, set()
    for rank in range(ranks):
        dataset = make(rank, ranks)
        counts = counts if rank else np.zeros(dataset.files, np.int32)
        dataset.counting = True
        steps.add(dataset.steps)
        for items in epoch_items(dataset):
            counts[items] += 1
    assert len(steps) == 1, "the ranks would wait for each other at the end of an epoch"
    left = int((counts == 0).sum())
    assert left == dataset.files % (ranks * dataset.config.minibatch_size), "more is left out than what fills no step"
    return {"ranks": ranks, "steps": steps.pop(), "used": int((counts > 0).sum()), "left": left,
            "twice": int((counts > 1).sum())}


def epoch_items(dataset):
    """The utterances of each batch of a rank's second epoch."""
    if hasattr(dataset, "plan"):
        return dataset.plan(2)[dataset.rank::dataset.size]
    return (dataset.batch(2, index)[0][0].ravel() for index in range(dataset.steps))


def measure_index(folder):
    """Reading the index of a packed corpus, and finding records in it."""
    from utils.audio import packed

    before, started = memory("Rss"), time.process_time()
    packed.load_index(f"{folder}/audio.mindrecord")
    measures = {"start": time.process_time() - started, "kept": memory("Rss") - before,
                "shards": len(packed.find_shards(f"{folder}/audio.mindrecord"))}
    numbers = np.random.default_rng(0).integers(len(packed._index(f"{folder}/audio.mindrecord").hashes), size=20_000)
    started = time.process_time()
    places = [packed.find_record(f"{folder}/audio.mindrecord/{key_of(number)}") for number in numbers.tolist()]
    assert None not in places
    return measures | {"microseconds": 1e6 * (time.process_time() - started) / len(places)}


def memory(kind):
    """MiB of this process: "Rss", all it has in memory, or "Private", what no other process shares."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(kind)) / 1024


def peak():
    """Largest MiB this process had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
