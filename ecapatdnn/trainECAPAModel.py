"""TaoRuijie's command line: python trainECAPAModel.py --save_path exps/exp1, or --eval --initial_model FILE to score.

His flags and defaults (TaoRuijie/ECAPA-TDNN) over train.py and eval.py, whose own flags are taken too. Called again it
goes on where the run in save_path stopped. FILE: .ckpt of ours, a run folder, or a model that PyTorch has saved.
"""
import dataclasses
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ecapatdnn.src.config import NETWORK, Config
from ecapatdnn.src.metric import equal_error_rate, error_rates, minimum_detection_cost
from utils.config import AUTO, load_config, parse_config, parse_train_config
from utils.errors import MismatchError, NotFoundError, SettingError, run
from utils.files import is_outdated
from utils.paths import best_of
from utils.training.run_folder import RunFolder


@dataclass(frozen=True)
class Flags(Config):
    """ECAPA-TDNN as TaoRuijie trains it; --eval scores --initial_model alone."""

    ALIASES: ClassVar[dict] = Config.ALIASES | {
        "num_frames": "crop", "max_epoch": "num_epochs", "batch_size": "minibatch_size", "n_cpu": "num_workers",
        "lr": "max_lrate", "lr_decay": "decay", "save_path": "ckpt_save_dir", "C": "channels", "m": "margin",
        "s": "scale", "n_class": "class_num"}

    train_list: str = "dataset/Voxceleb2/train.txt"     # the data paths: change them here, or give them as flags
    train_path: str = "dataset/Voxceleb2/train/wav"
    eval_list: str = "dataset/Voxceleb2/eval.txt"
    eval_path: str = "dataset/Voxceleb2/eval/wav"
    musan_path: str = "dataset/Others/musan_split"
    rir_path: str = "dataset/Others/RIRS_NOISES/simulated_rirs"
    ckpt_save_dir: str = "exps/exp1"
    schedule: str = "step"
    max_lrate: float = 0.001
    weight_decay: float = 2e-5
    minibatch_size: int = 400
    num_workers: int = 4
    keep_checkpoint_max: int = 1_000_000    # all
    score_crops: int = 5
    resume: str = AUTO


def main(argv: list[str]) -> None:
    """Trains or scores as the command line says."""
    scoring = "--eval" in argv
    config = parse([word for word in argv if word != "--eval"], scoring)
    from ecapatdnn.src.evaluation import report, score_trials  # MindSpore, which --help does not wait for
    from ecapatdnn.src.training import train

    if not scoring:
        train(config, after_epoch)
        return
    scored = score_trials(dataclasses.replace(config, model_path=config.initial_model))
    report(*scored)
    results, trials, *_ = scored
    errors = error_rates(trials.target, results["cosine"])
    print(f"EER {100 * equal_error_rate(errors)[0]:2.2f}%, minDCF {minimum_detection_cost(errors, 0.05):.4f}%")


def parse(argv: list[str], scoring: bool) -> Flags:
    """The config of the flags, over the sizes of --initial_model or over those of the run that is to go on."""
    config = parse_config(Flags, argv)
    if config.initial_model:
        checkpoint = as_checkpoint(Path(config.initial_model))
        saved = load_config(Config, checkpoint)
        print(f"Model {config.initial_model} loaded from previous state!")
        base = dataclasses.replace(Flags(), resume="", **{name: getattr(saved, name) for name in NETWORK})
        return dataclasses.replace(parse_config(Flags, argv, base=base), initial_model=str(checkpoint))
    if scoring:
        raise SettingError("initial_model: --eval scores a model and none is given; pass --initial_model "
                           "exps/pretrain.model, or exps/exp1/best.ckpt")
    config = parse_train_config(Flags, argv)
    return dataclasses.replace(config, resume=config.resume or AUTO)    # a run of --initial_model was saved without


def as_checkpoint(path: Path) -> Path:
    """The checkpoint `path`, or that of a run folder; or that of the one beside it that is made, once, of a file of
    PyTorch's.
    """
    path = Path(best_of(path))
    if path.suffix == ".ckpt":
        return path
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file, expected a .ckpt of ours or a model that PyTorch has saved")
    folder = path.with_name(f"{path.stem}_run")
    if not folder.exists():     # in a process of its own: it computes on a CPU, and a process has one device
        program = Path(__file__).with_name("import_torch.py")
        done = subprocess.run([sys.executable, program, "--format", "taoruijie", path, "--output", folder], check=False)
        if done.returncode:
            raise SystemExit(done.returncode)
    checkpoint = folder / "best.ckpt"
    if is_outdated(checkpoint, path):
        raise MismatchError(f"{folder}: was not made of this {path}, but of an earlier one; remove the folder")
    return checkpoint


def after_epoch(folder: RunFolder) -> None:
    """score.txt, its new line on the screen, and `model` as his name for the folder of checkpoints."""
    from ecapatdnn.src.training import write_score

    lines = write_score(folder)
    if "valid_eer" in folder.rows[-1]:
        folder.log(lines[-1])
    if folder.writes and not (folder.path / "model").exists():
        (folder.path / "model").symlink_to("checkpoints")


if __name__ == "__main__":
    run(main, sys.argv[1:])
