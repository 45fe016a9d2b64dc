"""A folder of speakers -> the utterances to train, validate and test on, every speaker in each part.

SpeechBrain, templates/speaker_id/mini_librispeech_prepare.py: 80, 10 and 10 %. There all files are shuffled together;
here those of each speaker, which its author recommends.
"""
import dataclasses
import os

import numpy as np

from ecapatdnn.src.features import RATE
from ecapatdnn.src.speaker_id_config import SpeakerIdConfig
from utils.corpora.corpus import Job, verify, write_list, write_rejected
from utils.corpora.settings import CorpusSettings
from utils.corpora.speakers import find, scan_librispeech, scan_tree
from utils.errors import ContentError, NotFoundError, OutputError

PARTS = ("train", "valid", "test")
TENTH = 10          # one utterance of so many is for validation, and one for the test
LEAST = 3           # utterances of a speaker: one for each part
MIN_SECONDS = 1.0
ROOMS = "RIRS_NOISES"
HELP = "expected speaker/**/audio, or LibriSpeech; correct --data_folder"


def with_room_noises(config: SpeakerIdConfig) -> SpeakerIdConfig:
    """`config` with the noises and responses of RIRS_NOISES in the data folder, where no others are given."""
    for setting, folder in (("musan_path", "pointsource_noises"), ("rir_path", "simulated_rirs")):
        path = os.path.join(config.data_folder, ROOMS, folder)
        if not getattr(config, setting) and os.path.isdir(path):
            config = dataclasses.replace(config, **{setting: path})
    return config


def prepare(config: SpeakerIdConfig) -> None:
    """Reads every file once and writes the three lists; a run that is continued keeps those it has.

    UserError where there are not two speakers with an utterance for each part.
    """
    if config.resume and all(os.path.exists(config.list_of(part)) for part in PARTS):
        return
    items = find_speakers(config)
    try:
        os.makedirs(config.ckpt_save_dir, exist_ok=True)
    except OSError as error:
        raise OutputError(f"output_folder: {config.ckpt_save_dir}: cannot be written ({error.strerror}); choose "
                          "another folder") from None
    places = {path: os.path.join(config.data_folder, path) for _, path in items}
    jobs = [Job(path, place, place, RATE, MIN_SECONDS, config.resample) for path, place in places.items()]
    good, reasons = verify(jobs, corpus_of(config), config.data_folder)
    write_rejected(reasons, len(jobs), corpus_of(config))
    parts, few = split([item for item in items if item[1] in good], config.seed)
    if few:
        print(f"{len(few)} speakers with fewer than {LEAST} usable utterances are left out: {', '.join(few)}")
    speakers = sorted({speaker for speaker, _ in parts["train"]})
    if len(speakers) < 2:
        count = len({speaker for speaker, _ in items})
        raise ContentError(f"{config.data_folder}: {len(speakers)} of {count} speakers have {LEAST} usable utterances, "
                           "one for each part; expected two speakers at least")
    for part in PARTS:
        write_list(config.list_of(part), [f"{speaker} {path}" for speaker, path in parts[part]])
    print(f"{len(speakers)} speakers: " + ", ".join(f"{part} {len(parts[part])} utterances" for part in PARTS))


def find_speakers(config: SpeakerIdConfig) -> list[tuple[str, str]]:
    """[(speaker, path relative to the data folder)], of LibriSpeech files where there are any, else of a tree."""
    if not os.path.isdir(config.data_folder):
        raise NotFoundError(f"data_folder: {config.data_folder}: no such folder, {HELP}")
    corpus = corpus_of(config)
    items = scan_librispeech(corpus)["train"] or [
        (speaker, path) for speaker, path in scan_tree(corpus)["train"] if speaker != ROOMS]
    speakers = sorted({speaker for speaker, _ in items})
    if len(speakers) < 2:
        content = f"one speaker only ({speakers[0]})" if speakers else f"no speaker, {len(find(corpus))} audio files"
        raise NotFoundError(f"data_folder: {config.data_folder}: found {content}, {HELP}")
    return items


def split(items: list[tuple[str, str]], seed: int) -> tuple[dict[str, list[tuple[str, str]]], list[str]]:
    """({part: [(speaker, path)]}, [speakers with too few utterances]) of [(speaker, path)].

    A speaker's part is drawn from the seed and their name: it does not depend on who else is there.
    """
    of_speaker = {}
    for speaker, path in items:
        of_speaker.setdefault(speaker, []).append(path)
    parts, few = {part: [] for part in PARTS}, []
    for speaker, paths in sorted(of_speaker.items()):
        if len(paths) < LEAST:
            few.append(speaker)
            continue
        order = np.random.default_rng((seed, *os.fsencode(speaker))).permutation(len(paths))
        held = max(1, len(paths) // TENTH)
        for part, chosen in zip(PARTS, (order[2 * held:], order[:held], order[held:2 * held]), strict=True):
            parts[part] += [(speaker, paths[i]) for i in sorted(chosen)]
    return parts, few


def corpus_of(config: SpeakerIdConfig) -> CorpusSettings:
    """What utils/corpora wants to know; one worker, as others would have to import MindSpore."""
    return CorpusSettings(data_folder=config.data_folder, output_folder=config.ckpt_save_dir, workers=1)
