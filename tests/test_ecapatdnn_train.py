"""ECAPA-TDNN through its entry points: train, eval, export, infer, scripts; killed and resumed; users' mistakes."""
import dataclasses
import json
import re
import shutil
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from helpers.errors import assert_line, assert_refusal, refused
from helpers.graphs import python
from helpers.networks import shared_networks
from helpers.programs import assert_same_end, copied_at, flags, killed, rank_table, run_runner, script, started, using
from mindspore import Tensor, nn

import ecapatdnn
from ecapatdnn import eval as evaluation
from ecapatdnn import export, infer, postprocess, preprocess, train
from ecapatdnn.src import inference, training
from ecapatdnn.src.config import Config
from ecapatdnn.src.evaluation import score_trials
from ecapatdnn.src.model import EcapaTdnn
from utils.audio.audio_file import AudioError, read, write_wav
from utils.checkpoints.checkpoint import load_checkpoint, load_model
from utils.config import load_config
from utils.device import Device
from utils.errors import ContentError, MismatchError, NotFoundError, SettingError, UnsupportedError
from utils.training import run
from utils.training.state import statistics


@pytest.fixture(scope="module", autouse=True)
def networks():
    """eval.py, infer.py and export.py called here compile the network once."""
    with shared_networks(inference):
        yield


@pytest.fixture(scope="module")
def trained(mini_corpus, small_lists, tmp_path_factory):
    """The config of a finished run of 2 epochs of 6 batches.

    Beside it lies "cut": the run's folder as it was after batch 3 of epoch 2.
    """
    config = dataclasses.replace(
        Config(), channels=16, mfa_channels=24, emb_size=16, crop=60, minibatch_size=4, num_epochs=2, save_steps=1,
        schedule="cosine", max_lrate=0.01, num_workers=1, device_target="CPU", length=120, speeds="1.0,1.1",
        train_list=str(small_lists / "train.txt"), train_path=str(mini_corpus / "train"),
        valid_list=str(small_lists / "trials.txt"), valid_path=str(mini_corpus / "train"),
        eval_list=str(small_lists / "trials.txt"), eval_path=str(mini_corpus / "train"),
        musan_path=str(mini_corpus / "musan"), rir_path=str(mini_corpus / "rir"),
        ckpt_save_dir=str(tmp_path_factory.mktemp("runs") / "run"))
    run = Path(config.ckpt_save_dir)
    with copied_at(2, 3, run, run.with_name("cut")):
        train.main(config)
    return config


def test_run_folder_of_ecapa(trained):
    lines = Path(trained.ckpt_save_dir, "score.txt").read_text().splitlines()
    assert len(lines) == 2
    for line in lines:
        assert re.fullmatch(r"\d epoch, LR \d\.\d{6}, LOSS \d+\.\d{6}, ACC \d+\.\d\d%, EER \d+\.\d\d%, "
                            r"bestEER \d+\.\d\d%", line)
    assert load_config(Config, f"{trained.ckpt_save_dir}/best.ckpt") == trained
    assert load_config(Config, f"{trained.ckpt_save_dir}/checkpoints/epoch_0001.ckpt") == trained


def test_training_script_resumes_exactly_and_the_script_of_eval_scores_it(trained, tree):
    """The documented scripts on this CPU: what train.py left behind when it was cut off ends as undisturbed."""
    cut = Path(trained.ckpt_save_dir).with_name("cut")
    code, output = script("ecapatdnn", "run_standalone_train_ascend.sh", "0", "--resume", cut, tree=tree)
    assert code == 0 and "at epoch 2, batch 3 of 6" in output, output
    assert_same_end(cut, trained.ckpt_save_dir, weights=1e-6, numbers=1e-6)
    code, output = script("ecapatdnn", "run_eval_ascend.sh", "0", cut / "best.ckpt", tree=tree)
    assert code == 0, output
    assert re.search(r"^EER = \d+\.\d\d%$", (tree / "ecapatdnn" / "eval.log").read_text(), re.M)


