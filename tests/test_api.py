"""The Python interface: the same `load` in every model, recordings alone and together, whose weights it takes."""
import dataclasses
import inspect
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers.documents import ROOT
from helpers.errors import refused
from mindspore import Tensor

import conv_tasnet
import conv_tasnet.import_torch
import deepspeech2
import deepspeech2.import_torch
import deepspeech2.infer
import ecapatdnn
import ecapatdnn.import_torch
from deepspeech2.src.text import LABELS
from ecapatdnn.src.config import Config
from ecapatdnn.src.torch_layout import shapes
from utils.audio.audio_file import AudioError, read
from utils.checkpoints.checkpoint import save_checkpoint
from utils.config import parse_use_config, save_config
from utils.errors import ContentError, MismatchError, NotFoundError, SettingError
from utils.torch_weights import safetensors_file, torch_file

MODELS = {"ecapatdnn": ecapatdnn, "conv_tasnet": conv_tasnet, "deepspeech2": deepspeech2}
ORIGINALS = {"ecapatdnn": "taoruijie", "conv_tasnet": "asteroid", "deepspeech2": "deepspeech_pytorch"}
RATE = 16000


@pytest.fixture(scope="module")
def verifier():
    return ecapatdnn.load()


@pytest.fixture(scope="module")
def separator():
    return conv_tasnet.load()


@pytest.fixture(scope="module")
def recognizer():
    return deepspeech2.load()


@pytest.fixture(scope="module")
def recordings(mini_corpus):
    """Three files, of different lengths."""
    lines = (mini_corpus / "train.txt").read_text().splitlines()
    files = [mini_corpus / "train" / line.split()[1] for line in lines[:3]]
    assert len({read(str(file), RATE).shape for file in files}) == 3
    return files


def test_the_packages_are_imported_without_mindspore():
    code = f"import sys, {', '.join(MODELS)}; sys.exit('mindspore' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode == 0
    for model in MODELS.values():
        assert set(model.__all__) <= set(dir(model)) and not hasattr(model, "no_such_name")


def test_load_is_the_same_everywhere():
    signatures = [inspect.signature(model.load).parameters for model in MODELS.values()]
    assert [list(parameters) for parameters in signatures] == [["checkpoint", "device_target", "settings"]] * 3
    assert {tuple(parameter.default for parameter in parameters.values()) for parameters in signatures} \
        == {(None, "", inspect.Parameter.empty)}


def test_recordings_together_are_embedded_as_alone(verifier, recordings):
    alone = np.stack([verifier.embed(file) for file in recordings])
    together = verifier.embed([recordings[0], read(str(recordings[1]), RATE), str(recordings[2])])
    assert together.shape == (3, 192) and together.dtype == np.float32
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert verifier.embed([]).shape == (0, 192)


def test_silence_around_speech_changes_no_verdict(verifier):
    speech = read(str(ROOT / "ecapatdnn" / "samples" / "speaker1_a.wav"), RATE)
    silence = 1e-4 * np.random.default_rng(0).normal(size=10 * RATE).astype(np.float32)
    long = np.concatenate((silence, speech, silence))
    whole = ecapatdnn.Verifier(verifier.network, dataclasses.replace(verifier.config, voice_activity=False))
    alone = verifier.embed(speech)
    np.testing.assert_array_equal(alone, whole.embed(speech))
    assert alone @ whole.embed(long) < 0.9 < 0.95 < alone @ verifier.embed(long)
    np.testing.assert_allclose(verifier.embed([long, speech]) @ alone, [alone @ verifier.embed(long), 1], atol=1e-4)



def test_a_verdict_holds_the_score_against_the_threshold(verifier, recordings):
    """Of the checkpoint that ships, whose log-likelihood ratio is 0 at the threshold."""
    verdict = verifier.verify(*recordings[:2])
    assert verdict.same == (verdict.score >= verdict.threshold)
    assert verdict.llr == pytest.approx(verifier.calibration.scale * (verdict.score - verdict.threshold), abs=1e-4)
    assert verdict.score == pytest.approx(verifier.score(*recordings[:2]), abs=1e-6)
    assert [verifier.verify(*recordings[:2], threshold=threshold).same for threshold in (-1, 1)] == [True, False]


def test_recordings_together_are_separated_as_alone(separator, recordings):
    together = separator.separate([recordings[0], read(str(recordings[1]), RATE)], RATE)
    for file, found in zip(recordings, together, strict=False):
        expected = separator.separate(file)
        assert found.shape == expected.shape == (2, len(read(str(file), RATE))) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_recordings_together_are_transcribed_as_alone(recognizer, recordings):
    together = recognizer.transcribe(recordings, timestamps=True)
    assert together == [recognizer.transcribe(file, timestamps=True) for file in recordings]
    assert together[0].words and all(word.start < word.end for word in together[0].words)
    assert all(len(str(time)) <= len("1.23") for word in together[0].words for time in (word.start, word.end))


@pytest.mark.parametrize("name", MODELS)
def test_load_takes_a_run_folder_a_checkpoint_and_an_original(name, tmp_path):
    """Each gives the weights that ship."""
    shipped, original = ROOT / name / "pretrained", tmp_path / "original.pt"
    MODELS[name].import_torch.main(["--export", "--format", ORIGINALS[name], str(shipped / "best.ckpt"), "--output",
                                    str(original)])
    expected = weights(MODELS[name].load())
    for checkpoint in (shipped, str(shipped / "best.ckpt"), original):
        for parameter, value in weights(MODELS[name].load(checkpoint)).items():
            np.testing.assert_array_equal(value, expected[parameter])


