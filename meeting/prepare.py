"""Simulated meetings of real voices, the same every time: python meeting/prepare.py --data_folder DIR.

    python meeting/prepare.py --data_folder DIR --output_folder runs/meetings

Of the speakers of an4, librispeech and speechocean762 below DIR, see src/corpora.py, meetings of 2, 3 and 4 speakers
are made, with 0, 20 and 40 % of the speech overlapped, clean and, with --noise_folder, with noise 15 dB under the
speech. Into the output folder go NAME.flac of each, reference.rttm (who speaks when) and reference.json (SegLST: who
said what). `eval.py` scores them. Meetings that were there before are removed first.
"""
import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
import soundfile

from meeting.src.corpora import CORPORA, read_utterances
from meeting.src.sessions import CONDITIONS, OVERLAPS, RTTM, SEGLST, SPEAKERS, Kind, remove_meetings
from meeting.src.simulation import RATE, simulate
from meeting.src.turns import write_rttm, write_seglst
from utils.audio.audio_file import find_recordings, read
from utils.command_line import Parser
from utils.errors import run
from utils.files import whole_file
from utils.progress import progress
from utils.ranges import MANY, Range, number
from utils.results import require_writable

MOST_NOISES = 6     # recordings in a meeting


def main(argv: list[str]) -> None:
    """Writes the meetings. UserError where a corpus is missing or the folder cannot be written."""
    args = parse(argv)
    require_writable(args.output_folder, "give another --output_folder")
    noises = find_recordings(args.noise_folder, "noise_folder") if args.noise_folder else []
    kinds = [Kind(*parts) for parts in itertools.product(args.corpora, SPEAKERS, OVERLAPS,
                                                         CONDITIONS if noises else CONDITIONS[:1])]
    paths = {corpus: CORPORA[corpus](args.data_folder) for corpus in args.corpora}
    remove_meetings(args.output_folder)
    activity, spoken = {}, {}
    for kind in progress(kinds, "meetings"):
        corpus, count, overlap, condition = kind
        # one meeting, clean and with noise: the generator does not know which
        generator = np.random.default_rng((args.seed, list(CORPORA).index(corpus), count, overlap))
        speakers = [str(name) for name in generator.permutation(sorted(paths[corpus]))[:count]]
        utterances = read_utterances(paths[corpus], speakers, args.seconds * 1.5 / count)
        noise = noise_of(noises, generator) if condition == "noisy" else None
        meeting = simulate(utterances, overlap / 100, args.seconds, np.random.default_rng(generator.integers(2 ** 32)),
                           noise)
        with whole_file(Path(args.output_folder, f"{kind.name}.flac")) as temporary:
            soundfile.write(temporary, meeting.samples, RATE, format="FLAC")
        activity[kind.name], spoken[kind.name] = meeting.activity, meeting.spoken
    write_rttm(Path(args.output_folder, RTTM), activity)
    write_seglst(Path(args.output_folder, SEGLST), spoken)
    print(f"{args.output_folder}: {len(kinds)} meetings, {RTTM}, {SEGLST}")


def noise_of(files: list[str], generator: np.random.Generator) -> np.ndarray:
    """Up to MOST_NOISES recordings of noise one after the other, (n,), each at the same level."""
    count = min(MOST_NOISES, len(files))
    chosen = [read(file, RATE, resample=True) for file in generator.choice(files, count, replace=False)]
    return np.concatenate([sound / np.sqrt(np.mean(sound ** 2) + 1e-12) for sound in chosen])


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_folder", required=True, help="the folder that holds the corpora's")
    parser.add_argument("--noise_folder", default="", help="recordings of noise; '': clean meetings alone")
    parser.add_argument("--output_folder", default="runs/meetings", help="(%(default)s)")
    parser.add_argument("--corpora", nargs="+", choices=list(CORPORA), default=list(CORPORA), help="(all)")
    parser.add_argument("--seconds", type=number("--seconds", Range(10, 36000)), default=60,
                        help="of a meeting, about (%(default)s)")
    parser.add_argument("--seed", type=number("--seed", Range(0, MANY), int), default=0, help="(%(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run(main, sys.argv[1:])