def test_scripts_end_with_what_is_wrong(trained, tree, tmp_path):
    code, output = script("ecapatdnn", "run_eval_ascend.sh", "0", tmp_path / "none.ckpt", tree=tree)
    assert_refusal(code, output, "none.ckpt")
    config = dataclasses.replace(trained, device_target="")
    code, output = script("ecapatdnn", "run_standalone_train_ascend.sh", "0", *flags(config), target="Ascend",
                          tree=tree)
    assert_refusal(code, output, "device_target Ascend", "DEVICE_TARGET=CPU")


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed_and_resumed_equal_undisturbed_ones(trained, tree, tmp_path):
    """The documented script with a rank table; no validation, whose graph takes as long to compile as training's."""
    table = rank_table(tmp_path)
    runs = {name: dataclasses.replace(trained, valid_list="", eval_list="", ckpt_save_dir=str(tmp_path / name))
            for name in ("whole", "cut")}
    code, output = script("ecapatdnn", "run_distribute_train_ascend.sh", table, *flags(runs["whole"]), tree=tree)
    assert code == 0 and "3 batches of 4 an epoch, O0 on 2 x CPU" in output, output
    code, output = killed("ecapatdnn", "rank 1", 0.2, table, *flags(runs["cut"]),
                          after=tmp_path / "cut" / "last" / "state.ckpt", tree=tree)
    assert code == 137 and "error: rank 1 was ended by SIGKILL, the others are stopped" in output, output
    code, output = script("ecapatdnn", "run_distribute_train_ascend.sh", table, "--resume", tmp_path / "cut",
                          tree=tree)
    assert code == 0 and "resumed from" in output, output
    # MindSpore's CPU kernels round by where in memory a tensor lies: a loss may differ in its last float32 digit
    assert_same_end(tmp_path / "cut", tmp_path / "whole", weights=1e-6, numbers=1e-6)


def test_evaluation_agrees_with_validation_and_uses_its_cache(trained, capsys):
    record = load_checkpoint(f"{trained.ckpt_save_dir}/best.ckpt")[1]
    results = evaluation.main(using(trained, as_norm=True))
    printed = capsys.readouterr().out
    assert 100 * results["cosine"] == pytest.approx(record["valid_eer"], abs=1e-9)
    assert re.search(r"^EER = \d+\.\d\d%$", printed, re.M) and re.search(r"^AS-norm: EER = \d+\.\d\d%$", printed, re.M)
    folder = Path(trained.ckpt_save_dir, "eval_trials")
    assert (folder / "det.png").stat().st_size > 5000
    assert len((folder / "scores_cosine.txt").read_text().splitlines()) == 66
    cache = list(Path(trained.ckpt_save_dir, "embeddings").glob("*.npz"))
    stamps = [path.stat().st_mtime_ns for path in cache]
    assert evaluation.main(using(trained, as_norm=True)) == results
    assert [path.stat().st_mtime_ns for path in cache] == stamps and stamps
    crops = evaluation.main(using(trained, score_crops=5, subtract_mean=True))
    assert 0 <= crops["cosine"] <= 1


@pytest.mark.parametrize("length", [pytest.param(120, marks=pytest.mark.slow), 0])
def test_exported_graph_equals_the_network(trained, tmp_path, length):
    path = export.main(using(trained, length=length, file_name=str(tmp_path / "net")))
    description = json.loads((tmp_path / "inputs.json").read_text())
    assert description["front_end"] == "taoruijie" and description["sample_rate"] == 16000
    assert description["inputs"] == [{"name": "features", "dtype": "float32", "shape": [1, length or None, 80]}]
    graph, network = nn.GraphCell(ms.load(str(path))), python(plain_network(trained))
    for frames in (120,) if length else (120, 57, 331):
        x = np.random.default_rng(frames).standard_normal((1, frames, 80)).astype(np.float32)
        np.testing.assert_allclose(graph(Tensor(x)).asnumpy(), network(x).asnumpy(), atol=1e-5)


def plain_network(config):
    """That of the run's best checkpoint, with MindSpore's own layers."""
    model = EcapaTdnn(80, 16, 16, 24)
    load_model(f"{config.ckpt_save_dir}/best.ckpt", model)
    return model.set_train(False)


