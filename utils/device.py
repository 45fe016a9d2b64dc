"""The device a program runs on, set up once before the first operator."""
import os
from dataclasses import dataclass

import mindspore as ms
from mindspore import communication

from utils.errors import UserError

TARGETS = ("Ascend", "CPU", "GPU")


@dataclass(frozen=True)
class Device:
    """Where this process runs: target, its rank, and how many processes train together."""

    target: str
    rank: int = 0
    size: int = 1


def setup_device(target="", distribute=False, device_id=0, seed=0):
    """Selects the target and graph mode, seeds initial weights and joins the other processes.

    `target` "" takes the environment's DEVICE_TARGET, else Ascend where MindSpore has one, else CPU. With
    `distribute`, ranks come from the launcher's environment (a rank table or msrun).
    """
    target = target or os.environ.get("DEVICE_TARGET") or _default_target()
    if target not in TARGETS:
        raise UserError(f"device_target: found {target}, expected one of {', '.join(TARGETS)}")
    if target == "CPU":
        # With AVX-512, oneDNN's convolutions wider than 1 fall into a reference kernel, up to 100 times slower
        # (DNNL_VERBOSE=1 shows `ref:any`); capped at AVX2 it takes its matrix-product kernel.
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    try:
        ms.set_device(target, int(os.environ.get("DEVICE_ID", device_id)) if target != "CPU" else None)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"device_target {target}: not usable here ({reason}); DEVICE_TARGET=CPU runs on this "
                        "CPU") from None
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_seed(seed)
    if not distribute:
        return Device(target)
    communication.init()
    device = Device(target, communication.get_rank(), communication.get_group_size())
    ms.set_auto_parallel_context(parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True,
                                 device_num=device.size)
    return device


def _default_target():
    """MindSpore's own pick: Ascend where its libraries are found, else CPU."""
    return ms.get_context("device_target")
