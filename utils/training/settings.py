"""The settings that all models share. Each has a Config of its own, which adds to these and overrides defaults."""
from dataclasses import dataclass
from typing import Annotated

from utils.ranges import MANY, Amount, Count, Device, Length, OneOf, Positive, Range, Ranged, Seed, Size, Workers
from utils.training.step_clock import WARM_UP

Level = Annotated[str, OneOf(("", "O0", "O1", "O2", "bf16"))]
Steps = Annotated[int, Range(WARM_UP + 1, MANY, or_zero=True)]     # the first are left out of FPS


@dataclass(frozen=True)
class RunSettings(Ranged):
    """What the training loop wants to know of a run."""

    # optimisation
    num_epochs: Positive = 100      # epochs of the whole run, resumed or not
    max_steps: Steps = 0            # train so many steps and print FPS; 0: all epochs
    minibatch_size: Size = 8        # crops, mixtures or utterances per step and device
    accumulate: Positive = 1        # steps whose gradients are averaged into one update
    clip_norm: Amount = 0.0         # largest norm of all gradients together; 0: not clipped
    halve_after: Count = 0          # validations without a better one before the rate is halved; 0: never
    amp_level: Level = ""           # O0 (float32), O1, O2 (mixed float16), bf16 (on a CPU); "": O1 on Ascend, else O0
    loss_scale: Amount = 128.0      # loss scale, used with O1 and O2 and always on Ascend; 0: dynamic, 1: none

    # run
    ckpt_save_dir: str = ""         # run folder: checkpoints, log, curves, config.yaml
    keep_checkpoint_max: Count = 5  # checkpoints of the last epochs, beside best.ckpt; 0: of all
    save_steps: Count = 500         # steps between saved states within an epoch, for --resume
    test_step: Positive = 1         # epochs between validations
    early_stop: Count = 0           # validations without a better one before stopping; 0: never
    resume: str = ""                # run folder to continue; auto: that of ckpt_save_dir, if it holds a state
    seed: Seed = 0                  # seed of the first weights, and of all that is drawn of the data
    num_workers: Workers = 1        # processes that read and augment; 0: none
    device_target: str = ""         # Ascend, CPU, GPU; "": $DEVICE_TARGET, else what MindSpore finds
    device_id: Device = 0           # number of the Ascend or GPU; $DEVICE_ID comes before it

    def updates(self, steps: int) -> int:
        """Updates in an epoch of so many steps, by which schedules count; 1 where one takes more than an epoch."""
        return max(1, steps // self.accumulate)


@dataclass(frozen=True)
class ModelSettings(RunSettings):
    """What a model's programs share: train.py, eval.py, infer.py, export.py, preprocess.py, postprocess.py."""

    # training
    warmup_epochs: Amount = 0.0     # epochs in which the learning rate grows linearly from 0
    initial_model: str = ""         # run folder or checkpoint to start from; an output of another size is a new one
    distribute: bool = False        # this process is one of several started by a launcher

    # evaluation and export
    model_path: str = ""            # run folder or checkpoint that eval.py and export.py take
    output_folder: str = ""         # folder of what eval.py writes; "": eval_<name of the list> beside the checkpoint
    length: Length = 0              # of the exported graph's input and of 310 inference; 0: any
    gears: str = ""                 # lengths of an exported graph, e.g. 200,400,800: recordings are padded to the next
    file_format: str = "MINDIR"     # format of the export: MINDIR, ONNX or AIR
    runtime: str = ""               # MINDIR for MindSpore Lite: ascend, lite2.0-ascend, lite2.0 (CPU) or lite2.0-cpu
    file_name: str = ""             # file of the export; "": <model>.<format> beside the checkpoint
