"""DeepSpeech2 through its entry points: train, eval, language model, export, runner's files, scripts; mistakes."""
import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from helpers.documents import ROOT
from helpers.errors import assert_line, assert_refusal, refused
from helpers.graphs import python
from helpers.programs import (
    assert_resumes_by_script,
    assert_same_end,
    called,
    flags,
    killed,
    rank_table,
    script,
    using,
)
from mindspore import Parameter, Tensor, nn

from deepspeech2 import eval as evaluation
from deepspeech2 import export, infer, lm, prepare, preprocess, train
from deepspeech2.src import training
from deepspeech2.src.config import Config
from deepspeech2.src.features import BINS, spectrogram
from deepspeech2.src.manifest import read_samples, write_manifest
from deepspeech2.src.model import DeepSpeech2
from deepspeech2.src.optimizer import make_optimizer
from utils.checkpoints.checkpoint import load_checkpoint, load_model, save_checkpoint
from utils.config import load_config, parse_config, read_yaml, save_config
from utils.device import Device
from utils.errors import MismatchError, NotFoundError, SettingError
from utils.training.state import parameters


@pytest.fixture(scope="module")
def lists(mini_corpus, tmp_path_factory):
    """Manifests of 12 training, 6 validation and 6 test utterances of the mini corpus, and a language model."""
    folder = tmp_path_factory.mktemp("manifests")
    prepare.main(["--corpus", "mini", "--data_folder", str(mini_corpus), "--output_folder", str(folder), "--lm", "2",
                  "--workers", "1"])
    for part, count in (("train", 12), ("valid", 6), ("test", 6)):
        path = folder / f"{part}.json"
        samples = [sample._replace(wav_path=os.path.relpath(sample.wav_path, mini_corpus))
                   for sample in read_samples(path)[:5 * count:5]]
        write_manifest(path, mini_corpus, samples)
    return folder


@pytest.fixture(scope="module")
def trained(lists, tmp_path_factory):
    """The config of a finished run of 2 epochs of 6 batches; runs with the same values must end alike."""
    config = dataclasses.replace(
        Config(), conv_channels=2, hidden_size=16, hidden_layers=2, minibatch_size=2, num_epochs=2, save_steps=1,
        learning_rate=0.01, device_target="CPU", length=500, buckets=1, speeds="0.9,1.0", mask_from=2,
        train_manifest=str(lists / "train.json"), val_manifest=str(lists / "valid.json"),
        test_manifest=str(lists / "test.json"), num_workers=1,
        ckpt_save_dir=str(tmp_path_factory.mktemp("runs") / "run"))
    train.main(config)
    return config


@pytest.fixture(scope="module")
def evaluated(trained):
    """(the error rates, what is printed) of eval.py on the test manifest."""
    partial = Path(trained.ckpt_save_dir, "eval_test", "texts_partial.csv")     # of one that was interrupted
    partial.parent.mkdir()
    partial.touch()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        rates = evaluation.main(using(trained, save_log_probs=True))
    assert not partial.exists()
    return rates, printed.getvalue()


def average(printed):
    """The line of rates that eval.py and postprocess.py print."""
    return re.search(r"^Average WER \d+\.\d{3} Average CER \d+\.\d{3} .*$", printed, re.M)[0]


def test_run_folder_holds_the_config_and_the_curves(trained):
    assert load_config(Config, f"{trained.ckpt_save_dir}/best.ckpt") == trained
    header, *rows = Path(trained.ckpt_save_dir, "metrics.csv").read_text().splitlines()
    assert header == "epoch,learning_rate,loss,infinite,valid_wer,valid_cer,minutes" and len(rows) == 2
    rates = [float(row.split(",")[1]) for row in rows]
    assert rates == pytest.approx([0.01, 0.0099])
    assert Path(trained.ckpt_save_dir, "curves.png").stat().st_size > 5000


def test_flags_of_deepspeech_pytorch():
    """The document's five, and those of the README's table; hydra's key=value gets a hint."""
    found = parse_config(Config, ["--data.num_workers", "3", "--training.epochs=7", "--data.batch_size", "240",
                                  "--optim.learning_rate", "1", "--apex.loss_scale", "64"])
    assert found == dataclasses.replace(Config(), num_workers=3, num_epochs=7, minibatch_size=240, learning_rate=1.0,
                                        loss_scale=64.0)
    table = re.findall(r"^\| `(\w+)` \|.*\| `--([\w.]+)` \|", (ROOT / "deepspeech2" / "README_CN.md").read_text(), re.M)
    assert len(table) >= 13 and all(Config.ALIASES[alias] == field for field, alias in table)
    assert set(Config.ALIASES.values()) <= {field.name for field in dataclasses.fields(Config)}
    with refused(SettingError, "training.epochs=70", "training.epochs?"):
        parse_config(Config, ["training.epochs=70"])


