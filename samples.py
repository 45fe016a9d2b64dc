"""What the shipped checkpoints make of the shipped samples: python samples.py [--output_dir runs/samples].

Verifies, separates and transcribes the recordings in <model>/samples, and draws a picture of each.
"""
import argparse
import sys
import time
from pathlib import Path

import conv_tasnet
import deepspeech2
import ecapatdnn
from utils.command_line import Parser
from utils.errors import run
from utils.results import require_writable

ROOT = Path(__file__).resolve().parent


def main(argv: list[str]) -> None:
    """Prints each model's answer and the paths of what is written. OutputError for a folder that cannot be written."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", default="runs/samples",
                        help="folder of the pictures and the separated voices (%(default)s)")
    folder = parser.parse_args(argv).output_dir
    require_writable(folder, "give another --output_dir")
    Path(folder).mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for question, work in (("ecapatdnn: is it the same speaker?", verify),
                           ("conv_tasnet: two voices at once, which is which?", separate),
                           ("deepspeech2: what is said, and when?", transcribe)):
        print(f"== {question}", flush=True)
        work(Path(folder))
        print(f"   ({time.monotonic() - started:.0f} s)", flush=True)


# What draws is imported after the answer, so that nobody waits for it.


def verify(folder: Path) -> None:
    """Every pair of three recordings of two people."""
    verifier, verdicts = ecapatdnn.load(), {}
    for first, second in (("speaker1_a", "speaker1_b"), ("speaker1_a", "speaker2"), ("speaker1_b", "speaker2")):
        verdict = verifier.verify(sample("ecapatdnn", first), sample("ecapatdnn", second))
        verdicts[f"{first}, {second}"] = verdict.score, verdict.threshold
        print(f"{first}.wav and {second}.wav: {'same' if verdict.same else 'different'} speaker, "
              f"score {verdict.score:.3f}, threshold {verdict.threshold:.3f}", flush=True)

    from ecapatdnn.src.plots import draw_verdicts
    draw_verdicts(verdicts, folder / "verdicts.png")
    print(f"picture: {folder / 'verdicts.png'}")


def separate(folder: Path) -> None:
    """A mixture of two voices, and how much nearer each is to the recording it was mixed of."""
    import numpy as np

    from conv_tasnet.src.metric import best_order, si_snr
    from utils.audio.audio_file import read, write_wav

    separator = conv_tasnet.load()
    rate = separator.rate
    mixture, *sources = (read(sample("conv_tasnet", name), rate) for name in ("mixture", "source_1", "source_2"))
    voices, sources = separator.separate(mixture), np.stack(sources)
    voices = voices[best_order(voices, sources)]
    gain = (si_snr(voices, sources) - si_snr(np.stack([mixture, mixture]), sources)).mean()
    paths = [folder / f"mixture_{number}.wav" for number in (1, 2)]
    for path, voice in zip(paths, voices, strict=True):
        write_wav(path, voice, rate)
    print(f"mixture.wav -> {paths[0]} {paths[1]}: SI-SNR improvement {gain:.1f} dB", flush=True)

    from conv_tasnet.src.plots import draw_separation
    draw_separation(mixture, voices, None, rate, folder / "separation.png")
    print(f"picture: {folder / 'separation.png'}")


def transcribe(folder: Path) -> None:
    """Two recordings, one with a picture of its words."""
    from deepspeech2.src.features import RATE
    from utils.audio.audio_file import read

    recognizer = deepspeech2.load()
    for name in ("spelled", "command"):
        transcript = recognizer.transcribe(sample("deepspeech2", name), timestamps=True)
        print(f"{name}.wav: {transcript.text}", flush=True)
    print("  ".join(f"{word.text} {word.start:.2f}-{word.end:.2f} s" for word in transcript.words))

    from deepspeech2.src.plots import draw_transcript
    draw_transcript(read(sample("deepspeech2", "command"), RATE), RATE, transcript.words, folder / "transcript.png")
    print(f"picture: {folder / 'transcript.png'}")


def sample(model: str, name: str) -> str:
    """The path of a recording that ships with a model."""
    return str(ROOT / model / "samples" / f"{name}.wav")


if __name__ == "__main__":
    run(main, sys.argv[1:])
