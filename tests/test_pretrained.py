"""What ships: utils/publish.py, and checkpoints that give the numbers of RESULTS.md again."""
import csv
import dataclasses
import os
import re
import shutil

import numpy as np
import pytest
import soundfile
from helpers.documents import ROOT, table
from helpers.errors import refused
from helpers.programs import called, program
from mindspore import Tensor

import conv_tasnet.eval
import conv_tasnet.infer
import conv_tasnet.prepare
import conv_tasnet.src.config
import deepspeech2.eval
import deepspeech2.infer
import deepspeech2.prepare
import deepspeech2.src.config
import ecapatdnn.infer
from conv_tasnet.src.metric import best_order, si_snr
from ecapatdnn.prepare import PrepareConfig
from ecapatdnn.src.config import Config
from ecapatdnn.src.corpora import all_pairs, scan_open_speech
from ecapatdnn.src.inference import load
from ecapatdnn.src.torch_layout import shapes
from utils import publish
from utils.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from utils.config import load_config, parse_use_config, read_mapping, save_config
from utils.errors import ContentError, NotFoundError
from utils.paths import best_of

SHIPPED = sorted(ROOT.glob("*/pretrained/**/best.ckpt"))
DATA = os.environ.get("SPEECH_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SPEECH_DATA is not set: folder of librispeech/, an4/ and lists/")


@pytest.fixture
def run_folder(tmp_path):
    """A run with a checkpoint of a small ECAPA-TDNN, {name: array} of it."""
    config = Config(channels=8, mfa_channels=12, emb_size=6, train_list=str(tmp_path / "train.txt"),
                    valid_list="lists/valid.txt", ckpt_save_dir=str(tmp_path / "run"), device_target="CPU",
                    amp_level="bf16")
    generator = np.random.default_rng(0)
    arrays = {name: generator.uniform(0.5, 1, shape).astype(np.float32) for name, shape in shapes(config).items()}
    save_config(config, tmp_path)
    save_checkpoint(tmp_path / "best.ckpt", {name: Tensor(array) for name, array in
                    (arrays | {"loss.weight": np.ones((3, 6), np.float32)}).items()}, epoch=4, threshold=0.25)
    return tmp_path / "best.ckpt", arrays


def test_published_weights_are_rounded_and_nothing_of_the_machine_is_kept(run_folder, tmp_path):
    checkpoint, arrays = run_folder
    path = publish.main([str(checkpoint), str(tmp_path / "pretrained")])
    found, record = load_checkpoint(path)
    assert record == {"epoch": 4, "threshold": 0.25} and set(found) == set(arrays)
    for name, value in found.items():
        assert value.asnumpy().dtype == np.float16
        np.testing.assert_allclose(value.asnumpy(), arrays[name], rtol=2 ** -11, err_msg=name)
    assert path.stat().st_size < 0.6 * checkpoint.stat().st_size
    assert str(tmp_path) not in path.with_name("config.yaml").read_text()
    config = load_config(Config, path)
    assert (config.channels, config.valid_list, config.train_list, config.amp_level) == (8, "lists/valid.txt", "", "")
    network = load(dataclasses.replace(config, model_path=str(path))).network
    assert {str(one.dtype) for one in network.get_parameters()} == {"Float32"}
    with refused(ContentError, "conv1.weight", 100000, 65504):
        publish.halved("conv1.weight", np.array([1.0, -1e5]))


