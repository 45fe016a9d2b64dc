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
from meeting.src.turns import read_rttm, read_seglst
from utils.command_line import Parser
from utils.errors import ContentError, run
from utils.files import csv_text, write_text
from utils.progress import progress
from utils.results import require_writable


def main(argv: list[str]) -> list[dict[str, Any]]:
    """Prints the table and writes scores.csv; returns the scores of each meeting."""
    args = parse(argv)
    from meeting.src.evaluation import require_scorers, score, table  # MindSpore, which --help does not wait for

    require_scorers()
    require_writable(args.output_folder, "give another --output_folder")
    files = sorted(Path(args.meetings).glob("*.flac"))
    if not files:
        raise ContentError(f"{args.meetings}: holds no meetings; meeting/prepare.py makes some")
    activity = read_rttm(Path(args.meetings, "reference.rttm"))
    words = read_seglst(Path(args.meetings, "reference.json"))
    transcriber = meeting.load(args.ecapatdnn, args.conv_tasnet, args.deepspeech2, args.device_target)
    rows = []
    for file in progress(files, "meetings"):
        rows += score(transcriber, file, activity[file.stem],
                      [row for row in words if row["session_id"] == file.stem], args.known)
    write_text(Path(args.output_folder, "scores.csv"), csv_text(rows, 3))
    print(table(rows))
    print(f"-> {Path(args.output_folder, 'scores.csv')}: {len(files)} meetings")
    return rows


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meetings", default="runs/meetings", help="folder that prepare.py has filled (%(default)s)")
    parser.add_argument("--output_folder", default="runs/meetings/scores", help="(%(default)s)")
    parser.add_argument("--known", action="store_true", help="give the number of speakers to the systems")
    for model in ("ecapatdnn", "conv_tasnet", "deepspeech2"):
        parser.add_checkpoint(f"--{model}")
    parser.add_device_target()
    return parser.parse_args(argv)


if __name__ == "__main__":
    run(main, sys.argv[1:])
