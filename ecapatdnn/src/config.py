"""Every setting of ECAPA-TDNN, with its default. `--config configs/x.yaml` and `--flag value` override.

The names and values of the MindSpore zoo's ECAPA-TDNN are kept; presets in configs/ hold what differs by corpus.
"""
from dataclasses import dataclass
from typing import Annotated, ClassVar

from utils.ranges import Count, Drawn, Factor, Input, OneOf, Positive, Range, Ranged, Rate, Seed, Share, Size
from utils.training.settings import ModelSettings

Batch = Annotated[int, Range(2, 2 ** 16)]       # what is pooled of a crop is one number: of one crop it has no variance
Crop = Annotated[int, Range(10, 60_000)]        # the convolutions reach so far
Angle = Annotated[float, Range(0, 1.57)]
Scale = Annotated[float, Range(0, 1000, above=True)]
Crops = Annotated[int, Range(0, 1000)]
Features = Annotated[str, OneOf(("taoruijie", "speechbrain", "kaldi", "3dspeaker"))]
Variant = Annotated[str, OneOf(("taoruijie", "speechbrain", "wespeaker"))]
Schedule = Annotated[str, OneOf(("cyclic", "exponential", "step", "cosine", "constant"))]
Cohort = Annotated[int, Range(2, 10 ** 9)]      # a deviation is taken over the nearest speakers

# What a checkpoint fixes: the settings of its network (make_network of model.py), and the features that it takes
NETWORK = ("in_channels", "front_end", "channels", "mfa_channels", "emb_size", "variant", "global_context")


@dataclass(frozen=True)
class CropSettings(Ranged):
    """What src/dataset.py makes training crops of."""

    # features
    in_channels: Size = 80          # mel bands
    front_end: Features = "taoruijie"  # taoruijie, speechbrain, kaldi or 3dspeaker: whose features (src/features.py)

    # data
    train_list: str = ""            # training list, lines `speaker path` (as voxceleb_trainer)
    train_path: str = ""            # the folder that the paths of train_list are relative to
    class_num: Count = 0            # speakers in train_list times speeds, which is checked; 0: counted
    musan_path: str = ""            # folder with noise, music and speech, or with noises alone; "": no noise
    rir_path: str = ""              # folder of room impulse responses; "": no reverberation
    resample: bool = False          # take files that are not 16 kHz and resample them on the fly
    crop: Crop = 200                # frames of a training crop
    crops_per_epoch: Drawn = 0      # crops of an epoch, of every speaker equally often; 0: one from every file
    speeds: str = "1.0"             # speeds of the speech, e.g. 0.9,1.0,1.1: each makes another speaker of a speaker
    pieces: Size = 1                # pieces of a file that make a crop: with several, its words cannot be learned
    spec_augment: bool = True       # SpecAugment: one time and one frequency mask
    mp3_probability: Share = 0.0    # share of crops that pass through MP3, against a codec mismatch
    minibatch_size: Batch = 100     # crops per step and device
    seed: Seed = 0                  # seed of all that is drawn: crops, augmentation, order, and the first weights


@dataclass(frozen=True)
class Config(CropSettings, ModelSettings):
    """ECAPA-TDNN speaker verification: train, evaluate, export."""

    ALIASES: ClassVar[dict] = {"checkpoint_path": "model_path"}     # other names of flags
    FIXED: ClassVar[tuple] = ("front_end", "variant")               # by the weights, which others fit as well

    # network
    channels: Size = 1024           # channels of the SE-Res2 blocks; a multiple of 8
    mfa_channels: Size = 1536       # channels of the multi-layer feature aggregation
    emb_size: Size = 192            # size of the embedding
    variant: Variant = "taoruijie"  # taoruijie, speechbrain or wespeaker: whose network, where they differ (model.py)
    global_context: bool = True     # the attention sees the mean and the deviation of the whole recording as well

    # loss
    margin: Angle = 0.2             # margin of AAM-softmax, radians
    margin_start: Count = 0         # epoch after which the margin grows from 0
    margin_end: Count = 0           # epoch in which the margin reaches its full value; 0: full from the first
    scale: Scale = 30.0             # scale of the logits of AAM-softmax
    sub_centers: Size = 1           # centres of each class

    # trials
    valid_list: str = ""            # trials that choose the best epoch, `1|0 path path`; "": eval_list, as TaoRuijie
    valid_path: str = ""            # the folder that the paths of valid_list are relative to
    eval_list: str = ""             # trials of eval.py, lines `1|0 path path`
    eval_path: str = ""             # the folder that the paths of eval_list are relative to

    # optimisation
    schedule: Schedule = "cyclic"   # cyclic, exponential, step, cosine or constant: utils/training/schedules.py
    base_lrate: Rate = 1e-6         # lowest rate of the cyclic schedule, last of the cosine
    max_lrate: Rate = 1e-4          # highest rate, and the first of the exponential schedule
    cycle_steps: Positive = 65000   # steps from base to max on one device
    decay: Factor = 0.97            # factor of the rate: per epoch (exponential) or per test_step epochs (step)
    weight_decay: Rate = 2e-6       # weight decay of Adam
    num_epochs: int = 80

    # run
    ckpt_save_dir: str = "runs/ecapatdnn"
    keep_checkpoint_max: int = 80
    save_steps: int = 1000

    # evaluation and export
    model_path: str = ""            # checkpoint of eval.py and export.py; the MindSpore zoo's document edits it here
    score_crops: Crops = 0          # also average the scores of so many crops of 300 frames; TaoRuijie: 5
    as_norm: bool = False           # score with AS-norm as well (adaptive symmetric score normalisation)
    cohort_list: str = ""           # speakers of the cohort of AS-norm, one mean embedding each; "": train_list
    cohort_path: str = ""           # the folder that the paths of cohort_list are relative to
    cohort_utterances: Positive = 20  # utterances of a speaker of the cohort, at most
    top_n: Cohort = 300             # nearest speakers of the cohort that AS-norm takes
    voice_activity: bool = False    # leave out pauses of a second and more; infer.py does
    subtract_mean: bool = False     # subtract the mean embedding of the cohort before the cosine
    calibrate: bool = False         # fit log-likelihood ratios to eval_list's scores and save that in the checkpoint
    length: int = 1199              # frames of 10 ms that an exported graph takes; 0: any length
    input: Input = "features"       # input of an exported graph: features, or waveform (it holds the front-end)
