"""Noise and rooms of the data folder of utils/corpora/open_speech.py, those to train with and those to test with.

Of noise_esc10/ every fifth recording is for tests, of rir_rooms/ three rooms: a dummy head's at many angles, a concert
hall and a seminar room. Nothing of a test room is in training. The recordings of noise/ and rir/ are all for training;
ESC-50's in noise/ are not, as some are in noise_esc10/ as well.
"""
import os
import re

from utils.corpora.corpus import Parts, write_list
from utils.corpora.settings import CorpusSettings
from utils.corpora.speakers import evenly_spaced, find_in

NOISE, MORE_NOISE = "noise_esc10", "noise"
ROOMS = ("rir_rooms", "rir")
SHARE = 5       # one recording in so many is for tests
TEST_ROOMS = ("iosr_roomA", "openair_jack_lyons_hall", "rostock_seminar_room_clap")


def scan(config: CorpusSettings) -> Parts:
    """noise_train and noise_test, of ("", path), rooms_train and rooms_test, of (room, path); empty where none are."""
    noise = [("", f"{NOISE}/{path}") for path in find_in(config, NOISE)]
    test = evenly_spaced(noise, len(noise) // SHARE)
    more = [("", f"{MORE_NOISE}/{path}") for path in find_in(config, MORE_NOISE) if not path.startswith("esc50_")]
    rooms = [(room_of(path), f"{folder}/{path}") for folder in ROOMS for path in find_in(config, folder)]
    return {"noise_train": [item for item in noise if item not in test] + more, "noise_test": test,
            "rooms_train": [item for item in rooms if item[0] not in TEST_ROOMS],
            "rooms_test": [item for item in rooms if item[0] in TEST_ROOMS]}


def room_of(path: str) -> str:
    """`iosr_roomA` of `iosr_roomA_03L.flac`: a name without the numbers of places at its end."""
    return re.sub(r"(_\d+[A-Za-z]?)+$", "", os.path.splitext(os.path.basename(path))[0])


def write_scenes(parts: Parts, folder: str) -> None:
    """noise_train.txt, ... of `scan` in a folder, those that list something: lines `path` and `room path`."""
    for name, items in parts.items():
        if items:
            write_list(os.path.join(folder, f"{name}.txt"), [" ".join(item).lstrip() for item in items])
