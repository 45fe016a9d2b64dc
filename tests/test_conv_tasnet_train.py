"""Conv-TasNet through its entry points: train, eval, export, the runner's files, scripts; resumed; users' mistakes."""
import contextlib
import dataclasses
import io
import json
import re
import shutil
import signal
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from helpers.errors import assert_refusal, refused
from helpers.graphs import python
from helpers.programs import (
    assert_resumes_by_script,
    assert_same_end,
    flags,
    interrupted,
    killed,
    program,
    rank_table,
    script,
    using,
)
from mindspore import Parameter, Tensor, nn

from conv_tasnet import eval as evaluation
from conv_tasnet import export, prepare, train
from conv_tasnet.src import training
from conv_tasnet.src.config import Config
from conv_tasnet.src.model import ConvTasNet
from conv_tasnet.src.optimizer import make_optimizer
from utils.audio.audio_file import AudioError, write_wav
from utils.checkpoints.checkpoint import load_checkpoint, load_model
from utils.config import load_config, parse_use_config
from utils.device import Device
from utils.errors import MismatchError, NotFoundError, SettingError


@pytest.fixture(scope="module")
def lists(mini_corpus, tmp_path_factory):
    """The lists that prepare.py makes of 12 speakers of the mini corpus, 3 utterances each."""
    folder = tmp_path_factory.mktemp("lists")
    for speaker in sorted((mini_corpus / "train").iterdir())[:12]:
        (folder / "corpus" / speaker.name).mkdir(parents=True)
        for path in sorted(speaker.glob("*.wav"))[:3]:
            (folder / "corpus" / speaker.name / path.name).symlink_to(path)
    prepare.main(["--corpus", "tree", "--data_folder", str(folder / "corpus"), "--output_folder", str(folder),
                  "--valid_speakers", "3", "--test_speakers", "3", "--mixtures", "6", "--workers", "1"])
    return folder


@pytest.fixture(scope="module")
def trained(lists, tmp_path_factory):
    """The config of a finished run of 2 epochs of 6 batches; runs with the same values must end alike."""
    config = dataclasses.replace(
        Config(), N=16, L=16, B=8, H=12, Sc=8, X=2, R=1, segment=0.5, cv_maxlen=1.5, mixtures_per_epoch=12,
        minibatch_size=2, num_epochs=2, save_steps=1, lr=0.01, num_workers=1, device_target="CPU", length=8000,
        speeds="0.95,1.0", train_dir=str(lists / "train.txt"), valid_dir=str(lists / "valid.csv"),
        eval_dir=str(lists / "test.csv"), train_path=str(lists / "wav"), valid_path=str(lists / "wav"),
        eval_path=str(lists / "wav"), save_examples=1, ckpt_save_dir=str(tmp_path_factory.mktemp("runs") / "run"))
    train.main(config)
    return config


@pytest.fixture(scope="module")
def evaluated(trained):
    """(the means, what is printed) of eval.py on the test list, with the flags of the MindSpore document."""
    config = parse_use_config(Config, ["--model_path", f"{trained.ckpt_save_dir}/best.ckpt", "--data-dir",
                                       trained.eval_dir, "--batch_size", "6"])
    assert config == using(trained, minibatch_size=6)
    partial = Path(trained.ckpt_save_dir, "eval_test", "scores_partial.csv")    # of one that was interrupted
    partial.parent.mkdir()
    partial.touch()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        means = evaluation.main(config)
    assert not partial.exists()
    return means, printed.getvalue()


def averages(printed):
    """The two lines of scores that eval.py and postprocess.py print."""
    lines = [line for line in printed.splitlines() if line.startswith("Average ")]
    assert len(lines) == 2, printed
    return lines


def test_run_folder_holds_the_config_and_the_curves(trained):
    assert load_config(Config, f"{trained.ckpt_save_dir}/best.ckpt") == trained
    header, *rows = Path(trained.ckpt_save_dir, "metrics.csv").read_text().splitlines()
    assert header == "epoch,learning_rate,loss,si_snri,valid_loss,valid_si_snri,minutes" and len(rows) == 2
    assert Path(trained.ckpt_save_dir, "curves.png").stat().st_size > 5000


def test_a_finished_run_that_is_resumed_trains_no_more(trained, tmp_path):
    """So scripts/results_*.sh may be run again."""
    folder = tmp_path / "run"
    shutil.copytree(trained.ckpt_save_dir, folder)
    before = {name: (folder / name).read_bytes() for name in ("best.ckpt", "last/state.ckpt", "metrics.csv")}
    train.main(dataclasses.replace(trained, ckpt_save_dir=str(folder), resume="auto"))
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_killed_and_resumed_equals_uninterrupted(trained, tmp_path, tree):
    assert_resumes_by_script("conv_tasnet", trained, tmp_path / "run", tree)