def test_onnx_equals_the_network_in_another_runtime(trained, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = export.main(using(trained, file_format="ONNX", file_name=str(tmp_path / "net")))
    x = np.random.default_rng(0).standard_normal((1, 120, 80)).astype(np.float32)
    expected = python(plain_network(trained))(x).asnumpy()
    actual = onnxruntime.InferenceSession(str(path)).run(["embedding"], {"features": x})[0]
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())
    with refused(SettingError, "file_format ONNX", "--length", "MINDIR"):
        export.main(using(trained, file_format="ONNX", length=0))
    with refused(UnsupportedError, "file_format AIR", "Ascend", "MINDIR"):
        export.main(using(trained, file_format="AIR"))


def test_cpp_runner_gives_the_scores_of_eval(trained, tree, tmp_path, capsys):
    """run_infer_310.sh: preprocess.py -> main -> postprocess.py -> acc.log."""
    evaluation.main(using(trained))
    expected = re.search(r"^EER = .*$", capsys.readouterr().out, re.M)[0]
    graph = export.main(using(trained, runtime="lite2.0", length=0))
    code, output = script("ecapatdnn", "run_infer_310.sh", graph, trained.eval_list, "0", folder=tmp_path, tree=tree)
    assert code == 0, output
    assert re.search(r"^EER = .*$", (tmp_path / "acc.log").read_text(), re.M)[0] == expected
    # the document's form: a folder of features and a device; and its grep eer
    inputs = tree / "ecapatdnn" / "preprocess_Result" / "00_data"
    features = shutil.move(inputs, tmp_path / "feat_eval")
    (tmp_path / "acc.log").unlink()
    code, output = script("ecapatdnn", "run_infer_310.sh", graph, features, "0", folder=tmp_path, tree=tree)
    assert code == 0 and not inputs.exists(), output
    assert [line for line in (tmp_path / "acc.log").read_text().splitlines() if "eer" in line] == [f"eer: {expected}"]
    for arguments, facts in (((trained.eval_list, "z"), ["'z'", "y or n", "device number"]),
                             ((trained.eval_list, "n"), ["NEED_PREPROCESS n", "folder"]),
                             ((trained.eval_list, "0", "y"), ["'y'"])):
        code, output = script("ecapatdnn", "run_infer_310.sh", graph, *arguments, folder=tmp_path, tree=tree)
        assert_refusal(code, output, *facts)
    code, output = script("ecapatdnn", "run_infer_310.sh", graph, features, folder=tmp_path, target="Ascend", tree=tree)
    assert_refusal(code, output, "Ascend 0", "--device_target CPU")