@pytest.mark.parametrize("checkpoint", SHIPPED, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_what_ships_is_small_and_described(checkpoint):
    assert checkpoint.stat().st_size < 20e6 and checkpoint.with_name("README.md").is_file()
    assert not re.search(r": /", checkpoint.with_name("config.yaml").read_text(encoding="utf-8"))


@needs_data
@pytest.mark.parametrize("row, order", [("greedy", 0), pytest.param("with a 4-gram", 4, marks=pytest.mark.slow)])
def test_numbers_of_deepspeech2_come_out_again(tmp_path, row, order):
    """All of AN4's test part."""
    shutil.copytree(ROOT / "deepspeech2" / "pretrained", tmp_path / "pretrained")
    lists, checkpoint = tmp_path / "lists", tmp_path / "pretrained" / "best.ckpt"
    stated = re.search(r"alpha ([\d.]+), beta ([\d.]+)", (ROOT / "RESULTS.md").read_text(encoding="utf-8"))
    saved = read_mapping(checkpoint.with_name("config.yaml"), "settings")
    assert [saved["alpha"], saved["beta"]] == [float(stated[1]), float(stated[2])]
    deepspeech2.prepare.main(["--corpus", "an4", "--data_folder", f"{DATA}/an4", "--output_folder", str(lists), "--lm",
                              str(order), "--valid_speakers", "0", "--workers", "1"])
    rates = deepspeech2.eval.main(parse_use_config(deepspeech2.src.config.Config, [
        "--checkpoint_path", str(checkpoint), "--test_manifest", str(lists / "test.json"), "--device_target", "CPU",
        *(["--lm_path", str(lists / "lm.arpa")] if order else [])]))
    # another processor rounds otherwise: one word of 773, a few characters
    assert rates["wer"] == pytest.approx(shown("Speech recognition: DeepSpeech2", f"ours, {row}", 3), abs=0.2)
    assert rates["cer"] == pytest.approx(shown("Speech recognition: DeepSpeech2", f"ours, {row}", 4), abs=0.1)


@needs_data
@pytest.mark.parametrize("checkpoint, section, settings, column", [
    ("english", "General English", [], 1), ("streaming", "Live English", [], 1),
    ("spelled", "Names and numbers spelled", [], 1),
    pytest.param("spelled", "Names and numbers spelled", ["--lm_path", "spelled"], 2, marks=pytest.mark.slow),
    pytest.param("english", "General English", ["--lm_path", "english"], 2, marks=pytest.mark.slow),
    pytest.param("streaming", "Live English", ["--streaming", "true"], 3, marks=pytest.mark.slow)])
def test_numbers_of_english_come_out_again(tmp_path, checkpoint, section, settings, column):
    """Of AN4's test part, whose speakers are not in its training, by the names of checkpoint and language model."""
    deepspeech2.prepare.main(["--corpus", "an4", "--data_folder", f"{DATA}/an4", "--output_folder", str(tmp_path),
                              "--valid_speakers", "0", "--workers", "1"])
    rates = deepspeech2.eval.main(parse_use_config(deepspeech2.src.config.Config, [
        "--checkpoint_path", checkpoint, *settings, "--test_manifest", str(tmp_path / "test.json"),
        "--output_folder", str(tmp_path / "eval"), "--device_target", "CPU"]))
    assert rates["wer"] == pytest.approx(shown(section, "AN4", column), abs=0.3)


@needs_data
@pytest.mark.parametrize("count", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_numbers_of_conv_tasnet_come_out_again(tmp_path, count):
    """The first mixtures of the table of scores that is kept, whose mean RESULTS.md shows."""
    scores = ROOT / "conv_tasnet" / "results" / "open_speech_sixth" / "scores.csv"
    with open(scores, newline="", encoding="utf-8") as file:
        kept = list(csv.DictReader(file))
    for name, column in (("si_snri", 4), ("sdri", 5), ("stoi", 6)):
        mean = np.mean([float(row[name]) for row in kept])
        assert mean == pytest.approx(shown("Speech separation: Conv-TasNet", "ours", column), abs=0.006)
    shutil.copytree(ROOT / "conv_tasnet" / "pretrained", tmp_path / "pretrained")
    conv_tasnet.prepare.main(["--corpus", "librispeech_an4", "--data_folder", DATA, "--output_folder",
                              str(tmp_path / "lists"), "--workers", "1"])
    rows = (tmp_path / "lists" / "test.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "few.csv").write_text("".join(rows[:count + 1]), encoding="utf-8")
    conv_tasnet.eval.main(parse_use_config(conv_tasnet.src.config.Config, [
        "--checkpoint_path", str(tmp_path / "pretrained" / "best.ckpt"), "--eval_dir", str(tmp_path / "few.csv"),
        "--eval_path", DATA, "--device_target", "CPU", "--save_examples", "0"]))
    with open(tmp_path / "pretrained" / "eval_few" / "scores.csv", newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len(found) == count
    for row, expected in zip(found, kept, strict=False):
        assert row["mixture_ID"] == expected["mixture_ID"]
        assert float(row["si_snri"]) == pytest.approx(float(expected["si_snri"]), abs=0.05), row["mixture_ID"]


@needs_data
def test_numbers_of_ecapatdnn_come_out_again(tmp_path):
    """All trials of AN4's test part, of whole files: scores, and ratios calibrated on other corpora and speakers."""
    shutil.copytree(ROOT / "ecapatdnn" / "pretrained", tmp_path / "pretrained")
    parts = scan_open_speech(PrepareConfig(corpus="open_speech", data_folder=DATA, output_folder="unused"))
    (tmp_path / "an4_test.txt").write_text("\n".join(all_pairs(parts["an4_test"])), encoding="utf-8")
    code, output = program("ecapatdnn", "eval.py", "--checkpoint_path", tmp_path / "pretrained" / "best.ckpt",
                           "--eval_list", tmp_path / "an4_test.txt", "--eval_path", DATA, "--score_crops", "0",
                           "--device_target", "CPU")
    assert code == 0, output
    stated = [shown("Calibration", "AN4", column) for column in (1, 2, 3)]
    found = [float(re.search(rf"^{start} = ([\d.]+)", output, re.M)[1]) for start in ("EER", "LLR: EER", "Cllr")]
    # another processor rounds otherwise: one of 780 targets
    assert found[:2] == pytest.approx(stated[:2], abs=0.15) and found[2] == pytest.approx(stated[2], abs=0.002)


def test_a_clone_verifies_separates_and_transcribes_its_samples(tmp_path):
    """As their READMEs say, without training: the scores are far from the threshold."""
    names = ("speaker1_a", "speaker1_b", "speaker2")
    one, same, other = (ROOT / "ecapatdnn" / "samples" / f"{name}.wav" for name in names)
    for second, verdict in ((same, "same"), (other, "different")):
        code, output = called(ecapatdnn.infer.main, one, second)
        found = re.fullmatch(r"(\w+) speaker: score (-?[\d.]+), threshold ([\d.]+), log-likelihood ratio \S+\n", output)
        assert code == 0 and found and found[1] == verdict and abs(float(found[2]) - float(found[3])) > 0.2, output
    for name in ("command", "spelled"):
        said = cell("deepspeech2", f"{name}.wav")[-1]
        assert called(deepspeech2.infer.main, ROOT / "deepspeech2" / "samples" / f"{name}.wav") == (0, said + "\n")
    samples = ROOT / "conv_tasnet" / "samples"
    code, output = called(conv_tasnet.infer.main, samples / "mixture.wav", "--output_dir", tmp_path)
    assert code == 0, output
    sources = np.stack([soundfile.read(samples / f"source_{i}.wav")[0] for i in (1, 2)])
    separated = np.stack([soundfile.read(tmp_path / f"mixture_{i}.wav")[0] for i in (1, 2)])
    mixture = np.tile(soundfile.read(samples / "mixture.wav")[0], (2, 1))
    gain = si_snr(separated[best_order(separated, sources)], sources) - si_snr(mixture, sources)
    assert gain.mean() == pytest.approx(13.1, abs=0.3)


@pytest.mark.parametrize("model", ["ecapatdnn", "conv_tasnet", "deepspeech2"])
def test_samples_are_small_described_and_under_a_licence(model):
    folder = ROOT / model / "samples"
    wavs = sorted(folder.glob("*.wav"))
    assert wavs and (folder / "LICENSE").is_file() and sum(path.stat().st_size for path in wavs) < 500_000
    for path in wavs:
        info = soundfile.info(path)
        assert cell(model, path.name) and info.subtype == "PCM_16" and 2 < info.duration < 10


def cell(model, file):
    """The row of a sample in the README beside it."""
    rows = table((ROOT / model / "samples" / "README.md").read_text(encoding="utf-8"), "file")
    return next(cells for cells in rows if cells[0] == file)


def shown(heading, row, column):
    """A number in the first table after a heading of RESULTS.md: column of the row with a cell that starts so."""
    rows = table((ROOT / "RESULTS.md").read_text(encoding="utf-8"), heading)
    cells = next(cells for cells in rows if any(cell.startswith(row) for cell in cells))
    return float(re.search(r"-?[\d.]+", cells[column])[0])


def test_the_noisy_separator_knows_how_many_speak(capsys, tmp_path):
    samples = {"conv_tasnet/samples/mixture.wav": 2, "ecapatdnn/samples/speaker1_a.wav": 1,
               "ecapatdnn/samples/speaker2.wav": 1, "deepspeech2/samples/command.wav": 1}
    conv_tasnet.infer.main([*(str(ROOT / name) for name in samples), "--checkpoint_path", "noisy", "--output_dir",
                            str(tmp_path), "--device_target", "CPU"])
    found = re.findall(r"; (\d) voices?", capsys.readouterr().out)
    assert found == [str(count) for count in samples.values()]


def test_the_causal_separator_works_live():
    """The sample is separated as its sound arrives, and no piece depends on sound that comes after it."""
    folder = ROOT / "conv_tasnet" / "samples"
    mixture, *sources = [soundfile.read(folder / f"{name}.wav", dtype="float32")[0]
                         for name in ("mixture", "source_1", "source_2")]
    separator = conv_tasnet.load("causal", device_target="CPU")
    separated = np.concatenate(list(separator.separate_stream(np.array_split(mixture, 20))), axis=1)
    before = si_snr(np.stack([mixture] * 2), sources)
    gain = si_snr(separated[best_order(separated, np.stack(sources))], sources) - before
    assert gain.mean() == pytest.approx(11.2, abs=0.3)
    ended, heard, piece = mixture.copy(), 16000, 800
    ended[heard:] = 0
    other = np.concatenate(list(separator.separate_stream(np.array_split(ended, 20))), axis=1)
    assert np.array_equal(separated[:, :heard - piece], other[:, :heard - piece])
    assert not np.allclose(separated[:, heard:], other[:, heard:], atol=1e-3)


def test_what_ships_has_a_name(tmp_path):
    for name in ("noisy", "causal"):
        (tmp_path / "pretrained" / name).mkdir(parents=True)
        (tmp_path / "pretrained" / name / "best.ckpt").touch()
    assert best_of("noisy", tmp_path / "pretrained") == str(tmp_path / "pretrained" / "noisy" / "best.ckpt")
    with refused(NotFoundError, "nosy", "causal, noisy", "did you mean noisy"):
        best_of("nosy", tmp_path / "pretrained")
    assert best_of("other.ckpt", tmp_path / "pretrained") == "other.ckpt"
