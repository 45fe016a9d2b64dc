"""trainECAPAModel.py: TaoRuijie's flags, defaults, files and lines."""
import os
import re

import numpy as np
import pytest
from helpers.documents import ROOT
from helpers.errors import refused
from helpers.networks import shared_networks
from helpers.originals import give_back

from ecapatdnn import import_torch, trainECAPAModel
from ecapatdnn.src import inference, training
from ecapatdnn.src.config import NETWORK, Config
from ecapatdnn.src.model import make_network
from ecapatdnn.trainECAPAModel import Flags
from utils.config import load_config, parse_config, read_yaml, save_config
from utils.errors import MismatchError, NotFoundError, SettingError

# flag: (our field, his default, another value); his n_class is 5994, ours are counted
FLAGS = {"num_frames": ("crop", 200, 300), "max_epoch": ("num_epochs", 80, 3), "batch_size": ("minibatch_size", 400, 8),
         "n_cpu": ("num_workers", 4, 0), "test_step": ("test_step", 1, 5), "lr": ("max_lrate", 0.001, 0.1),
         "lr_decay": ("decay", 0.97, 0.5), "save_path": ("ckpt_save_dir", "exps/exp1", "exps/exp2"),
         "initial_model": ("initial_model", "", "exps/a.ckpt"), "C": ("channels", 1024, 512), "m": ("margin", 0.2, 0.3),
         "s": ("scale", 30.0, 32.0), "n_class": ("class_num", 0, 5994),
         **{name: (name, getattr(Flags(), name), "x") for name in ("train_list", "train_path", "eval_list", "eval_path",
                                                                  "musan_path", "rir_path")}}
LINE = r"\d epoch, LR \d\.\d{6}, LOSS \d+\.\d{6}, ACC \d+\.\d\d%, EER \d+\.\d\d%, bestEER \d+\.\d\d%"


@pytest.mark.parametrize("flag", FLAGS)
def test_each_flag_has_his_default_and_sets_its_field_alone(flag):
    field, default, other = FLAGS[flag]
    assert getattr(Flags(), field) == default
    found = parse_config(Flags, [f"--{flag}", str(other)])
    assert {name: value for name, value in vars(found).items() if value != getattr(Flags(), name)} == {field: other}


def test_preset_and_program_are_one_recipe():
    preset = read_yaml(Config, ROOT / "ecapatdnn/configs/voxceleb_taoruijie.yaml")
    differing = {name for name, value in preset.items() if getattr(Flags(), name) != value}
    assert differing == {"ckpt_save_dir", "num_workers", "class_num"}


@pytest.fixture(scope="module", autouse=True)
def networks():
    """All that scores here compiles the network once."""
    with shared_networks(inference):
        yield


@pytest.fixture(scope="module")
def exps(mini_corpus, small_lists, tmp_path_factory):
    """(folder, flags of the trials) of two epochs in exps/exp1, called again when they were done."""
    folder = tmp_path_factory.mktemp("taoruijie")
    data = ["--eval_list", f"{small_lists}/trials.txt", "--eval_path", f"{mini_corpus}/train"]
    flags = ["--train_list", f"{small_lists}/train.txt", "--train_path", f"{mini_corpus}/train", *data,
             "--musan_path", f"{mini_corpus}/musan", "--rir_path", f"{mini_corpus}/rir", "--n_cpu", "0", "--C", "16",
             "--mfa_channels", "24", "--emb_size", "16", "--batch_size", "4", "--num_frames", "60", "--max_epoch", "2",
             "--score_crops", "0", "--save_path", f"{folder}/exps/exp1"]
    trainECAPAModel.main(flags)
    trainECAPAModel.main(flags)
    return folder, [*data, *flags[:4]]


def test_results_are_where_he_has_them(exps):
    """score.txt: a line an epoch, rates as in his pretrain_score.txt, model/; the second call goes on at the end."""
    run = exps[0] / "exps" / "exp1"
    lines = (run / "score.txt").read_text().splitlines()
    assert all(re.fullmatch(LINE, line) for line in lines), lines
    assert [line.split(",")[:2] for line in lines] == [["1 epoch", " LR 0.001000"], ["2 epoch", " LR 0.000970"]]
    assert sorted(path.name for path in (run / "model").glob("*.*")) == ["epoch_0001.ckpt", "epoch_0002.ckpt"]
    assert load_config(Config, run / "model" / "epoch_0001.ckpt").channels == 16
    log = (run / "train.log").read_text()
    assert log.count("bestEER") == 2 and f" {lines[1]}\n" in log and log.count("epoch 2 learning_rate") == 1
    assert re.search(r"resumed from .*state.ckpt at epoch 3, batch 0 of 6\n.*finished: best epoch [12],", log), log