def test_preset_with_the_batch_and_rate_of_the_document():
    """Batch 240 at rate 1; an update with momentum moves the weights by 0.1 at most, and the tree is that of an4.py."""
    config = Config(**read_yaml(Config, ROOT / "deepspeech2" / "configs" / "an4_document.yaml"))
    assert (config.minibatch_size, config.learning_rate, config.num_epochs) == (240, 1.0, 70)
    assert config.learning_rate * config.clip_norm / (1 - config.momentum) == pytest.approx(0.1)
    assert isinstance(make_optimizer(config, [Parameter(Tensor([1.0]))], config.learning_rate), nn.SGD)
    assert config.train_manifest == "data/an4_train_manifest.csv"


def test_killed_and_resumed_equals_uninterrupted(trained, tmp_path, tree):
    assert_resumes_by_script("deepspeech2", trained, tmp_path / "run", tree)


@pytest.mark.slow
def test_two_processes_killed_and_resumed_equal_undisturbed_ones(trained, tmp_path, tree):
    """The documented script with a rank table; the launcher is killed and takes its processes with it."""
    table = rank_table(tmp_path)
    runs = {name: dataclasses.replace(trained, ckpt_save_dir=str(tmp_path / name)) for name in ("whole", "cut")}
    code, output = script("deepspeech2", "run_distribute_train_ascend.sh", table, *flags(runs["whole"]), tree=tree)
    assert code == 0 and "3 batches of 2 an epoch, O0 on 2 x CPU" in output, output
    code, output = killed("deepspeech2", "job", 2, table, *flags(runs["cut"]),
                          after=tmp_path / "cut" / "last" / "state.ckpt", tree=tree)
    assert code == -9, output
    code, output = script("deepspeech2", "run_distribute_train_ascend.sh", table, "--resume", tmp_path / "cut",
                          tree=tree)
    assert code == 0 and "resumed from" in output, output
    assert_same_end(tmp_path / "cut", tmp_path / "whole", weights=1e-4, numbers=1e-4)


def test_evaluation_agrees_with_validation(trained, evaluated):
    rates, printed = evaluated
    assert average(printed).startswith(f"Average WER {rates['wer']:.3f} Average CER {rates['cer']:.3f} ")
    assert re.search(r"^real-time factor \d+\.\d{3}", printed, re.M)
    assert len(Path(trained.ckpt_save_dir, "eval_test", "texts.csv").read_text().splitlines()) == 7
    model = DeepSpeech2(trained)
    load_model(f"{trained.ckpt_save_dir}/best.ckpt", model)
    validated = training.validation(dataclasses.replace(trained, val_manifest=trained.test_manifest), model,
                                 Device("CPU"))()
    assert validated == {"valid_wer": pytest.approx(rates["wer"]), "valid_cer": pytest.approx(rates["cer"])}


def test_evaluation_by_the_script_with_a_tuned_language_model(trained, evaluated, lists, tree, capsys):
    """The documented script has the rates that lm.py found with its weights, for what eval.py has kept."""
    folder = Path(trained.ckpt_save_dir, "eval_test")
    lm.main(["tune", "--log_probs", str(folder / "log_probs.npz"), "--lm", str(lists / "lm.arpa"), "--width", "4",
             "--alpha_steps", "2", "--beta_steps", "2", "--workers", "1"])
    wer, cer = re.search(r"^best: .* WER (\d+\.\d{3}) CER (\d+\.\d{3})$", capsys.readouterr().out, re.M).groups()
    code, output = script("deepspeech2", "run_eval_ascend.sh", "0", f"{trained.ckpt_save_dir}/best.ckpt", "--config",
                          folder / "lm.json", tree=tree)
    assert code == 0, output
    printed = average((tree / "deepspeech2" / "eval.log").read_text())
    assert printed.startswith(f"Average WER {wer} Average CER {cer} ")


@pytest.fixture(scope="module")
def recognise(trained):
    """The function of features, (1, T, F), and frames, (1,), that the trained network computes: (log_probs, frames)."""
    model = DeepSpeech2(trained)
    load_model(f"{trained.ckpt_save_dir}/best.ckpt", model)
    evaluate = python(model.set_train(False))
    return lambda *arrays: [value.asnumpy() for value in evaluate(*arrays)]


