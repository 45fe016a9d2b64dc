"""Samples and frames: the encoder cuts a mixture into frames of L samples, each a stride of L / 2 after the one before.

    stride    |   1   |   2   |   3   |   4   |
    frame 1   |-------L-------|
    frame 2           |-------L-------|
    frame 3                   |-------L-------|

So T frames take T + 1 strides. Imports no MindSpore: data workers do without. Letters as in model.py.
"""
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from mindspore import Tensor

Count = TypeVar("Count", int, "Tensor")


def frame_count(samples: Count, stride: int) -> Count:
    """T of S `samples`, whole strides: of a number, or of a tensor of numbers."""
    return samples // stride - 1


def sample_count(frames: int, stride: int) -> int:
    """S of T `frames`: the inverse of `frame_count`."""
    return (frames + 1) * stride


def whole_strides(samples: int, stride: int) -> int:
    """`samples` rounded up to whole strides, at least the two of one frame."""
    return max(2, -(-samples // stride)) * stride


def pad_mixture(mixture: np.ndarray, stride: int, samples: int = 0) -> np.ndarray:
    """Mixture (S,) with zeros up to `samples`, or to whole strides: the network leaves out what fills none."""
    return np.pad(mixture.astype(np.float32), (0, (samples or whole_strides(len(mixture), stride)) - len(mixture)))
