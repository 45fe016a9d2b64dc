"""A corpus on disk -> the manifests DeepSpeech2 trains and evaluates on.

    python prepare.py --corpus an4 --data_folder an4 --output_folder lists/an4

Into the output folder go train.json, valid.json and test.json (deepspeech.pytorch's manifests), txt/ (their
transcripts), texts.txt (those of train.json), labels.json (what a network writes, where that is not English), with
--lm 3 lm.arpa (a language model of them), rejected.txt (why a file is in no manifest), verified.txt (what was read
already: an interrupted run goes on where it stopped) and prepared.txt (what this run wrote: the next one deletes of it
what it does not write).
"""
import dataclasses
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from deepspeech2.src.corpora import CORPORA, Spoken, stem
from deepspeech2.src.download import download_an4, download_librispeech
from deepspeech2.src.features import RATE
from deepspeech2.src.manifest import Sample, write_manifest
from deepspeech2.src.ngram import write_arpa
from deepspeech2.src.open_speech import scan_open_speech
from deepspeech2.src.text import LABELS, LABELS_FILE, Alphabet, collect_labels, read_labels, write_labels
from utils.config import parse_config, require
from utils.corpora import scenes
from utils.corpora.corpus import choose_corpus, plan, prepared_folder, verify, write_list, write_rejected
from utils.corpora.pack import pack
from utils.corpora.settings import CorpusSettings
from utils.corpora.speakers import hold_out, valid_speakers
from utils.errors import ContentError, MismatchError, SettingError, run
from utils.files import write_text
from utils.paths import inside
from utils.progress import progress
from utils.ranges import Range

Words = Annotated[int, Range(2, 6, or_zero=True)]     # those that KenLM is built for
Row = tuple[str, int, set[str], float, int]             # of the table: part, utterances, speakers, seconds, words
VALID_SPEAKERS = {"an4": (8, ""), "librispeech_an4": (8, "an4-"), "mini": (8, "")}     # how many, of what prefix
AUTO = "auto"           # labels: those of the training transcripts
DEFAULT_LABELS = {"aishell": AUTO}
OF_DOWNLOADS = ("base_url", "splits", "checksum")       # settings
ORDER = ["train", "valid", "test"]      # of the table, after LibriSpeech's splits


@dataclasses.dataclass(frozen=True)
class PrepareConfig(CorpusSettings):
    """Make the manifests of a corpus.

    Kinds of --corpus:

      an4              CMU's: etc/an4_{train,test}.{fileids,transcription}, wav/*.wav, .flac, .sph or .raw
      librispeech      split/speaker/chapter/*.flac with *.trans.txt; a manifest per split, and train.json
                       of all train-*, valid.json of all dev-*
      librispeech_an4  an4/ and, as more to train on, librispeech/dev-clean/
      open_speech      the same and librispeech/train-251spk/, librispeech_train251_transcripts/, mini_librispeech/,
                       librispeech_three_more/, speechocean762/, speech_commands/, alphanumeric/, dev-clean for tests;
                       noise_*.txt and rooms_*.txt list those of noise_esc10/, noise/, rir_rooms/, rir/
      deepspeech       *_{train,val,test}_manifest.csv or .json as deepspeech.pytorch writes them
      tree             {train,valid,test}/**/name.wav, name.txt beside it or in txt/ for wav/;
                       m4a, webm, amr, wma, ... are decoded to wav
      kaldi            wav.scp, text, utt2spk, segments: of the folder, or of train*, dev*, ... in it
      aishell          data_aishell/: wav/{train,dev,test}/S*/*.wav, transcript/aishell_transcript_v0.8.txt
      mini             made in the data folder by utils/mini_corpus.py

    --wav_folder       where decoded or resampled files go; "": wav/ in the output folder
    --labels           the characters a network writes, the blank first, or a labels.json with them; transcripts may
                       have no other. auto: the characters of the training transcripts, as aishell has it; others may
                       then have more, which count as errors
    --resample         true: a corpus of another rate is written once as 16 kHz wav to the wav folder
    --pack             true: audio.mindrecord in the output folder gets all files as MindRecord shards, and the
                       manifests name that folder
    --valid_speakers   training speakers kept for valid.json; -1: 8 of AN4's and of mini's, else 0
    --lm               words of the longest n-gram of lm.arpa, estimated from the training transcripts; 0: none
    --min_seconds      shorter files are left out
    --workers          processes; 0: one per core
    --seed             which speakers are kept; of mini also which corpus is made
    --download         true: an4 or librispeech is fetched into the data folder first, unless it is there
    --base_url         where from, instead of CMU's or OpenSLR's server: the address of the folder of archives
    --splits           of librispeech to download, with commas
    --checksum         of an4: MD5 or SHA-256 that the archive must have; CMU publishes none
    """

    labels: str = ""
    min_seconds: float = 0.1
    lm: Words = 0
    download: bool = False
    base_url: str = ""
    splits: str = "train-clean-100,dev-clean,test-clean"
    checksum: str = ""


