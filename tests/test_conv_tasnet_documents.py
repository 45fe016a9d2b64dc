"""What the MindSpore document of Conv-TasNet asks its users to type. The rest of its rows: test_conv_tasnet_*.py."""
import dataclasses
import os

import pytest
from helpers.corpora import librimix, mixtures
from helpers.documents import ROOT
from helpers.errors import assert_refusal, refused
from helpers.programs import rank_table, recorded, script, started

from conv_tasnet import prepare
from conv_tasnet.prepare import PrepareConfig
from conv_tasnet.src.config import Config
from utils.audio.packed import read_shard
from utils.config import parse_config, read_yaml
from utils.errors import NotFoundError, SettingError

FLAGS = {"train_dir": "x", "valid_dir": "x", "segment": 1.5, "cv_maxlen": 6.0, "N": 3, "L": 4, "B": 3, "H": 3, "P": 5,
         "X": 3, "R": 2, "C": 3, "lr": 0.5, "l2": 0.5, "momentum": 0.5, "model_path": "x", "data-dir": "x",
         "batch_size": 9, "device_target": "Ascend", "device_id": 5}


@pytest.mark.parametrize("flag", FLAGS)
def test_each_parameter_sets_its_field_alone(flag):
    field = {"data-dir": "eval_dir", "batch_size": "minibatch_size"}.get(flag, flag)
    parsed = parse_config(Config, [f"--{flag}", str(FLAGS[flag])])
    assert parsed == dataclasses.replace(Config(), **{field: FLAGS[flag]}) != Config()


def test_misprinted_parameter_names_the_meant_one():
    with refused(SettingError, "--device_traget", "device_target"):
        parse_config(Config, ["--device_traget", "Ascend"])


def shard_paths(folder):
    """Paths of all records of a packed corpus."""
    return sorted(path for shard in folder.glob("*.mindrecord") for path in read_shard(str(shard))[0])


def test_prepare_with_the_documents_parameters(tmp_path, capsys):
    """Training and test part in MindRecords of the names given, every mixture readable through them alone."""
    corpus, out = librimix(tmp_path / "min", splits=("train-100", "dev", "test"), keys=2), tmp_path / "out"
    argv = ["--corpus", "librimix", "--in-dir", str(corpus), "--out-dir", str(out), "--sample-rate", "8000",
            "--train_name", "tr.mindrecord", "--test_name", "tt", "--workers", "1"]
    prepare.main(argv)
    printed = capsys.readouterr().out
    assert f"paths of train-100.csv are relative to {out}/tr.mindrecord\n" in printed
    assert f"paths of dev.csv test.csv are relative to {out}/tt.mindrecord\n" in printed
    files = {split: sorted(str(path.relative_to(corpus)) for path in corpus.glob(f"{split}/*/*.wav"))
             for split in ("train-100", "dev", "test")}
    assert len(files["dev"]) == 6 and not (out / "audio.mindrecord").exists()
    assert shard_paths(out / "tr.mindrecord") == files["train-100"]
    assert shard_paths(out / "tt.mindrecord") == sorted(files["dev"] + files["test"])
    expected = {split: mixtures(out / f"{split}.csv", corpus) for split in files}
    for path in corpus.rglob("*.wav"):
        path.unlink()
    for split, folder in (("train-100", "tr"), ("dev", "tt"), ("test", "tt")):
        actual = mixtures(out / f"{split}.csv", out / f"{folder}.mindrecord")
        assert actual.keys() == expected[split].keys() and len(actual) == 2
        for key, arrays in actual.items():
            assert all((one == other).all() for one, other in zip(arrays, expected[split][key], strict=True))


@pytest.mark.parametrize("arguments", [(), ("--in-dir", "LibriMix", "--out-dir=json"), ("--train_name", "train")])
def test_preprocess_to_prepare_a_corpus_names_prepare(arguments):
    code, output = started("conv_tasnet", "preprocess.py", *arguments)
    assert_refusal(code, output, "preprocess.py", "prepare.py")
    assert output.count("\n") == 1
    command = output.split(" prepare.py ")[1].split()
    assert parse_config(PrepareConfig, command).corpus == "librimix"
    with refused(NotFoundError, "Libri2Mix/wav8k/min", "--data_folder"):
        prepare.main(command)


@pytest.mark.parametrize("name, facts", [
    ("train.py", ["train_dir", "--train_dir", "--config"]),
    ("eval.py", ["model_path", "best.ckpt", "--checkpoint_path"]),
    ("export.py", ["model_path", "--checkpoint_path"]), ("prepare.py", ["corpus", "--corpus"])])
