"""The settings that prepare.py of every model has. Each PrepareConfig adds to these and overrides defaults."""
from dataclasses import dataclass


@dataclass(frozen=True)
class CorpusSettings:
    """What utils/corpora wants to know of a corpus and of the lists to make; the flags' help is in each prepare.py."""

    corpus: str = ""
    data_folder: str = ""
    output_folder: str = ""
    wav_folder: str = ""            # of converted files; "": wav/ in the output folder
    resample: bool = False
    pack: bool = False
    valid_speakers: int = -1        # -1: as many as suit the corpus
    min_seconds: float = 1.0
    workers: int = 0                # processes; 0: one per core
    seed: int = 0
