"""Trains ECAPA-TDNN: python train.py --config configs/mini.yaml [--flag value]; --resume RUN continues a run."""
import sys

from mindspore import nn

from ecapatdnn.src.config import Config
from ecapatdnn.src.dataset import TrainSet
from ecapatdnn.src.inference import Verifier
from ecapatdnn.src.loss import AamSoftmax, margin_at
from ecapatdnn.src.metric import equal_error_rate, error_rates, read_trials
from ecapatdnn.src.model import make_network
from ecapatdnn.src.scoring import cosine_scores
from utils.checkpoints.checkpoint import load_into
from utils.config import parse_train_config, require
from utils.device import setup_device
from utils.errors import run
from utils.training.loader import Batches
from utils.training.loop import fit, trainable
from utils.training.run_folder import RunFolder
from utils.training.schedules import learning_rate
from utils.training.state import parameters
from utils.training.train_step import adapt


def main(config, after_epoch=lambda folder, row: write_score(folder)):
    """Trains as `config` says; returns the Progress of the run. after_epoch(its RunFolder, row of metrics.csv)."""
    require(config, "train_list", "train_path")
    device = setup_device(config.device_target, config.distribute, config.device_id, config.seed)
    train_set = TrainSet(config, device.rank, device.size)
    batches = Batches(train_set, config.num_workers)
    model = make_network(config)
    loss = AamSoftmax(config.emb_size, train_set.classes, config.margin, config.scale, config.sub_centers)
    loss.update_parameters_name("loss.")
    precision = adapt(model, config, device)
    model.set_train()
    folder = RunFolder(config, device.rank)
    folder.say(f"{train_set.describe()}, {batches.steps} batches of {config.minibatch_size} an epoch, {precision} on "
               f"{device}")
    weights = parameters(model, loss)
    if config.initial_model:
        load_into(config.initial_model, weights, skip=("loss.",))

    def objective(features, speaker):     # (B, T, F), (B,) -> scalar, scalar
        return loss(model(features), speaker)

    schedule = learning_rate(config, batches.steps // config.accumulate, device.size)
    optimizer = nn.Adam(trainable(model, loss), learning_rate=schedule(0), weight_decay=config.weight_decay)
    try:
        return fit(objective, optimizer, schedule, batches, weights, folder, config, device,
                   loss_scale=precision.loss_scale, validate=validation(config, model, device),
                   before_epoch=lambda epoch: loss.set_margin(margin_at(epoch, config.margin, config.margin_start,
                                                                        config.margin_end)),
                   after_epoch=lambda row: after_epoch(folder, row))
    finally:
        batches.close()


def validation(config, model, device):
    """A function that gives the EER in percent, and its threshold, on valid_list; None without one."""
    path, folder = (config.valid_list, config.valid_path) if config.valid_list else (config.eval_list, config.eval_path)
    if not path:
        return None
    trials = read_trials(path)

    def validate():
        model.set_train(False)
        verifier = Verifier(model, config)
        embeddings = device.share_out(len(trials.files), lambda rows: verifier.embed_files(
            trials.files[rows], folder, label="validation"))
        model.set_train(True)
        eer, threshold = equal_error_rate(error_rates(trials.target, cosine_scores(embeddings, trials)))
        return {"valid_eer": 100 * eer, "threshold": threshold}

    return validate


def write_score(folder):
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


if __name__ == "__main__":
    run(lambda: main(parse_train_config(Config, sys.argv[1:])))
