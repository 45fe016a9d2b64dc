"""Names of files as they are in the world: links in circles, checkpoints behind links."""
import io
import os
import shutil
import sys

import numpy as np
import pytest
from helpers.errors import refused

from conv_tasnet.src.evaluation import save_example
from deepspeech2.src.manifest import Sample, read_samples, write_manifest
from ecapatdnn import prepare
from ecapatdnn.src.config import Config
from ecapatdnn.src.metric import read_trials
from utils.audio.audio_file import write_wav
from utils.config import load_config, save_config
from utils.corpora.lists import read_train_list
from utils.errors import NotFoundError, run
from utils.export.runner import INPUTS, read_output, write_inputs
from utils.files import write_text
from utils.paths import beside, inside, list_name, walk_files


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


# links to folders

@pytest.mark.parametrize(("links", "expected"), [
    ({"d/s1/again": "."}, ["s1/a", "s2/b"]),
    ({"d/s1/again": ".", "d/s1/more": ".", "d/s2/more": "../s1"}, ["s1/a", "s2/b"]),
    ({"d/s1/up": ".."}, ["s1/a", "s2/b"]),
    ({"d/s1/up": "../.."}, ["s1/a", "s2/b"]),                               # the folder that holds the corpus
    ({"d/s1/root": "/"}, ["s1/a", "s2/b"]),
    ({"d/s1/itself": "itself"}, ["s1/a", "s1/itself", "s2/b"]),             # leads to nothing
    ({"d/a_link": "s1"}, ["s1/a", "s2/b"]),                                 # a second name: its own name counts
    ({"d/one": "../disk", "d/two": "../disk"}, ["one/x", "one/y/z", "s1/a", "s2/b"]),
    ({"d/one": "../disk/y", "d/two": "../disk"}, ["one/z", "s1/a", "s2/b", "two/x"]),
    ({"d/one": "../disk", "disk/back": "../d/s1", "disk/all": ".."}, ["one/x", "one/y/z", "s1/a", "s2/b"]),
    ({"d/s1/c": "a", "d/s1/gone": "nowhere"}, ["s1/a", "s1/c", "s1/gone", "s2/b"])])
def test_a_tree_with_links_has_every_file_once(tmp_path, links, expected):
    make(tmp_path, "d/s1/a", "d/s2/b", "disk/x", "disk/y/z", "other/o")
    for link, target in links.items():
        (tmp_path / link).symlink_to(target)
    assert sorted(walk_files(tmp_path / "d")) == expected


def test_a_tree_may_itself_be_behind_a_link(tmp_path):
    make(tmp_path, "disk/a", "disk/b/c")
    (tmp_path / "d").symlink_to("disk")
    assert sorted(walk_files(tmp_path / "d")) == ["a", "b/c"]
    assert not list(walk_files(tmp_path / "missing"))


# a checkpoint behind links

def run_folder(folder, **settings):
    folder.mkdir(parents=True)
    save_config(Config(**settings), folder)
    (folder / "best.ckpt").touch()
    return folder


def test_a_config_is_found_beside_the_link_and_beside_what_it_leads_to(tmp_path):
    run = run_folder(tmp_path / "run", channels=64)
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "epoch_1.ckpt").touch()
    blobs, snapshot, deep = (tmp_path / name for name in ("cache/blobs", "cache/snapshots/1", "cache/snapshots/2/sub"))
    run_folder(tmp_path / "other", channels=96)
    for folder in (blobs, snapshot, deep, tmp_path / "links"):
        folder.mkdir(parents=True)
    shutil.copy(tmp_path / "other/best.ckpt", blobs / "1")
    shutil.copy(tmp_path / "other/config.yaml", blobs / "2")
    (snapshot / "best.ckpt").symlink_to("../../blobs/1")            # as Hugging Face keeps files
    (snapshot / "config.yaml").symlink_to("../../blobs/2")
    (deep / "best.ckpt").symlink_to("../../../blobs/1")
    (deep.parent / "config.yaml").symlink_to("../../blobs/2")
    (tmp_path / "links/one").symlink_to("../run/best.ckpt")         # a file of a run
    (tmp_path / "links/two").symlink_to("one")
    (tmp_path / "links/three").symlink_to("../run/checkpoints")     # a folder of a run
    for path, channels in ((snapshot / "best.ckpt", 96), (deep / "best.ckpt", 96), (tmp_path / "links/one", 64),
                           (tmp_path / "links/two", 64), (tmp_path / "links/three/epoch_1.ckpt", 64)):
        assert load_config(Config, path).channels == channels, path
    assert beside(tmp_path / "links/two", "best.ckpt") == run / "best.ckpt"


def test_a_checkpoint_alone_or_at_the_end_of_no_link_is_refused(tmp_path):
    (tmp_path / "best.ckpt").touch()
    (tmp_path / "circle.ckpt").symlink_to("circle.ckpt")
    (tmp_path / "gone.ckpt").symlink_to("nowhere.ckpt")
    for name in ("best.ckpt", "circle.ckpt", "gone.ckpt"):
        with refused(NotFoundError, tmp_path / name):
            load_config(Config, tmp_path / name)
    assert beside(tmp_path / "circle.ckpt", "config.yaml") is None


# keys that become file names

@pytest.mark.parametrize("key", ["../../escaped", "/tmp/x/k", "a/../../b", "..", ".", "/", "a\0b", "x" * 300,
                                 "模" * 200, "a/" * 3000, "..\\..\\x", "C:\\x",
                                 "a/./b//c", os.fsdecode(b"\xe9" * 300), "-"])
