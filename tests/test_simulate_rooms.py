"""utils/corpora/simulate_rooms.py: rooms that echo as long as asked for, each with places of its own."""
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.errors import refused
from utils.corpora import simulate_rooms
from utils.corpora.lists import read_rooms
from utils.errors import NotFoundError, OutputError, SettingError, UnsupportedError

RATE = 8000
needs_pyroomacoustics = pytest.mark.skipif(importlib.util.find_spec("pyroomacoustics") is None,
                                           reason="pyroomacoustics is not installed")


def t60(response):
    """Schroeder's: three times as long as the energy that is still to come takes from -5 to -25 dB."""
    left = np.cumsum(response[::-1] ** 2)[::-1]
    decibel = 10 * np.log10(left / left[0] + 1e-12)
    return 3 * (np.argmax(decibel < -25) - np.argmax(decibel < -5)) / RATE


@needs_pyroomacoustics
@pytest.mark.parametrize("seconds", [0.2, 0.4])
def test_rooms_echo_about_as_long_as_asked_for(seconds):
    """Sabine's formula holds within a factor, less so the more the walls absorb and the flatter the room."""
    measured = [t60(response) for seed in range(3) for response in simulate_rooms.simulate_room(
        np.random.default_rng(seed), 2, RATE, (seconds, seconds))]
    assert 0.7 * seconds < min(measured) and np.median(measured) < 2 * seconds


@needs_pyroomacoustics
def test_the_list_has_every_place_of_every_room_and_a_seed_gives_the_same(tmp_path, capsys):
    def written(name, *more):
        folder = tmp_path / "wav" / name
        simulate_rooms.main(["--output_folder", str(folder), "--rooms", "2", "--places", "3", "--t60_max", "0.2",
                             "--sample_rate", str(RATE), "--scene_path", str(tmp_path / "wav"), *more])
        return read_rooms(folder / "rooms.txt", str(tmp_path / "wav"))

    def samples(rooms):
        return [soundfile.read(path)[0] for places in rooms for path in places]

    alone, several, other = written("a", "--workers", "1"), written("b", "--workers", "2"), written("c", "--seed", "1")
    assert [len(places) for places in alone] == [3, 3]
    assert "6 responses of 2 rooms" in capsys.readouterr().out
    for one, two, three in zip(samples(alone), samples(several), samples(other), strict=True):
        assert np.array_equal(one, two) and len(one) != len(three)
        assert np.abs(one).max() == pytest.approx(simulate_rooms.PEAK, abs=1e-3)
    both = written("d", "--room_list", str(tmp_path / "wav" / "a" / "rooms.txt"))     # rooms of one name are one
    assert [[Path(path).parent.name for path in places] for places in both] == [["a"] * 3 + ["d"] * 3] * 2
    assert "6 responses of 2 rooms, T60 0.15 to 0.2 s; before them 6 of" in capsys.readouterr().out
    delays = [np.abs(response).argmax() for response in samples(alone)]
    assert len(set(delays)) == 6    # each at a distance of its own from the microphone


@needs_pyroomacoustics
def test_a_folder_that_cannot_be_written_is_refused_before_the_work():
    with refused(OutputError, "/dev/null", "--output_folder"):
        simulate_rooms.main(["--output_folder", "/dev/null"])


@needs_pyroomacoustics
def test_a_missing_response_of_the_other_list_is_named_before_the_work(tmp_path):
    (tmp_path / "hall.txt").write_text("hall hall.wav\n")
    with refused(NotFoundError, tmp_path / "out" / "hall.wav", tmp_path / "hall.txt"):
        simulate_rooms.main(["--output_folder", str(tmp_path / "out"), "--room_list", str(tmp_path / "hall.txt")])
    assert not (tmp_path / "out").exists()


def test_mistakes(tmp_path, monkeypatch):
    out = ["--output_folder", str(tmp_path / "out")]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with refused(SettingError, "--t60_min", "0.5", "0.4"):
        simulate_rooms.main([*out, "--t60_min", "0.5", "--t60_max", "0.4"])
    with refused(UnsupportedError, "pyroomacoustics", "not installed", "pip install pyroomacoustics"):
        simulate_rooms.main(out)
    assert not (tmp_path / "out").exists()
