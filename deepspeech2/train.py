"""Trains DeepSpeech2: python train.py --config configs/mini.yaml [--flag value]; --resume RUN continues a run."""
import sys

import numpy as np

from deepspeech2.src.config import Config
from deepspeech2.src.dataset import TrainSet
from deepspeech2.src.decoder import greedy
from deepspeech2.src.features import frame_count
from deepspeech2.src.loss import CtcLoss
from deepspeech2.src.manifest import read_manifest, utterance_length
from deepspeech2.src.metric import error_rates
from deepspeech2.src.model import DeepSpeech2
from deepspeech2.src.optimizer import make_optimizer
from deepspeech2.src.recognition import Recogniser
from deepspeech2.src.text import Alphabet
from utils.checkpoints.checkpoint import load_into
from utils.config import parse_train_config, require
from utils.device import setup_device
from utils.errors import run
from utils.progress import progress
from utils.training.loader import Batches
from utils.training.loop import fit, trainable
from utils.training.run_folder import RunFolder
from utils.training.schedules import learning_rate
from utils.training.state import parameters
from utils.training.train_step import adapt


def main(config):
    """Trains as `config` says; returns the Progress of the run."""
    require(config, "train_manifest")
    device = setup_device(config.device_target, config.distribute, config.device_id, config.seed)
    train_set = TrainSet(config, device.rank, device.size)
    batches = Batches(train_set, config.num_workers)
    model, loss = DeepSpeech2(config), CtcLoss()
    precision = adapt(model, config, device)
    model.set_train()
    folder = RunFolder(config, device.rank)
    folder.say(f"{train_set.describe()}, {batches.steps} batches of {config.minibatch_size} an epoch, {precision} on "
               f"{device}")
    weights = parameters(model)
    if config.initial_model:
        load_into(config.initial_model, weights, skip=("output.",))

    def objective(features, frames, labels, counts):   # (B, T, F), (B,), (B, S), (B,) -> scalar, scalar
        log_probs, frames = model(features, frames)
        return loss(log_probs, frames, labels, counts)

    schedule = learning_rate(config, batches.steps // config.accumulate, device.size)
    optimizer = make_optimizer(config, trainable(model), schedule(0))
    try:
        return fit(objective, optimizer, schedule, batches, weights, folder, config, device,
                   loss_scale=precision.loss_scale, metric="infinite",
                   validate=validation(config, model, device))
    finally:
        batches.close()


def validation(config, model, device):
    """A function that gives the word and character error rates on val_manifest, in %; None without one."""
    if not config.val_manifest:
        return None
    utterances, alphabet = read_manifest(config.val_manifest, config.data_folder), Alphabet(config.labels)
    references = [alphabet.normalise(one.text) for one in utterances]
    longest = max(frame_count(utterance_length(one)) for one in utterances)    # no text has more characters than frames

    def validate():
        recogniser = Recogniser(model, config)
        texts = device.share_out(len(utterances), lambda own: transcribe(
            recogniser, [utterances[i] for i in own], alphabet, longest))
        model.set_train(True)
        rates = error_rates(references, ["".join(chr(int(number)) for number in row if number) for row in texts])
        return {"valid_wer": rates["wer"], "valid_cer": rates["cer"]}

    return validate


def transcribe(recogniser, utterances, alphabet, longest):
    """The text of each utterance as its characters' numbers, filled up with 0: (m, longest) int32."""
    texts = np.zeros((len(utterances), longest), np.int32)
    for i, log_probs in progress(recogniser.files(utterances), "validation", "utterance", total=len(utterances)):
        text = greedy(log_probs, alphabet)
        texts[i, :len(text)] = [ord(character) for character in text]
    return texts


if __name__ == "__main__":
    run(lambda: main(parse_train_config(Config, sys.argv[1:])))
