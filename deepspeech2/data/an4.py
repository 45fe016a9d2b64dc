"""AN4 as deepspeech.pytorch's script of this name leaves it: cd data; python3 an4.py

Downloads AN4 unless it is there, and makes an4_dataset/{train,val,test}/an4/{wav,txt} with the manifests
an4_{train,val,test}_manifest.csv of lines `wav,txt`. What was read and rejected is listed in an4_dataset/prepared.
With --valid_speakers 0 there is no val part, and a manifest of it that an earlier run wrote is deleted.
"""
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from deepspeech2.prepare import PrepareConfig, prepare
from deepspeech2.src.corpora import scan_an4, stem
from deepspeech2.src.download import download_an4
from deepspeech2.src.features import RATE
from deepspeech2.src.manifest import Utterance, read_manifest
from utils.config import parse_config
from utils.corpora.corpus import convert, prepared_folder, write_list
from utils.errors import run
from utils.files import write_text
from utils.progress import progress
from utils.ranges import Count, Ranged, Seconds


@dataclasses.dataclass(frozen=True)
class An4Config(Ranged):
    """Download AN4 and lay it out as deepspeech.pytorch does.

    --target_dir      where the recordings and transcripts go
    --manifest_dir    where the manifests go, with paths relative to it
    --data_folder     where an4/, as CMU has it, is or is downloaded to
    --min_duration    seconds; shorter recordings are left out
    --valid_speakers  training speakers kept for the val part
    --base_url        where from, instead of CMU's server
    --checksum        MD5 or SHA-256 that the archive must have; CMU publishes none
    """

    ALIASES: ClassVar[dict] = {"target-dir": "target_dir", "manifest-dir": "manifest_dir",
                               "min-duration": "min_duration"}

    target_dir: str = "an4_dataset"
    manifest_dir: str = "."
    data_folder: str = "."
    min_duration: Seconds = 0.1
    valid_speakers: Count = 8
    base_url: str = ""
    checksum: str = ""


def main(argv: Sequence[str]) -> None:
    """Downloads, converts and lists AN4."""
    config = parse_config(An4Config, argv)
    download_an4(config.data_folder, config.base_url, config.checksum)
    lists = PrepareConfig(corpus="an4", data_folder=config.data_folder,
                          output_folder=os.path.join(config.target_dir, "prepared"),
                          valid_speakers=config.valid_speakers, min_seconds=config.min_duration)
    with prepared_folder(lists, "target_dir") as prepared:
        parts = {part for part, *_ in prepare(scan_an4, lists)}
        for part, name in (("train", "train"), ("valid", "val"), ("test", "test")):
            manifest = Path(config.manifest_dir, f"an4_{name}_manifest.csv")
            if part not in parts:
                manifest.unlink(missing_ok=True)
                continue
            rows = lay_out(read_manifest(prepared / f"{part}.json"), Path(config.target_dir, name, "an4"))
            write_list(str(manifest), [",".join(os.path.relpath(path, config.manifest_dir) for path in row)
                                       for row in rows])
            print(f"{manifest}: {len(rows)} utterances")


def lay_out(utterances: Sequence[Utterance], folder: Path) -> list[tuple[Path, Path]]:
    """Writes every utterance as wav/<name>.wav and txt/<name>.txt into `folder`: [(wav, txt)]."""
    rows = []
    for utterance in progress(utterances, str(folder)):
        name = os.path.basename(stem(utterance.audio))
        wav, text = folder / "wav" / f"{name}.wav", folder / "txt" / f"{name}.txt"
        convert(utterance.audio, str(wav), RATE)
        write_text(text, utterance.text + "\n", flush=False)
        rows.append((wav, text))
    return rows


if __name__ == "__main__":
    run(main, sys.argv[1:])
