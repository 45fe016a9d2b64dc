"""The wheel, installed where this repository is not: its commands, presets, checkpoints and samples."""
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import distributions

import pytest
from helpers.documents import ROOT
from helpers.errors import assert_refusal, refused
from helpers.shared import shared_folder

from ecapatdnn.src.config import Config
from utils.config import preset
from utils.errors import NotFoundError

MODELS = ("ecapatdnn", "conv_tasnet", "deepspeech2")
FOUND = next((found.version for found in distributions(name="setuptools")), "0")
needs_setuptools = pytest.mark.skipif(int(FOUND.split(".")[0]) < 77,
                                      reason=f"setuptools {FOUND} cannot build it; requirements-dev.txt has another")


def done(*command, **where):
    """(exit code, what it printed), without this repository in PYTHONPATH."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, check=False, env=environment, **where)
    return result.returncode, result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Path of the wheel that is built of what git tracks, or would."""
    def make(folder):
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *MODELS, "meeting", "app", "utils",
                                 "pyproject.toml", "requirements.txt", "LICENSE", "README.md"], cwd=ROOT,
                                capture_output=True, text=True, check=True).stdout.splitlines()
        for name in listed:
            if (ROOT / name).is_file():
                copy = folder / "tree" / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes((ROOT / name).read_bytes())
        built = subprocess.run([sys.executable, "-c", "import sys; from setuptools import build_meta as build; "
                                "build.build_wheel(sys.argv[1])", folder], cwd=folder / "tree", capture_output=True,
                               text=True, check=False)
        assert built.returncode == 0, built.stderr
    return next(shared_folder(tmp_path_factory, "wheel", make).glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The bin folder of a fresh environment with the wheel; it borrows the packages that are installed here."""
    def make(folder):
        code, output = done(sys.executable, "-m", "venv", "--without-pip", folder / "env")
        assert code == 0, output
        site = next((folder / "env" / "lib").glob("python*")) / "site-packages"
        python = folder / "env" / "bin" / "python"
        code, output = done(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
                            "--quiet", wheel)
        assert code == 0, output
        # not as a .pth there: that one's own .pth, which leads to this repository, would count too
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return shared_folder(tmp_path_factory, "installed", make) / "env" / "bin"


@needs_setuptools
def test_the_wheel_holds_what_programs_need_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for model in MODELS:
        kinds = "configs/*.yaml", "pretrained/**/*.*", "samples/*", "src/*.py"
        expected = {str(path.relative_to(ROOT)) for kind in kinds for path in (ROOT / model).glob(kind)} \
            | {f"{model}/py.typed", f"{model}/train.py"}
        assert expected <= names
    assert {"utils/cpu_ops/kernels/common.h", "utils/ascend_check/chip.cc", "utils/msrun.sh",
            "meeting/samples/meeting.flac", "app/static/index.html"} <= names
    assert not [name for name in names if re.search(r"(^|/)(tests?|results|benchmarks|runs)/|\.png$", name)]
    assert wheel.stat().st_size < 60e6


@needs_setuptools
def test_installed_commands_work_in_another_folder(installed, mini_corpus, tmp_path):
    code, output = done(installed / "python", "-c", "import ecapatdnn; print(ecapatdnn.__file__)", cwd=tmp_path)
    assert code == 0 and str(installed.parent) in output, output
    first, second = sorted((mini_corpus / "test").rglob("*.wav"))[:2]
    code, output = done(installed / "speech-verify", first, second, cwd=tmp_path)
    verdict = r"^(same|different) speaker: score \S+, threshold 0\.\d+, log-likelihood ratio \S+$"
    assert code == 0 and re.search(verdict, output, re.M), output
    code, output = done(installed / "speech-separate", first, "--output_dir", "out", cwd=tmp_path)
    assert code == 0 and len(list((tmp_path / "out").glob("*_[12].wav"))) == 2, output
    code, output = done(installed / "speech-transcribe", first, "--timestamps", cwd=tmp_path)
    assert code == 0 and re.search(r"^\d+\.\d\d \d+\.\d\d [A-Z']+$", output, re.M), output
    code, output = done(installed / "speech-meeting", "--help", cwd=tmp_path)
    assert code == 0 and "--num_speakers" in output, output
    code, output = done(installed / "speech-app", "--help", cwd=tmp_path)
    assert code == 0 and "127.0.0.1" in output, output


@needs_setuptools
def test_an_installed_training_reads_and_writes_below_the_users_folder(installed, tmp_path):
    """The shipped preset `mini` names lists/mini, which is not there."""
    code, output = done(installed / "speech-train", "ecapatdnn", "--config", "mini", cwd=tmp_path)
    assert_refusal(code, output, "lists/mini/train.txt")
    code, output = done(installed / "speech-train", "conv_tasnet", "--config", "minni", cwd=tmp_path)
    assert_refusal(code, output, "minni", "mini", "wsj0")
    code, output = done(installed / "speech-train", "deepspeech", cwd=tmp_path)
    assert_refusal(code, output, "deepspeech", "deepspeech2")
    for command in ("speech-eval", "speech-export"):
        code, output = done(installed / command, "deepspeech2", cwd=tmp_path)
        assert_refusal(code, output, "model_path", "--checkpoint_path")
    assert not (tmp_path / "runs").exists()


@needs_setuptools
def test_an_installed_command_prepares_a_corpus(installed, mini_corpus, tmp_path):
    code, output = done(installed / "speech-prepare", "ecapatdnn", "--corpus", "tree", "--data_folder",
                        mini_corpus / "train", "--output_folder", "lists", "--valid_speakers", "2", cwd=tmp_path)
    assert code == 0 and (tmp_path / "lists" / "train.txt").stat().st_size, output


@needs_setuptools
@pytest.mark.slow
def test_from_a_corpus_to_a_score_outside_the_repository(installed, mini_corpus, tmp_path):
    """As docs/install.md has it, with a small network."""
    def command(name, *words):
        code, output = done(installed / name, "ecapatdnn", *words, cwd=tmp_path)
        assert code == 0, output
        return output

    command("speech-prepare", "--corpus", "tree", "--data_folder", mini_corpus / "train", "--output_folder",
            "lists/mini", "--valid_speakers", "4")
    trials = ["--eval_list", "lists/mini/valid_trials.txt", "--eval_path", mini_corpus / "train"]
    command("speech-train", "--config", "mini", "--channels", "16", "--mfa_channels", "24", "--train_path",
            mini_corpus / "train", "--valid_path", mini_corpus / "train", "--musan_path", "", "--rir_path", "",
            "--eval_list", "", "--num_epochs", "1")
    assert "EER = " in command("speech-eval", "--checkpoint_path", "runs/mini/best.ckpt", *trials)
    command("speech-export", "--checkpoint_path", "runs/mini/best.ckpt", "--file_format", "ONNX", "--file_name", "mini")
    assert (tmp_path / "mini.onnx").stat().st_size


@pytest.mark.parametrize("command", ["prepare", "train", "evaluate", "export"])
def test_help_of_a_command_does_not_wait_for_mindspore(command):
    code = (f"import sys; from utils.commands import {command}; sys.argv = ['x', 'conv_tasnet', '--help']\n"
            f"try:\n    {command}()\nexcept SystemExit as end:\n"
            "    sys.exit(end.code or 3 * ('mindspore' in sys.modules))")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                            env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert result.returncode == 0 and re.match(r"usage: speech-\w+ conv_tasnet ", result.stdout), \
        result.stdout + result.stderr


def test_a_preset_is_named_or_a_path(tmp_path, monkeypatch):
    shipped = ROOT / "ecapatdnn" / "configs" / "mini.yaml"
    monkeypatch.chdir(tmp_path)
    assert preset(Config, "mini") == preset(Config, "mini.yaml") == shipped
    assert preset(Config, "configs/mini.yaml") == "configs/mini.yaml"
    (tmp_path / "mini").mkdir()
    assert preset(Config, "mini") == shipped        # a folder is none
    (tmp_path / "mini.yaml").touch()
    assert preset(Config, "mini.yaml") == "mini.yaml"       # the user's own comes first
    with refused(NotFoundError, "vox", "voxceleb"):
        preset(Config, "vox")
