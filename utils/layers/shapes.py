"""What the length of a graph's input depends on, written so that the exported graph can be resized."""
import mindspore as ms
from mindspore import Tensor, ops


def ones_like(x: Tensor) -> Tensor:
    """1 in the shape of x, computed from its values.

    The compiler makes a constant of what ops.ones_like and ops.arange give for a known shape, and a graph that is
    exported with such a constant runs for that one shape only.
    """
    return (x.abs() >= 0.0).astype(x.dtype)


def length_mask(x: Tensor, lengths: Tensor) -> Tensor:
    """1 for the first `lengths` (B,) of the T columns of x (B, T), 0 for the rest: (B, T) float32.

    The columns are counted by a sum, for ops.arange would fix T; in whole numbers, for float16 counts to 2048.
    """
    number = ops.cumsum((x.abs() >= 0.0).astype(ms.int32), 1)
    return (number <= lengths.reshape(-1, 1)).astype(ms.float32)


def mirror_ends(x: Tensor, side: int, lengths: Tensor | None = None) -> Tensor:
    """Reflects `side` numbers at both ends of the last axis: (B, ..., N) -> (B, ..., N + 2 side).

    With `lengths` (B,) each item ends where it does, with its mirror behind; what follows is of no meaning. Each is
    reversed, mirrored at its start, which was its end, and reversed again: no operator here fixes N.
    For samples in two dimensions: MindSpore Lite 2.0 writes beyond its memory where a graph slices its input after
    ExpandDims or Reshape.
    """
    axis = x.ndim - 1
    if lengths is None:
        return ops.cat((ops.flip(x[..., 1:side + 1], (axis,)), x, ops.flip(x[..., -side - 1:-1], (axis,))), axis)
    x = ops.reverse_sequence(x, lengths, axis, 0)
    x = ops.reverse_sequence(mirror_start(x, side), lengths + side, axis, 0)
    return mirror_start(x, side)


def mirror_start(x: Tensor, side: int) -> Tensor:
    """Reflects `side` numbers at the start of the last axis: (B, ..., N) -> (B, ..., N + side)."""
    axis = x.ndim - 1
    return ops.cat((ops.flip(x[..., 1:side + 1], (axis,)), x), axis)


def mean_over(x: Tensor, axis: int, mask: Tensor | None = None) -> Tensor:
    """Mean over an axis, which stays as 1, of what `mask` has ones for; it broadcasts to x.

    A mean of products divided by the mean of the mask: sums over a long axis would leave float16, and 1 / N of a long
    axis is hardly a number in it.
    """
    if mask is None:
        return x.mean(axis, keep_dims=True)
    mask = mask.astype(x.dtype)
    return (x * mask).mean(axis, keep_dims=True) / mask.mean(axis, keep_dims=True)


def unbiased(frames: Tensor, numbers: int = 1) -> Tensor:
    """n / (n - 1) of n = `frames` times `numbers`, what makes a variance unbiased; where n would leave float16 too."""
    few = ops.minimum(frames, 60000.0)      # of more it is 1 within 2e-5
    return few / (few - 1 / numbers)
