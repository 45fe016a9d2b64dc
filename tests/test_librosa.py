"""Resampling, as librosa defines it. The mel filters are in test_ecapatdnn_features.py."""
import librosa
import numpy as np
import pytest
from helpers.corpora import noise, put

from utils.audio import audio_file


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_a_recording_is_resampled_as_librosa_does(rate, tmp_path):
    path = put(tmp_path / "a.wav", rate=rate, samples=noise(1, rate), subtype="FLOAT")
    expected, _ = librosa.load(path, sr=16000, res_type="soxr_hq")
    found = audio_file.read(path, 16000, resample=True)
    assert abs(len(found) - len(expected)) <= 1
    np.testing.assert_array_equal(found[:len(expected)], expected[:len(found)])
