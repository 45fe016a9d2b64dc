"""Noise and rooms of the data folder of utils/corpora/open_speech.py, those to train with and those to test with.

Of noise_esc10/ every fifth recording is for tests, of rir_rooms/ three rooms: a dummy head's at many angles, a concert
hall and a seminar room. Nothing of a test room is in training. The recordings of noise/ and rir/ are all for training;
ESC-50's in noise/ are not, as some are in noise_esc10/ as well.
"""
import os
import re
from typing import NamedTuple

from utils.corpora.corpus import write_list
from utils.corpora.settings import CorpusSettings
from utils.corpora.speakers import evenly_spaced, find_in

NOISE, MORE_NOISE = "noise_esc10", "noise"
ROOMS = ("rir_rooms", "rir")
SHARE = 5       # one recording in so many is for tests
TEST_ROOMS = ("iosr_roomA", "openair_jack_lyons_hall", "rostock_seminar_room_clap")


class Scenes(NamedTuple):
    """Paths of noise and (room, path) of impulse responses, relative to the data folder."""

    noise_train: list[str]
    noise_test: list[str]
    rooms_train: list[tuple[str, str]]
    rooms_test: list[tuple[str, str]]


def scan(config: CorpusSettings) -> Scenes:
    """All of the data folder."""
    noise = [f"{NOISE}/{path}" for path in find_in(config, NOISE)]
    test = evenly_spaced(noise, len(noise) // SHARE)
    more = [f"{MORE_NOISE}/{path}" for path in find_in(config, MORE_NOISE) if not path.startswith("esc50_")]
    rooms = [(room_of(path), f"{folder}/{path}") for folder in ROOMS for path in find_in(config, folder)]
    return Scenes([path for path in noise if path not in test] + more, test,
                  [item for item in rooms if item[0] not in TEST_ROOMS],
                  [item for item in rooms if item[0] in TEST_ROOMS])


def room_of(path: str) -> str:
    """`iosr_roomA` of `iosr_roomA_03L.flac`: a name without the numbers of places at its end."""
    return re.sub(r"(_\d+[A-Za-z]?)+$", "", os.path.splitext(os.path.basename(path))[0])


def write_scenes(scenes: Scenes, folder: str) -> None:
    """noise_train.txt, noise_test.txt, rooms_train.txt and rooms_test.txt in a folder, those that list something."""
    for name, items in scenes._asdict().items():
        if items:
            write_list(os.path.join(folder, f"{name}.txt"),
                       items if name.startswith("noise") else [" ".join(item) for item in items])
