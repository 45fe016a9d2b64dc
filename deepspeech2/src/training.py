"""The training of DeepSpeech2: every ingredient, in the order of the flow."""
import sys
from collections.abc import Callable, Mapping

from mindspore import Parameter, Tensor

from deepspeech2.src.config import Config
from deepspeech2.src.dataset import TrainSet
from deepspeech2.src.decoder import greedy
from deepspeech2.src.inference import BatchNetwork
from deepspeech2.src.loss import CtcLoss
from deepspeech2.src.manifest import Utterance, inspect_utterance, read_manifest
from deepspeech2.src.metric import error_rates
from deepspeech2.src.model import DeepSpeech2
from deepspeech2.src.optimizer import make_optimizer, make_schedule
from deepspeech2.src.text import Alphabet, references, shown
from utils.audio.survey import survey
from utils.checkpoints.checkpoint import assign, load_checkpoint
from utils.config import require
from utils.cpu_ops import BF16, fast
from utils.device import Device
from utils.files import StrPath
from utils.paths import best_of
from utils.progress import progress
from utils.training.initial import settings_of
from utils.training.loop import trainable
from utils.training.recipe import Recipe
from utils.training.run import run_training
from utils.training.state import Progress, parameters
from utils.training.train_step import adapt

OUTPUT, LOOKAHEAD = "output.", "lookahead."             # how the names of these layers begin
FORWARD, BACKWARD = ".rnn.forward.", ".rnn.backward."   # in those of a bidirectional layer


def train(config: Config) -> Progress:
    """Trains as `config` says."""
    require(config, "train_manifest")
    return run_training(config, TrainSet, lambda config, train_set, device: make_recipe(
        config, train_set.steps, device))


def make_recipe(config: Config, steps: int, device: Device) -> Recipe:
    """Network, loss, optimiser and validation, of epochs of so many batches."""
    model, loss = DeepSpeech2(config), CtcLoss()
    precision = adapt(model, config, device)
    if precision.level in ("O0", BF16):
        fast(loss)
    model.set_train()
    weights = parameters(model)
    if config.initial_model:
        load_initial(config.initial_model, weights, config)

    def objective(features: Tensor, frames: Tensor, labels: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        log_probs, frames = model(features, frames)
        return loss(log_probs, frames, labels, counts)     # (B, T, F), (B,), (B, S), (B,) -> scalar, scalar

    schedule = make_schedule(config, config.updates(steps))
    optimizer = make_optimizer(config, trainable(model), schedule(0))
    return Recipe(weights, precision, objective, "infinite", optimizer, schedule,
                  criterion=f"valid_{Alphabet(config.labels).rate}", validate=validation(config, model, device))


def load_initial(path: StrPath, weights: Mapping[str, Parameter], config: Config) -> None:
    """Gives `weights` those of a run folder or checkpoint, without the output layer where that is of other labels.

    A note says so. A unidirectional network takes what goes forward in time of a bidirectional one; its lookahead is
    new. MismatchError where anything else does not fit.
    """
    path = best_of(path)
    trained = settings_of(path, config, ("labels",))
    if trained and trained.labels != config.labels:
        print(f"note: {path}: its output layer is of other labels, {shown(trained.labels)}; a new one is trained for "
              f"{shown(config.labels)}", file=sys.stderr)
        weights = {name: weight for name, weight in weights.items() if not name.startswith(OUTPUT)}
    saved, new = load_checkpoint(path)[0], (OUTPUT,)
    if not config.bidirectional and any(FORWARD in name for name in saved):
        saved = {name.replace(FORWARD, ".rnn."): value for name, value in saved.items() if BACKWARD not in name}
        new += (LOOKAHEAD,)
    assign(saved, weights, path, skip=new)


def validation(config: Config, model: DeepSpeech2, device: Device) -> Callable[[], dict[str, float]] | None:
    """A function that gives the word and character error rates on val_manifest, in %; None without one."""
    if not config.val_manifest:
        return None
    utterances, alphabet = read_manifest(config.val_manifest, config.data_folder), Alphabet(config.labels)
    scored = references([utterance.text for utterance in utterances], alphabet, config.val_manifest)
    # unfit files are found now, and not after the first epoch
    survey(utterances, lambda utterance: inspect_utterance(utterance, config.resample))

    def validate() -> dict[str, float]:
        network = BatchNetwork(model, config)
        texts = device.share_out_objects(
            len(utterances), lambda indices: transcribe(network, [utterances[i] for i in indices], alphabet))
        model.set_train(True)
        rates = error_rates(scored, texts)
        return {"valid_wer": rates["wer"], "valid_cer": rates["cer"]}

    return validate


def transcribe(network: BatchNetwork, utterances: list[Utterance], alphabet: Alphabet) -> list[str]:
    """The text of each utterance."""
    texts = [""] * len(utterances)
    for i, log_probs in progress(network.run_files(utterances), "validation", "utterance", total=len(utterances)):
        texts[i] = greedy(log_probs, alphabet)
    return texts
