"""Every setting of speaker identification, with its default; the other names are those of SpeechBrain's template.

SpeechBrain, templates/speaker_id/train.yaml, with the 5 epochs of 64 of its port to Ascend.
"""
from dataclasses import dataclass
from typing import Annotated, ClassVar

from ecapatdnn.src.config import Batch, Crop, CropSettings, Features, Variant
from utils.ranges import Count, Drawn, Range, Rate, Size
from utils.training.settings import RunSettings

Ranks = Annotated[int, Range(1, 64)]


@dataclass(frozen=True)
class SpeakerIdConfig(RunSettings):
    """Speaker identification: trains to tell the speakers of a folder apart, and tests on utterances kept for that.

    --data_folder      speaker/**/audio, or LibriSpeech at any depth; RIRS_NOISES in it is used for augmentation
    --output_folder    lists, log, curves, best.ckpt, and in save/ the weights of every epoch
    """

    ALIASES: ClassVar[dict] = {
        "number_of_epochs": "num_epochs", "batch_size": "minibatch_size", "output_folder": "ckpt_save_dir",
        "lr": "max_lrate", "lr_final": "base_lrate", "n_mels": "in_channels", "emb_dim": "emb_size",
        "n_classes": "class_num"}

    # data
    data_folder: str = "./data"     # speakers, each a folder (see above)
    musan_path: str = ""            # noises; "": RIRS_NOISES/pointsource_noises of the data folder, where it is there
    rir_path: str = ""              # room impulse responses; "": likewise, RIRS_NOISES/simulated_rirs
    class_num: Count = 0            # speakers; 0: counted. Given, it is checked
    resample: bool = False          # take files that are not 16 kHz and resample them on the fly
    crop: Crop = 300                # frames of a training crop; validation and test take whole files
    crops_per_epoch: Drawn = 0      # 0: one from every file; else this many, every speaker equally often
    spec_augment: bool = False      # one time and one frequency mask

    # network
    network: str = "xvector"        # the template's TDNN; or ecapa
    in_channels: Size = 23          # mel bands
    channels: Size = 512            # of the layers over time
    mfa_channels: Size = 1500       # of the last of them, whose statistics are pooled
    emb_size: Size = 512            # embedding dimension
    variant: Variant = "speechbrain"  # or taoruijie, wespeaker: whose ECAPA-TDNN (src/model.py)
    front_end: Features = "speechbrain"  # or taoruijie, kaldi, 3dspeaker: whose features (src/features.py)

    # optimisation
    max_lrate: Rate = 1e-3          # of the first epoch
    base_lrate: Rate = 1e-4         # of the last; linear between
    num_epochs: int = 5
    minibatch_size: Batch = 64
    weight_decay: Rate = 0.0        # of Adam
    auto_mix_prec: bool = False     # mixed precision: amp_level O1

    # run
    ckpt_save_dir: str = "./results/speaker_id/<seed>"
    save_steps: int = 1000
    seed: int = 1986
    rank_size: Ranks = 1            # devices, or processes on a CPU, that train together

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "ckpt_save_dir", self.ckpt_save_dir.replace("<seed>", str(self.seed)))
        object.__setattr__(self, "amp_level", self.amp_level or ("O1" if self.auto_mix_prec else ""))

    def list_of(self, part: str) -> str:
        """The list of the utterances to "train", "valid" or "test" on: `speaker path`, relative to data_folder."""
        return f"{self.ckpt_save_dir}/{part}.txt"

    def crops(self) -> CropSettings:
        """The training part, at its own speed alone: another would be another speaker."""
        return CropSettings(
            in_channels=self.in_channels, front_end=self.front_end, train_list=self.list_of("train"),
            train_path=self.data_folder, class_num=self.class_num, musan_path=self.musan_path, rir_path=self.rir_path,
            resample=self.resample, crop=self.crop, crops_per_epoch=self.crops_per_epoch,
            spec_augment=self.spec_augment, minibatch_size=self.minibatch_size, seed=self.seed)