@pytest.mark.slow
def test_killed_and_then_stopped_equals_uninterrupted(trained, tmp_path):
    folder = tmp_path / "run"
    resume = ["--resume", str(folder)]
    start = flags(dataclasses.replace(trained, ckpt_save_dir=str(folder)))
    for epoch, number, arguments, expected in ((1, signal.SIGKILL, start, -9), (2, signal.SIGTERM, resume, 143)):
        code, output = interrupted("conv_tasnet", epoch, number, *arguments)
        assert code == expected, output
        assert load_checkpoint(folder / "last" / "state.ckpt")[1]["minutes"] > 0
    code, output = program("conv_tasnet", "train.py", *resume)
    assert code == 0, output
    assert_same_end(folder, trained.ckpt_save_dir, weights=1e-5, numbers=1e-5)


@pytest.mark.slow
def test_two_processes_equal_one_with_their_batches_together_and_resume_exactly(trained, tmp_path, tree):
    """MindSpore's documented form of the script; no BatchNorm, so the losses are those of one process."""
    table = rank_table(tmp_path)
    runs = {name: dataclasses.replace(trained, minibatch_size=1, ckpt_save_dir=str(tmp_path / name))
            for name in ("whole", "cut")}
    code, output = script("conv_tasnet", "run_distribute_train.sh", "2", "true", table, *flags(runs["whole"]),
                          tree=tree)
    assert code == 0 and "6 batches of 1 an epoch, O0 on 2 x CPU" in output, output
    assert_same_end(tmp_path / "whole", trained.ckpt_save_dir, weights=1e-3, numbers=1e-5)
    code, output = killed("conv_tasnet", "rank 0", 2, table, *flags(runs["cut"]),
                          after=tmp_path / "cut" / "last" / "state.ckpt", tree=tree)
    assert code == 137 and "error: rank 0 was ended by SIGKILL, the others are stopped" in output, output
    code, output = script("conv_tasnet", "run_distribute_train_ascend.sh", table, "--resume", tmp_path / "cut",
                          tree=tree)
    assert code == 0 and "resumed from" in output, output
    assert_same_end(tmp_path / "cut", tmp_path / "whole", weights=1e-5, numbers=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_ten_times_at_random_moments(trained, tmp_path, processes, tree):
    """Starting up, compiling, training, saving: whatever they do, the next start goes on from the last state."""
    table, epochs = rank_table(tmp_path, processes), 200      # so many that no kill comes too late
    runs = {name: dataclasses.replace(trained, num_epochs=epochs, test_step=20, ckpt_save_dir=str(tmp_path / name),
                                      minibatch_size=2 // processes, keep_checkpoint_max=2)
            for name in ("whole", "cut")}
    code, output = script("conv_tasnet", "run_distribute_train_ascend.sh", table, *flags(runs["whole"]), tree=tree)
    assert code == 0, output
    state, places = tmp_path / "cut" / "last" / "state.ckpt", []
    for kill in range(10):
        victim = "job" if kill % 2 else f"rank {kill // 2 % processes}"
        moment, after = (20, None) if kill % 3 == 2 else (2, state)     # since the start, or since its first step
        code, output = killed("conv_tasnet", victim, moment, table, *flags(runs["cut"]), "--resume", "auto",
                              after=after, tree=tree)
        assert code in (-9, 137), output
        record = load_checkpoint(state)[1] if state.exists() else {"epoch": 0, "step": 0}
        places.append((record["epoch"], record["step"]))
    print(places)
    assert places == sorted(places) and places[0] < places[-1] < (epochs, 6)
    code, output = script("conv_tasnet", "run_distribute_train_ascend.sh", table, "--resume", tmp_path / "cut",
                          tree=tree)
    assert code == 0, output
    assert_same_end(tmp_path / "cut", tmp_path / "whole", weights=1e-5, numbers=1e-5, epochs=epochs)


def test_evaluation_agrees_with_validation_and_keeps_examples(trained, evaluated):
    means, printed = evaluated
    folder = Path(trained.ckpt_save_dir, "eval_test")
    rows = np.genfromtxt(folder / "scores.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    assert means["si_snri"] == pytest.approx(rows["si_snri"].mean(), abs=1e-3)
    assert f"Average SISNR improvement: {means['si_snri']:.2f}" in averages(printed)
    assert re.search(rf"^si_snr .*, stoi {means['stoi']:.3f}", printed, re.M)
    # validation cuts at cv_maxlen: what is left whole must score the same
    record = load_checkpoint(f"{trained.ckpt_save_dir}/best.ckpt")[1]
    assert rows["seconds"].min() < rows["seconds"].max() <= 6 and np.isfinite(record["valid_si_snri"])
    model = ConvTasNet(trained)
    load_model(f"{trained.ckpt_save_dir}/best.ckpt", model)
    config = dataclasses.replace(trained, valid_dir=trained.eval_dir, cv_maxlen=6.0)
    validated = training.validation(config, model, Device("CPU"))()
    assert validated["valid_si_snri"] == pytest.approx(means["si_snri"], abs=1e-3)
    assert len(list(folder.glob("*.wav"))) == 5 and len(list(folder.glob("*.png"))) == 1


def test_validation_leaves_out_what_is_silent_up_to_where_it_is_cut(trained, tmp_path):
    """A source, or all, may begin later than cv_maxlen."""
    rng = np.random.default_rng(3)
    for name, parts in (("a", (0.1, 0.1)), ("b", (0.1, 0.1)), ("late", (0, 0.1))):
        write_wav(str(tmp_path / f"{name}.wav"), np.concatenate([rng.normal(0, part, 8000) for part in parts]), 8000)
    header = "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain"

    model = ConvTasNet(trained)

    def validated(*rows):
        lines = [header, *(f"{number},{first}.wav,1,{second}.wav,1" for number, (first, second) in enumerate(rows))]
        (tmp_path / "valid.csv").write_text("\n".join(lines) + "\n")
        config = dataclasses.replace(trained, valid_dir=str(tmp_path / "valid.csv"), valid_path=str(tmp_path),
                                     cv_maxlen=1.0)
        return training.validation(config, model, Device("CPU"))()

    two, one = validated(("a", "b")), validated(("a", "late"))
    assert np.isfinite([*two.values(), one["valid_loss"]]).all() and np.isnan(one["valid_si_snri"])
    both = validated(("a", "b"), ("late", "late"), ("a", "late"))
    assert both["valid_si_snri"] == pytest.approx(two["valid_si_snri"], abs=1e-6)     # one voice needs no separation
    assert both["valid_loss"] == pytest.approx((two["valid_loss"] + one["valid_loss"]) / 2, abs=1e-6)
    with refused(AudioError, "valid.csv", "1 s", "cv_maxlen"):
        validated(("late", "late"))


def test_evaluation_by_the_script_does_not_depend_on_the_batch(trained, evaluated, tree):
    """The documented script; every mixture is separated alone and whole."""
    code, output = script("conv_tasnet", "run_eval_ascend.sh", "0", f"{trained.ckpt_save_dir}/best.ckpt", tree=tree)
    assert code == 0, output
    assert averages((tree / "conv_tasnet" / "eval.log").read_text()) == averages(evaluated[1])


@pytest.fixture(scope="module")
def separate(trained):
    """The function of mixtures, (B, S), that the trained network computes: (B, C, S)."""
    model = ConvTasNet(trained)
    load_model(f"{trained.ckpt_save_dir}/best.ckpt", model)
    evaluate = python(model.set_train(False))
    return lambda x: evaluate(x).asnumpy()


@pytest.mark.parametrize("length", [8000, 0])
def test_exported_graph_equals_the_network(trained, separate, tmp_path, length):
    path = export.main(using(trained, length=length, file_name=str(tmp_path / "net")))
    description = json.loads((tmp_path / "inputs.json").read_text())
    assert description["sample_rate"] == 8000
    assert description["inputs"] == [{"name": "mixture", "dtype": "float32", "shape": [1, length or None]}]
    graph = nn.GraphCell(ms.load(str(path)))
    for samples in (8000,) if length else (8000, 5000):
        x = np.random.default_rng(samples).standard_normal((1, samples)).astype(np.float32)
        expected = separate(x)
        assert expected.shape == (1, 2, samples)
        np.testing.assert_allclose(graph(Tensor(x)).asnumpy(), expected, atol=1e-5 * np.abs(expected).max())


def test_onnx_equals_the_network_in_another_runtime(trained, separate, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = export.main(using(trained, file_format="ONNX", file_name=str(tmp_path / "net")))
    x = np.random.default_rng(0).standard_normal((1, 8000)).astype(np.float32)
    expected = separate(x)
    found = onnxruntime.InferenceSession(str(path)).run(["sources"], {"mixture": x})[0]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_cpp_runner_gives_the_scores_of_eval(trained, evaluated, tmp_path, tree):
    """run_infer_310.sh on whole mixtures: preprocess.py -> main -> postprocess.py -> acc.log."""
    def infer(*arguments):
        return script("conv_tasnet", "run_infer_310.sh", graph, *arguments, folder=tmp_path, tree=tree)

    graph = export.main(using(trained, runtime="lite2.0", length=0))
    code, output = infer(trained.eval_dir, "y")
    assert code == 0, output
    expected = averages(evaluated[1])
    assert averages((tmp_path / "acc.log").read_text()) == expected
    # what was written may be run again without preprocessing
    ready = tree / "conv_tasnet" / "preprocess_Result"
    code, output = infer(ready, "n", "0")
    assert code == 0 and expected[0] in output, output
    next((ready / "00_data").glob("*.bin")).write_bytes(b"1234")
    code, output = infer(ready, "n")
    assert_refusal(code, output, "1 of 6 items")


MISTAKES = {
    "no list": ({"train_dir": "nowhere.csv"}, NotFoundError, ["nowhere.csv"]),
    "list without its files": ({"valid_path": "nowhere"}, NotFoundError, ["valid.csv", "mixture", "nowhere/"]),
    "speakers": ({"C": 3}, MismatchError, ["valid.csv", "2 sources", "C is 3"]),
    "optimizer": ({"optimizer": "adamw"}, SettingError, ["optimizer", "'adamw'", "adam, sgd"]),
    "schedule": ({"schedule": "cyclic"}, SettingError, ["schedule", "'cyclic'", "constant, cosine"]),
    "other size": ({"H": 16, "initial_model": "best"}, MismatchError,
                   ["best.ckpt", "blocks.0.expand.weight", (12, 8, 1, 1), (16, 8, 1, 1)]),
    "other dilations": ({"X": 3, "initial_model": "best"}, MismatchError,
                        ["initial_model", "best.ckpt", "X 2", "X is 3"]),
    "other masks": ({"mask_nonlinear": "sigmoid", "initial_model": "best"}, MismatchError,
                    ["best.ckpt", "mask_nonlinear relu", "mask_nonlinear is sigmoid"]),
    "segment": ({"segment": 0.001}, SettingError, ["segment", "0.001 s", "16 samples"]),
    "batch too large": ({"minibatch_size": 100}, MismatchError, ["minibatch_size: 100", "12 mixtures"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_refused_in_one_line(trained, tmp_path, monkeypatch, mistake):
    monkeypatch.chdir(tmp_path)
    differences, kind, facts = MISTAKES[mistake]
    if "initial_model" in differences:
        differences = differences | {"initial_model": f"{trained.ckpt_save_dir}/best.ckpt"}
    with refused(kind, *facts):
        train.main(dataclasses.replace(trained, num_workers=0, num_epochs=1, ckpt_save_dir="run", **differences))


def test_sgd_equals_its_formula():
    """The update of the MindSpore document's recipe."""
    config = dataclasses.replace(Config(), optimizer="sgd", momentum=0.9, l2=0.1)
    weight, expected, velocity = Parameter(Tensor([1.0, -2.0], ms.float32), name="w"), np.array([1.0, -2.0]), 0
    optimizer = make_optimizer(config, [weight], 0.05)
    for gradient in np.array([[0.5, 1.0], [-1.0, 2.0], [0.25, 0.0]]):
        optimizer((Tensor(gradient, ms.float32),))
        velocity = 0.9 * velocity + gradient + 0.1 * expected
        expected = expected - 0.05 * velocity
    np.testing.assert_allclose(weight.asnumpy(), expected, rtol=1e-6)


@pytest.mark.slow
def test_fixed_mixtures_and_sgd_train_too(trained, lists, tmp_path):
    """The recipe of the MindSpore document: SGD with momentum, mixtures from a list."""
    config = dataclasses.replace(trained, train_dir=trained.valid_dir, optimizer="sgd", lr=0.01, l2=1e-5, num_epochs=1,
                                 num_workers=0, ckpt_save_dir=str(tmp_path / "run"))
    progress = train.main(config)
    assert progress.batches == 3 and (tmp_path / "run" / "best.ckpt").is_file()


def test_silent_mixture_is_named_by_eval(trained, tmp_path):
    write_wav(str(tmp_path / "silent.wav"), np.zeros(8000), 8000)
    (tmp_path / "list.csv").write_text("mixture_ID,mixture_path,source_1_path,source_2_path,length\n"
                                       "quiet,silent.wav,silent.wav,silent.wav,8000\n")
    with refused(AudioError, "quiet", "mixture", "silent"):
        evaluation.main(using(trained, eval_dir=str(tmp_path / "list.csv"), eval_path=str(tmp_path)))
