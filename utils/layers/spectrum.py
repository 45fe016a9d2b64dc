"""Squares of the spectra of frames, in numbers that float16 holds, by operators that an Ascend has.

Letters: N samples, T frames, K frequency bins.
"""
import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from utils.layers.shapes import mirror_ends

QUIET = 2.0 ** -10      # what no part of a spectrum exceeds in silence
LOUD = 2.0 ** 5         # to where a frame's largest part is raised: the squares under a mel filter stay below 65504
RAISE = LOUD / QUIET
CHANNELS = 16           # of a convolution: for other numbers MindSpore Lite 2.0.0 with AVX-512 wants the square of the
                        # frames as memory, more than 32 bits count, and cannot run 75 s of sound


class Squares(nn.Cell):
    """Samples (1, N), how many of them count (1,) -> squares of a spectrum's parts (T, R), gain of each frame (T, 1).

    Frame t begins `side` samples before sample t `hop`; `kernel` (2 K, width) turns it into real, then imaginary
    parts; up to R, `rows`, zeros follow. Beyond its ends the signal is mirrored or zero for `side` samples. Where a
    count is given, N is a multiple of `hop` and zero from there on, and the frames of what counts are as they would be
    without the rest. `whole_blocks`: N is always such a multiple; then a product does it, on a CPU in a thirtieth of
    the time of MindSpore's convolution.

    The parts of a frame are multiplied by its gain, which is 1 in silence, and by RAISE before they are squared. As
    they are, the squares of those below 2e-4 and above 256 are 0 and infinite in float16.
    """

    def __init__(self, kernel: np.ndarray, hop: int, side: int, mirrored: bool, whole_blocks: bool = False):
        super().__init__()
        width = kernel.shape[1]
        self.rows = -(-len(kernel) // CHANNELS) * CHANNELS
        self.hop, self.side, self.mirrored = hop, side, mirrored
        self.blocks = -(-width // hop)
        self.beyond = self.blocks * hop - width
        kernel = np.pad(kernel, ((0, self.rows - len(kernel)), (0, self.beyond))).astype(np.float32)
        self.kernel = Parameter(Tensor(kernel[:, None, None]), "kernel", requires_grad=False)
        self.convolution = ops.Conv2D(self.rows, (1, self.blocks * hop), pad_mode="valid", stride=(1, hop))
        self.product = ops.MatMul(transpose_b=True)
        self.whole_blocks = whole_blocks
        # no plain number: of a quotient with one MindSpore makes an operator that neither ONNX nor the runner knows
        self.quiet = Tensor([[QUIET]], ms.float32)

    def for_ascend(self) -> None:
        """Without the convolution, also where no count is given; a graph for any N takes multiples of `hop` then.

        Its kernel and its stride are too wide for an Ascend: CANN's Conv2D has at most 255 taps and a stride of 63.
        """
        self.whole_blocks = True

    def construct(self, x, count=None):
        x = self.ends(x, count)
        if count is not None or self.whole_blocks:
            parts = self.product(self.frames(x, count), self.kernel.squeeze(2).squeeze(1))
        else:       # for any N, which no reshape takes
            x = self.follow(x, self.beyond)
            parts = self.convolution(x.expand_dims(1).expand_dims(1), self.kernel).squeeze(2).squeeze(0).transpose(1, 0)
        gain = self.quiet / ops.maximum(ops.amax(parts.abs(), 1, keepdims=True), QUIET)
        return (parts * (gain * RAISE)).square(), gain

    def ends(self, x: Tensor, count: Tensor | None) -> Tensor:
        """The signal with what is beyond its ends, (1, N + 2 side)."""
        if self.side == 0:
            return x
        if self.mirrored:
            return mirror_ends(x, self.side, count)
        nothing = ops.zeros((1, self.side), x.dtype)
        return ops.cat((nothing, x, nothing), 1)

    def frames(self, x: Tensor, count: Tensor | None) -> Tensor:
        """(1, N + 2 side) -> (T, blocks hop): blocks of a hop, beside them those that follow."""
        if count is None:       # a graph of a multiple of `hop` has no cut, and so takes other multiples
            length = ((x.shape[1] + self.beyond) // self.hop) * self.hop
            x = x[:, :length] if length < x.shape[1] else self.follow(x, length - x.shape[1])
        else:
            x = self.follow(x, -2 * self.side % self.hop)
        parts = ()
        for block in range(self.blocks):
            begin, left = block * self.hop, (self.blocks - 1 - block) * self.hop
            parts += ((x[:, begin:-left] if left else x[:, begin:]).reshape(-1, self.hop),)
        return ops.cat(parts, 1)

    def follow(self, x: Tensor, zeros: int) -> Tensor:
        """x with zeros behind."""
        return ops.cat((x, ops.zeros((1, zeros), x.dtype)), 1) if zeros else x
