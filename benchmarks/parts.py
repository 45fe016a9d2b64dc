"""What surrounds the networks: data, front-ends, scoring, beam search, and an hour of audio.

    python benchmarks/parts.py [--only pipeline]

Every part runs in a process of its own that is bound to two cores. Networks have random weights.
"""
import argparse
import dataclasses
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from side_by_side import call, cores

RATE = 16000


def main():
    """Prints the table, a row after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="one part instead of all", choices=PARTS)
    parser.add_argument("--worker", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps([list(row) for row in PARTS[args.worker]()]))
        return
    print("| what | found |\n|---|---|")
    for part in [args.only] if args.only else PARTS:
        for row in call(["--worker", part], cores()[:2]):
            print(f"| {' | '.join(row)} |", flush=True)


def pipeline():
    """ECAPA-TDNN C=512: steps fed by one data worker against the same steps on a batch that is already there."""
    from mindspore import Tensor, nn

    from ecapatdnn.src.config import Config
    from ecapatdnn.src.dataset import TrainSet
    from ecapatdnn.src.loss import AamSoftmax
    from ecapatdnn.src.model import EcapaTdnn
    from utils.cpu_ops import fast
    from utils.device import setup_device
    from utils.training.loader import Batches
    from utils.training.loop import trainable
    from utils.training.train_step import TrainStep

    steps, size = 8, 32
    with tempfile.TemporaryDirectory() as folder:
        config = dataclasses.replace(Config(), channels=512, minibatch_size=size, crop=200, **recordings(folder))
        dataset = TrainSet(config)
        dataset.batch(1, 0)
        started = time.perf_counter()
        for index in range(steps):
            dataset.batch(1, index)
        alone = steps * size / (time.perf_counter() - started)
        batches = Batches(dataset, 1)
        setup_device("CPU", seed=0)
        model, loss = fast(EcapaTdnn(80, 512)), AamSoftmax(192, dataset.classes)
        model.set_train()

        def objective(features, speaker):
            return loss(model(features), speaker)

        step = TrainStep(objective, nn.Adam(trainable(model, loss), 1e-4))

        def run(tensors):
            started = time.perf_counter()
            float(step(*tensors)[0])
            return time.perf_counter() - started

        still = [Tensor(array) for array in next(iter(batches.epoch(1)))]
        for _ in range(2):
            run(still)
        by_itself, fed = [], []
        for epoch in (2, 3, 4, 5):      # in turns
            by_itself += [run(still) for _ in range(steps)]
            arrays = batches.epoch(epoch)
            next(arrays)
            for _ in range(steps):
                started = time.perf_counter()
                tensors = [Tensor(array) for array in next(arrays)]
                run(tensors)
                fed.append(time.perf_counter() - started)
            arrays.close()
        batches.close()
    step_alone, whole = statistics.median(by_itself), statistics.median(fed)
    yield "ECAPA-TDNN C=512, one data worker by itself", f"{alone:.0f} utterances/s"
    yield "its training step by itself, 32 x 2 s", f"{size / step_alone:.1f} utterances/s"
    yield "reading, augmentation, features and step", f"{size / whole:.1f} utterances/s"
    yield "whole / step", f"{step_alone / whole:.2f}"


def recordings(folder):
    """Settings of a training set of 512 recordings of 8 s, noises and room responses, written to `folder`."""
    from utils.audio.audio_file import write_wav

    generator = np.random.default_rng(0)
    for name, count, length in (("speech", 512, 8 * RATE), ("noise", 16, 30 * RATE), ("rir", 16, RATE // 2)):
        for i in range(count):
            write_wav(f"{folder}/{name}/{i}.wav", 0.1 * generator.standard_normal(length), RATE)
    Path(folder, "train.txt").write_text("".join(f"s{i % 64} {i}.wav\n" for i in range(512)))
    return {"train_list": f"{folder}/train.txt", "train_path": f"{folder}/speech", "musan_path": f"{folder}/noise",
            "rir_path": f"{folder}/rir"}


def front_ends():
    """Seconds of audio a second on one core, beside librosa with the same frames and filters."""
    import librosa

    from deepspeech2.src.features import log_magnitude
    from ecapatdnn.src.features import FRONT_ENDS, filter_bank

    x = np.random.default_rng(0).standard_normal(10 * RATE).astype(np.float32)

    def mel():
        return librosa.power_to_db(librosa.feature.melspectrogram(y=x, sr=RATE, n_fft=512, win_length=400,
                                                                  hop_length=160, n_mels=80, window="hamming"))

    def magnitude():
        return np.log1p(np.abs(librosa.stft(x, n_fft=320, hop_length=160, window="hamming")))

    for name in FRONT_ENDS:
        ours, theirs = seconds(lambda name=name: filter_bank(x, name)), seconds(mel)
        yield f"front-end {name}, 80 mel bands", beside(ours, theirs)
    yield "front-end of DeepSpeech2, 161 bins", beside(seconds(lambda: log_magnitude(x)), seconds(magnitude))


def beside(ours, librosa):
    return f"{10 / ours:.0f} s of audio a second, librosa {10 / librosa:.0f}: {librosa / ours:.1f} times its speed"


def seconds(run, repeat=15):
    """Median seconds of a call."""
    run()
    durations = []
    for _ in range(repeat):
        started = time.perf_counter()
        run()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


def scoring():
    """One million trials of VoxCeleb1's 4708 files, 5994 speakers as cohort."""
    from ecapatdnn.src.metric import Trials, equal_error_rate, error_rates, minimum_detection_cost
    from ecapatdnn.src.scoring import as_norm, cosine_scores, unit

    generator = np.random.default_rng(0)
    count, files = 1_000_000, 4708
    embeddings, cohort = (unit(generator.standard_normal((n, 192)).astype(np.float32)) for n in (files, 5994))
    left, right = generator.integers(0, files, (2, count))
    target = generator.random(count) < 0.5
    trials = Trials(target, left, right, np.arange(files))
    scores = cosine_scores(embeddings[:, None], trials)

    def metrics():
        errors = error_rates(target, scores)
        return equal_error_rate(errors), minimum_detection_cost(errors, 0.01)

    for name, run in (("cosine scores", lambda: cosine_scores(embeddings[:, None], trials)),
                      ("EER and minDCF", metrics),
                      ("AS-norm (300 of 5994)", lambda: as_norm(scores, embeddings, cohort, trials, 300))):
        yield f"{name} of 1,000,000 trials", f"{seconds(run, 3):.2f} s"


