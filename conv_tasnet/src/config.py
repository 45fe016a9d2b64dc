"""Every setting of Conv-TasNet, with its default. `--config configs/x.yaml` and `--flag value` override.

The letters are those of the paper and of kaituoxu's code; the other names are the MindSpore zoo's.
"""
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Config:
    """Conv-TasNet speech separation: train, evaluate, export."""

    ALIASES: ClassVar[dict] = {"checkpoint_path": "model_path",     # other names of flags, as documents have them
                               "data-dir": "eval_dir", "batch_size": "minibatch_size"}

    # network
    N: int = 512                    # filters of the encoder
    L: int = 16                     # their length in samples, even; the stride is half of it
    B: int = 128                    # channels of the bottleneck and the residual path
    H: int = 512                    # channels inside a block
    Sc: int = 128                   # channels of the skip path; 0: none, the residual path leads to the masks
    P: int = 3                      # taps of the depthwise convolutions
    X: int = 8                      # blocks a repeat, dilations 1, 2, ... 2^(X-1)
    R: int = 3                      # repeats
    C: int = 2                      # speakers
    norm: str = "gLN"               # or cLN (a frame), cgLN (all frames so far), BN
    mask_nonlinear: str = "relu"    # or sigmoid, softmax (over the speakers)
    causal: bool = False            # the output up to time t does not depend on later samples; norm cLN, cgLN or BN
    variant: str = "asteroid"       # or kaituoxu (SpeechBrain's too): whose network, where they differ (src/model.py)
    sample_rate: int = 8000

    # data
    train_dir: str = ""             # mixtures: .csv or a folder of mix.json s1.json ...; .txt: speakers, mixed anew
    train_path: str = ""            # the folder its paths are relative to
    valid_dir: str = ""             # mixtures that choose the best epoch: .csv or a folder
    valid_path: str = ""
    eval_dir: str = ""              # mixtures of eval.py
    eval_path: str = ""
    segment: float = 4.0            # seconds of a training segment
    cv_maxlen: float = 8.0          # seconds of a validation mixture, longer ones are cut; 0: never
    mixtures_per_epoch: int = 0     # of speakers mixed anew; 0: as many as there are files
    gain_range: float = 5.0         # mixed anew, each source is up to so many dB louder or softer
    speeds: str = "1.0"             # e.g. 0.95,1.0,1.05: mixed anew, each source at one of these speeds
    resample: bool = True           # take files of another rate and resample them on the fly
    num_workers: int = 1            # processes that read and mix; 0: none

    # optimisation
    optimizer: str = "adam"         # or sgd
    lr: float = 1e-3
    schedule: str = "constant"      # or cosine, from lr to base_lrate
    base_lrate: float = 0.0
    momentum: float = 0.9           # of sgd
    l2: float = 0.0                 # weight decay
    halve_after: int = 3            # validations without a better one before the rate is halved; 0: never
    warmup_epochs: float = 0.0      # linear from 0
    num_epochs: int = 100
    max_steps: int = 0              # train so many steps and print FPS; 0: all epochs
    minibatch_size: int = 4         # mixtures a step and device
    accumulate: int = 1             # steps whose gradients are averaged into one update
    clip_norm: float = 5.0          # largest norm of all gradients together; 0: not clipped
    amp_level: str = ""             # O0 float32 (nearly, on Ascend), O1, O2 mixed; "": O1 on Ascend, else O0
    loss_scale: float = 128.0       # with O1 and O2, and always on Ascend; 0: dynamic, 1: none

    # run
    ckpt_save_dir: str = "runs/conv_tasnet"  # run folder: checkpoints, log, curves, config.yaml
    keep_checkpoint_max: int = 5
    save_steps: int = 500           # steps between saved states within an epoch, for --resume
    test_step: int = 1              # epochs between validations
    early_stop: int = 10            # validations without a better one before stopping; 0: never
    initial_model: str = ""         # weights to start from
    resume: str = ""                # run folder to continue; auto: that of ckpt_save_dir, if it holds a state
    seed: int = 0
    device_target: str = ""         # Ascend, CPU, GPU; "": $DEVICE_TARGET, else what MindSpore finds
    device_id: int = 0
    distribute: bool = False        # this process is one of several started by a launcher

    # evaluation and export
    model_path: str = ""            # checkpoint that eval.py and export.py take
    save_examples: int = 3          # mixtures whose separation eval.py keeps as wav and PNG
    length: int = 32000             # samples of the exported graph and of 310 inference; 0: any length
    gears: str = ""                 # in place of length, e.g. 16000,32000: recordings are padded to the next
    file_format: str = "MINDIR"     # or ONNX, AIR
    runtime: str = ""               # MINDIR for MindSpore Lite: ascend, lite2.0-ascend, lite2.0 (CPU), lite2.0-cpu
    file_name: str = ""             # of the export; "": conv_tasnet.<format> beside the checkpoint

    @property
    def max_lrate(self):
        """What utils/training/schedules.py calls lr."""
        return self.lr
