"""Writes down who said what in recordings of any length and rate: python who_said_what.py meeting.wav."""
import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import meeting
from meeting.src.checkpoints import CHECKPOINTS
from meeting.src.turns import as_json, lines_of, write_rttm, write_seglst
from utils.audio.recording import Recording, work_through
from utils.command_line import Parser
from utils.config import explained
from utils.errors import OutputError, run
from utils.ranges import SPEAKERS, number, ranges_of
from utils.results import require_writable


def main(argv: list[str]) -> None:
    """Prints who said what in every file that can be read, and writes it; RunError at the end where one could not."""
    args = parse(argv)
    if args.output_dir:
        require_output(args.audio, args.output_dir)
    decoding = {name: getattr(args, name) for name in ("lm_path", "beam_width") if getattr(args, name) is not None}
    transcriber = meeting.load(args.ecapatdnn, args.conv_tasnet, args.deepspeech2, args.device_target, args.enrolled,
                               **decoding)

    def prepare(_):
        return lambda recording: write_down(recording, transcriber, args)

    work_through(args.audio, transcriber.fewest, transcriber.rate, prepare, "transcribed")


def write_down(recording: Recording, transcriber: "meeting.Transcriber", args: argparse.Namespace) -> None:
    """Prints who said what in a recording; writes it to args.output_dir as text, RTTM, SegLST and a picture."""
    result = transcriber.transcribe(recording, num_speakers=args.num_speakers)
    if args.json:
        print(json.dumps({"file": recording.path} | as_json(result.turns) | {
            "seconds": round(result.seconds, 2), "overlap_seconds": round(result.overlap_seconds, 2),
            "real_time_factor": round(result.real_time_factor, 3)}, ensure_ascii=False), flush=True)
    else:
        for line in lines_of(result.turns):
            print(line)
        print(f"{recording.path}: {result.seconds:.1f} s, {len(result.speakers)} speaker(s), "
              f"{result.overlap_seconds:.1f} s of two at once; {result.elapsed:.1f} s, real-time factor "
              f"{result.real_time_factor:.2f}", flush=True)
    if not args.output_dir:
        return
    name = Path(recording.path).stem
    target = Path(args.output_dir, name)
    write_rttm(f"{target}.rttm", {name: result.turns})
    write_seglst(f"{target}.json", {name: result.turns})

    from meeting.src.plots import draw_meeting  # matplotlib, for which nobody waits before the answer

    draw_meeting(result.turns, result.seconds, f"{target}.png")
    if not args.json:
        print(f"-> {target}.rttm {target}.json {target}.png", flush=True)


def require_output(files: list[str], folder: str) -> None:
    """OutputError where the results of `files` cannot be written into `folder`, or two would have one name."""
    require_writable(folder, "give another --output_dir")
    (name, count), = Counter(Path(file).stem for file in files).most_common(1)
    if count > 1:
        raise OutputError(f"{count} recordings are named {name}, and so would be their results; run them one by one, "
                          "each with another --output_dir")


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    from deepspeech2.src.config import Config

    parser = Parser(description=__doc__)
    parser.add_argument("audio", nargs="+", help="audio files of any rate")
    parser.add_argument("--num_speakers", type=number("--num_speakers", SPEAKERS, int),
                        help="how many speak (default: as many as their voices tell apart)")
    parser.add_argument("--enrolled", help="voices whose names are known: a file that the C++ runner's --enrol has "
                        "written, or a folder of NAME.wav or NAME/*.wav")
    parser.add_argument("--output_dir", default="who_said_what",
                        help="where NAME.rttm, NAME.json (SegLST) and NAME.png go; '': nowhere (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per recording, with word times")
    for model, default in CHECKPOINTS.items():
        parser.add_checkpoint(f"--{model}", default)
    parser.add_argument("--lm_path", help="ARPA or KenLM language model, or the name of one that ships: english")
    parser.add_argument("--beam_width", type=number("--beam_width", ranges_of(Config)["beam_width"], int),
                        help=explained(Config)["beam_width"][1])
    parser.add_device_target()
    return parser.parse_args(argv)


def command() -> None:
    """The command speech-meeting."""
    run(main, sys.argv[1:])


if __name__ == "__main__":
    command()