def test_cpp_runner_takes_features_of_a_fixed_length(trained, runner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = export.main(using(trained, runtime="lite2.0", length=100, file_name=str(tmp_path / "net")))
    description = json.loads((tmp_path / "inputs.json").read_text())
    assert description["inputs"] == [{"name": "features", "dtype": "float32", "shape": [1, 100, 80]}]
    config = dataclasses.replace(trained, model_path=str(graph))
    preprocess.main(config)
    assert {path.stat().st_size for path in Path("preprocess_Result").rglob("*.bin")} == {100 * 80 * 4}
    code, output = run_runner(runner, graph, "preprocess_Result", "result_Files")
    assert code == 0, output
    assert 0 <= postprocess.main(config)["cosine"] <= 1


def test_inference_verdict_and_embeddings(trained, mini_corpus, tmp_path, capsys):
    files = [str(path) for path in sorted((mini_corpus / "test").glob("t00*/*.wav"))[:3]]
    checkpoint = ["--checkpoint_path", f"{trained.ckpt_save_dir}/best.ckpt"]
    infer.main([files[0], files[0], *checkpoint])
    assert re.match(r"same speaker: score 1\.000, threshold -?\d\.\d{3}", capsys.readouterr().out)
    infer.main([files[0], files[1], "--threshold", "1.1", *checkpoint])
    assert capsys.readouterr().out.startswith("different speaker")
    infer.main(["--embed", *files, "--output", str(tmp_path / "x.npz"), *checkpoint])
    with np.load(tmp_path / "x.npz") as data:
        assert list(data["files"]) == files
        np.testing.assert_allclose(np.linalg.norm(data["embeddings"], axis=1), 1, atol=1e-5)
    with refused(SettingError, "1 audio file", "two", "--embed"):
        infer.main([files[0], *checkpoint])


def test_a_calibration_is_kept_and_used(trained, mini_corpus, tmp_path, capsys):
    """The threshold is where the log-likelihood ratio is 0; another way to score has none."""
    checkpoint = str(shutil.copytree(trained.ckpt_save_dir, tmp_path / "run") / "best.ckpt")
    config = dataclasses.replace(using(trained), model_path=checkpoint)
    evaluation.main(dataclasses.replace(config, calibrate=True, score_crops=2))   # crops are no verdict's
    evaluation.main(config)
    output = capsys.readouterr()
    assert "whole files" in output.err
    costs = re.findall(r"^Cllr = (\S+), minimum (\S+); actDCF\(p=0.01\)", output.out, re.M)
    assert len(costs) == 2 and costs[0] == costs[1] and float(costs[0][1]) <= float(costs[0][0]) < 1
    assert (tmp_path / "run/eval_trials/calibration.png").is_file()
    files = [str(path) for path in sorted((mini_corpus / "test").glob("t00*/*.wav"))[:2]]
    infer.main([*files, "--checkpoint_path", checkpoint])
    verifier = ecapatdnn.load(checkpoint)
    verdict = verifier.verify(*files)
    assert f", log-likelihood ratio {verdict.llr:+.2f}" in capsys.readouterr().out
    seconds = [len(verifier.samples(verifier.open(file))) / 16000 for file in files]
    scale, offset, duration = verifier.calibration
    assert verdict.llr == pytest.approx(scale * verdict.score + offset - duration * np.log(sum(1 / s for s in seconds)))
    assert verdict.same == (verdict.llr >= 0) == (verdict.score >= verdict.threshold)
    assert ecapatdnn.load(checkpoint, score_crops=2).calibration is None
    for number, file in enumerate(files):
        silence = np.zeros(5 * 16000, np.float32)
        write_wav(tmp_path / f"{number}.wav", np.concatenate((silence, read(file, 16000), silence)), 16000)
    (tmp_path / "trials").write_text("1 0.wav 1.wav\n0 1.wav 0.wav\n")
    padded = dataclasses.replace(config, voice_activity=True, eval_list=str(tmp_path / "trials"),
                                 eval_path=str(tmp_path))
    same = verifier.verify(tmp_path / "0.wav", tmp_path / "1.wav")      # by the seconds of speech, both
    assert score_trials(padded)[0]["LLR"] == pytest.approx([same.llr] * 2, abs=1e-3)
    assert_line(capsys.readouterr().err, checkpoint, "voice_activity false", "it is true")
    settings = tmp_path / "run" / "config.yaml"     # a verifier has no cohort to take the mean of
    settings.write_text(settings.read_text().replace("subtract_mean: false", "subtract_mean: true"))
    assert ecapatdnn.load(checkpoint).calibration == verifier.calibration


def test_initial_model_keeps_the_network_and_rebuilds_the_head(trained, tmp_path, monkeypatch):
    """What a training starts with, of one speed instead of two and so of half as many classes."""
    begun = []
    monkeypatch.setattr(run, "fit", lambda *arguments, **settings: begun.append(arguments))
    train.main(dataclasses.replace(trained, initial_model=f"{trained.ckpt_save_dir}/best.ckpt", speeds="1.0",
                                   ckpt_save_dir=str(tmp_path / "fine")))
    actual = {name: value.asnumpy() for name, value in begun[0][0].weights.items()}
    expected, _ = load_checkpoint(f"{trained.ckpt_save_dir}/best.ckpt")
    assert actual.keys() == expected.keys()
    for name in actual.keys() - {"loss.weight"}:
        np.testing.assert_array_equal(actual[name], expected[name].asnumpy(), err_msg=name)
    assert expected["loss.weight"].shape == (12, 16) and actual["loss.weight"].shape == (6, 16)


def test_a_resumed_run_needs_its_initial_model_no_more(trained, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(run, "fit", lambda *arguments, **settings: begun.append(arguments))
    gone = dataclasses.replace(trained, initial_model=str(tmp_path / "gone.ckpt"), resume="auto")
    train.main(gone)
    with refused(NotFoundError, "gone.ckpt"):
        train.main(dataclasses.replace(gone, ckpt_save_dir=str(tmp_path / "new")))
    # what a step that overflows puts back is BatchNorm's alone: the margin is the epoch's
    weights = begun[0][0].weights
    fixed = {name for name, parameter in weights.items() if not parameter.requires_grad}
    assert {parameter.name for parameter in statistics(weights)} == fixed - {"loss.margin"} != fixed


def test_embedding_of_any_length_with_one_compilation(trained):
    verifier = inference.load(using(trained))
    sound = np.random.default_rng(0).standard_normal(480000).astype(np.float32) * 0.1
    compiled = set()
    for samples in (4000, 16000, 100001, 480000):
        assert verifier.embed(sound[:samples]).shape == (16,)
        compiled.add(len(verifier.network.compile_cache))
    assert compiled == {1}
    with refused(AudioError, "0.12 s", "0.24 s"):
        verifier.embed(sound[:2000])


MISTAKES = {
    "missing list": ({"train_list": "nowhere.txt"}, NotFoundError, ["nowhere.txt"]),
    "one speaker": ({"train_list": "one.txt"}, ContentError, ["one.txt", "1 speaker"]),
    "wrong column": ({"train_list": "bad.txt"}, ContentError, ["bad.txt", "line 2", "'lonely'", "speaker path"]),
    "class count": ({"class_num": 5944}, MismatchError, ["class_num: 5944", "6 speakers", "2 speed", "12 classes"]),
    "missing files": ({"train_path": "nowhere"}, ContentError, ["20 files", "nowhere/", "train_path"]),
    "front-end": ({"front_end": "kaldy"}, SettingError, ["front_end", "'kaldy'", "kaldi?"]),
    "variant": ({"variant": "brain"}, SettingError, ["variant", "'brain'", "speechbrain"]),
    "channels": ({"channels": 20}, SettingError, ["channels", 20, 8]),
    "schedule": ({"schedule": "linear"}, SettingError, ["schedule", "'linear'", "constant"]),
    "batch too large": ({"minibatch_size": 100}, MismatchError, ["minibatch_size: 100", "24 crops"]),
    "other size": ({"channels": 24, "initial_model": "best"}, MismatchError,
                   ["best.ckpt", "stem.conv.weight", (16, 80, 1, 5), (24, 80, 1, 5)]),
    "other features": ({"front_end": "kaldi", "initial_model": "best"}, MismatchError,
                       ["initial_model", "best.ckpt", "front_end taoruijie", "front_end is kaldi"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_refused_in_one_line(trained, tmp_path, monkeypatch, mistake):
    monkeypatch.chdir(tmp_path)
    Path("one.txt").write_text("a a/1.wav\na a/2.wav\n")
    Path("bad.txt").write_text("a a/1.wav\nlonely\n")
    differences, kind, facts = MISTAKES[mistake]
    if "initial_model" in differences:
        differences = differences | {"initial_model": f"{trained.ckpt_save_dir}/best.ckpt"}
    with refused(kind, *facts):
        train.main(dataclasses.replace(trained, num_workers=0, num_epochs=1, **(
            {"ckpt_save_dir": str(tmp_path / "run")} | differences)))


def test_trial_without_its_file_is_refused_before_training(trained, tmp_path):
    first = Path(trained.valid_list).read_text().split()[1]
    (tmp_path / "trials.txt").write_text(f"1 {first} {first}\n0 {first} nobody/1.wav\n")
    config = using(trained, valid_list=str(tmp_path / "trials.txt"))
    with refused(AudioError, "nobody/1.wav"):
        training.validation(config, inference.load(config).network, Device("CPU"))


def test_exit_code_and_single_line(tmp_path):
    code, output = started("ecapatdnn", "eval.py", "--checkpoint_path", tmp_path / "no.ckpt")
    assert_refusal(code, output, tmp_path / "no.ckpt", "train.py", "best.ckpt")
    assert output.count("\n") == 1
