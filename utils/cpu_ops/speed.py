"""How fast this processor multiplies matrices in MindSpore's oneDNN: what decides whether bfloat16 is taken.

Which of the two is faster no list of instruction sets says: with AVX512_BF16 alone bfloat16 is twice as fast on an AMD
Zen 4 and slower on an Intel Sapphire Rapids, which has AMX for it; capped at AVX2 oneDNN computes it number by number.
"""
import ctypes
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from utils.cpu_ops.build import library, onednn

BF16 = "bf16"       # the amp_level
ROWS, COLUMNS, INNER = 256, 200, 512     # as in a convolution: 2 s of speech, ECAPA-TDNN's channels
TIMES = 15


@functools.cache
def bfloat16_is_faster() -> bool:
    """Whether products that take bfloat16 are, on this processor; the reason printed once where they are not.

    To be asked once oneDNN may use what instructions it will: measuring is its first operator.
    """
    if not library():
        print(f"amp_level {BF16}: there are no C++ operators: going on in float32", flush=True)
        return False
    speed = products()
    if speed["bfloat16"] > speed["float32"]:
        return True
    print(f"amp_level {BF16}: found {speed['bfloat16']:.3g} GFLOPS in bfloat16 on this processor, "
          f"{speed['float32']:.3g} in float32: going on in float32", flush=True)
    return False


@functools.cache
def products(cores: int = 1) -> dict[str, float]:
    """GFLOPS of so many cores together for products of matrices of {"float32", "bfloat16"}, each at its fastest."""
    functions = ctypes.CDLL(str(onednn()))
    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal(shape, np.float32) for shape in ((ROWS, INNER), (INNER, COLUMNS)))
    kinds = {"float32": (functions.dnnl_sgemm, a, b),
             "bfloat16": (functions.dnnl_gemm_bf16bf16f32, upper_halves(a), upper_halves(b))}
    seconds = {"float32": [np.inf]}
    for kind, (multiply, left, right) in kinds.items():
        most = 100 * max(seconds["float32"])      # of a product; longer is number by number
        with ThreadPoolExecutor(cores) as pool:
            tasks = [pool.submit(fastest, multiply, left, right, most) for _ in range(cores)]
            seconds[kind] = [task.result() for task in tasks]
    return {kind: sum(2e-9 * ROWS * COLUMNS * INNER / taken for taken in times) for kind, times in seconds.items()}


def fastest(multiply: Callable[..., int], a: np.ndarray, b: np.ndarray, most: float) -> float:
    """Seconds of this thread for a b: the fewest of TIMES, or of the first that takes longer than `most`."""
    c, fewest = np.zeros((ROWS, COLUMNS), np.float32), np.inf
    for _ in range(TIMES):
        started = time.thread_time()
        status = multiply(
            ctypes.c_char(b"N"), ctypes.c_char(b"N"), *map(ctypes.c_int64, (ROWS, COLUMNS, INNER)),
            ctypes.c_float(1), pointer(a), ctypes.c_int64(INNER), pointer(b), ctypes.c_int64(COLUMNS),
            ctypes.c_float(0), pointer(c), ctypes.c_int64(COLUMNS))
        taken = time.thread_time() - started
        fewest = min(fewest, np.inf if status else taken)
        if taken > most:
            break
    return fewest


def upper_halves(array: np.ndarray) -> np.ndarray:
    """float32 -> the 16 bits that bfloat16 keeps of it, not rounded."""
    return (array.view(np.uint32) >> 16).astype(np.uint16)


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