def weights(loaded):
    return {parameter.name: parameter.asnumpy() for parameter in loaded.network.get_parameters()}


def test_what_an_original_does_not_state_is_a_warning(tmp_path):
    bare = tmp_path / "bare.safetensors"
    conv_tasnet.import_torch.main(["--export", "--format", "asteroid", str(ROOT / "conv_tasnet/pretrained/best.ckpt"),
                                   "--output", str(tmp_path / "whole.pt")])
    safetensors_file.write(str(bare), {"state_dict": torch_file.read(str(tmp_path / "whole.pt"))["state_dict"]})
    with pytest.warns(UserWarning, match="bare.safetensors.*--sample_rate 8000"):
        conv_tasnet.load(bare, X=7)


def test_originals_with_the_same_tensors_are_told_apart_by_a_setting(tmp_path):
    """SpeechBrain's network and 3D-Speaker's; the first is a guess, which a warning names."""
    config = Config(channels=8, mfa_channels=12, emb_size=6, variant="speechbrain", front_end="speechbrain")
    arrays = {name: np.ones(shape, np.float32) for name, shape in shapes(config).items()}
    save_config(config, tmp_path)
    save_checkpoint(tmp_path / "best.ckpt", {name: Tensor(array) for name, array in arrays.items()})
    path = tmp_path / "embedding_model.ckpt"
    ecapatdnn.import_torch.main(["--export", "--format", "speechbrain", str(tmp_path / "best.ckpt"), "--output",
                                 str(path)])
    with pytest.warns(UserWarning, match="embedding_model.ckpt.*--front_end speechbrain"):
        assert ecapatdnn.load(path).config.front_end == "speechbrain"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert ecapatdnn.load(path, front_end="3dspeaker").saved_threshold is None


@pytest.mark.parametrize("name", MODELS)
def test_what_load_cannot_take_is_named(name, tmp_path):
    load, shipped = MODELS[name].load, ROOT / name / "pretrained" / "best.ckpt"
    with refused(NotFoundError, tmp_path, "best.ckpt"):
        load(tmp_path)
    with refused(NotFoundError, tmp_path / "x.ckpt"):
        load(tmp_path / "x.ckpt")
    with refused(SettingError, "amp_levle", "amp_level"):
        load(shipped, amp_levle="bf16")
    with refused(SettingError, "length", "long"):
        load(length="long")
    other = next(model for model in MODELS if model != name)
    MODELS[other].import_torch.main(["--export", "--format", ORIGINALS[other], str(ROOT / other / "pretrained" /
                                    "best.ckpt"), "--output", str(tmp_path / "other.pt")])
    with refused(MismatchError, tmp_path / "other.pt", other):
        load(tmp_path / "other.pt")
    shutil.copy(shipped.with_name("config.yaml"), tmp_path)
    Path(tmp_path, "best.ckpt").write_bytes(b"\x0a no weights")
    with refused(ContentError, tmp_path / "best.ckpt"):
        load(tmp_path)


def test_samples_that_are_no_recording_are_refused(verifier, separator, recognizer):
    for use in (verifier.embed, separator.separate, recognizer.transcribe):
        with refused(AudioError, "int32"):
            use(np.zeros(RATE, np.int32))
        with refused(AudioError, "missing.wav"):
            use(["missing.wav"])
        for several in ([0.1, 0.2], (0.1, 0.2), iter([0.1])):
            with refused(AudioError, "float"):
                use(several)
        with refused(AudioError, "(0, 2)", "no samples"):
            use(np.zeros((0, 2)))
        with refused(AudioError, "a\\x00b"):
            use("a\0b")
    for threshold in ("half", np.nan, 50, [0.5]):
        with refused(SettingError, "threshold"):
            verifier.verify("a.wav", "b.wav", threshold=threshold)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_no_checkpoint_is_refused(name, tmp_path):
    for checkpoint, shown in ((5, "int"), ("", "''"), ([tmp_path], "list")):
        with refused(SettingError, "checkpoint_path", shown):
            MODELS[name].load(checkpoint)
    with refused(NotFoundError, tmp_path, "best.ckpt"):
        MODELS[name].load(tmp_path)


@pytest.mark.parametrize("name, setting, trained, other", [
    ("conv_tasnet", "sample_rate", 8000, 16000), ("conv_tasnet", "causal", False, True),
    ("ecapatdnn", "front_end", "taoruijie", "kaldi"), ("deepspeech2", "labels", LABELS, "_AB")])
def test_what_the_weights_mean_is_not_a_setting_of_their_use(name, setting, trained, other):
    """Others fit their shapes, and would give nonsense. Saying what they mean is no mistake."""
    path, model = ROOT / name / "pretrained" / "best.ckpt", MODELS[name]
    with refused(MismatchError, setting, other, trained, path):
        model.load(path, **{setting: other})
    with refused(MismatchError, setting, other, trained, path):
        parse_use_config(model.src.config.Config, ["--checkpoint_path", str(path), f"--{setting}", str(other)])
    assert parse_use_config(model.src.config.Config, ["--checkpoint_path", str(path), f"--{setting}", str(trained)])


def test_the_weight_of_no_language_model_is_refused():
    for call in (lambda: deepspeech2.infer.main(["missing.wav", "--alpha", "1"]), lambda: deepspeech2.load(alpha=1)):
        with refused(SettingError, "alpha", "--lm_path"):
            call()
