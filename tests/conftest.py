"""What several test files share: the mini corpus, made once a session."""
import dataclasses
import os

import pytest

from ecapatdnn.src.config import Config
from utils.corpora.mini import make_mini_corpus


@pytest.fixture(scope="session", autouse=True)
def device():
    """Graph mode on the CPU, as every program sets it up."""
    os.environ["DEVICE_TARGET"] = "CPU"
    from utils.device import setup_device

    return setup_device()


@pytest.fixture(scope="session")
def mini_corpus(tmp_path_factory):
    """Folder of the synthetic corpus (utils/mini_corpus.py)."""
    return make_mini_corpus(tmp_path_factory.mktemp("corpora") / "mini")


@pytest.fixture(scope="session")
def small_lists(mini_corpus, tmp_path_factory):
    """A folder with train.txt, 6 speakers of 4 utterances, and trials.txt over 3 of them."""
    folder = tmp_path_factory.mktemp("lists")
    lines = (mini_corpus / "train.txt").read_text().splitlines()
    speakers = sorted({line.split()[0] for line in lines})[:6]
    chosen = [line for speaker in speakers for line in [one for one in lines if one.startswith(speaker + " ")][:4]]
    (folder / "train.txt").write_text("\n".join(chosen) + "\n")
    paths = [line.split()[1] for line in chosen[:12]]
    trials = [f"{int(a.split('/')[0] == b.split('/')[0])} {a} {b}" for i, a in enumerate(paths) for b in paths[:i]]
    (folder / "trials.txt").write_text("\n".join(trials) + "\n")
    return folder


@pytest.fixture
def ecapa_config(mini_corpus, small_lists, tmp_path):
    """A network and corpus small enough to train in seconds; a function that takes what differs."""
    def make(**differences):
        values = {
            "channels": 16, "mfa_channels": 24, "emb_size": 16, "crop": 60, "minibatch_size": 4, "num_epochs": 2,
            "schedule": "cosine", "max_lrate": 0.01, "num_workers": 0, "device_target": "CPU", "length": 120,
            "train_list": str(small_lists / "train.txt"), "train_path": str(mini_corpus / "train"),
            "musan_path": str(mini_corpus / "musan"), "rir_path": str(mini_corpus / "rir"),
            "ckpt_save_dir": str(tmp_path / "run")}
        return dataclasses.replace(Config(), **(values | differences))
    return make
