"""Writes down what is said in recordings of any length and rate: python infer.py talk.wav [--timestamps]."""
import argparse
import dataclasses
import math
import os
import sys

from deepspeech2.src.alignment import word_times
from deepspeech2.src.config import Config
from deepspeech2.src.decoder import make_decoder
from deepspeech2.src.features import RATE, WINDOW
from deepspeech2.src.model import DeepSpeech2
from deepspeech2.src.recognition import Recogniser
from deepspeech2.src.streaming import Stream, moments
from deepspeech2.src.text import Alphabet
from deepspeech2.src.windows import FRAME, Windows, segments
from utils.audio.recording import work_through
from utils.checkpoints.checkpoint import load_model, pretrained
from utils.config import load_config
from utils.cpu_ops import fast
from utils.device import setup_device
from utils.errors import run
from utils.progress import progress


def main(argv):
    """Prints the text of every file that can be read; UserError at the end where one could not."""
    args = parse(argv)
    config = load_config(Config, args.checkpoint_path)
    given = {name: getattr(args, name) for name in ("lm_path", "alpha", "beta", "beam_width")}
    config = dataclasses.replace(config, model_path=args.checkpoint_path,
                                 **{name: value for name, value in given.items() if value is not None})
    setup_device(args.device_target)
    alphabet = Alphabet(config.labels)
    decode = make_decoder(config, alphabet)

    def prepare(recordings):
        listen = make_listener(config, args, recordings)
        return lambda recording: transcribe(recording, listen, decode, alphabet, args)

    work_through(args.audio, WINDOW, RATE, prepare, "transcribed")


def parse(argv):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("audio", nargs="+", help="audio files of any rate")
    parser.add_argument("--checkpoint_path", default=pretrained(__file__),
                        help="best.ckpt of a run folder (default: the one that ships)")
    parser.add_argument("--timestamps", action="store_true", help="one word a line with its start and end in seconds")
    parser.add_argument("--stream", action="store_true",
                        help="piece by piece with a unidirectional network, as live; instead of overlapping windows")
    parser.add_argument("--lm_path", help="ARPA or KenLM language model")
    parser.add_argument("--alpha", type=float, help="weight of the language model")
    parser.add_argument("--beta", type=float, help="reward of a word")
    parser.add_argument("--beam_width", type=int, help="prefixes kept; 0: greedy")
    parser.add_argument("--device_target", default="", help="Ascend, CPU, GPU")
    return parser.parse_args(argv)


def make_listener(config, args, recordings):
    """The function Recording -> log probabilities (any number, K) piece by piece, compiled for the longest of them."""
    model = fast(DeepSpeech2(config))
    load_model(config.model_path, model)
    if args.stream:
        stream = Stream(model, config)
        return lambda recording: stream.transcribe(recording.blocks(RATE), moments(recording.blocks(RATE)))
    longest = max(math.ceil(one.samples * RATE / one.rate) for one in recordings)
    windows = Windows(Recogniser(model, config, batch=1), longest)
    return lambda recording: windows.transcribe(recording.blocks(RATE))


def transcribe(recording, listen, decode, alphabet, args):
    """Prints the text of a recording as it is found."""
    seconds = math.ceil(recording.samples / recording.rate)
    if len(args.audio) > 1:
        print(f"{recording.path}:")
    bar = progress(title=os.path.basename(recording.path), unit="s", total=seconds, disable=seconds < 60)
    with bar:
        for first, log_probs in segments(listen(recording)):
            text = " ".join(decode(log_probs).split())
            if args.timestamps:
                for word, start, end in word_times(log_probs, text, alphabet, FRAME / RATE):
                    offset = first * FRAME / RATE
                    print(f"{offset + start:.2f} {offset + end:.2f} {word}")
            elif text:
                print(text, flush=True)
            bar.update(len(log_probs) * FRAME / RATE)


if __name__ == "__main__":
    run(main, sys.argv[1:])