def choose_labels(config: PrepareConfig, parts: Mapping[str, Sequence[Spoken]]) -> tuple[str, bool]:
    """(the labels that config.labels asks for, whether they were collected from the training transcripts)."""
    if (config.labels or DEFAULT_LABELS.get(config.corpus, LABELS)) != AUTO:
        return read_labels(config.labels) or LABELS, False
    return collect_labels(item.text for part, items in parts.items() if part.startswith("train")
                          for item in items), True


def normalised(parts: Mapping[str, Sequence[Spoken]], labels: str,
               collected: bool = False) -> tuple[dict[str, list[Spoken]], list[str]]:
    """({part: [Spoken]} with texts as the labels write them, [reason] of empty ones); every file once in a part.

    UserError for a character that is no label; where the labels are `collected`, a line that counts them.
    """
    alphabet, reasons, whole = Alphabet(labels), [], {}
    for part, items in parts.items():
        texts = [item._replace(text=alphabet.normalise(item.text)) for item in items]
        for item in () if collected else texts:
            alphabet.encode(item.text, item.where)
        if other := sum(not set(item.text) <= alphabet.number.keys() for item in texts):
            print(f"note: {other} of {len(texts)} transcripts of {part} hold characters that no training transcript "
                  "has; they count as errors")
        reasons += [f"{item.where}: empty transcript, expected words; correct it" for item in texts if not item.text]
        names = {}
        for item in (item for item in texts if item.text):
            if (first := names.setdefault(stem(item.path), item)) is item:
                continue
            if first.path == item.path:
                reasons.append(f"{item.path}: is in the {part} part twice; its first text is taken, delete the other")
            else:
                reasons.append(f"{item.path}: has the name of {first.path} but for its ending, and so its text; "
                               "delete one of them")
        whole[part] = list(names.values())
    return whole, reasons


def divided(parts: dict[str, list[Spoken]], config: PrepareConfig) -> dict[str, list[Spoken]]:
    """{manifest: [Spoken]}: LibriSpeech's splits together too, and speakers held out of training as valid."""
    for name, splits in (("train", ("train-", "train_")), ("valid", ("dev-", "dev_"))):
        together = [item for part in parts if part.startswith(splits) for item in parts[part]]
        if together and name not in parts:
            parts = parts | {name: together}
    count, prefix = valid_speakers(config, VALID_SPEAKERS)
    if not count:
        return parts
    if "valid" in parts:
        raise MismatchError(f"valid_speakers: found {count}, but the corpus has a part to validate on; leave it 0")
    # evenly spaced speakers, as women and men are sorted apart; a seed begins with another
    items = [item for item in parts.get("train", ()) if item.speaker.startswith(prefix)]
    names = sorted({item.speaker for item in items})
    turned = {name: f"{(i + config.seed) % len(names):06d}" for i, name in enumerate(names)}
    _, valid = hold_out([(turned[item.speaker], item) for item in items], count, "valid_speakers")
    held = {item.speaker for _, item in valid}
    kept = {part: [item for item in items if not (part.startswith("train") and item.speaker in held)]
            for part, items in parts.items()}
    return kept | {"valid": [item for _, item in valid]}


def text_path(item: Spoken, config: PrepareConfig) -> str:
    """Where the text of an utterance is written, for deepspeech.pytorch."""
    return os.path.abspath(os.path.join(config.output_folder, "txt", inside(stem(item.path)) + ".txt"))


def write_texts(parts: Mapping[str, Sequence[Spoken]], config: PrepareConfig) -> None:
    """txt/ of all utterances."""
    texts = {text_path(item, config): item.text for items in parts.values() for item in items}    # some parts overlap
    for path, text in progress(list(texts.items()), "txt", "file"):
        write_text(path, text + "\n", flush=False)