def score(capsys, *arguments):
    """(his line, all lines) of --eval."""
    trainECAPAModel.main(["--eval", *map(str, arguments)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Model {arguments[1]} loaded from previous state!"
    assert re.fullmatch(r"EER \d+\.\d\d%, minDCF [01]\.\d{4}%", lines[-1])
    return lines[-1], lines


def test_eval_of_a_checkpoint_and_of_a_pytorch_file_print_his_line(exps, capsys, tmp_path):
    """The same numbers for a checkpoint, for the same weights as a PyTorch file, and as eval.py's; with AS-norm too."""
    folder, data = exps
    checkpoint = folder / "exps/exp1/model/epoch_0002.ckpt"
    his, lines = score(capsys, "--initial_model", checkpoint, *data, "--score_crops", "0", "--as_norm", "true")
    eer = next(line for line in lines if line.startswith("EER = "))
    cost = next(re.search(r"minDCF\(p=0.05\) = ([\d.]+)", line)[1] for line in lines if line.startswith("minDCF"))
    assert his == f"EER {eer[6:]}, minDCF {cost}%"
    assert any(re.fullmatch(r"AS-norm: EER = \d+\.\d\d%", line) for line in lines)
    pretrained = tmp_path / "exps" / "pretrain.model"
    pretrained.parent.mkdir()
    give_back(import_torch, "taoruijie", checkpoint, pretrained)
    capsys.readouterr()
    assert score(capsys, "--initial_model", pretrained, *data, "--score_crops", "0")[0] == his
    stamp = (tmp_path / "exps/pretrain_run/best.ckpt").stat().st_mtime_ns
    assert trainECAPAModel.as_checkpoint(pretrained).stat().st_mtime_ns == stamp        # made once
    os.utime(pretrained, (2e9, 2e9))
    with refused(MismatchError, pretrained.parent / "pretrain_run", pretrained):
        trainECAPAModel.main(["--eval", "--initial_model", str(pretrained)])


def test_initial_model_starts_again_and_the_next_call_goes_on(exps, tmp_path):
    model = exps[0] / "exps/exp1/best.ckpt"
    flags = ["--initial_model", str(model), "--save_path", str(tmp_path / "exp2")]
    config = trainECAPAModel.parse(flags, scoring=False)
    assert (config.channels, config.resume, config.initial_model) == (16, "", str(model))
    of_folder = trainECAPAModel.parse(["--initial_model", str(model.parent), *flags[2:]], scoring=False)
    assert of_folder == config
    (tmp_path / "exp2").mkdir()
    (tmp_path / "exp2/config.yaml").write_text(f"resume: ''\nchannels: 16\ninitial_model: {model}\n")
    following = trainECAPAModel.parse(flags[2:], scoring=False)
    assert (following.channels, following.resume, following.ckpt_save_dir) == (16, "auto", str(tmp_path / "exp2"))


def test_initial_model_brings_all_that_makes_its_network(tmp_path):
    read = set()

    class Reading:
        def __getattr__(self, name):
            read.add(name)
            return getattr(Config(), name)

    make_network(Reading())
    assert read | {"front_end"} == set(NETWORK)
    save_config(Config(global_context=False), tmp_path)
    (tmp_path / "best.ckpt").touch()
    assert not trainECAPAModel.parse(["--initial_model", str(tmp_path / "best.ckpt")], scoring=True).global_context


@pytest.mark.parametrize("arguments, kind, facts", [
    (["--eval"], SettingError, ["initial_model", "--initial_model exps/pretrain.model"]),
    (["--eval", "--initial_model", "exps/pretrain.model"], NotFoundError, ["exps/pretrain.model", ".ckpt"]),
    (["--save_path", "exps/exp1"], NotFoundError, ["dataset/Voxceleb2/train.txt"])])
def test_mistakes_are_refused_in_one_line(arguments, kind, facts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(kind, *facts):
        trainECAPAModel.main(arguments)
    assert not os.listdir(tmp_path)


class Rows:
    """As much of a run folder as write_score takes."""

    def __init__(self, *eers):
        self.rows = [{"epoch": i, "learning_rate": 0.001, "loss": 1.0, "accuracy": 0.5}
                     | ({} if eer is None else {"valid_eer": eer}) for i, eer in enumerate(eers, 1)]

    def write(self, name, text):
        self.text = (name, text)


@pytest.mark.parametrize("eers, numbers, best", [
    ((None, 4.0, None, 3.0), [2, 4], "3.00"), ((2.5, np.float64(0.0), 1.0), [1, 2, 3], "0.00"),
    (("", "1.5"), [2], "1.50"), ((None, None), [1, 2], None)])
def test_score_has_a_line_for_each_validated_epoch(eers, numbers, best):
    """test_step 2; an EER of zero; rows read back by a resumed run; a run without validation."""
    folder = Rows(*eers)
    lines = training.write_score(folder)
    assert folder.text == ("score.txt", "\n".join(lines) + "\n")
    assert [int(line.split()[0]) for line in lines] == numbers
    assert lines[-1].endswith(f"bestEER {best}%" if best else "ACC 50.00%")
