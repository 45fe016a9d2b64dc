"""Every setting of DeepSpeech2, with its default. `--config configs/x.yaml` and `--flag value` override.

The network's are deepspeech.pytorch's, the others the MindSpore zoo's.
"""
from dataclasses import dataclass
from typing import Annotated, ClassVar

from deepspeech2.src.text import LABELS, read_labels
from utils.ranges import Amount, Count, Decibels, Depth, Factor, Input, OneOf, Range, Rate, Share, Size, Span, Weight
from utils.training.settings import ModelSettings

Buckets = Annotated[int, Range(1, 1000)]
Recurrent = Annotated[str, OneOf(("lstm", "gru"))]
Optimizer = Annotated[str, OneOf(("adamw", "sgd"))]
Beam = Annotated[int, Range(0, 10_000)]


@dataclass(frozen=True)
class Config(ModelSettings):
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
    FIXED: ClassVar[tuple] = ("labels",)     # by the weights, which others fit as well

    # network
    labels: str = LABELS            # letters of the outputs, first the blank of CTC; or a labels.json of prepare.py
    conv_channels: Size = 32        # channels of the two convolutions
    rnn_type: Recurrent = "lstm"    # lstm or gru, whose graph takes minutes to compile on a CPU
    hidden_size: Size = 1024        # units of each recurrent layer and direction
    hidden_layers: Depth = 5        # recurrent layers
    bidirectional: bool = True      # false: forward in time only, with a lookahead convolution; can stream
    lookahead_context: Size = 20    # frames of 20 ms that the lookahead convolution sees

    # data
    train_manifest: str = ""        # training manifest of prepare.py: deepspeech.pytorch's .json, or .csv of `wav,txt`
    val_manifest: str = ""          # manifest that chooses the best epoch
    test_manifest: str = ""         # manifest of eval.py
    data_folder: str = ""           # folder that the paths are relative to; "": what the manifest says
    max_seconds: Span = 30.0        # longer utterances are left out of training
    buckets: Buckets = 4            # lengths that batches are padded to: so many graphs are compiled
    speeds: str = "1.0"             # e.g. 0.9,1.0,1.1: each utterance at one of these speeds
    trim_share: Share = 0.0         # share of the utterances cut close to the speech, as turns of a meeting are
    gain_range: Decibels = 0.0      # each utterance is up to so many dB louder or softer
    noise_dir: str = ""             # recordings of noise, added to utterances
    noise_list: str = ""            # list of recordings of noise, one path per line, as well as those of noise_dir
    noise_prob: Share = 0.4         # share of the utterances that get noise
    noise_max: Amount = 0.5         # largest amplitude of the noise, as a part of the utterance's
    room_list: str = ""             # lines `room path` of impulse responses: utterances are put into these rooms
    room_share: Share = 0.5         # share of the utterances that are put into a room
    scene_path: str = ""            # the folder that the paths of noise_list and room_list are relative to
    mask_from: Count = 0            # first epoch with SpecAugment, two stripes each way; 0: never
    mask_frames: Count = 70         # widest stripe of time
    mask_bins: Count = 27           # widest stripe of frequency
    resample: bool = False          # take files of another rate than 16 kHz and resample them on the fly

    # optimisation
    optimizer: Optimizer = "adamw"  # adamw, or sgd with Nesterov's momentum
    learning_rate: Rate = 1.5e-4    # learning rate of the first epoch
    learning_anneal: Factor = 0.99  # factor of the learning rate after each epoch
    momentum: Share = 0.9           # momentum of sgd
    weight_decay: Rate = 1e-5       # weight decay of both optimisers
    num_epochs: int = 70
    clip_norm: float = 50.0         # largest norm of the gradients of the mean loss; 400 where the loss is a sum of 8

    # run
    ckpt_save_dir: str = "runs/deepspeech2"

    # decoding
    lm_path: str = ""               # ARPA or KenLM model, or the name of one that ships; "": none
    alpha: Weight = 0.8             # weight of the language model's log probability
    beta: Weight = 1.0              # reward of a word, beside the language model
    beam_width: Beam = 0            # prefixes kept by beam search; 0: greedy without a language model, 100 with one

    # evaluation and export
    save_log_probs: bool = False    # eval.py keeps the network's outputs, for lm.py tune
    length: int = 800               # frames of 10 ms that an exported graph takes; 0: any length
    input: Input = "features"       # input of an exported graph: features, or waveform (it holds the front-end)
    streaming: bool = False         # a unidirectional network by steps: eval.py as live use hears it, export.py a graph
    stream_step: Span = 0.5         # seconds of a step, by which the text comes later

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "labels", read_labels(self.labels))    # the run keeps the characters, not the file
