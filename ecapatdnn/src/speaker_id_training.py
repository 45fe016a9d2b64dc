"""The training of speaker identification: every ingredient, in the order of the flow."""
from mindspore import Tensor, nn

from ecapatdnn.src.dataset import TrainSet
from ecapatdnn.src.identification import SpeakerId, epoch_line, evaluate, likelihood_and_error, number
from ecapatdnn.src.speaker_id_config import SpeakerIdConfig
from ecapatdnn.src.speaker_split import prepare, with_room_noises
from utils.checkpoints.checkpoint import load_into
from utils.device import Device, setup_device
from utils.training.loader import Batches
from utils.training.loop import fit, trainable
from utils.training.recipe import Recipe
from utils.training.run_folder import RunFolder
from utils.training.schedules import linear
from utils.training.state import Progress, parameters
from utils.training.train_step import adapt


def train(config: SpeakerIdConfig) -> Progress:
    """Trains and tests as `config` says, as one of rank_size processes."""
    config = with_room_noises(config)
    device = setup_device(config.device_target, config.rank_size > 1, config.device_id, config.seed)
    with RunFolder(config, device.rank, checkpoints="save") as folder:
        if config.rank_size == 1:
            prepare(config)
        train_set = TrainSet(config.crops(), device.rank, device.size)
        with Batches(train_set, config.num_workers) as batches:
            model = SpeakerId(config, train_set.classes)
            recipe = make_recipe(config, model, train_set.steps, device)
            folder.log(f"network {config.network}")
            progress = fit(recipe, batches, folder, config, device)
        if not config.max_steps:
            load_into(folder.best, parameters(model))
            error, loss = map(number, evaluate(model, config, "test", device))
            write_log(folder, f"Epoch loaded: {progress.best_epoch} - test loss: {loss}, test error: {error}")
    return progress


def make_recipe(config: SpeakerIdConfig, model: SpeakerId, steps: int, device: Device) -> Recipe:
    """Loss, optimiser and validation of the network, of epochs of so many batches."""
    precision = adapt(model, config, device)
    model.set_train()

    def objective(features: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:     # (B, T, F), (B,) -> scalar, scalar
        return likelihood_and_error(model(features), speaker)

    def validate() -> dict[str, float]:
        error, loss = evaluate(model, config, "valid", device)
        return {"valid_error": error, "valid_loss": loss}

    schedule = linear(config.max_lrate, config.base_lrate, config.num_epochs, config.updates(steps))
    optimizer = nn.Adam(trainable(model), learning_rate=schedule(0), weight_decay=config.weight_decay)
    return Recipe(parameters(model), precision, objective, "error", optimizer, schedule, criterion="valid_error",
                  validate=validate, after_epoch=write_log)


def write_log(folder: RunFolder, last: str = "") -> None:
    """train_log.txt as SpeechBrain writes it, and its last line on the screen."""
    lines = [*map(epoch_line, folder.rows), *filter(None, [last])]
    folder.write("train_log.txt", "\n".join(lines) + "\n")
    if folder.writes:
        print(lines[-1], flush=True)