def beams():
    """CTC prefix beam search over 10 s of outputs that are unsure as those of a network half trained."""
    from deepspeech2.src.config import Config
    from deepspeech2.src.decoder import beam_search, greedy
    from deepspeech2.src.text import Alphabet

    alphabet = Alphabet(Config().labels)
    generator = np.random.default_rng(0)
    score = generator.standard_normal((500, len(alphabet))) * 2
    score[:, 0] += 4      # blanks
    log_probs = score - np.log(np.exp(score).sum(1, keepdims=True))
    yield "greedy decoding", f"{10 / seconds(lambda: greedy(log_probs, alphabet)):.0f} s of audio a second"
    for width in (10, 100):
        taken = seconds(lambda width=width: beam_search(log_probs, alphabet, width), 3)
        yield f"beam search, {width} prefixes", f"{10 / taken:.0f} s of audio a second"


def hour_ecapatdnn():
    """An embedding of an hour."""
    from ecapatdnn.src.config import Config
    from ecapatdnn.src.inference import Verifier
    from ecapatdnn.src.model import EcapaTdnn
    from utils.cpu_ops import fast

    config = Config()
    verifier = Verifier(fast(EcapaTdnn(80, 512)), config)
    yield from an_hour("ECAPA-TDNN C=512", lambda blocks: verifier.embed(np.concatenate(list(blocks))), RATE)


def hour_conv_tasnet():
    """An hour in windows of 16 s."""
    from conv_tasnet.src.config import Config
    from conv_tasnet.src.inference import Separator
    from conv_tasnet.src.model import ConvTasNet
    from utils.cpu_ops import fast

    config = Config(N=128, B=64, H=128, Sc=64, X=6, R=2)
    windows = Separator(fast(ConvTasNet(config)), config).windows(3600 * config.sample_rate)
    yield from an_hour("Conv-TasNet of 0.4 M", lambda blocks: sum(1 for _ in windows.separate(blocks)),
                       config.sample_rate)


def hour_deepspeech2():
    """An hour in windows of 20 s."""
    from deepspeech2.src.config import Config
    from deepspeech2.src.decoder import make_decoder
    from deepspeech2.src.inference import Recognizer
    from deepspeech2.src.model import DeepSpeech2
    from deepspeech2.src.text import Alphabet
    from utils.cpu_ops import fast

    config = Config(hidden_size=512)
    decode = make_decoder(config, Alphabet(config.labels))
    windows = Recognizer(fast(DeepSpeech2(config)), config, decode).windows(3600 * RATE)
    yield from an_hour("DeepSpeech2 5 x biLSTM 512", lambda blocks: sum(1 for _ in windows.run(blocks)), RATE)


def an_hour(name, run, rate):
    """The row of `run` over an hour that comes second by second."""
    generator = np.random.default_rng(0)
    second = (0.1 * generator.standard_normal(rate)).astype(np.float32)
    run(second for _ in range(60))                    # compiles
    started = time.perf_counter()
    run(second for _ in range(3600))
    taken = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield f"an hour of audio, {name}", f"{taken:.0f} s, {3600 / taken:.0f} times as fast; peak memory {peak:.0f} MiB"


PARTS = {"pipeline": pipeline, "front-ends": front_ends, "scoring": scoring, "beams": beams,
         "hour-ecapatdnn": hour_ecapatdnn, "hour-conv_tasnet": hour_conv_tasnet, "hour-deepspeech2": hour_deepspeech2}

if __name__ == "__main__":
    main()