def test_programs_without_arguments_say_what_is_missing(name, facts):
    code, error = started("conv_tasnet", name)
    assert_refusal(code, error, *facts)
    assert error.count("\n") == 1


def test_names_that_are_misprints_have_no_file():
    """The document's tree has evaluate.py and run_stranalone_train.sh, its commands eval.py and run_standalone..."""
    folder = ROOT / "conv_tasnet"
    assert not (folder / "evaluate.py").exists() and (folder / "eval.py").exists()
    assert not (folder / "scripts/run_stranalone_train.sh").exists()
    assert (folder / "scripts/run_standalone_train.sh").exists()
    for theirs, ours in {"data.py": "dataset.py", "network_define.py": "../train.py", "model.py": "model.py",
                         "loss.py": "loss.py"}.items():
        assert (folder / "src" / ours).exists(), theirs


def test_the_documents_recipe():
    values = read_yaml(Config, ROOT / "conv_tasnet/configs/librimix_sgd.yaml")
    assert {name: values[name] for name in ("num_epochs", "minibatch_size", "lr", "optimizer")} == {
        "num_epochs": 100, "minibatch_size": 2, "lr": 0.01, "optimizer": "sgd"}
    lists = [os.path.basename(values[name]) for name in ("train_dir", "valid_dir", "eval_dir")]
    assert lists == ["train-100.csv", "dev.csv", "test.csv"] and Config().C == 2


@pytest.mark.parametrize("inside", [True, False])
def test_scripts_call_the_programs(tmp_path, inside):
    """run_standalone_train.sh DEVICE_ID and run_eval.sh DEVICE_ID, from scripts/ and from the model's folder."""
    def call(name, *arguments):
        return recorded("conv_tasnet", name, *arguments, place=tmp_path, inside=inside)

    code, output, calls = call("run_standalone_train.sh", "3")
    assert code == 0 and calls == ["conv_tasnet: Ascend 3: train.py --config configs/librimix_sgd.yaml"], output
    code, output, calls = call("run_standalone_train.sh", "3", "--lr", "0.1")
    assert code == 0 and calls == ["conv_tasnet: Ascend 3: train.py --lr 0.1"]
    assert (tmp_path / "conv_tasnet" / "train.log").exists()
    code, output, calls = call("run_eval.sh", "0")
    assert not calls
    assert_refusal(code, output, "runs/librimix_sgd/best.ckpt", "device number", "checkpoint")
    best = tmp_path / "conv_tasnet/runs/librimix_sgd/best.ckpt"
    best.parent.mkdir(parents=True)
    best.touch()
    code, output, calls = call("run_eval.sh", "0")
    assert calls == ["conv_tasnet: Ascend 0: eval.py --checkpoint_path conv_tasnet/runs/librimix_sgd/best.ckpt"]
    (tmp_path / "conv_tasnet/scripts/own.ckpt").touch()
    (tmp_path / "conv_tasnet/own.ckpt").touch()
    code, output, calls = call("run_eval.sh", "0", "own.ckpt", "--batch_size", "2")
    where = "conv_tasnet/scripts" if inside else "conv_tasnet"
    assert calls == [f"conv_tasnet: Ascend 0: eval.py --checkpoint_path {where}/own.ckpt --batch_size 2"]
    assert (tmp_path / "conv_tasnet" / "eval.log").exists()
    for name in ("run_standalone_train.sh", "run_eval.sh"):
        code, output, calls = call(name)
        assert not calls
        assert_refusal(code, output, "''")


@pytest.mark.parametrize("inside", [True, False])
def test_distributed_script_takes_the_documents_arguments(tmp_path, inside):
    table = rank_table(tmp_path)
    path = "../" * (1 + inside) + table.name
    code, output, calls = recorded("conv_tasnet", "run_distribute_train.sh", "2", "1", path, place=tmp_path,
                                   inside=inside)
    assert code == 0, output
    assert len(calls) == 1 and calls[0].endswith(f"{table.name} --config configs/librimix_sgd.yaml")
    code, output = script("conv_tasnet", "run_distribute_train.sh", "2", "1", table.name, "--dry_run", target="Ascend",
                          folder=tmp_path)
    assert code == 0 and output.count(f"RANK_TABLE_FILE={table} ") == len(output.splitlines()) - 1 == 2