def write_part(part: str, items: Sequence[Spoken], good: Mapping[str, int], folder: str, config: PrepareConfig,
               alphabet: Alphabet) -> Row:
    """part.json of utterances in `folder`; a row of the table."""
    rows = [Sample(item.path, text_path(item, config), item.text, good[item.path] / RATE) for item in items]
    write_manifest(os.path.join(config.output_folder, f"{part}.json"), folder, rows)
    return (part, len(rows), {item.speaker for item in items} - {""}, sum(row.seconds for row in rows),
            sum(len(alphabet.words(item.text)) for item in items))


def prepare(scan: Callable[[Any], tuple[str, dict[str, list[Spoken]], list[str]]],
            config: PrepareConfig) -> list[Row]:
    """All manifests of a corpus; rows of the table."""
    root, parts, reasons = scan(config)
    config = dataclasses.replace(config, data_folder=root)
    labels, collected = choose_labels(config, parts)
    alphabet = Alphabet(labels)
    parts, empty = normalised(parts, labels, collected)
    folder, paths, jobs = plan({part: [item[:2] for item in items] for part, items in parts.items()}, config, RATE)
    jobs = [job._replace(min_seconds=config.min_seconds, blanks=True) for job in jobs]
    good, bad = verify(jobs, config, folder) if jobs else ({}, [])
    reasons += empty + bad
    write_rejected(reasons, len(good) + len(reasons), config)
    if config.pack and good:
        folder = pack(folder, good, config)
    parts = {part: [item._replace(path=path) for item, (_, path) in zip(items, paths[part], strict=True)
                    if path in good] for part, items in parts.items()}
    for part, items in parts.items():
        if not items:
            raise ContentError(f"{root}: no usable utterance in the {part} part, see rejected.txt in "
                               f"{config.output_folder}; mend the corpus or move that part away")
    write_texts(parts, config)
    parts = divided(parts, config)
    texts = [item.text for item in parts.get("train", ())]
    write_list(os.path.join(config.output_folder, "texts.txt"), texts)
    if config.lm:
        write_arpa([" ".join(alphabet.words(text)) for text in texts], config.lm,
                   os.path.join(config.output_folder, "lm.arpa"))
    if labels != LABELS:
        write_labels(os.path.join(config.output_folder, LABELS_FILE), labels)
        print(f"{len(labels)} labels: train.py needs --labels {os.path.join(config.output_folder, LABELS_FILE)}")
    print(f"paths of the manifests are relative to {folder}")
    return [write_part(part, parts[part], good, folder, config, alphabet)
            for part in sorted(parts, key=lambda part: (part in ORDER and ORDER.index(part) + 1, part))]


def download(config: PrepareConfig) -> None:
    """What --download asks for."""
    require(config, "corpus", "data_folder", "output_folder")       # before the long work
    if config.corpus not in ("an4", "librispeech"):
        raise SettingError(f"download: found --corpus {config.corpus}, expected an4 or librispeech; leave "
                           "--download out")
    if config.corpus == "an4":
        download_an4(config.data_folder, config.base_url, config.checksum)
    elif config.checksum:
        raise SettingError("checksum: librispeech has published ones, expected none; leave --checksum out")
    else:
        download_librispeech(config.data_folder, config.splits.split(","), config.base_url)


def main(argv: Sequence[str]) -> None:
    """Prepares the corpus that the command line names."""
    config = parse_config(PrepareConfig, argv)
    idle = [name for name in OF_DOWNLOADS if getattr(config, name) != getattr(PrepareConfig, name)]
    if idle and not config.download:
        raise SettingError(f"{' and '.join(idle)}: of a download, and there is none; add --download true or leave "
                           "them out")
    if config.labels not in ("", AUTO):
        Alphabet(read_labels(config.labels))
    if config.download:
        download(config)
    scan = choose_corpus(config, CORPORA | {"open_speech": scan_open_speech})
    with prepared_folder(config):
        rows = prepare(scan, config)
        if config.corpus == "open_speech":
            scenes.write_scenes(scenes.scan(config), config.output_folder)
    print(f"{'part':<16}{'utterances':>10}{'speakers':>10}{'hours':>10}{'words':>10}")
    for part, count, speakers, seconds, words in rows:
        print(f"{part:<16}{count:>10}{len(speakers) or '-':>10}{seconds / 3600:>10.2f}{words:>10}")


if __name__ == "__main__":
    run(main, sys.argv[1:])
