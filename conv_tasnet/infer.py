"""Separates recordings of any length and rate, one wav per speaker: python infer.py mixture.wav --output_dir out."""
import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable

import numpy as np

import conv_tasnet
from conv_tasnet.src.level import AUDIBLE
from conv_tasnet.src.outputs import Pieces, output_paths, write_speakers
from conv_tasnet.src.windows import WINDOW
from utils.audio.recording import Recording, work_through
from utils.command_line import Parser
from utils.errors import SettingError, run
from utils.progress import progress
from utils.ranges import Range, number
from utils.results import require_writable


def main(argv: list[str]) -> None:
    """Separates every file that can be; RunError at the end where one could not."""
    args = parse(argv)
    if args.stream and args.window is not None:
        raise SettingError(f"window: found {args.window:g}, but --stream has no windows; leave one of the two out")
    require_writable(args.output_dir, "give another --output_dir")
    separator = conv_tasnet.load(args.checkpoint_path, args.device_target)
    outputs = output_paths(args.audio, args.output_dir, separator.config.C)

    def prepare(recordings):
        longest = max(recording.length(separator.rate) for recording in recordings)
        method = separator.stream(1.0) if args.stream else separator.windows(longest, args.window or WINDOW)
        return lambda recording: separate(recording, method.separate, separator.rate, outputs[recording.path])

    work_through(args.audio, separator.fewest, separator.rate, prepare, "separated", as_it_is=args.stream)


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("audio", nargs="+", help="mixtures; mixture.wav becomes mixture_1.wav, mixture_2.wav, ...")
    parser.add_checkpoint("--checkpoint_path")
    parser.add_argument("--output_dir", default="separated", help="where the speakers go (%(default)s)")
    parser.add_argument("--stream", action="store_true",
                        help="block by block with a causal network, as live; instead of overlapping windows")
    parser.add_argument("--window", type=number("--window", Range(1, 86400)),
                        help=f"seconds separated at once; memory grows with them (default: {WINDOW})")
    parser.add_device_target()
    return parser.parse_args(argv)


def separate(recording: Recording, method: Callable[[Iterable[np.ndarray]], Pieces], rate: int,
             paths: list[str]) -> None:
    """Writes the speakers of a recording to `paths` and prints that; `rate`: the network's, Hz."""
    seconds = math.ceil(recording.samples / recording.rate)
    blocks = progress(recording.blocks(rate), os.path.basename(recording.path), unit="s", total=seconds,
                      disable=seconds < WINDOW)
    peak, decibels = write_speakers(paths, recording, method(blocks), rate)
    if peak > 1:
        print(f"{recording.path}: all speakers turned down by {20 * math.log10(peak):.1f} dB, for one would peak at "
              f"{peak:.2f} and be clipped")
    count, levels = int(sum(decibels > AUDIBLE)), ", ".join(f"{level:.1f}" for level in decibels)
    print(f"{recording.path}: {recording.samples / recording.rate:.1f} s at {recording.rate} Hz -> {' '.join(paths)}; "
          f"{count} voice{'' if count == 1 else 's'} ({levels} dB)")


def command() -> None:
    """The command speech-separate."""
    run(main, sys.argv[1:])


if __name__ == "__main__":
    command()
