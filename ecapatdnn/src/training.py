"""The training of ECAPA-TDNN: every ingredient, in the order of the flow."""
from collections.abc import Callable

from mindspore import Tensor

from ecapatdnn.src.config import Config
from ecapatdnn.src.dataset import TrainSet
from ecapatdnn.src.inference import Verifier, survey_files
from ecapatdnn.src.loss import AamSoftmax, margin_at
from ecapatdnn.src.metric import equal_error_rate, error_rates, read_trials
from ecapatdnn.src.model import EcapaTdnn, make_network
from ecapatdnn.src.optimizer import make_optimizer, make_schedule
from ecapatdnn.src.scoring import cosine_scores
from utils.checkpoints.checkpoint import load_into
from utils.config import require
from utils.cpu_ops import BF16, fast
from utils.device import Device
from utils.training.initial import require_layout
from utils.training.loop import trainable
from utils.training.recipe import Recipe
from utils.training.run import run_training
from utils.training.run_folder import RunFolder
from utils.training.state import Progress, parameters
from utils.training.train_step import adapt


def train(config: Config, after_epoch: Callable[[RunFolder], object] | None = None) -> Progress:
    """Trains as `config` says. `after_epoch` is called with the run folder; by default it writes score.txt."""
    require(config, "train_list", "train_path")
    return run_training(config, TrainSet, lambda config, train_set, device: make_recipe(
        config, train_set.steps, train_set.classes, device, after_epoch or write_score))


def make_recipe(config: Config, steps: int, classes: int, device: Device,
                after_epoch: Callable[[RunFolder], object]) -> Recipe:
    """Network, loss of so many classes, optimiser and validation, of epochs of so many batches."""
    model = make_network(config)
    loss = AamSoftmax(config.emb_size, classes, config.margin, config.scale, config.sub_centers)
    loss.update_parameters_name("loss.")
    precision = adapt(model, config, device)
    if precision.level == BF16:
        fast(loss, bfloat16=True)
    model.set_train()
    weights = parameters(model, loss)
    if config.initial_model:
        require_layout(config.initial_model, config, config.FIXED)
        load_into(config.initial_model, weights, skip=("loss.",))

    def objective(features: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:     # (B, T, F), (B,) -> scalar, scalar
        return loss(model(features), speaker)

    def set_margin(epoch: int) -> None:
        loss.set_margin(margin_at(epoch, config.margin, config.margin_start, config.margin_end))

    schedule = make_schedule(config, config.updates(steps), device.size)
    optimizer = make_optimizer(config, trainable(model, loss), schedule(0))
    return Recipe(weights, precision, objective, "accuracy", optimizer, schedule, criterion="valid_eer",
                  validate=validation(config, model, device), before_epoch=set_margin, after_epoch=after_epoch)


def validation(config: Config, model: EcapaTdnn, device: Device) -> Callable[[], dict[str, float]] | None:
    """A function that gives the EER in percent, and its threshold, on valid_list; None without one."""
    path, folder = (config.valid_list, config.valid_path) if config.valid_list else (config.eval_list, config.eval_path)
    if not path:
        return None
    trials = read_trials(path)
    # unfit files are found now, and not after the first epoch
    survey_files(trials.files, folder, config)

    def validate() -> dict[str, float]:
        model.set_train(False)
        verifier = Verifier(model, config)
        embeddings = device.share_out(len(trials.files), lambda rows: verifier.embed_files(
            trials.files[rows], folder, label="validation"))
        model.set_train(True)
        eer, threshold = equal_error_rate(error_rates(trials.target, cosine_scores(embeddings, trials)))
        return {"valid_eer": 100 * eer, "threshold": threshold}

    return validate


def write_score(folder: RunFolder) -> list[str]:
    """score.txt as TaoRuijie writes it: epoch, rate, loss, accuracy, EER, best EER so far; returns its lines.

    Epochs without validation have no line, as his; in a run that has none, all have one without EER.
    """
    best, lines = float("inf"), []
    validated = [row for row in folder.rows if row.get("valid_eer", "") != ""]
    for row in validated or folder.rows:
        line = (f"{int(row['epoch'])} epoch, LR {float(row['learning_rate']):f}, LOSS {float(row['loss']):f}, "
                f"ACC {100 * float(row['accuracy']):2.2f}%")
        if validated:
            best = min(best, float(row["valid_eer"]))
            line += f", EER {float(row['valid_eer']):2.2f}%, bestEER {best:2.2f}%"
        lines.append(line)
    folder.write("score.txt", "\n".join(lines) + "\n")
    return lines