@pytest.mark.parametrize("length", [300, 0])
def test_exported_graph_equals_the_network(trained, recognise, tmp_path, length):
    path = export.main(using(trained, length=length, file_name=str(tmp_path / "net")))
    description = json.loads((tmp_path / "inputs.json").read_text())
    assert description["labels"] == trained.labels and description["sample_rate"] == 16000
    assert [port["shape"] for port in description["inputs"]] == [[1, length or None, BINS], [1]]
    graph = nn.GraphCell(ms.load(str(path)))
    for total in (300,) if length else (300, 171):
        features = np.random.default_rng(total).standard_normal((1, total, BINS)).astype(np.float32)
        frames = np.array([total - 20], np.int32)
        for found, expected in zip(graph(Tensor(features), Tensor(frames)), recognise(features, frames), strict=True):
            np.testing.assert_allclose(found.asnumpy(), expected, atol=1e-5)


def test_graph_of_a_waveform_of_any_length_equals_the_network_on_its_features(trained, recognise, tmp_path):
    path = export.main(using(trained, length=0, input="waveform", file_name=str(tmp_path / "net")))
    graph = nn.GraphCell(ms.load(str(path)))
    for total in (8000, 20319):
        waveform = 0.1 * np.random.default_rng(total).standard_normal(total).astype(np.float32)
        features = spectrogram(waveform)[None]
        expected, count = recognise(features, np.array([features.shape[1]], np.int32))
        found, counted = (value.asnumpy() for value in graph(Tensor(waveform[None])))
        assert counted == count
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["features", pytest.param("waveform", marks=pytest.mark.slow)])
def test_cpp_runner_gives_the_scores_of_eval(trained, evaluated, tmp_path, tree, kind):
    """run_infer_310.sh: preprocess.py -> main -> postprocess.py -> acc.log; features of any length, and waveforms."""
    graph = export.main(using(trained, runtime="lite2.0", length=0, input=kind))
    arguments = (graph, trained.test_manifest, "y", "0")
    code, output = script("deepspeech2", "run_infer_310.sh", *arguments, folder=tmp_path, tree=tree)
    assert code == 0, output
    assert average((tmp_path / "acc.log").read_text()) == average(evaluated[1])


