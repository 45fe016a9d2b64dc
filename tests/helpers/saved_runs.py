"""Small runs as commit 775f61c saved them, and what came of them there: tests/runs_775f61c.

They were made by that commit's own programs, in the root folder of this repository:

    git worktree add --detach ../old 775f61c
    PYTHONPATH=$PWD/../old DEVICE_TARGET=CPU python tests/helpers/saved_runs.py $PWD/../old tests/runs_775f61c

For each model that trains until the middle of an epoch (--max_steps), keeps the run folder, evaluates its best.ckpt,
and resumes the run to its end. What the last two gave is kept in `expected`: the file of scores, and metrics.csv.
"""
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
SPEAKERS, UTTERANCES = 4, 4
WORDS = ("A BED", "A CAB", "DAD", "ACE")
KEPT = ("config.yaml", "train.log", "metrics.csv", "best.ckpt", "last/state.ckpt")      # of a run folder
COMMON = ["--num_epochs", "2", "--save_steps", "2", "--num_workers", "0", "--device_target", "CPU"]
# model: how it was trained until the interruption; all paths are relative to a folder filled by make_data
RUNS = {
    "ecapatdnn": [
        "--channels", "8", "--mfa_channels", "12", "--emb_size", "8", "--crop", "40", "--minibatch_size", "2",
        "--accumulate", "2", "--schedule", "cosine", "--max_lrate", "0.01", "--max_steps", "13",
        "--train_list", "train.txt", "--train_path", "wav", "--valid_list", "trials.txt", "--valid_path", "wav",
        "--eval_list", "trials.txt", "--eval_path", "wav", "--ckpt_save_dir", "ecapatdnn"],
    "conv_tasnet": [
        "--N", "16", "--L", "16", "--B", "8", "--H", "12", "--Sc", "8", "--X", "2", "--R", "1", "--segment", "0.4",
        "--sample_rate", "16000", "--minibatch_size", "2", "--lr", "0.01", "--max_steps", "11", "--save_examples", "0",
        "--train_dir", "mixtures.csv", "--train_path", "wav", "--valid_dir", "mixtures.csv", "--valid_path", "wav",
        "--eval_dir", "mixtures.csv", "--eval_path", "wav", "--ckpt_save_dir", "conv_tasnet"],
    "deepspeech2": [
        "--conv_channels", "2", "--hidden_size", "8", "--hidden_layers", "1", "--minibatch_size", "2", "--buckets", "1",
        "--speeds", "0.9,1.0", "--learning_rate", "0.01", "--max_steps", "12",
        "--train_manifest", "manifest.csv", "--val_manifest", "manifest.csv", "--test_manifest", "short.csv",
        "--save_log_probs", "true", "--ckpt_save_dir", "deepspeech2"],
}
SCORES = {      # what eval.py writes beside the checkpoint
    "ecapatdnn": "eval_trials/scores_cosine.txt", "conv_tasnet": "eval_mixtures/scores.csv",
    "deepspeech2": "eval_short/log_probs.npz"}
# what the other program writes into the config.yaml of a run
DEFAULTS = """
from ecapatdnn.src.speaker_id_config import SpeakerIdConfig
from utils.config import save_config
save_config(SpeakerIdConfig(), "speaker_id")
"""


def make_data(folder):
    """Voices, lists, mixtures and manifests in `folder`, the same at every call."""
    folder = Path(folder)
    names = [(speaker, f"s{speaker}/{number}.wav") for speaker in range(SPEAKERS) for number in range(UTTERANCES)]
    for speaker, name in names:
        path = folder / "wav" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, voice(speaker, int(path.stem)), RATE, subtype="PCM_16")
        path.with_suffix(".txt").write_text(WORDS[int(path.stem)] + "\n")
    write(folder / "train.txt", (f"s{speaker} {name}" for speaker, name in names))
    write(folder / "trials.txt", (f"{int(a == b)} {left} {right}" for i, (a, left) in enumerate(names)
                                  for b, right in names[:i]))
    utterances = [f"wav/{name},wav/{name[:-4]}.txt" for _, name in names]
    write(folder / "manifest.csv", utterances)
    write(folder / "short.csv", utterances[:2])
    pairs = [(left, right) for i, (a, left) in enumerate(names) for b, right in names[:i] if a != b][::7]
    write(folder / "mixtures.csv", ["mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain",
                                    *(f"mixture{i},{left},0.9,{right},0.7" for i, (left, right) in enumerate(pairs))])


def voice(speaker, number):
    """A buzz of 0.8 s that rises or falls, (n,) float64: pitch and timbre are the speaker's."""
    time = np.arange(int(0.8 * RATE)) / RATE
    phase = 2 * np.pi * (90 + 35 * speaker) * (time + (number - 1) * 0.2 * time ** 2)
    harmonics = sum(np.sin(k * phase) / (1 + (k - 3 - 2 * speaker) ** 2) for k in range(1, 20))
    return 0.25 * harmonics * np.sin(np.pi * time / time[-1]) * (1 + 0.5 * np.sin(2 * np.pi * (3 + number) * time))


def write(path, lines):
    """A text file of `lines`."""
    path.write_text("".join(f"{line}\n" for line in lines))


def run(root, model, program, *arguments, folder):
    """Calls <root>/<model>/<program> in `folder`."""
    print(model, program, *arguments, flush=True)
    subprocess.run([sys.executable, Path(root, model, program), *arguments], cwd=folder, check=True)


def main(root, target, work):
    """Makes the runs below `target` by the programs of the checkout `root`, in the empty folder `work`."""
    make_data(work)
    for model, arguments in RUNS.items():
        run(root, model, "train.py", *COMMON, *arguments, folder=work)
        for name in KEPT:
            copy = Path(target, model, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(work, model, name), copy)
        run(root, model, "eval.py", "--checkpoint_path", f"{model}/best.ckpt", folder=work)
        run(root, model, "train.py", "--resume", model, "--max_steps", "0", folder=work)
        expected = Path(target, model, "expected")
        expected.mkdir(exist_ok=True)
        for name in (SCORES[model], "metrics.csv"):
            shutil.copyfile(Path(work, model, name), expected / Path(name).name)
    Path(target, "speaker_id").mkdir()
    subprocess.run([sys.executable, "-c", DEFAULTS], cwd=target, check=True)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        main(sys.argv[1], sys.argv[2], scratch)
