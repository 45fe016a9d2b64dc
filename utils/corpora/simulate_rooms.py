"""Simulated rooms: python -m utils.corpora.simulate_rooms --output_folder OUT --rooms 200

Most impulse responses one can download are the only one of their room, and then two speakers stand in one place. Here
each room has several places, all heard by one microphone: a box of 3 x 3 x 2.4 to 8 x 6 x 3.5 m whose walls all absorb
alike, by image sources (Allen and Berkley, JASA 1979) of pyroomacoustics; pip install pyroomacoustics. The
reverberation times are Sabine's, drawn evenly from --t60_min to --t60_max.

OUT/rooms.txt has a line `room path` of each response, for --room_list of Conv-TasNet and DeepSpeech2; the paths are
relative to --scene_path, OUT where it is not given. Those of another list, --room_list, can come before them.
ECAPA-TDNN takes the folder itself, as --rir_path.
"""
import functools
import importlib.util
import os
import sys
from collections.abc import Sequence

import numpy as np

from utils.audio.audio_file import write_wav
from utils.command_line import Parser
from utils.corpora.corpus import parallel, write_list
from utils.corpora.lists import read_lines, read_rooms
from utils.errors import SettingError, UnsupportedError, run
from utils.ranges import Range, number
from utils.results import require_writable

SMALLEST, LARGEST = (3.0, 3.0, 2.4), (8.0, 6.0, 3.5)   # metres
CLEARANCE = 0.5     # metres between a place and a wall or the microphone
PEAK = 0.95         # of a response
LIST = "rooms.txt"


def main(argv: Sequence[str]) -> str:
    """Writes OUT/room_0000_0.wav, ... and, when all are there, the list; returns its path."""
    parser = Parser(description=__doc__)
    parser.add_argument("--output_folder", required=True, help="a folder to make")
    parser.add_argument("--rooms", type=number("--rooms", Range(1, 10_000), int), default=200, help="(%(default)s)")
    parser.add_argument("--places", type=number("--places", Range(1, 100), int), default=4,
                        help="responses of each room (%(default)s)")
    parser.add_argument("--t60_min", type=number("--t60_min", Range(0.1, 2)), default=0.15, help="s (%(default)s)")
    parser.add_argument("--t60_max", type=number("--t60_max", Range(0.1, 2)), default=0.6, help="s (%(default)s)")
    parser.add_argument("--sample_rate", type=number("--sample_rate", Range(8000, 48000), int), default=16000,
                        help="Hz (%(default)s)")
    parser.add_argument("--scene_path", default="", help="the folder that the list's paths are relative to")
    parser.add_argument("--room_list", default="", help="a list of other rooms, with paths as here, that comes first")
    parser.add_argument("--seed", type=number("--seed", Range(0, 2 ** 31), int), default=0, help="(%(default)s)")
    parser.add_argument("--workers", type=number("--workers", Range(0, 1000), int), default=0,
                        help="processes; 0: one per core (%(default)s)")
    args = parser.parse_args(argv)
    if args.t60_min > args.t60_max:
        raise SettingError(f"--t60_min: found {args.t60_min}, expected at most --t60_max, {args.t60_max}")
    if importlib.util.find_spec("pyroomacoustics") is None:
        raise UnsupportedError("pyroomacoustics: not installed; run: pip install pyroomacoustics")
    folder = args.scene_path or args.output_folder
    before = read_lines(args.room_list) if args.room_list else []
    read_rooms(args.room_list, folder)      # which tells what is missing
    require_writable(args.output_folder, "name another --output_folder")
    os.makedirs(args.output_folder, exist_ok=True)
    write = functools.partial(write_room, folder=args.output_folder, places=args.places, rate=args.sample_rate,
                              t60=(args.t60_min, args.t60_max), seed=args.seed)
    names = list(parallel(write, range(args.rooms), args.workers, "rooms"))
    start = os.path.relpath(args.output_folder, folder)
    path = os.path.join(args.output_folder, LIST)
    lines = [f"{room} {os.path.normpath(os.path.join(start, name))}" for room, responses in names for name in responses]
    write_list(path, before + lines)
    more = f"; before them {len(before)} of {args.room_list}" if before else ""
    print(f"{path}: {len(lines)} responses of {args.rooms} rooms, T60 {args.t60_min:g} to {args.t60_max:g} s{more}")
    return path


def write_room(room: int, folder: str, places: int, rate: int, t60: tuple[float, float],
               seed: int) -> tuple[str, list[str]]:
    """Writes the responses of room number `room`; (its name, their names)."""
    name = f"room_{room:04d}"
    responses = simulate_room(np.random.default_rng((seed, room)), places, rate, t60)
    names = [f"{name}_{place}.wav" for place in range(places)]
    for response, path in zip(responses, names, strict=True):
        write_wav(os.path.join(folder, path), PEAK / np.abs(response).max() * response, rate)
    return name, names


def simulate_room(generator: np.random.Generator, places: int, rate: int,
                  t60: tuple[float, float]) -> list[np.ndarray]:
    """The responses (M,) of so many places of a room at `rate` Hz, its T60 drawn between the two of `t60`, seconds."""
    import pyroomacoustics

    while True:
        size, seconds = generator.uniform(SMALLEST, LARGEST), generator.uniform(*t60)
        try:
            absorption, order = pyroomacoustics.inverse_sabine(seconds, size)
            break
        except ValueError:  # in so large a room sound does not die that soon, whatever the walls
            continue
    room = pyroomacoustics.ShoeBox(size, fs=rate, materials=pyroomacoustics.Material(absorption), max_order=order)
    microphone = generator.uniform(CLEARANCE, size - CLEARANCE)
    room.add_microphone(microphone)
    while len(room.sources) < places:
        place = generator.uniform(CLEARANCE, size - CLEARANCE)
        if np.linalg.norm(place - microphone) >= CLEARANCE:
            room.add_source(place)
    room.compute_rir()
    return (room.rir or [[]])[0]    # None before it is computed


if __name__ == "__main__":
    run(main, sys.argv[1:])
