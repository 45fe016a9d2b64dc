"""The block that Conv-TasNet repeats. Letters as in model.py."""
from collections.abc import Callable
from typing import Any

from mindspore import Tensor, nn, ops

from conv_tasnet.src.config import Config
from conv_tasnet.src.layers import CumulativeNorm, DepthwiseConv, FrameNorm, GlobalNorm, PReLU, conv1x1
from utils.layers.shapes import ones_like

OVER = (GlobalNorm, CumulativeNorm, FrameNorm)      # as temporal_block.cc counts what a norm is taken over


class Block(nn.Cell):
    """1x1 convolution, PReLU, norm, depthwise convolution, PReLU, norm, 1x1 convolutions to the residual and the skip.

    (M, B, T) -> (M, B, T), and (M, Sc, T) or 0 without a skip path.
    """

    def __init__(self, config: Config, dilation: int, norm: Callable[[int], Any], has_bias: bool):
        super().__init__()
        self.expand = conv1x1(config.B, config.H, has_bias)
        self.prelu1, self.prelu2 = PReLU(), PReLU()
        self.norm1, self.norm2 = norm(config.H), norm(config.H)
        self.depthwise = DepthwiseConv(config.H, config.P, dilation, config.causal, has_bias)
        self.residual = conv1x1(config.H, config.B, has_bias)
        self.skip = conv1x1(config.H, config.Sc, has_bias) if config.Sc else None

    def construct(self, x, mask=None):
        """`mask` (M, 1, T): 1 for the frames that count, 0 for padding."""
        y = self.norm1(self.prelu1(self.expand(x)), mask)                  # (M, H, T)
        if mask is not None:
            y = y * mask
        y = self.norm2(self.prelu2(self.depthwise(y)), mask)
        return self.outputs(x, y)

    def start(self) -> tuple[Tensor, ...]:
        """The state of `stream` before a mixture: the past of the convolution, and what the norms have."""
        return self.depthwise.start(), *self.norm1.start(), *self.norm2.start()

    def stream(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | float, tuple[Tensor, ...]]:
        """`construct` for the frames that follow those of `state`, and the state after them."""
        middle = 1 + self.norm1.states
        y, first = self.norm1.stream(self.prelu1(self.expand(x)), state[1:middle])
        y, past = self.depthwise.stream(y, state[0])
        y, second = self.norm2.stream(self.prelu2(y), state[middle:])
        residual, skip = self.outputs(x, y)
        return residual, skip, (past, *first, *second)

    def outputs(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor | float]:
        """Residual and skip from the hidden y (M, H, T)."""
        return x + self.residual(y), self.skip(y) if self.skip is not None else 0.0


class FastBlock(Block):
    """A block as one operator of a CPU: which of its parameters are which inputs of those in `cpu_ops.layers`.

    It stands beside the block whose parameters it knows; the operators and their gradients are beside their kernel.
    """

    bfloat16: bool

    def prepare(self) -> bool:
        """False for a block with BN, which the operator does not have."""
        over = next((number for number, norm in enumerate(OVER) if isinstance(self.norm1, norm)), None)
        if over is None:
            return False
        from utils.cpu_ops import layers  # only now: nobody comes here where CPU_OPS is 0

        dilation, left = self.depthwise.dilation, self.depthwise.left
        self.function = layers.temporal_block(dilation, left, over, self.bfloat16)
        self.step = layers.temporal_block_step(dilation, left, over, int(CumulativeNorm.MEMORY), self.bfloat16)
        self.no_state = ops.zeros((1, 3, 1))
        narrow, wide = self.residual.weight.shape[:2]
        self.no_bias, self.no_wide_bias = ops.zeros(narrow), ops.zeros(wide)
        self.no_skip = ops.zeros((1, wide, 1, 1)), ops.zeros(1)    # the operator has one, if only of zeros
        self.no_skip_bias = ops.zeros(self.skip.weight.shape[0]) if self.skip is not None else None
        return True

    def construct(self, x, mask=None):
        y = self.function(x, ones_like(x[:, :1]) if mask is None else mask, *self.weights())
        return y[0], 0.0 if self.skip is None else y[1]

    def stream(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | float, tuple[Tensor, ...]]:
        """As that of the block, by one operator."""
        past, first, second = state if self.norm1.states else (*state, self.no_state, self.no_state)
        y = self.step(x, past, first, second, *self.weights())
        after = y[2:5] if self.norm1.states else y[2:3]
        return y[0], 0.0 if self.skip is None else y[1], after

    def weights(self) -> tuple[Any, ...]:
        """The parameters, in the operators' order."""
        expand, taps, residual, norm1, norm2 = self.expand, self.depthwise, self.residual, self.norm1, self.norm2
        if self.skip is None:
            skip, skip_bias = self.no_skip
        else:
            skip, skip_bias = self.skip.weight, self.no_skip_bias if self.skip.bias is None else self.skip.bias
        return (expand.weight, self.no_wide_bias if expand.bias is None else expand.bias,
                self.prelu1.slope, norm1.gain, norm1.bias,
                taps.weight, self.no_wide_bias if taps.bias is None else taps.bias,
                self.prelu2.slope, norm2.gain, norm2.bias,
                residual.weight, self.no_bias if residual.bias is None else residual.bias, skip, skip_bias)
