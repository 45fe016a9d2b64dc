"""Names of files as they are in the world: links in circles, checkpoints behind links."""
import shutil

import pytest
from helpers.errors import refused

from ecapatdnn.src.config import Config
from utils.config import load_config, save_config
from utils.errors import NotFoundError
from utils.paths import beside, walk_files


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
