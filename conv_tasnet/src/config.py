"""Every setting of Conv-TasNet, with its default. `--config configs/x.yaml` and `--flag value` override.

The letters are those of the paper and of kaituoxu's code; the other names are the MindSpore zoo's.
"""
from dataclasses import dataclass
from typing import Annotated, ClassVar

from utils.ranges import Count, Decibels, Depth, Drawn, Hertz, OneOf, Range, Rate, Seconds, Share, Size, Span
from utils.training.settings import ModelSettings

Taps = Annotated[int, Range(2, 2 ** 16)]
Skip = Annotated[int, Range(0, 2 ** 16)]
Doubling = Annotated[int, Range(1, 20)]         # dilations up to 2^19
Speakers = Annotated[int, Range(1, 20)]
Norm = Annotated[str, OneOf(("gLN", "cLN", "cgLN", "BN"))]
Mask = Annotated[str, OneOf(("relu", "sigmoid", "softmax"))]
Variant = Annotated[str, OneOf(("asteroid", "kaituoxu"))]
Loss = Annotated[str, OneOf(("si_snr", "snr"))]
Optimizer = Annotated[str, OneOf(("adam", "sgd"))]
Schedule = Annotated[str, OneOf(("constant", "cosine"))]
Ratio = Annotated[float, Range(-100, 100)]      # dB


@dataclass(frozen=True)
class Config(ModelSettings):
    """Conv-TasNet speech separation: train, evaluate, export."""

    ALIASES: ClassVar[dict] = {"checkpoint_path": "model_path",     # other names of flags, as documents have them
                               "data-dir": "eval_dir", "batch_size": "minibatch_size"}
    FIXED: ClassVar[tuple] = ("X", "norm", "mask_nonlinear", "causal", "variant", "sample_rate")    # by the weights

    # network
    N: Size = 512                   # filters of the encoder
    L: Taps = 16                    # length of these filters in samples, even; the stride is half of it
    B: Size = 128                   # channels of the bottleneck and the residual path
    H: Size = 512                   # channels inside a block
    Sc: Skip = 128                  # channels of the skip path; 0: none, the residual path leads to the masks
    P: Depth = 3                    # taps of the depthwise convolutions
    X: Doubling = 8                 # blocks of a repeat, dilations 1, 2, ... 2^(X-1)
    R: Depth = 3                    # repeats of the blocks
    C: Speakers = 2                 # speakers in a mixture
    norm: Norm = "gLN"              # gLN (whole recording), cLN (one frame), cgLN (all frames so far) or BN
    mask_nonlinear: Mask = "relu"   # activation of the masks: relu, sigmoid or softmax (over the speakers)
    causal: bool = False            # the output up to time t does not depend on later samples; norm cLN, cgLN or BN
    variant: Variant = "asteroid"   # asteroid or kaituoxu (SpeechBrain's too): whose network, where they differ
    sample_rate: Hertz = 8000       # sample rate, Hz

    # data
    train_dir: str = ""             # mixtures: .csv or a folder of mix.json s1.json ...; .txt: speakers to mix
    train_path: str = ""            # the folder that the paths of train_dir are relative to
    valid_dir: str = ""             # mixtures that choose the best epoch: .csv or a folder
    valid_path: str = ""            # the folder that the paths of valid_dir are relative to
    eval_dir: str = ""              # mixtures of eval.py
    eval_path: str = ""             # the folder that the paths of eval_dir are relative to
    segment: Span = 4.0             # seconds of a training segment
    cv_maxlen: Seconds = 8.0        # seconds of a validation mixture, longer ones are cut; 0: never
    mixtures_per_epoch: Drawn = 0   # mixtures of an epoch, mixed at random; 0: as many as there are files
    gain_range: Decibels = 5.0      # mixed at random, each source is up to so many dB louder or softer
    speeds: str = "1.0"             # e.g. 0.95,1.0,1.05: mixed at random, each source at one of these speeds
    one_corpus: bool = False        # mixed at random: both speakers from one corpus; their names are corpus-speaker
    one_voice_share: Share = 0.0    # mixed at random: share with one speaker, all other sources silent; needs loss snr
    partial_share: Share = 0.0      # mixed at random: share in which each speaker speaks only a part of the time
    noise_list: str = ""            # recordings, one path per line, added to mixtures made at random; "": no noise
    noise_share: Share = 0.5        # share of these mixtures that get noise
    snr_min: Ratio = 0.0            # smallest signal-to-noise ratio of this noise, dB
    snr_max: Ratio = 15.0           # largest signal-to-noise ratio, dB
    room_list: str = ""             # lines `room path` of impulse responses: each speaker gets a place in the room
    room_share: Share = 0.5         # share of the mixtures made at random that are in a room
    scene_path: str = ""            # the folder that the paths of noise_list and room_list are relative to
    resample: bool = True           # take files of another rate and resample them on the fly

    # optimisation
    loss: Loss = "si_snr"           # si_snr, or snr: for silent sources too; keeps the speakers' levels to each other
    optimizer: Optimizer = "adam"   # adam or sgd
    lr: Rate = 1e-3                 # learning rate, the highest
    schedule: Schedule = "constant"  # learning rate: constant, or cosine from lr to base_lrate
    base_lrate: Rate = 0.0          # last learning rate of the cosine
    momentum: Share = 0.9           # momentum of sgd
    l2: Rate = 0.0                  # weight decay
    halve_after: int = 3
    minibatch_size: int = 4
    clip_norm: float = 5.0

    # run
    ckpt_save_dir: str = "runs/conv_tasnet"
    early_stop: int = 10

    # evaluation and export
    save_examples: Count = 3        # mixtures whose separation eval.py keeps as wav and PNG
    length: int = 32000             # samples that an exported graph takes; 0: any length
    streaming: bool = False         # export.py: a graph of one step of a causal network, for the runner's main --stream
    stream_step: Span = 0.1         # seconds of such a step, by which the speakers come later
