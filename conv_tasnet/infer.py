"""Separates recordings of any length and rate, one wav a speaker: python infer.py mixture.wav --output_dir out."""
import argparse
import dataclasses
import math
import os
import sys

from conv_tasnet.src.config import Config
from conv_tasnet.src.model import ConvTasNet
from conv_tasnet.src.outputs import output_paths, write_speakers
from conv_tasnet.src.separation import Separator
from conv_tasnet.src.streaming import Stream
from conv_tasnet.src.windows import WINDOW, Windows, window_sizes
from utils.audio.recording import work_through
from utils.checkpoints.checkpoint import load_model, pretrained
from utils.config import load_config
from utils.cpu_ops import fast
from utils.device import setup_device
from utils.errors import run
from utils.progress import progress


def main(argv):
    """Separates every file that can be; UserError at the end where one could not."""
    args = parse(argv)
    config = dataclasses.replace(load_config(Config, args.checkpoint_path), model_path=args.checkpoint_path)
    outputs = output_paths(args.audio, args.output_dir, config.C)
    setup_device(args.device_target)
    work_through(args.audio, config.L, config.sample_rate, lambda found: make_separator(config, args, found, outputs),
                 "separated")


def parse(argv):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("audio", nargs="+", help="mixtures; mixture.wav becomes mixture_1.wav, mixture_2.wav, ...")
    parser.add_argument("--checkpoint_path", default=pretrained(__file__),
                        help="best.ckpt of a run folder (default: the one that ships)")
    parser.add_argument("--output_dir", default="separated")
    parser.add_argument("--stream", action="store_true",
                        help="block by block with a causal network, as live; instead of overlapping windows")
    parser.add_argument("--window", type=float, default=WINDOW,
                        help="seconds separated at once, of which memory depends (%(default)s)")
    parser.add_argument("--device_target", default="", help="Ascend, CPU, GPU")
    return parser.parse_args(argv)


def make_separator(config, args, recordings, outputs):
    """The function that separates a recording into its files, compiled for the longest of them."""
    model = fast(ConvTasNet(config))
    load_model(config.model_path, model)
    if args.stream:
        separator = Stream(model, config, seconds=1.0)
    else:
        longest = max(math.ceil(one.samples * config.sample_rate / one.rate) for one in recordings)
        size, overlap = window_sizes(args.window, longest, config)
        separator = Windows(Separator(model, config, size), size, overlap, config.L // 2)
    return lambda recording: separate(recording, separator, config, outputs[recording.path])


def separate(recording, separator, config, paths):
    """Writes the speakers of a recording and says so."""
    seconds = math.ceil(recording.samples / recording.rate)
    if recording.channels > 1:
        print(f"{recording.path}: {recording.channels} channels, their mean is separated")
    blocks = progress(recording.blocks(config.sample_rate), os.path.basename(recording.path), unit="s", total=seconds,
                      disable=seconds < WINDOW)
    peak = write_speakers(paths, recording, separator.separate(blocks), config.sample_rate)
    if peak > 1:
        print(f"{recording.path}: all speakers turned down by {20 * math.log10(peak):.1f} dB, for one would peak at "
              f"{peak:.2f} and be clipped")
    print(f"{recording.path}: {seconds} s at {recording.rate} Hz -> {' '.join(paths)}")


if __name__ == "__main__":
    run(main, sys.argv[1:])
