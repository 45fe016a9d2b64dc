"""Trains Conv-TasNet: python train.py --config configs/mini.yaml [--flag value]; --resume RUN continues a run."""
import sys

import numpy as np

from conv_tasnet.src.config import Config
from conv_tasnet.src.dataset import TrainSet
from conv_tasnet.src.loss import PitSiSnr
from conv_tasnet.src.metric import best_order, si_snr
from conv_tasnet.src.mixtures import load_mixture, read_mixtures
from conv_tasnet.src.model import ConvTasNet
from conv_tasnet.src.optimizer import make_optimizer
from conv_tasnet.src.separation import Separator
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
    require(config, "train_dir")
    device = setup_device(config.device_target, config.distribute, config.device_id, config.seed)
    train_set = TrainSet(config, device.rank, device.size)
    batches = Batches(train_set, config.num_workers)
    model, loss = ConvTasNet(config), PitSiSnr(config.C)
    precision = adapt(model, config, device)
    model.set_train()
    folder = RunFolder(config, device.rank)
    folder.say(f"{train_set.describe()}, {batches.steps} batches of {config.minibatch_size} an epoch, {precision} on "
               f"{device}")
    weights = parameters(model)
    if config.initial_model:
        load_into(config.initial_model, weights)

    def objective(mixture, sources, lengths):     # (M, S), (M, C, S), (M,) -> scalar, scalar
        return loss(model(mixture, lengths), sources, mixture, lengths)

    schedule = learning_rate(config, batches.steps // config.accumulate, device.size)
    optimizer = make_optimizer(config, trainable(model), schedule(0))
    try:
        return fit(objective, optimizer, schedule, batches, weights, folder, config, device,
                   loss_scale=precision.loss_scale, metric="si_snri",
                   validate=validation(config, model, device))
    finally:
        batches.close()


def validation(config, model, device):
    """A function that gives the mean negative SI-SNR on valid_dir, and its improvement; None without one."""
    if not config.valid_dir:
        return None
    mixtures = read_mixtures(config.valid_dir, config.valid_path, config)
    longest = round(config.cv_maxlen * config.sample_rate)

    def validate():
        separator = Separator(model, config, longest)
        after, before = device.share_out(len(mixtures), lambda own: np.array([
            scores(separator, *load_mixture(mixtures[i], config, length=longest or None))
            for i in progress(own, "validation", unit="mixture")])).mean(axis=0)
        model.set_train(True)
        return {"valid_loss": -float(after), "valid_si_snri": float(after - before)}

    return validate


def scores(separator, mixture, sources):
    """SI-SNR in dB of the separated speakers, the best order of them, and of the mixture."""
    separated = separator(mixture)
    return si_snr(separated[best_order(separated, sources)], sources).mean(), si_snr(mixture, sources).mean()


if __name__ == "__main__":
    run(lambda: main(parse_train_config(Config, sys.argv[1:])))
