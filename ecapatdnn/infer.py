"""Verifies or embeds recordings: python infer.py a.wav b.wav; python infer.py --embed *.wav --output x.npz."""
import argparse
import os
import sys
import zipfile
from collections.abc import Sequence

import numpy as np

import ecapatdnn
from utils.audio.recording import work_through
from utils.command_line import Parser
from utils.errors import OutputError, SettingError, run
from utils.files import write_arrays
from utils.ranges import THRESHOLD, number
from utils.results import require_output


def main(argv: list[str]) -> None:
    """Prints the verdict on two recordings, or writes the embeddings of all that can be used, see `embed`."""
    args = parse(argv)
    if args.embed:
        require_output(args.output, "name another --output")
        if os.path.exists(args.output) and not zipfile.is_zipfile(args.output):
            raise OutputError(f"output: {args.output} exists already and holds no embeddings; name another file")
    verifier = ecapatdnn.load(args.checkpoint_path, args.device_target)
    if args.embed:
        embed(args.audio, verifier, args.output)
        return
    first, second = [verifier.open(path) for path in args.audio]
    first.print_notes()
    second.print_notes()
    verdict = verifier.verify(first, second, threshold=args.threshold)
    ratio = "" if verdict.llr is None else f", log-likelihood ratio {verdict.llr:+.2f}"
    print(f"{'same' if verdict.same else 'different'} speaker: score {verdict.score:.3f}, threshold "
          f"{verdict.threshold:.3f}{ratio}")


def embed(files: Sequence[str], verifier: "ecapatdnn.Verifier", output: str) -> None:
    """Writes the embeddings of all files that can be used; RunError at the end where one could not."""
    embeddings = {}

    def prepare(_):
        return lambda recording: embeddings.update({recording.path: verifier.embed(recording)})

    try:
        work_through(files, verifier.fewest, verifier.rate, prepare, "embedded")
    finally:
        if embeddings:
            write_arrays(output, files=np.array(list(embeddings)), embeddings=np.stack(list(embeddings.values())))
            print(f"{output}: embeddings {(len(embeddings), verifier.config.emb_size)}, unit length, float32")


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line; SettingError where it does not fit together."""
    parser = Parser(description=__doc__)
    parser.add_argument("audio", nargs="+", help="audio files of any rate")
    parser.add_checkpoint("--checkpoint_path")
    parser.add_argument("--threshold", type=number("--threshold", THRESHOLD),
                        help="least score of one speaker (default: the checkpoint's own)")
    parser.add_argument("--embed", action="store_true", help="write embeddings of any number of files, no verdict")
    parser.add_argument("--output", help="file of the embeddings, NumPy's .npz, whatever its name (embeddings.npz)")
    parser.add_device_target()
    args = parser.parse_args(argv)
    if not args.embed and len(args.audio) != 2:
        raise SettingError(f"{len(args.audio)} audio file(s) given, two are compared; --embed takes any number")
    if args.output is not None and not args.embed:
        raise SettingError(f"output: found {args.output}, which embeddings are written to; add --embed")
    if args.threshold is not None and args.embed:
        raise SettingError("threshold: embeddings have none; leave out --threshold or --embed")
    args.output = "embeddings.npz" if args.output is None else args.output
    return args


def command() -> None:
    """The command speech-verify."""
    run(main, sys.argv[1:])


if __name__ == "__main__":
    command()
