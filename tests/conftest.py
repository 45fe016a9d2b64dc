"""What several test files share: the mini corpus, the C++ runner, a copy of the tree; made once per test run."""
import dataclasses
import os
import subprocess

import mindspore as ms
import pytest
from helpers.documents import ROOT
from helpers.lite_converter import Converter
from helpers.lite_converter import build as build_converter
from helpers.shared import copy_tree, runner_program, shared_folder

from ecapatdnn.src.config import Config
from utils.corpora.mini import make_mini_corpus
from utils.defects import TRACEBACK

BEFORE = pytest.StashKey[set[str]]()
# the files that take longest, so that no process is left with one of them when the others are done
LONGEST = ("ecapatdnn_train", "ascend310_infer", "deepspeech2_train", "conv_tasnet_train", "pretrained", "float16",
           "export_ascend", "tutorials", "speaker_id", "distributed", "performance", "trainer", "taoruijie",
           "conv_tasnet_model", "ascend_check", "cpu_ops", "deepspeech2_model", "launch", "ecapatdnn_features",
           "ecapatdnn_model", "mixed_precision", "conv_tasnet_infer", "ascend_report", "runner_on_ascend", "packed",
           "repository")


@pytest.fixture(scope="session", autouse=True)
def device():
    """Graph mode on the CPU, as every program sets it up."""
    os.environ["DEVICE_TARGET"] = "CPU"
    # for stock layers, which many tests run, and alike in the programs they start, whose numbers they compare
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    os.environ[TRACEBACK] = "1"     # for those who read a failure
    from utils.device import setup_device

    device = setup_device()
    # oneDNN decides at its first operator what instructions it takes, and some tests change the variable
    ms.ops.matmul(ms.Tensor([[1.0]]), ms.Tensor([[1.0]])).asnumpy()
    return device


@pytest.fixture
def pynative(device):
    """Operator by operator, for what is no matter of graphs: to compile one takes seconds."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.fixture(scope="session")
def mini_corpus(tmp_path_factory):
    """Folder of the synthetic corpus (utils/corpora/mini.py)."""
    return shared_folder(tmp_path_factory, "mini", make_mini_corpus)


@pytest.fixture(scope="session")
def small_lists(mini_corpus, tmp_path_factory):
    """A folder with train.txt, 6 speakers of 4 utterances, and trials.txt over 3 of them."""
    def make(folder):
        lines = (mini_corpus / "train.txt").read_text().splitlines()
        speakers = sorted({line.split()[0] for line in lines})[:6]
        chosen = [line for speaker in speakers
                  for line in [line for line in lines if line.startswith(speaker + " ")][:4]]
        (folder / "train.txt").write_text("\n".join(chosen) + "\n")
        paths = [line.split()[1] for line in chosen[:12]]
        trials = [f"{int(a.split('/')[0] == b.split('/')[0])} {a} {b}" for i, a in enumerate(paths) for b in paths[:i]]
        (folder / "trials.txt").write_text("\n".join(trials) + "\n")
    return shared_folder(tmp_path_factory, "lists", make)


@pytest.fixture(scope="session")
def runner():
    """Path of the C++ runner, built by build.sh from the sources of this tree."""
    return runner_program()


@pytest.fixture(scope="session")
def converter(runner, tmp_path_factory):
    """MindSpore Lite 2.0.0's converter to an Ascend, with stubs for CANN; Lite was fetched to build the runner."""
    return Converter(shared_folder(tmp_path_factory, "converter", build_converter), tmp_path_factory.mktemp("results"))


@pytest.fixture
def tree(tmp_path, runner):
    """A copy of the models, utils and the runner's scripts, for scripts that write beside themselves."""
    return copy_tree(tmp_path / "tree", runner)


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


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: min((place for name, place in places.items() if name in item.path.stem),
                                    default=len(places)))


def pytest_sessionstart(session):
    if not hasattr(session.config, "workerinput"):      # the process that starts the others looks when all are done
        session.config.stash[BEFORE] = leftovers()


def pytest_sessionfinish(session):
    """A run whose tests left something in the work tree has failed."""
    if BEFORE not in session.config.stash:
        return
    if new := sorted(leftovers() - session.config.stash[BEFORE]):
        print(f"\nerror: the tests left in the work tree, or someone wrote there meanwhile: {', '.join(new)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def leftovers():
    """What git does not track in the work tree, but caches; nothing where there is no git."""
    done = subprocess.run(["git", "status", "--porcelain", "--ignored=matching", "--untracked-files=all"], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    paths = [line[3:] for line in done.stdout.splitlines() if line[:2] in ("??", "!!")]
    return {path for path in paths if not {"__pycache__", ".pytest_cache", ".ruff_cache"} & set(path.split("/"))}
