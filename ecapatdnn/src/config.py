"""Every setting of ECAPA-TDNN, with its default. `--config configs/x.yaml` and `--flag value` override.

The names and values of the MindSpore zoo's ECAPA-TDNN are kept; presets in configs/ hold what differs by corpus.
"""
from dataclasses import dataclass
from typing import Annotated, ClassVar

from utils.ranges import Count, Drawn, Factor, Positive, Range, Ranged, Rate, Seed, Share, Size
from utils.training.settings import ModelSettings

Batch = Annotated[int, Range(2, 2 ** 16)]       # what is pooled of a crop is one number: of one crop it has no variance
Crop = Annotated[int, Range(10, 60_000)]        # the convolutions reach so far
Angle = Annotated[float, Range(0, 1.57)]
Scale = Annotated[float, Range(0, 1000, above=True)]
Crops = Annotated[int, Range(0, 1000)]
Cohort = Annotated[int, Range(2, 10 ** 9)]      # a deviation is taken over the nearest speakers


@dataclass(frozen=True)
class CropSettings(Ranged):
    """What src/dataset.py makes training crops of."""

    # features
    in_channels: Size = 80          # mel bands
    front_end: str = "taoruijie"    # or speechbrain, kaldi, 3dspeaker: whose features (src/features.py)

    # data
    train_list: str = ""            # `speaker path` per line (voxceleb_trainer)
    train_path: str = ""            # the folder its paths are relative to
    class_num: Count = 0            # speakers in train_list times speeds; 0: counted. Given, it is checked
    musan_path: str = ""            # folders noise, music, speech; or noises alone. "": no noise
    rir_path: str = ""              # room impulse responses. "": no reverberation
    resample: bool = False          # take files that are not 16 kHz and resample them on the fly
    crop: Crop = 200                # frames of a training crop
    crops_per_epoch: Drawn = 0      # 0: one from every file; else this many, every speaker equally often
    speeds: str = "1.0"             # e.g. 0.9,1.0,1.1: each speed of a speaker is a speaker of its own
    pieces: Size = 1                # of a file that a crop is made of; several hide what is said from the network
    spec_augment: bool = True       # one time and one frequency mask
    mp3_probability: Share = 0.0    # share of crops that pass through MP3, against a codec mismatch
    minibatch_size: Batch = 100     # crops of a step and device
    seed: Seed = 0                  # of all that is drawn; of a Config, of the first weights too


@dataclass(frozen=True)
class Config(CropSettings, ModelSettings):
    """ECAPA-TDNN speaker verification: train, evaluate, export."""

    ALIASES: ClassVar[dict] = {"checkpoint_path": "model_path"}     # other names of flags

    # network
    channels: Size = 1024           # of the SE-Res2 blocks; a multiple of 8
    mfa_channels: Size = 1536       # of the multi-layer feature aggregation
    emb_size: Size = 192            # embedding dimension
    variant: str = "taoruijie"      # or speechbrain, wespeaker: whose network, where they differ (src/model.py)
    global_context: bool = True     # the attention sees the mean and the deviation of the whole recording as well

    # loss
    margin: Angle = 0.2             # of AAM-softmax, radians
    margin_start: Count = 0         # the margin grows from 0 after this epoch ...
    margin_end: Count = 0           # ... to its full value in this one; 0: full from the first
    scale: Scale = 30.0             # of its logits
    sub_centers: Size = 1           # centres of each class

    # trials
    valid_list: str = ""            # those that choose the best epoch: `1|0 path path`; "": eval_list, as TaoRuijie
    valid_path: str = ""            # the folder its paths are relative to
    eval_list: str = ""             # those of eval.py
    eval_path: str = ""             # the folder its paths are relative to

    # optimisation
    schedule: str = "cyclic"        # or exponential, step, cosine, constant: see utils/training/schedules.py
    base_lrate: Rate = 1e-6         # lowest rate of the cyclic schedule, last of the cosine
    max_lrate: Rate = 1e-4          # highest rate, and the first of the exponential schedule
    cycle_steps: Positive = 65000   # steps from base to max on one device
    decay: Factor = 0.97            # factor per epoch of the exponential schedule, per test_step epochs of step
    weight_decay: Rate = 2e-6       # of Adam
    num_epochs: int = 80

    # run
    ckpt_save_dir: str = "runs/ecapatdnn"
    keep_checkpoint_max: int = 80
    save_steps: int = 1000

    # evaluation and export
    model_path: str = ""            # the document of ECAPA-TDNN (MindSpore) has its users edit it here
    score_crops: Crops = 0          # also average the scores of so many crops of 300 frames; TaoRuijie: 5
    as_norm: bool = False           # adaptive symmetric score normalisation
    cohort_list: str = ""           # its cohort, one mean embedding per speaker; "": train_list
    cohort_path: str = ""           # the folder its paths are relative to
    cohort_utterances: Positive = 20  # of a speaker, at most
    top_n: Cohort = 300             # nearest cohort speakers that count
    subtract_mean: bool = False     # the cohort's mean embedding, before the cosine
    calibrate: bool = False         # fit log-likelihood ratios to eval_list's scores and save that in the checkpoint
    length: int = 1199              # frames of 10 ms
    input: str = "features"         # or waveform: the front-end is a part of the graph
