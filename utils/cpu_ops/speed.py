"""How fast this processor multiplies matrices in MindSpore's oneDNN: what decides whether bfloat16 is taken.

Which of the two is faster no list of instruction sets says: with AVX512_BF16 alone bfloat16 is twice as fast on an AMD
Zen 4 and slower on an Intel Sapphire Rapids, which has AMX for it; capped at AVX2 oneDNN computes it number by number.
"""
import ctypes
import functools
import time

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
def products() -> dict[str, float]:
    """GFLOPS of one core for products of matrices of {"float32", "bfloat16"}; the fastest of TIMES."""
    functions = ctypes.CDLL(str(onednn()))
    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal(shape, np.float32) for shape in ((ROWS, INNER), (INNER, COLUMNS)))
    kinds = {"float32": (functions.dnnl_sgemm, a, b),
             "bfloat16": (functions.dnnl_gemm_bf16bf16f32, upper_halves(a), upper_halves(b))}
    seconds = dict.fromkeys(kinds, np.inf)
    c = np.zeros((ROWS, COLUMNS), np.float32)
    for kind, (multiply, left, right) in kinds.items():
        for _ in range(TIMES):
            started = time.thread_time()
            status = multiply(
                ctypes.c_char(b"N"), ctypes.c_char(b"N"), *map(ctypes.c_int64, (ROWS, COLUMNS, INNER)),
                ctypes.c_float(1), pointer(left), ctypes.c_int64(INNER), pointer(right), ctypes.c_int64(COLUMNS),
                ctypes.c_float(0), pointer(c), ctypes.c_int64(COLUMNS))
            taken = time.thread_time() - started
            seconds[kind] = min(seconds[kind], np.inf if status else taken)
            if taken > 100 * seconds["float32"]:
                break       # number by number
    return {kind: 2e-9 * ROWS * COLUMNS * INNER / taken for kind, taken in seconds.items()}


def upper_halves(array: np.ndarray) -> np.ndarray:
    """float32 -> the 16 bits that bfloat16 keeps of it, not rounded."""
    return (array.view(np.uint32) >> 16).astype(np.uint16)


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
