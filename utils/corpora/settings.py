"""The settings that prepare.py of every model has. Each PrepareConfig adds to these and overrides defaults."""
from dataclasses import dataclass
from typing import Annotated

from utils.ranges import Range, Ranged, Seconds, Seed, Workers

OrCorpus = Annotated[int, Range(-1, 10 ** 9)]


@dataclass(frozen=True)
class CorpusSettings(Ranged):
    """What utils/corpora wants to know of a corpus and of the lists to make; the flags' help is in each prepare.py."""

    corpus: str = ""                # kind of corpus, see above
    data_folder: str = ""           # folder of the corpus
    output_folder: str = ""         # folder for the lists
    wav_folder: str = ""            # of converted files; "": wav/ in the output folder
    resample: bool = False
    pack: bool = False
    valid_speakers: OrCorpus = -1   # -1: as many as suit the corpus
    min_seconds: Seconds = 1.0
    workers: Workers = 0            # processes; 0: one per core
    seed: Seed = 0                  # seed of what is drawn: speakers, trials, mixtures
