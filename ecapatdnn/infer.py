"""Verifies or embeds recordings: python infer.py a.wav b.wav; python infer.py --embed *.wav --output x.npz."""
import argparse
import sys

import numpy as np

from ecapatdnn.src.config import Config
from ecapatdnn.src.inference import load
from utils.checkpoints.checkpoint import pretrained
from utils.config import checkpoint_config
from utils.errors import SettingError, run
from utils.files import whole_file


def main(argv: list[str]) -> None:
    """Prints the verdict on two recordings, or writes the embeddings of any number."""
    args = parse(argv)
    verifier = load(checkpoint_config(Config, args.checkpoint_path, device_target=args.device_target, resample=True,
                                      score_crops=0))
    if args.embed:
        embeddings = np.stack([verifier.embed(path) for path in args.audio])
        output = args.output.removesuffix(".npz") + ".npz"
        with whole_file(output) as temporary:
            np.savez(temporary, files=np.array(args.audio), embeddings=embeddings)
        print(f"{output}: embeddings {embeddings.shape}, unit length, float32")
        return
    threshold = verifier.threshold if args.threshold is None else args.threshold
    score = verifier.score(*args.audio)
    print(f"{'same' if score >= threshold else 'different'} speaker: score {score:.3f}, threshold {threshold:.3f}")


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line; SettingError where it does not fit together."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("audio", nargs="+", help="audio files of any rate")
    parser.add_argument("--checkpoint_path", default=pretrained(__file__),
                        help="best.ckpt of a run folder (default: the one that ships)")
    parser.add_argument("--threshold", type=float, help="default: at the EER of the run's validation")
    parser.add_argument("--embed", action="store_true", help="write embeddings instead of a verdict")
    parser.add_argument("--output", default="embeddings.npz")
    parser.add_argument("--device_target", default="", help="Ascend, CPU, GPU")
    args = parser.parse_args(argv)
    if not args.embed and len(args.audio) != 2:
        raise SettingError(f"{len(args.audio)} audio file(s) given, two are compared; --embed takes any number")
    return args


if __name__ == "__main__":
    run(main, sys.argv[1:])
