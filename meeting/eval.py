"""Scores who said what on meetings of which all is known: python meeting/eval.py --meetings runs/meetings.

Three systems side by side: `ours`; `no separation`, which gives overlaps to one speaker; `oracle segments`, our
separator and recogniser where the reference says who speaks when. DER (spy-der, as NIST's md-eval) counts overlaps,
with a collar of 0.25 s on either side of a boundary; `overlapped` is that of the time in which two speak, without a
collar. cpWER (meeteval) is that of the words, with the speakers paired as fits best. Both come with
pip install "mindspore-speech-zoo[meeting]".
"""
import argparse
import sys
from pathlib import Path
from typing import Any

import meeting
from meeting.src.checkpoints import CHECKPOINTS
from meeting.src.sessions import read_sessions
from utils.command_line import Parser
from utils.errors import run
from utils.files import csv_text, write_text
from utils.progress import progress
from utils.results import require_writable


def main(argv: list[str]) -> list[dict[str, Any]]:
    """Prints the table and writes scores.csv, or scores_known.csv; returns the scores of each meeting."""
    args = parse(argv)
    from meeting.src.evaluation import require_scorers, score, table  # MindSpore, which --help does not wait for

    require_scorers()
    require_writable(args.output_folder, "give another --output_folder")
    sessions = read_sessions(args.meetings)
    transcriber = meeting.load(args.ecapatdnn, args.conv_tasnet, args.deepspeech2, args.device_target)
    rows = [row for session in progress(sessions, "meetings") for row in score(transcriber, session, args.known)]
    target = Path(args.output_folder, "scores_known.csv" if args.known else "scores.csv")
    write_text(target, csv_text(rows, 3))
    print(table(rows))
    print(f"-> {target}: {len(sessions)} meetings")
    return rows


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meetings", default="runs/meetings", help="folder that prepare.py has filled (%(default)s)")
    parser.add_argument("--output_folder", default="runs/meetings/scores", help="(%(default)s)")
    parser.add_argument("--known", action="store_true", help="give the number of speakers to the systems; "
                        "writes scores_known.csv instead of scores.csv")
    for model, default in CHECKPOINTS.items():
        parser.add_checkpoint(f"--{model}", default)
    parser.add_device_target()
    return parser.parse_args(argv)


if __name__ == "__main__":
    run(main, sys.argv[1:])
