"""The tutorials: their blocks, run one after the other in a copy of the repository, end with better scores."""
import json
import os
import re
import subprocess
import sys

import pytest
from helpers.documents import ROOT
from helpers.markdown import blocks
from helpers.shared import copy_tree

from utils.corpora import mini

# what makes a training short; the whole one is a slow test. The tutorials name t001, t002, t003 and t011; of the voices
# for training, separation keeps five for validation and five for the test
VOICES = {"train": range(18), "test": (0, 1, 2, 10)}
SMALL = {r"num_epochs: \d+": "num_epochs: 1", r"mixtures_per_epoch: \d+": "mixtures_per_epoch: 8",
         r"--mixtures 40": "--mixtures 4", r"_speakers 8": "_speakers 5",
         r"(?<=train_manifest: lists/mini/)train": "valid", r"--corpus mini": "--corpus mini --valid_speakers 3",
         r"(?<=lists/mini/)test\.json": "valid.json", r"lm\.py tune": "lm.py tune --alpha_steps 2 --beta_steps 2",
         r"--valid_speakers 12": "--valid_speakers 3", r"minibatch_size: 32": "minibatch_size: 32\ncrops_per_epoch: 64"}
# a line of each evaluation: the score is its last number before the per cent sign or the end
SCORES = {"speakers": (r"^EER = ([\d.]+)%", -1), "separation": (r"^Average SISNR improvement: (\S+)", 1),
          "recognition": (r"^Average WER (\S+)", -1)}


def some_speakers(corpus, folder):
    """A mini corpus with a few of the voices; the others are neither in its folders nor in its lists."""
    folder.mkdir()
    (folder / mini.MARKER).write_text(json.dumps({"version": mini.VERSION, "seed": 0}), encoding="utf-8")
    for part, places in VOICES.items():
        (folder / part).mkdir()
        speakers = sorted((corpus / part).iterdir())
        for place in places:
            (folder / part / speakers[place].name).symlink_to(speakers[place])
    for name, prefix in (("transcripts.tsv", ""), ("train.txt", "train/"), ("test_trials.txt", "test/")):
        lines = (corpus / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / name).write_text("".join(line for line in lines if all(
            (folder / f"{prefix}{path}").is_file() for path in re.findall(r"\S+\.wav", line))), encoding="utf-8")


@pytest.fixture
def place(tmp_path, mini_corpus, small):
    """A function (block, text) -> what the block prints; its commands run in a copy of the repository."""
    tree = copy_tree(tmp_path / "zoo")
    (tree / "corpora").mkdir()
    if small:
        some_speakers(mini_corpus, tree / "corpora" / "mini")
    else:
        (tree / "corpora" / "mini").symlink_to(mini_corpus)
    activate = tree / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.touch()
    environment = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
                                "PYTHONPATH": str(tree), "DEVICE_TARGET": "CPU"}
    folder = tree

    def run(block, text):
        nonlocal folder
        command = ["bash", "-euc", text] if block.language == "bash" else [sys.executable, "-c", text]
        done = subprocess.run(command, cwd=tree if block.language == "bash" else folder, env=environment, text=True,
                              capture_output=True, check=False)
        assert done.returncode == 0, f"{block.document}:{block.line}\n{done.stdout}{done.stderr[-3000:]}"
        if entered := re.search(r"^cd (\w+)", text):
            folder = tree / entered[1]
        return done.stdout

    return run


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("small", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["small", "whole"])
def test_blocks_run_as_they_stand(name, small, place):
    """Every block that is marked; the training as a whole ends with a better score than the checkpoint that ships."""
    marked = [block for block in blocks(f"docs/tutorials/{name}.md") if block.mark == "tutorial"]
    shell = [block for block in blocks(f"docs/tutorials/{name}.md") if block.language in {"bash", "python"}]
    assert marked == shell, "every command of a tutorial is run"
    printed = ""
    for block in marked:
        text = block.text
        for pattern, smaller in SMALL.items() if small else ():
            text = re.sub(pattern, smaller, text)
        printed += place(block, text)
    pattern, direction = SCORES[name]
    before, *_, after = [float(score) for score in re.findall(pattern, printed, re.MULTILINE)]
    assert small or (after - before) * direction > 0, (before, after)


def test_all_tutorials_are_run():
    assert {path.stem for path in (ROOT / "docs" / "tutorials").glob("*.md")} - {"README", "README_CN"} == {
        f"{name}{language}" for name in SCORES for language in ("", "_CN")}
