"""Writes down what is said in recordings of any length and rate: python infer.py talk.wav [--timestamps]."""
import argparse
import math
import os
import sys
from collections.abc import Iterator

import deepspeech2
from deepspeech2.src.config import Config
from utils.audio.recording import Recording, work_through
from utils.command_line import Parser
from utils.config import explained
from utils.errors import run
from utils.progress import progress
from utils.ranges import number, ranges_of

DECODING = ("lm_path", "alpha", "beta", "beam_width")       # settings that flags may change


def main(argv: list[str]) -> None:
    """Prints the text of every file that can be read; RunError at the end where one could not."""
    args = parse(argv)
    given = {name: getattr(args, name) for name in DECODING if getattr(args, name) is not None}
    recognizer = deepspeech2.load(args.checkpoint_path, args.device_target, **given)

    def prepare(recordings):
        longest = max(recording.length(recognizer.rate) for recording in recordings)
        method = recognizer.stream() if args.stream else recognizer.windows(longest)
        return lambda recording: show(recording, recognizer.segments(recording, method, args.timestamps), args)

    work_through(args.audio, recognizer.fewest, recognizer.rate, prepare, "transcribed", as_it_is=args.stream)


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("audio", nargs="+", help="audio files of any rate")
    parser.add_checkpoint("--checkpoint_path")
    parser.add_argument("--timestamps", action="store_true", help="one word per line with its start and end in seconds")
    parser.add_argument("--stream", action="store_true",
                        help="step by step with a unidirectional network, as transcribe_stream does live; instead of "
                        "overlapping windows")
    parser.add_argument("--lm_path", help="ARPA or KenLM language model, or the name of one that ships: english")
    for name, kind in (("alpha", float), ("beta", float), ("beam_width", int)):
        parser.add_argument(f"--{name}", type=number(f"--{name}", ranges_of(Config)[name], kind),
                            help=explained(Config)[name][1])
    parser.add_device_target()
    return parser.parse_args(argv)


def show(recording: Recording, segments: "Iterator[deepspeech2.Segment]", args: argparse.Namespace) -> None:
    """Prints the segments of a recording as they come: their texts, or their words with the times."""
    seconds = math.ceil(recording.samples / recording.rate)
    if len(args.audio) > 1:
        print(f"{recording.path}:")
    with progress(title=os.path.basename(recording.path), unit="s", total=seconds, disable=seconds < 60) as bar:
        for segment in segments:
            for word in segment.words:
                print(f"{word.start:.2f} {word.end:.2f} {word.text}")
            if segment.text and not args.timestamps:
                print(segment.text, flush=True)
            bar.update(segment.end - segment.start)


def command() -> None:
    """The command speech-transcribe."""
    run(main, sys.argv[1:])


if __name__ == "__main__":
    command()
