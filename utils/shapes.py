"""What the length of a graph's input depends on, written so that the exported graph can be resized."""
import mindspore as ms
from mindspore import Tensor, ops


def ones_like(x):
    """1 in the shape of x, computed from its values.

    The compiler makes a constant of what ops.ones_like and ops.arange give for a known shape, and a graph that is
    exported with such a constant runs for that one shape only.
    """
    return (x.abs() >= 0.0).astype(x.dtype)


def length_mask(x: Tensor, lengths: Tensor) -> Tensor:
    """1 for the first `lengths` (B,) of the T columns of x (B, T), 0 for the rest: (B, T) float32.

    The columns are counted by a sum, for ops.arange would fix T. In float32, where it is exact for 2^24 of them.
    """
    number = ops.cumsum(ones_like(x).astype(ms.float32), 1)
    return (number <= lengths.reshape(-1, 1).astype(ms.float32)).astype(ms.float32)


def mirror_ends(x, side):
    """Reflects `side` samples at both ends: (B, N) -> (B, N + 2 side).

    In two dimensions: MindSpore Lite 2.0 writes beyond its memory where a graph slices its input after ExpandDims.
    """
    return ops.cat((ops.flip(x[:, 1:side + 1], (1,)), x, ops.flip(x[:, -side - 1:-1], (1,))), 1)
