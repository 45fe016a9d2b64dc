"""Verifies or embeds recordings: python infer.py a.wav b.wav; python infer.py --embed *.wav --output x.npz."""
import argparse
import dataclasses
import sys

import numpy as np

from ecapatdnn.eval import load_embedder
from ecapatdnn.src.config import Config
from utils.checkpoints.checkpoint import load_checkpoint, pretrained
from utils.config import load_config
from utils.device import setup_device
from utils.errors import ContentError, SettingError, run


def main(argv):
    """Prints the verdict on two recordings, or writes the embeddings of any number."""
    args = parse(argv)
    config = dataclasses.replace(load_config(Config, args.checkpoint_path), resample=True, score_crops=0,
                                 model_path=args.checkpoint_path)
    setup_device(args.device_target)
    embedder = load_embedder(config)
    embeddings = np.stack([embedder.file(path)[0] for path in args.audio])
    if args.embed:
        np.savez(args.output, files=np.array(args.audio), embeddings=embeddings)
        print(f"{args.output}: embeddings {embeddings.shape}, unit length, float32")
        return
    threshold = args.threshold if args.threshold is not None else saved_threshold(args.checkpoint_path)
    score = float(embeddings[0] @ embeddings[1])
    print(f"{'same' if score >= threshold else 'different'} speaker: score {score:.3f}, threshold {threshold:.3f}")


def parse(argv):
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


def saved_threshold(checkpoint):
    """The threshold that training found at the EER of its validation trials."""
    record = load_checkpoint(checkpoint)[1]
    if "threshold" not in record:
        raise ContentError(f"{checkpoint}: was trained without validation trials and holds no threshold; pass "
                           "--threshold")
    return record["threshold"]


if __name__ == "__main__":
    run(main, sys.argv[1:])