def test_fixed_graph_refuses_longer_utterances(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export.main(using(trained, length=50))
    with refused(MismatchError, "t001-000.wav", "frames", 50, "--length"):
        preprocess.main(using(trained))


MISTAKES = {
    "no manifest": ({"train_manifest": "nowhere.json"}, NotFoundError, ["nowhere.json"]),
    "optimizer": ({"optimizer": "adam"}, SettingError, ["optimizer", "'adam'", "adamw, sgd"]),
    "other size": ({"hidden_size": 32, "initial_model": "best"}, MismatchError,
                   ["best.ckpt", "layers.0.rnn.forward.weight_ih_l0", (64, 82), (128, 82)]),
    "labels": ({"labels": "_AB "}, MismatchError, ["'N' in ", "'AB '", "--labels"]),
}


def test_onnx_equals_the_network_in_another_runtime(trained, recognise, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = export.main(using(trained, file_format="ONNX", length=120, file_name=str(tmp_path / "net")))
    session = onnxruntime.InferenceSession(str(path))
    x = np.random.default_rng(0).standard_normal((1, 120, 161)).astype(np.float32)
    for frames in (120, 71):
        inputs = {"features": x, "frames": np.array([frames], np.int32)}
        found, counted = session.run(["log_probs", "log_prob_frames"], inputs)
        expected, count = recognise(*inputs.values())
        assert counted == count == [(frames + 1) // 2]
        np.testing.assert_allclose(found[:counted[0]], expected[:counted[0]], atol=1e-4)
    with refused(SettingError, "file_format ONNX", "--length", "MINDIR"):
        export.main(using(trained, file_format="ONNX", length=0))
    with refused(SettingError, "file_format ONNX", "input waveform", "features", "MINDIR"):
        export.main(using(trained, file_format="ONNX", length=120, input="waveform"))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_refused_in_one_line(trained, tmp_path, monkeypatch, mistake):
    monkeypatch.chdir(tmp_path)
    differences, kind, facts = MISTAKES[mistake]
    if "initial_model" in differences:
        differences = differences | {"initial_model": f"{trained.ckpt_save_dir}/best.ckpt"}
    with refused(kind, *facts):
        train.main(dataclasses.replace(trained, num_workers=0, num_epochs=1, ckpt_save_dir="run", **differences))


def test_sgd_trains_too_and_other_labels_get_a_new_output_layer(trained, tmp_path):
    config = dataclasses.replace(trained, optimizer="sgd", learning_rate=1e-4, num_epochs=1, num_workers=0, mask_from=0,
                                 val_manifest="",
                                 labels=trained.labels + "-", initial_model=f"{trained.ckpt_save_dir}/best.ckpt",
                                 ckpt_save_dir=str(tmp_path / "run"))
    progress = train.main(config)
    weights, _ = load_checkpoint(tmp_path / "run" / "best.ckpt")
    assert progress.batches == 6 and weights["output.weight"].shape == (30, 16)


@pytest.mark.parametrize(("labels", "begins"), [("_AB ", 1), ("_BA ", 0), ("_ABC ", 0)])
def test_an_output_layer_begins_anew_for_other_labels_of_the_same_number_too(tmp_path, capsys, labels, begins):
    def layers(count, value):
        return {name: Parameter(Tensor(np.full(shape, value, np.float32)), name=name)
                for name, shape in (("norm.gamma", (3,)), ("output.weight", (count, 3)))}

    save_checkpoint(tmp_path / "best.ckpt", layers(4, 1))
    save_config(Config(labels="_AB "), tmp_path)
    weights = layers(len(labels), 0)
    training.load_initial(tmp_path, weights, Config(labels=labels))
    assert (weights["norm.gamma"].asnumpy() == 1).all() and (weights["output.weight"].asnumpy() == begins).all()
    note = capsys.readouterr().err
    assert (note == "") == bool(begins)
    if note:
        assert_line(note, tmp_path, "'_AB '", repr(labels))


def test_a_unidirectional_network_begins_with_what_goes_forward_in_a_bidirectional_one(trained):
    """Its lookahead is new; the other way round nothing fits."""
    config, path = dataclasses.replace(trained, bidirectional=False), f"{trained.ckpt_save_dir}/best.ckpt"
    weights = parameters(DeepSpeech2(config))
    begun = {name: weight.asnumpy().copy() for name, weight in weights.items()}
    training.load_initial(path, weights, config)
    saved, _ = load_checkpoint(path)
    for name, weight in weights.items():
        new = name.startswith("lookahead.")
        expected = begun[name] if new else saved[name.replace(".rnn.", ".rnn.forward.")].asnumpy()
        np.testing.assert_array_equal(weight.asnumpy(), expected, err_msg=name)
    assert any(name.startswith("lookahead.") for name in weights)
    with refused(MismatchError, "layers.0.rnn.weight_ih_l0", "nothing"):
        training.load_initial(path, weights, dataclasses.replace(config, bidirectional=True))


def test_white_space_in_the_names_of_a_corpus(trained, mini_corpus, tmp_path):
    """From the corpus to the text: prepare, train, eval, infer."""
    names = [f"{part}/a speaker/{number} of {part}.wav" for part in ("train", "valid", "test") for number in (1, 2)]
    for name, source in zip(names, sorted((mini_corpus / "test" / "t001").glob("*.wav")), strict=False):
        (tmp_path / "my corpus" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, tmp_path / "my corpus" / name)
        (tmp_path / "my corpus" / name).with_suffix(".txt").write_text("GO ON")
    lists = tmp_path / "my lists"
    prepare.main(["--corpus", "tree", "--data_folder", str(tmp_path / "my corpus"), "--output_folder", str(lists),
                  "--workers", "1"])
    config = dataclasses.replace(
        trained, num_epochs=1, num_workers=0, mask_from=0, speeds="1.0", train_manifest=str(lists / "train.json"),
        val_manifest=str(lists / "valid.json"), test_manifest=str(lists / "test.json"),
        ckpt_save_dir=str(tmp_path / "my run"))
    assert train.main(config).batches == 1
    assert evaluation.main(using(config)).keys() >= {"wer", "cer"}
    rows = (tmp_path / "my run/eval_test/texts.csv").read_text()
    assert all(str(tmp_path / "my corpus" / name) in rows for name in names if name.startswith("test"))
    code, output = called(infer.main, *(str(tmp_path / "my corpus" / name) for name in names), "--checkpoint_path",
                          str(tmp_path / "my run/best.ckpt"))
    assert code == 0 and f"{names[0]}:" in output, output


def test_infer_prints_text_and_word_times(trained, mini_corpus):
    best, audio = f"{trained.ckpt_save_dir}/best.ckpt", str(mini_corpus / "test" / "t001" / "t001-000.wav")
    code, output = called(infer.main, audio, "--checkpoint_path", best)
    assert code == 0, output
    code, output = called(infer.main, audio, "missing.wav", "--checkpoint_path", best, "--timestamps")
    assert_refusal(code, output, "1 of 2 files", "missing.wav")
    assert_line(output, "missing.wav: no such")
    code, output = called(infer.main, audio, "--checkpoint_path", best, "--stream")
    assert_refusal(code, output, "stream", "--bidirectional false")
