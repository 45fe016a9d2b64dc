"""Tiny corpora of synthetic recordings."""
import dataclasses

import numpy as np
import soundfile

from conv_tasnet.src.config import Config
from conv_tasnet.src.mixtures import load_mixture, read_mixtures

RATE = 16000


def tone(seconds, rate=RATE, seed=0):
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * (200 + 10 * seed) * time) + 0.05 * rng.normal(size=len(time))).astype(np.float32)


def put(path, seconds=1.5, rate=RATE, seed=0, samples=None, subtype=None):
    """Writes `samples`, or a tone in noise; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds, rate, seed) if samples is None else samples, rate, subtype=subtype)
    return path


def tree(folder, speakers=3, files=2, **options):
    """FOLDER/spk<n>/<file>.wav, as `put` writes them."""
    for s in range(speakers):
        for f in range(files):
            put(folder / f"spk{s}/{f}.wav", seed=10 * s + f, **options)
    return folder


def noise(seconds, rate=8000, seed=0, level=0.1):
    return (np.random.default_rng(seed).standard_normal(int(seconds * rate)) * level).clip(-1, 1)


def mixtures(path, folder, **settings):
    """All (mixture, sources) of a list, by key."""
    config = dataclasses.replace(Config(), **settings)
    return {item.key: load_mixture(item, config) for item in read_mixtures(str(path), str(folder), config)}


def librimix(folder, count=2, rate=8000, task="mix_clean", splits=("train-100", "train-360", "dev", "test"), keys=3):
    """What LibriMix's scripts write: absolute paths of the machine where they ran."""
    (folder / "metadata").mkdir(parents=True)
    names = [f"s{i + 1}" for i in range(count)] + ["noise"] * (task == "mix_both")
    for split in splits:
        listed = []
        for k in range(keys):
            key = "_".join(f"{100 + 10 * k + i}-77-{i:04d}" for i in range(count))
            sources = [noise(1 + 0.1 * k, rate, 10 * k + i) for i in range(len(names))]
            for name, samples in zip([task, *names], [sum(sources), *sources], strict=True):
                put(folder / split / name / f"{key}.wav", rate=rate, samples=samples)
            paths = [f"/scratch/Libri{count}Mix/wav8k/min/{split}/{name}/{key}.wav" for name in [task, *names]]
            listed.append(",".join([key, *paths, str(len(sources[0]))]))
        columns = ["mixture_ID", "mixture_path", *(f"source_{i + 1}_path" for i in range(count)),
                   *["noise_path"] * (task == "mix_both"), "length"]
        (folder / f"metadata/mixture_{split}_{task}.csv").write_text("\n".join([",".join(columns), *listed]) + "\n")
        (folder / f"metadata/metrics_{split}_{task}.csv").write_text("mixture_ID,source_1_SNR\n")
    return folder


def lines(path):
    return path.read_text().splitlines()


def printed(capsys):
    """What a program has printed, columns one space apart."""
    return " ".join(capsys.readouterr().out.split())
