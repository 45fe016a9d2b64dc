"""infer.py of ecapatdnn: embeddings of many files, of which one is bad, and where they are written."""
import os
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from helpers.errors import assert_line, refused

import ecapatdnn
from ecapatdnn import infer
from ecapatdnn.src.features import RATE
from utils.errors import OutputError, RunError, SettingError


class MeanVerifier:
    """Its embedding is the mean level of the recording; stands for a network."""

    fewest, rate, config = 4000, RATE, SimpleNamespace(emb_size=1)

    def embed(self, recording):
        return np.array([np.abs(recording.whole(RATE)).mean()], np.float32)


def noise(peak, *shape):
    samples = np.random.default_rng(0).standard_normal(shape or (RATE,)).astype(np.float32)
    return samples * peak / np.abs(samples).max()


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sounds = {"a": noise(0.5), "stereo": noise(0.2, RATE, 2), "silent": 0 * noise(1), "short": noise(0.5)[:3999]}
    for name, samples in sounds.items():
        soundfile.write(f"{name}.wav", samples, RATE)
    (tmp_path / "text.wav").write_text("no sound")
    return ["a.wav", "silent.wav", "missing.wav", "text.wav", "short.wav", "stereo.wav"]


@pytest.mark.parametrize("output", ["e.npz", "e.txt", "e", "new/folder/e.npz"])
def test_embeddings_of_all_that_can_be_used_are_written_under_the_name_asked_for(files, output, capsys):
    with refused(RunError, "4 of 6", "silent.wav", "missing.wav", "text.wav", "short.wav"):
        infer.embed(files, MeanVerifier(), output)
    with np.load(output) as data:
        assert data["files"].tolist() == ["a.wav", "stereo.wav"] and data["embeddings"].shape == (2, 1)
    assert len(os.listdir(".")) == 6
    printed, errors = capsys.readouterr()
    assert_line(printed, output, (2, 1))
    assert_line(errors, "stereo.wav", "2 channels")


def test_where_no_file_can_be_embedded_nothing_is_written(files):
    with refused(RunError, "2 of 2"):
        infer.embed(["silent.wav", "missing.wav"], MeanVerifier(), "e.npz")
    assert not os.path.exists("e.npz")


@pytest.mark.parametrize("output, facts", [("folder", ["folder"]), ("a.wav/e.npz", ["a.wav"]), ("a.wav", ["a.wav"])])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(files, monkeypatch, output, facts):
    os.mkdir("folder")
    monkeypatch.setattr(ecapatdnn, "load", lambda *_: pytest.fail("the work has begun"), raising=False)
    with refused(OutputError, *facts):
        infer.main(["--embed", "a.wav", "--output", output])


@pytest.mark.parametrize("flags, facts", [(["--output", "e.npz"], ["output", "e.npz", "--embed"]),
                                          (["--embed", "--threshold", "0.5"], ["threshold", "--embed"])])
def test_a_flag_without_effect_is_refused(flags, facts):
    with refused(SettingError, *facts):
        infer.parse(["a.wav", "b.wav", *flags])
