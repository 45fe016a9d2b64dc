"""Every setting of DeepSpeech2, with its default. `--config configs/x.yaml` and `--flag value` override.

The network's are deepspeech.pytorch's, the others the MindSpore zoo's.
"""
from dataclasses import dataclass
from typing import ClassVar

from deepspeech2.src.text import LABELS


@dataclass(frozen=True)
class Config:
    """DeepSpeech2 speech recognition: train, evaluate, export."""

    ALIASES: ClassVar[dict] = {     # other names of flags: the zoo's, and those of deepspeech.pytorch
        "checkpoint_path": "model_path",
        "data.train_manifest": "train_manifest", "data.train_path": "train_manifest",
        "data.val_manifest": "val_manifest", "data.val_path": "val_manifest", "data.num_workers": "num_workers",
        "data.batch_size": "minibatch_size", "training.epochs": "num_epochs", "training.seed": "seed",
        "model.rnn_type": "rnn_type", "model.hidden_size": "hidden_size", "model.hidden_layers": "hidden_layers",
        "model.lookahead_context": "lookahead_context", "optim.learning_rate": "learning_rate",
        "optim.learning_anneal": "learning_anneal", "optim.momentum": "momentum",
        "optim.weight_decay": "weight_decay", "apex.opt_level": "amp_level", "apex.loss_scale": "loss_scale"}

    # network
    labels: str = LABELS            # of the outputs; the first is the blank of CTC
    conv_channels: int = 32         # of the two convolutions
    rnn_type: str = "lstm"          # or gru, whose graph takes minutes to compile (README_CN.md)
    hidden_size: int = 1024         # of each recurrent layer and direction
    hidden_layers: int = 5
    bidirectional: bool = True      # false: forward in time only, with a lookahead convolution; can stream
    lookahead_context: int = 20     # frames of 20 ms that it looks ahead

    # data
    train_manifest: str = ""        # .json of deepspeech.pytorch or .csv of `wav,txt`; prepare.py writes them
    val_manifest: str = ""          # chooses the best epoch
    test_manifest: str = ""         # of eval.py
    data_folder: str = ""           # what the paths are relative to; "": what the manifest says
    max_seconds: float = 30.0       # longer utterances are left out of training
    buckets: int = 4                # lengths that batches are padded to: so many graphs are compiled
    speeds: str = "1.0"             # e.g. 0.9,1.0,1.1: each utterance at one of these speeds
    gain_range: float = 0.0         # each utterance is up to so many dB louder or softer
    noise_dir: str = ""             # recordings of noise, added to utterances
    noise_prob: float = 0.4         # to how many of them
    noise_max: float = 0.5          # largest amplitude of the noise, as a part of the utterance's
    mask_from: int = 0              # first epoch with SpecAugment, two stripes each way; 0: never
    mask_frames: int = 70           # widest stripe of time
    mask_bins: int = 27             # widest stripe of frequency
    resample: bool = False          # take files of another rate than 16 kHz and resample them on the fly
    num_workers: int = 1            # processes that read and augment; 0: none

    # optimisation
    optimizer: str = "adamw"        # or sgd, with Nesterov's momentum
    learning_rate: float = 1.5e-4
    learning_anneal: float = 0.99   # factor of each epoch
    momentum: float = 0.9           # of sgd
    weight_decay: float = 1e-5
    warmup_epochs: float = 0.0      # linear from 0
    halve_after: int = 0            # validations without a better one before the rate is halved; 0: never
    num_epochs: int = 70
    max_steps: int = 0              # train so many steps and print FPS; 0: all epochs
    minibatch_size: int = 8         # utterances a step and device
    accumulate: int = 1             # steps whose gradients are averaged into one update
    clip_norm: float = 50.0         # largest norm of all gradients of the mean loss; 400 of the sum of 8
    amp_level: str = ""             # O0 float32 (nearly, on Ascend), O1, O2 mixed; "": O1 on Ascend, else O0
    loss_scale: float = 128.0       # with O1 and O2, and always on Ascend; 0: dynamic, 1: none

    # run
    ckpt_save_dir: str = "runs/deepspeech2"  # run folder: checkpoints, log, curves, config.yaml
    keep_checkpoint_max: int = 5
    save_steps: int = 500           # steps between saved states within an epoch, for --resume
    test_step: int = 1              # epochs between validations
    early_stop: int = 0             # validations without a better one before stopping; 0: never
    initial_model: str = ""         # weights to start from; the output layer is new where the labels differ
    resume: str = ""                # run folder to continue; auto: that of ckpt_save_dir, if it holds a state
    seed: int = 0
    device_target: str = ""         # Ascend, CPU, GPU; "": $DEVICE_TARGET, else what MindSpore finds
    device_id: int = 0
    distribute: bool = False        # this process is one of several started by a launcher

    # decoding
    lm_path: str = ""               # ARPA or KenLM model; "": none
    alpha: float = 0.8              # weight of its log probability
    beta: float = 1.0               # reward of a word
    beam_width: int = 0             # prefixes kept; 0: greedy without a language model, 100 with one

    # evaluation and export
    model_path: str = ""            # checkpoint that eval.py and export.py take
    save_log_probs: bool = False    # eval.py keeps what the network says, for lm.py tune
    length: int = 800               # frames of 10 ms of the exported graph and of 310 inference; 0: any number
    gears: str = ""                 # in place of length, e.g. 400,800,1600: recordings are padded to the next
    file_format: str = "MINDIR"     # or ONNX, AIR
    input: str = "features"         # or waveform: the front-end is a part of the graph
    runtime: str = ""               # MINDIR for MindSpore Lite: ascend, lite2.0-ascend, lite2.0 (CPU), lite2.0-cpu
    file_name: str = ""             # of the export; "": deepspeech2.<format> beside the checkpoint

    @property
    def max_lrate(self):
        """What utils/training/schedules.py calls learning_rate."""
        return self.learning_rate

    @property
    def decay(self):
        """What utils/training/schedules.py calls learning_anneal."""
        return self.learning_anneal

    @property
    def schedule(self):
        """The one there is."""
        return "exponential"