def test_a_file_named_after_any_key_stays_in_its_folder(key, tmp_path):
    folder = tmp_path / "deep" / "folder"
    path = folder / f"{inside(key)}_separated_1.wav"
    path.parent.mkdir(parents=True)
    path.touch()
    assert path.resolve().is_relative_to(folder) and list(walk_files(tmp_path)) == [str(path.relative_to(tmp_path))]


def test_a_usual_key_stays_what_it_is_and_others_differ():
    for key in ("61-70968-0000_8455-210777-0012", "id10270/x6uYqmx31kE/00001", "s1/a b", "模型/é", "a..b/.c"):
        assert inside(key) == key
    assert len({inside(key) for key in ("x" * 300, "x" * 301, "x" * 299 + "y")}) == 3


def test_what_an_evaluation_writes_stays_below_the_working_folder(tmp_path, monkeypatch):
    here = tmp_path / "deep" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setattr("conv_tasnet.src.evaluation.draw_separation", lambda *arguments: None)
    for key in ("../../escaped", f"{tmp_path}/absolute", "usual"):
        write_inputs(key, np.ones(3, np.float32))
        save_example(np.ones(9), np.ones((2, 9)), np.ones((2, 9)), 8000, here / "results", key)
    files = list(walk_files(tmp_path))
    assert len(files) == 3 * (1 + 5) and all(path.startswith("deep/here/") for path in files)
    assert {"deep/here/results/usual_true_2.wav", f"deep/here/{INPUTS}/00_data/usual.bin"} < set(files)
    with refused(NotFoundError, "__/__/escaped_0.bin"):
        read_output("../../escaped", 0, np.float32)


@pytest.mark.parametrize(("path", "name"), [
    ("lists/test.txt", "test"), ("lists/v1.2.csv", "v1.2"), ("lists/v1.2.csv.gz", "v1.2"), ("v1.3", "v1.3"),
    ("lists/tt/", "tt"), ("veri_test2.txt", "veri_test2"), ("a.B.JSON", "a.B"), (".txt", ".txt")])
def test_lists_of_two_versions_have_two_names(path, name):
    assert list_name(path) == name


# names that are no UTF-8

LATIN = os.fsdecode(b"caf\xe9")


def test_a_corpus_may_have_names_that_are_no_utf_8(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    for name in (f"s1/{LATIN}.wav", "s1/a.wav", f"{LATIN}/b.wav", "s2/模.wav"):
        write_wav(tmp_path / "d" / name, noise, 16000)
    arguments = ["--corpus", "tree", "--data_folder", str(tmp_path / "d"), "--workers", "1", "--output_folder"]
    prepare.main([*arguments, str(tmp_path / LATIN)])
    paths, speaker, names = read_train_list(tmp_path / LATIN / "train.txt")
    assert sorted(map(os.fsdecode, paths)) == [f"{LATIN}/b.wav", "s1/a.wav", f"s1/{LATIN}.wav", "s2/模.wav"]
    assert sorted(names) == [b"caf\xe9", b"s1", b"s2"] and sorted(speaker) == [0, 1, 1, 2]
    prepare.main([*arguments, str(tmp_path / "100% ?#"), "--pack", "true"])
    assert len(read_train_list(tmp_path / "100% ?#" / "train.txt")[0]) == 2
    assert b"caf\xe9/b.wav: a name that" in (tmp_path / "100% ?#" / "rejected.txt").read_bytes()


def test_trials_and_manifests_hold_names_that_are_no_utf_8(tmp_path):
    write_text(tmp_path / "trials.txt", f"1 {LATIN}.wav a.wav\n0 a.wav 模.wav\n")
    assert set(map(os.fsdecode, read_trials(tmp_path / "trials.txt").files)) == {f"{LATIN}.wav", "a.wav", "模.wav"}
    write_manifest(tmp_path / "m.json", tmp_path / LATIN, [Sample(f"{LATIN}.wav", "", "模", 1.0)])
    assert (tmp_path / "m.json").read_text(encoding="utf-8").count("\\udce9") == 2      # any program can read it
    assert read_samples(tmp_path / "m.json") == [Sample(str(tmp_path / LATIN / f"{LATIN}.wav"), "", "模", 1.0)]
    save_config(Config(train_path=LATIN), tmp_path)
    (tmp_path / "best.ckpt").touch()
    assert load_config(Config, tmp_path / "best.ckpt").train_path == LATIN


@pytest.mark.parametrize(("encoding", "expected"), [("utf-8", "模 caf\\xe9 a\\nb"), ("ascii", "\\u6a21 caf\\xe9 a\\nb"),
                                                    ("latin-1", "\\u6a21 caf\\xe9 a\\nb")])
def test_a_screen_of_any_encoding_shows_any_name_in_one_line(encoding, expected, monkeypatch):
    screens = {name: io.TextIOWrapper(io.BytesIO(), encoding) for name in ("stdout", "stderr")}

    def program():
        print(f"模 {LATIN} a\\nb")
        raise NotFoundError(f"模 {LATIN} a\nb")

    for name, screen in screens.items():
        monkeypatch.setattr(sys, name, screen)
    with pytest.raises(SystemExit, match="2"):
        run(program)
    screens["stderr"].flush()
    shown = {name: screen.buffer.getvalue().decode(encoding) for name, screen in screens.items()}
    assert shown == {"stdout": f"{expected}\n", "stderr": f"error: {expected}\n"}
