"""The training of Conv-TasNet: every ingredient, in the order of the flow."""
import math
from collections.abc import Callable

import numpy as np
from mindspore import Tensor, ops

from conv_tasnet.src.config import Config
from conv_tasnet.src.dataset import TrainSet
from conv_tasnet.src.inference import MixtureNetwork
from conv_tasnet.src.loss import make_loss
from conv_tasnet.src.metric import SAME, best_order, si_snr, sounding
from conv_tasnet.src.mixtures import Mixture, Silent, load_mixture, mixture_length, read_mixtures
from conv_tasnet.src.model import ConvTasNet
from conv_tasnet.src.optimizer import make_optimizer, make_schedule
from utils.audio.survey import survey
from utils.checkpoints.checkpoint import load_checkpoint, load_into
from utils.config import require
from utils.device import Device
from utils.files import StrPath
from utils.paths import best_of
from utils.progress import progress
from utils.training.initial import require_layout
from utils.training.loop import trainable
from utils.training.recipe import Recipe
from utils.training.run import run_training
from utils.training.state import Progress, parameters
from utils.training.train_step import adapt

# What weights mean, beyond their shapes. causal and norm are not among it: a causal network may start from another one
LAYOUT = ("X", "P", "variant", "mask_nonlinear", "sample_rate")


def train(config: Config) -> Progress:
    """Trains as `config` says."""
    require(config, "train_dir")
    return run_training(config, TrainSet, lambda config, train_set, device: make_recipe(
        config, train_set.steps, device))


def make_recipe(config: Config, steps: int, device: Device) -> Recipe:
    """Network, loss, optimiser and validation, of epochs of so many batches."""
    model, (loss, improvement) = ConvTasNet(config), make_loss(config)
    precision = adapt(model, config, device)
    model.set_train()
    weights = parameters(model)
    if config.initial_model:
        load_initial(config.initial_model, model, config)

    def objective(mixture: Tensor, sources: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return loss(model(mixture, lengths), sources, mixture, lengths)    # (M, S), (M, C, S), (M,) -> scalar, scalar

    schedule = make_schedule(config, config.updates(steps))
    optimizer = make_optimizer(config, trainable(model), schedule(0))
    return Recipe(weights, precision, objective, improvement, optimizer, schedule, criterion="valid_loss",
                  validate=validation(config, model, device))


def load_initial(path: StrPath, model: ConvTasNet, config: Config) -> None:
    """Gives `model`, which is as `config` says, the weights of a run folder or checkpoint, which may have fewer blocks.

    The blocks that it lacks begin as the identity: a deeper network begins as good as the one it grew from.
    MismatchError where anything else does not fit.
    """
    path = best_of(path)
    saved, _ = load_checkpoint(path)
    require_layout(path, config, LAYOUT)
    added = [f"blocks.{i}." for i in range(len(model.blocks)) if f"blocks.{i}.expand.weight" not in saved]
    load_into(path, parameters(model), skip=added)
    for name, parameter in parameters(model).items():
        if name.startswith(tuple(added)) and (".residual." in name or ".skip." in name):
            parameter.set_data(ops.zeros_like(parameter))


def validation(config: Config, model: ConvTasNet, device: Device) -> Callable[[], dict[str, float]] | None:
    """A function that gives the mean negative SI-SNR on valid_dir, and its improvement; None without one.

    Mixtures in which nothing is heard up to cv_maxlen are left out of the mean.
    """
    if not config.valid_dir:
        return None
    mixtures = read_mixtures(config.valid_dir, config.valid_path, config)
    # unfit files are found now, and not after the first epoch
    survey(range(len(mixtures)), lambda number: mixture_length(mixtures[number], config))
    longest = round(config.cv_maxlen * config.sample_rate)

    def scored(network: MixtureNetwork, item: Mixture) -> tuple[float, float, float]:
        """As `scores`, and 1; zeros of what is silent."""
        try:
            return *scores(network, *load_mixture(item, config, 0, longest or None, silent_sources=True)), 1.0
        except Silent:
            return 0.0, 0.0, 0.0

    def validate() -> dict[str, float]:
        network = MixtureNetwork(model, config, longest)
        rows = device.share_out(len(mixtures), lambda indices: np.array([
            scored(network, mixtures[i]) for i in progress(indices, "validation", unit="mixture")]))
        model.set_train(True)
        heard = rows[:, 2] > 0
        if not heard.any():
            raise Silent(f"{config.valid_dir}: none of its {len(mixtures)} mixtures has sound in its first "
                         f"{config.cv_maxlen:g} s; raise cv_maxlen or name another list")
        after, before = rows[heard, :2].T
        gains = (after - before)[~np.isnan(before)]
        return {"valid_loss": -float(after.mean()), "valid_si_snri": float(gains.mean()) if len(gains) else math.nan}

    return validate


def scores(network: MixtureNetwork, mixture: np.ndarray, sources: np.ndarray) -> tuple[float, float]:
    """SI-SNR in dB of the separated speakers that are not silent, the best order of them, and of the mixture.

    That of a mixture which is one of its sources is NaN: nothing improves on it.
    """
    separated, heard = network.run(mixture), sounding(sources)
    separated, sources = separated[best_order(separated, sources)][heard], sources[heard]
    before = si_snr(mixture, sources)
    return si_snr(separated, sources).mean(), before.mean() if before.max() <= SAME else math.nan
