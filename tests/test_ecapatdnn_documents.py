"""What the MindSpore document of ECAPA-TDNN asks its users to type. The rest of its rows: test_ecapatdnn_*.py."""
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from helpers.documents import ROOT
from helpers.programs import rank_table, recorded, script
from packaging.requirements import Requirement

from ecapatdnn import prepare
from ecapatdnn.src.config import Config
from utils.config import parse_config, read_yaml
from utils.training.run_folder import RunFolder

# the settings of the document's src/config.py
DOCUMENT = """
in_channels: 80
channels: 1024
emb_size: 192
base_lrate: 0.000001
max_lrate: 0.0001
weight_decay: 0.000002
num_epochs: 80
minibatch_size: 100
class_num: 5944
ckpt_save_dir: "/home/abc000/model/"
keep_checkpoint_max: 80
length: 1199
train_list: "/home/abc000/dataset/Voxceleb2/train.txt"
train_path: "/home/abc000/dataset/Voxceleb2/train/wav"
musan_path: "/home/abc000/dataset/Others/musan_split"
rir_path: "/home/abc000/dataset/Others/RIRS_NOISES/simulated_rirs"
eval_list: "/home/abc000/dataset/Voxceleb2/eval.txt"
eval_path: "/home/abc000/dataset/Voxceleb2/eval/wav"
model_path: "/home/abc000/model/pretain.ckpt"
"""
PATHS = {"ckpt_save_dir", "train_list", "train_path", "musan_path", "rir_path", "eval_list", "eval_path", "model_path"}


@pytest.fixture(scope="module")
def dataset(mini_corpus, tmp_path_factory):
    """The document's tree: 4 + 3 speakers with two videos of two utterances, lists made by prepare.py."""
    root = tmp_path_factory.mktemp("documents") / "dataset"
    for part, source in (("train", "train"), ("eval", "test")):
        for number, speaker in enumerate(sorted((mini_corpus / source).iterdir())[:4 if part == "train" else 3]):
            for i, wav in enumerate(sorted(speaker.glob("*.wav"))[:4]):
                target = root / "Voxceleb2" / part / "wav" / f"id{number:05d}" / f"video{i // 2}" / f"{i:05d}.wav"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(wav, target)
    for kind in ("music", "noise"):
        shutil.copytree(mini_corpus / "musan" / kind, root / "Others" / "musan_split" / kind)
    shutil.copytree(root / "Voxceleb2/train/wav/id00000", root / "Others" / "musan_split" / "speech")
    shutil.copytree(mini_corpus / "rir", root / "Others" / "RIRS_NOISES" / "simulated_rirs")
    folder = root / "Voxceleb2"
    prepare.main(["--corpus", "voxceleb", "--data_folder", str(folder / "train/wav"), "--output_folder", str(folder),
                  "--workers", "1"])
    files = sorted(str(path.relative_to(folder / "eval/wav")) for path in folder.glob("eval/wav/**/*.wav"))
    (folder / "eval.txt").write_text("".join(f"{int(a[:7] == b[:7])} {a} {b}\n" for i, a in enumerate(files)
                                             for b in files[:i]))
    return root


def test_settings_of_the_document_are_taken_and_are_the_defaults(tmp_path):
    (tmp_path / "document.yaml").write_text(DOCUMENT)
    values = read_yaml(Config, tmp_path / "document.yaml")
    source = (ROOT / "ecapatdnn/src/config.py").read_text()
    assert [name for name in values if f"\n    {name}: " not in source] == [], "its users edit them there"
    assert values == yaml.safe_load(DOCUMENT) and len(values) == 19
    config = parse_config(Config, ["--config", str(tmp_path / "document.yaml")])
    assert {name: getattr(config, name) for name in values} == values
    assert {name: getattr(Config(), name) for name in values.keys() - PATHS - {"class_num"}} == {
        name: value for name, value in values.items() if name not in PATHS | {"class_num"}}
    preset = read_yaml(Config, ROOT / "ecapatdnn/configs/voxceleb.yaml")
    for name in PATHS - {"ckpt_save_dir", "model_path"}:
        assert f"/home/abc000/{preset[name]}" == values[name]
    assert preset["class_num"] == 5994
    exported = parse_config(Config, ["--checkpoint_path", "a.ckpt", "--file_format", "AIR"])
    assert (exported.model_path, exported.file_format) == ("a.ckpt", "AIR")


def test_lists_of_the_documents_tree(dataset):
    lines = (dataset / "Voxceleb2/train.txt").read_text().splitlines()
    assert len(lines) == 16 and lines[0] == "id00000 id00000/video0/00000.wav"


