"""The device a program runs on, set up once before the first operator."""
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, communication, ops
from mindspore._c_expression import MSContext  # as mindspore/amp.py asks which Ascend it is
from numpy.typing import ArrayLike

from utils.errors import RunError, SettingError, UnsupportedError
from utils.ranges import Range, environment

TARGETS = ("Ascend", "CPU", "GPU")
UNUSED = "'FusedSparseAdam' is deprecated"      # nn.Adam makes one for sparse gradients, which no network here has
MISSING = "Unsupported device target"   # MindSpore's error where it has no backend for it, or a backend no driver
MAX_ISA = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")    # what oneDNN reads, the first before the second
CAP, CAPPED = "AVX2", "CPU_OPS_CAPPED"      # the variable tells the cap set here from one that the user has set


@dataclass(frozen=True)
class Device:
    """Where this process runs: target, its rank, and how many processes train together."""

    target: str
    rank: int = 0
    size: int = 1

    def __str__(self) -> str:
        return f"{self.size} x {self.target}" if self.size > 1 else self.target

    @property
    def saturates(self) -> bool:
        """Whether an overflow gives the largest number in place of infinity, so that `isfinite` sees none of it.

        A 910A always does, later chips where MS_ASCEND_CHECK_OVERFLOW_MODE asks for it.
        """
        if self.target != "Ascend":
            return False
        classic = MSContext.get_instance().ascend_soc_supports_feature("amp_loss_scale_train_classic_target")
        return classic or os.environ.get("MS_ASCEND_CHECK_OVERFLOW_MODE") == "SATURATION_MODE"

    def gather(self, values: ArrayLike) -> np.ndarray:
        """values (k,) of every process, k the same for all -> (size, k) float32, the same for all."""
        values = np.asarray(values, np.float32)
        if self.size == 1:
            return values[None]
        return ops.AllGather()(Tensor(values)).asnumpy().reshape(self.size, -1)

    def gather_objects(self, value: Any) -> list[Any]:
        """`value`, of what JSON can hold, of every process: by rank, the same for all."""
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        lengths = self.gather([*divmod(len(text), 2 ** 20)]) @ [2 ** 20, 1]     # float32 counts to 2^24 only
        padded = np.zeros(int(lengths.max()), np.uint8)
        padded[:len(text)] = text
        return [json.loads(row[:int(length)].astype(np.uint8).tobytes())
                for row, length in zip(self.gather(padded), lengths, strict=True)]

    def barrier(self) -> None:
        """Returns once all processes have come here."""
        self.gather([0.0])

    def share_out(self, count: int, work: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Rows (count, ...) of work(indices (m,)) for all indices below `count`, each computed by one process."""
        if self.size == 1:
            return work(np.arange(count))
        rows = np.asarray(work(self._share(count)), np.float32)
        every = self.gather(rows.ravel()).reshape(self.size, *rows.shape)
        return every.swapaxes(0, 1).reshape(-1, *rows.shape[1:])[:count]

    def share_out_objects(self, count: int, work: Callable[[np.ndarray], list[Any]]) -> list[Any]:
        """As `share_out`, where work(indices) gives a list of what JSON can hold, such as texts."""
        every = self.gather_objects(work(self._share(count)))
        return [value for values in zip(*every, strict=True) for value in values][:count]

    def _share(self, count: int) -> np.ndarray:
        """The indices below `count` that are this process's: as many as every other's, from 0 again at the end."""
        return (np.arange(-(-count // self.size)) * self.size + self.rank) % count

    def mean(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The means over all processes of [array], float32."""
        flat = self.gather(np.concatenate([array.ravel() for array in arrays])).mean(axis=0)
        return [part.reshape(array.shape) for part, array in
                zip(np.split(flat, np.cumsum([array.size for array in arrays])[:-1]), arrays, strict=True)]


def _concerns_user(record: logging.LogRecord) -> bool:
    """Whether a line of MindSpore's log says what a user can do something about: all but one."""
    return UNUSED not in record.getMessage()


def setup_device(target: str = "", distribute: bool = False, device_id: int = 0, seed: int = 0) -> Device:
    """Selects the target and graph mode, seeds initial weights and joins the other processes.

    `target` "" takes the environment's DEVICE_TARGET, else Ascend where MindSpore has one, else CPU. With
    `distribute`, ranks come from the launcher's environment (a rank table or msrun).
    """
    logging.getLogger(f"ME.mindspore.log.{os.getpid()}").addFilter(_concerns_user)      # MindSpore's own
    target = choose_target(target)
    if target not in TARGETS:
        raise SettingError(f"device_target: found {target}, expected one of {', '.join(TARGETS)}")
    if target == "CPU":
        cap_onednn()
    chosen, threads = environment("DEVICE_ID", Range(0, 63)), os.environ.get("OMP_NUM_THREADS", "")
    select_device(target, (device_id if chosen is None else chosen) if target != "CPU" else None)
    if target == "CPU" and distribute and threads.isdecimal() and int(threads) > 0:
        # the launchers set it: processes with as many threads as cores each would take the cores from one another
        ms.device_context.cpu.op_tuning.threads_num(int(threads))
    ms.set_context(mode=ms.GRAPH_MODE)
    if target == "Ascend":
        # kernel by kernel: a 910A would take the GE backend, which is deprecated and knows no dynamic shapes
        ms.set_context(jit_config={"jit_level": "O0"})
    ms.set_seed(seed)
    if not distribute:
        return Device(target)
    try:
        communication.init()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise RunError(f"distribute: the processes cannot be joined ({reason}); start them by "
                       "scripts/run_distribute_train_ascend.sh") from None
    device = Device(target, communication.get_rank(), communication.get_group_size())
    ms.set_auto_parallel_context(parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True,
                                 device_num=device.size)
    return device


def select_device(target: str, number: int | None) -> None:
    """`ms.set_device`. Where there is no such device at all, only one line, not MindSpore's log of what it lacks."""
    logger, held = logging.getLogger(f"ME.mindspore.log.{os.getpid()}"), []

    def hold(record):
        held.append(record)
        return False

    logger.addFilter(hold)
    try:
        ms.set_device(target, number)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        if reason.startswith(MISSING):
            held.clear()
            raise UnsupportedError(f"device_target {target}: MindSpore finds none here; DEVICE_TARGET=CPU runs on this "
                                   f"CPU, and python -c \"import mindspore; mindspore.set_device('{target}')\" says "
                                   "what is missing") from None
        raise UnsupportedError(f"device_target {target}: not usable here ({reason}); DEVICE_TARGET=CPU runs on this "
                               "CPU") from None
    finally:
        logger.removeFilter(hold)
        for record in held:
            logger.handle(record)


def cap_onednn() -> None:
    """Keeps oneDNN to AVX2, for stock convolutions, unless the user has set what it may use.

    With AVX-512, those wider than 1 fall into a reference kernel, up to 100 times slower (ONEDNN_VERBOSE=1 shows
    `ref:any`); capped at AVX2 oneDNN takes its matrix-product kernel. It reads the variable at its first operator.
    """
    if not any(name in os.environ for name in MAX_ISA):
        os.environ[MAX_ISA[0]] = os.environ[CAPPED] = CAP


def uncap_onednn() -> None:
    """Takes back `cap_onednn`, also a parent process's: for networks without a stock convolution."""
    if os.environ.pop(CAPPED, None) and os.environ.get(MAX_ISA[0]) == CAP:
        del os.environ[MAX_ISA[0]]


def choose_target(target: str = "") -> str:
    """`target`, else the environment's DEVICE_TARGET, else MindSpore's pick: Ascend where it finds one, else CPU."""
    return target or os.environ.get("DEVICE_TARGET") or ms.get_context("device_target")
