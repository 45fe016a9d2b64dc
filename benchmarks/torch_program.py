"""infer.py with a network of PyTorch: the same reading, features, windows and decoding, and no MindSpore.

    python benchmarks/torch_program.py MODEL FOLDER RECORDING OUTPUT

FOLDER holds weights.npz, our parameters. Prints the text or the embedding, or writes the speakers into OUTPUT.
"""
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch_models

from conv_tasnet.src.config import Config as ConvTasNetConfig
from conv_tasnet.src.frames import pad_mixture
from conv_tasnet.src.outputs import output_paths, write_speakers
from conv_tasnet.src.windows import WINDOW, window_sizes
from conv_tasnet.src.windows import Windows as MixtureWindows
from deepspeech2.src import features as spectrograms
from deepspeech2.src.config import Config as DeepSpeech2Config
from deepspeech2.src.decoder import make_decoder
from deepspeech2.src.text import Alphabet
from deepspeech2.src.windows import Windows, stretches
from ecapatdnn.src.config import Config as EcapaConfig
from ecapatdnn.src.features import MIN_FRAMES, RATE, filter_bank, sample_count
from ecapatdnn.src.scoring import unit
from utils.audio.recording import inspect
from utils.config import load_config

ROOT = Path(__file__).resolve().parent.parent
PART = 300      # seconds embedded at once, as by infer.py


def main(model, folder, path, output):
    """The answer to the recording at `path`."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    config_class, run = {"ecapatdnn": (EcapaConfig, embed), "conv_tasnet": (ConvTasNetConfig, separate),
                         "deepspeech2": (DeepSpeech2Config, transcribe)}[model]
    config = load_config(config_class, ROOT / model / "pretrained" / "best.ckpt")
    module = torch_models.loaded(model, config, Path(folder, "weights.npz"))

    def network(x):
        return module(torch.from_numpy(np.ascontiguousarray(x))).numpy()

    with torch.inference_mode():
        run(network, config, path, output)


def embed(network, config, path, _):
    """Prints the embedding."""
    samples = inspect(path, sample_count(MIN_FRAMES, config.front_end), RATE).whole(RATE)
    parts = np.array_split(samples, -(-len(samples) // (PART * RATE)))
    embeddings = [unit(network(filter_bank(part, config.front_end, config.in_channels)[None])) for part in parts]
    print(json.dumps({"embedding": unit(np.sum(embeddings, axis=0))[0].tolist()}))


def separate(network, config, path, output):
    """Writes a wav per speaker."""
    recording, rate, stride = inspect(path, config.L, config.sample_rate), config.sample_rate, config.L // 2
    size, overlap = window_sizes(WINDOW, recording.length(rate), config)

    def speakers(mixture):
        return network(pad_mixture(mixture, stride, 0)[None])[0, :, :len(mixture)]

    windows = MixtureWindows(speakers, size, overlap, stride)
    os.makedirs(output, exist_ok=True)
    write_speakers(output_paths([path], output, config.C)[path], recording, windows.separate(recording.blocks(rate)),
                   rate)


def transcribe(network, config, path, _):
    """Prints the text between pauses."""
    recording, decode = inspect(path, spectrograms.WINDOW, RATE), make_decoder(config, Alphabet(config.labels))
    windows = Windows(lambda features, _: [network(features[0][None])[:, 0]], recording.length(RATE))
    for _, log_probs in stretches(windows.run(recording.blocks(RATE))):
        if text := " ".join(decode(log_probs).split()):
            print(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