def edited(folder, values):
    """A copy of the model in which src/config.py has these defaults, as the document has its users edit it."""
    target = folder / "ecapatdnn"
    if not target.exists():
        target.mkdir()
        for name in ("__init__.py", "train.py", "eval.py"):
            shutil.copy(ROOT / "ecapatdnn" / name, target)
        shutil.copytree(ROOT / "ecapatdnn" / "src", target / "src")
    path = target / "src" / "config.py"
    text = path.read_text()
    for name, value in values.items():
        text, count = re.subn(rf"^(    {name}: \w+ = ).*$", lambda found, value=value: f"{found[1]}{value!r}", text,
                              flags=re.M)
        assert count == 1, name
    path.write_text(text)
    return target


def shell(command, model):
    """What the command prints in the model's folder, on a CPU."""
    environment = os.environ | {"PYTHONPATH": f"{model.parent}:{ROOT}", "DEVICE_TARGET": "CPU",
                                "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", command], cwd=model, env=environment, capture_output=True, text=True,
                          check=False).stdout


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_edited_config_trains_and_evaluates_the_documents_tree(dataset, tmp_path, whole):
    """The document from its tree to its EER, by its own settings and commands, or to the start of its training."""
    small = {"channels": 16, "emb_size": 16, "num_epochs": 1, "minibatch_size": 4, "keep_checkpoint_max": 1,
             "class_num": 4, "ckpt_save_dir": f"{tmp_path}/model/", "length": 120}
    paths = {name: value.strip('"').replace("/home/abc000/dataset", str(dataset))
             for name, value in re.findall(r"(\w+): (\S+)", DOCUMENT) if "/dataset/" in value}
    assert len(paths) == 6
    model = edited(tmp_path, small | paths)
    if not whole:       # ends where it would begin to compile
        (tmp_path / "model/config.yaml").mkdir(parents=True)
    shell("python train.py > train.log 2>&1 & wait", model)
    log = (model / "train.log").read_text()
    assert "16 files of 4 speakers, 4 classes, augmentation one of: none, reverberation, noise, mus" in log, log
    assert "4 batches of 4 an epoch" in log and ("finished: best epoch 1" in log) == whole
    if not whole:
        assert f"error: {tmp_path}/model/config.yaml: " in log
        return
    edited(tmp_path, {"model_path": f"{tmp_path}/model/best.ckpt"})
    shown = shell("python eval.py > eval.log 2>&1 & wait; cat eval.log | grep EER", model)
    assert re.fullmatch(r"EER = \d+\.\d\d%\n", shown), shown + (model / "eval.log").read_text()
    assert f"{dataset}/Voxceleb2/eval.txt: 66 trials, 18 targets, 12 files" in (model / "eval.log").read_text()


@pytest.mark.parametrize("inside", [True, False])
def test_scripts_call_the_programs(tmp_path, inside):
    """DEVICE_ID, PATH_CHECKPOINT and RANK_TABLE_FILE, from scripts/ and from the model's folder, paths from there."""
    def call(name, *arguments):
        code, output, calls = recorded("ecapatdnn", name, *arguments, place=tmp_path, inside=inside)
        assert code == 0, output
        return calls

    assert call("run_standalone_train_ascend.sh", "5") == ["ecapatdnn: Ascend 5: train.py"]
    place = tmp_path / "ecapatdnn" / ("scripts" if inside else "")
    (place / "a.ckpt").touch()
    assert call("run_eval_ascend.sh", "0", "a.ckpt") == [
        f"ecapatdnn: Ascend 0: eval.py --checkpoint_path {place / 'a.ckpt'}".replace(f"{tmp_path}/", "")]
    assert {"train.log", "eval.log"} <= set(os.listdir(tmp_path / "ecapatdnn"))
    table = rank_table(tmp_path)
    code, output = script("ecapatdnn", "run_distribute_train_ascend.sh", os.path.relpath(table, place), "--dry_run",
                          target="Ascend", folder=place)
    assert code == 0 and output.count(f" RANK_TABLE_FILE={table} ") == 2 == len(output.splitlines()) - 1, output


@pytest.mark.parametrize("model", ["ecapatdnn", "conv_tasnet", "deepspeech2"])
def test_requirements_lead_to_those_installed(model):
    """pip install -r requirements.txt in the model's folder, as the documents have it."""
    assert (ROOT / model / "requirements.txt").read_text() == "-r ../requirements.txt\n"
    wanted = [Requirement(line.split("#")[0]) for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert len(wanted) > 10
    for one in wanted:
        assert one.specifier.contains(importlib.metadata.version(one.name), prereleases=True), one


def test_run_folder_of_the_document_keeps_the_slash(tmp_path):
    config = parse_config(Config, ["--ckpt_save_dir", f"{tmp_path}/model/"])
    assert RunFolder(config).best == tmp_path / "model" / "best.ckpt"
